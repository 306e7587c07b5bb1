"""Lesson 7: December is another month than those of the training; what changed, and what to do."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.lessons.lesson import Check, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.work import EXPERIMENT, Work
from sololakehouse.monitoring.drift import DRIFT as LOOKS

if TYPE_CHECKING:
    import polars as pl

    from sololakehouse.models.versions import ModelVersion

_PREDICTIONS = "inference.winter"
_ANSWER = "gold.what_changed"
_DECEMBER = "2013-12"
_BEGIN = datetime(2013, 12, 1, tzinfo=UTC)
_COLUMNS = ("column_name", "in_training", "now")
_CLOSE = 1e-6


def _looks(work: Work) -> pl.DataFrame:
    """Return what was seen of December against training rows, the greatest impact first."""
    rows = work.table(LOOKS, "slh score winter && slh drift winter").to_polars()
    december = rows.filter(period=_DECEMBER, against="training", predictions=_PREDICTIONS)
    if not december.height:
        raise NotYetError(
            LOOKS,
            "Nobody held December against the training rows.",
            "cp later/flights_2013-12.csv landing/flights/, then slh ingest, slh run, slh score "
            "winter, slh drift winter.",
        )
    return december.sort("impact", descending=True, nulls_last=True)


def _first_look(work: Work) -> pl.DataFrame:
    """Return the rows of the model that had not learned from December."""
    looks = _looks(work)
    return looks.filter(model_version=_oldest(looks))


def _oldest(looks: pl.DataFrame) -> int:
    return min(int(version) for version in looks["model_version"])


def _alarm(work: Work) -> Finding:
    first = _first_look(work)
    alarms = first.filter(state="alarm")
    if not alarms.height:
        raise NotYetError(
            LOOKS,
            f"Version {_oldest(first)} has no alarm in December, with the limits that were set.",
            "Take limits of your own out of lakehouse.yml, and slh drift winter.",
        )
    return Finding(LOOKS, f"{alarms.height} alarms of version {_oldest(first)} in {_DECEMBER}.")


def _said(work: Work) -> Finding:
    features = _first_look(work).filter(kind="feature")
    answer = work.table(_ANSWER, "write transformations/gold/what_changed.sql, then slh run")
    missing = [name for name in _COLUMNS if name not in answer.columns]
    if missing or answer.rows != 1:
        raise NotYetError(
            _ANSWER,
            f"It has {answer.rows} rows with the columns {', '.join(answer.columns)}.",
            f"One row with {', '.join(_COLUMNS)}.",
        )
    _read_from_the_look(answer.record.inputs if answer.record else ())
    row = answer.to_polars().row(0, named=True)
    top = features.row(0, named=True)
    if row["column_name"] != top["column"]:
        raise NotYetError(
            _ANSWER, _why_not(row, features), "ORDER BY impact DESC LIMIT 1, of kind 'feature'."
        )
    told = (row["in_training"], row["now"])
    if not all(map(_equal, told, (top["reference_value"], top["value"]))):
        raise NotYetError(
            _ANSWER,
            f"It says that {top['column']} went from {told[0]} to {told[1]}; in {LOOKS} it went "
            f"from {top['reference_value']:.2f} to {top['value']:.2f}.",
            "reference_value AS in_training, value AS now.",
        )
    return Finding(
        f"{_ANSWER}, {LOOKS}",
        f"{top['column']} went from {top['reference_value']:.2f} to {top['value']:.2f}, which "
        "matters to the model most.",
    )


def _read_from_the_look(inputs: Any) -> None:
    if LOOKS not in [one.table for one in inputs]:
        raise NotYetError(
            _ANSWER,
            f"It does not read {LOOKS}: what is written down by hand is out of date tomorrow.",
            f"SELECT ... FROM {LOOKS}",
        )


def _why_not(row: dict[str, Any], features: pl.DataFrame) -> str:
    top = features.row(0, named=True)
    named = features.filter(column=row["column_name"])
    if not named.height:
        return f"{row['column_name']!r} is no feature of the model."
    mine = named.row(0, named=True)
    return (
        f"{mine['column']} changed (PSI {mine['psi']:.2f}), but the model asks it less: its impact "
        f"is {mine['impact']:.4f}. {top['column']} has {top['impact']:.4f}."
    )


def _equal(told: object, true: float) -> bool:
    return isinstance(told, int | float) and abs(told - true) <= _CLOSE * max(1.0, abs(true))


def _until(version: ModelVersion) -> datetime:
    """Return the end of the period that a version learned from."""
    config = version.record.get("config")
    if not config:
        raise NotYetError(
            f"the record of version {version.version}",
            "It does not say from when to when it learned.",
            f"Train it by the experiment: slh train {EXPERIMENT}.",
        )
    until = datetime.fromisoformat(str(config["split"]["train"]["until"]))
    return until if until.tzinfo else until.replace(tzinfo=UTC)


def _acted(work: Work) -> Finding:
    _alarm(work)
    model = work.production()
    place = f"the recorded settings of version {model.version}, in production"
    if _until(model) <= _BEGIN:
        raise NotYetError(
            place,
            f"It learned from what was before {_until(model):%Y-%m-%d}: it has never seen "
            "December. Other limits make an alarm silent, and no model better.",
            f"Move the periods in {EXPERIMENT}: train until 2013-12-10, validation until "
            "2013-12-17, test until 2014-01-01. Then slh train, and slh promote delay --to "
            "production.",
        )
    if model.forced:
        raise NotYetError(
            place,
            f"It was forced past its gates: {model.forced}.",
            "Find a split and a model that pass them.",
        )
    return Finding(place, f"It has learned from flights until {_until(model):%Y-%m-%d}.")


def _looked_again(work: Work) -> Finding:
    _acted(work)
    model = work.production()
    table = work.table(_PREDICTIONS, "slh score winter")
    if not table.record or table.record.details.get("model_version") != model.version:
        raise NotYetError(
            _PREDICTIONS, "Its predictions are those of the old model.", "slh score winter"
        )
    if not _looks(work).filter(model_version=model.version).height:
        raise NotYetError(LOOKS, f"Nobody looked at version {model.version}.", "slh drift winter")
    return Finding(f"{_PREDICTIONS}, {LOOKS}", f"Both are those of version {model.version}.")


def _before_and_after(work: Work) -> Seen:
    first = _first_look(work)
    now = _looks(work).filter(model_version=work.production().version)
    column = first.filter(kind="feature")["column"][0]
    return Seen(
        f"December against the training rows of both models: {column}, and what was predicted. "
        "'was' is the mean in training.",
        ["version", "column", "value", "was", "psi", "impact", "state"],
        [
            {
                "version": row["model_version"],
                "was": row["reference_value"],
                **{name: row[name] for name in ("column", "value", "psi", "impact", "state")},
            }
            for look in (first, now)
            for name in (column, "probability")
            for row in look.filter(column=name).to_dicts()
        ],
    )


DRIFT = Lesson(
    number=7,
    slug="drift",
    title="Drift: say what changed, and act on it",
    ends_in="December against what two models had learned from",
    layers=("flights", "silver", "labels", "features"),
    landed=("2013-09", "2013-10", "2013-11"),
    later=(_DECEMBER,),
    checks=(
        Check(
            "The alarm was raised",
            _alarm,
            "Train and promote with what lies in landing/, then let December come: copy, ingest, "
            "run, score, drift.",
        ),
        Check(
            "It is said what changed",
            _said,
            "CREATE MATERIALIZED VIEW gold.what_changed AS SELECT column AS column_name, "
            "reference_value AS in_training, value AS now FROM monitoring.drift WHERE period = "
            "'2013-12' AND against = 'training' AND kind = 'feature' ORDER BY impact DESC LIMIT 1. "
            "Impact is what counts: how much it changed, times how much the model asks it.",
        ),
        Check(
            "A model that knows December is in production",
            _acted,
            "A model learns from its training period alone. Move all three periods, in order; the "
            "gate then holds the new model against the old one on the new test part. If it says "
            "no: trees never say more than what they have learned; a logistic regression goes on "
            "where delays are greater than ever. Let the trees be the baseline, and the line the "
            "model.",
        ),
        Check(
            "It was looked at again",
            _looked_again,
            "slh score winter scores with the new model, slh drift winter holds December against "
            "its training rows.",
        ),
    ),
    seen=_before_and_after,
)
