"""Lesson 8: one prediction down to the lines of a file, and its model built again from them."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sololakehouse.lessons.lesson import Check, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.work import BRONZE, Work
from sololakehouse.lineage.graph import FileNode, Lineage
from sololakehouse.rebuild.rebuilds import REBUILDS

if TYPE_CHECKING:
    import polars as pl

_PREDICTIONS = "inference.november"
_FLIGHT = "20131127T2305Z-WN-195-STL"
_CARRIER = "WN"
_EVIDENCE = "gold.evidence"
_FEATURES = "features.carrier_delay"
_VALUE = "arrival_delay_mean_24h"
_WINDOW = timedelta(hours=24)
_PLACE = ("_source_file", "_source_line")
_CLOSE = 1e-9


def _prediction(work: Work) -> dict[str, Any]:
    """Return the row of the flight that is asked about, by the model in production."""
    model = work.production()
    rows = work.table(_PREDICTIONS, "slh score november").to_polars().filter(flight_id=_FLIGHT)
    if not rows.height or rows["model_version"][0] != model.version:
        raise NotYetError(
            _PREDICTIONS,
            f"It has no prediction of {_FLIGHT} by version {model.version}.",
            "slh score november",
        )
    return dict(rows.row(0, named=True))


def _predicted(work: Work) -> Finding:
    row = _prediction(work)
    return Finding(
        _PREDICTIONS,
        f"Version {row['model_version']} says {row['probability']:.3f} of {_FLIGHT}, on a mean "
        f"delay of {row[_VALUE]:.2f} minutes.",
    )


def _lineage(work: Work) -> Lineage:
    from sololakehouse.lineage.trace import trace

    _prediction(work)
    return trace(work.lake, _PREDICTIONS)


def _files_are_there(work: Work) -> Finding:
    landed = work.landed()
    nodes = _lineage(work).nodes.values()
    files = [node for node in nodes if isinstance(node, FileNode)]
    for node in files:
        if landed.get(node.path) != node.sha256:
            raise NotYetError(
                node.path,
                "It is not the file that was taken: what rests on it cannot be shown any more.",
                "Put the file back as it came.",
            )
    return Finding(
        f"the lineage of {_PREDICTIONS}",
        f"It ends in {len(files)} landing files, which have the SHA-256 that was recorded.",
    )


def _window(work: Work) -> tuple[datetime, datetime]:
    """Return the ends of the window of the feature that the prediction was given."""
    import polars as pl

    row = _prediction(work)
    version = json.loads(row["feature_versions"])[_FEATURES]
    known = work.lake.read(_FEATURES, version).to_polars()
    mine = known.filter(pl.col("carrier") == _CARRIER, pl.col("feature_ts") <= row["predict_at"])
    end = max(mine["feature_ts"])
    return end - _WINDOW, end


def _lines(work: Work) -> pl.DataFrame:
    """Return the lines that the feature was computed from."""
    import polars as pl

    begin, end = _window(work)
    rows = work.table(BRONZE, "slh ingest").to_polars()
    arrived = pl.col("arrived_at")
    return rows.filter(pl.col("carrier") == _CARRIER, arrived > begin, arrived <= end)


def _evidence(work: Work) -> Finding:
    lines = _lines(work).select(*_PLACE, "arrived_at")
    table = work.table(_EVIDENCE, "write transformations/gold/evidence.sql, then slh run")
    missing = [name for name in _PLACE if name not in table.columns]
    if missing:
        raise NotYetError(
            _EVIDENCE,
            f"It has no column {missing[0]}.",
            f"Every row of {BRONZE} says from which line it came: SELECT {', '.join(_PLACE)}, ...",
        )
    named = table.to_polars().select(*_PLACE).unique()
    keys = list(_PLACE)
    for more, less, said in (
        (named.join(lines, on=keys, how="anti"), lines, "is in it, and is not in the window"),
        (lines.join(named, on=keys, how="anti"), lines, "is in the window, and is not in it"),
    ):
        if more.height:
            raise NotYetError(_EVIDENCE, _not_these(work, more, less, said), _which_window(work))
    return Finding(_EVIDENCE, f"It names the {lines.height} lines that the feature was made of.")


def _not_these(work: Work, wrong: pl.DataFrame, lines: pl.DataFrame, said: str) -> str:
    where = wrong.sort(*_PLACE).row(0, named=True)
    rows = (
        work.table(BRONZE)
        .to_polars()
        .filter(_source_file=where["_source_file"], _source_line=where["_source_line"])
    )
    what = f", {rows['flight_id'][0]}, landed {rows['arrived_at'][0]}," if rows.height else ""
    return (
        f"{wrong.height} lines are wrong (the feature was made of {lines.height}): line "
        f"{where['_source_line']} of {where['_source_file']}{what} {said}."
    )


def _which_window(work: Work) -> str:
    begin, end = _window(work)
    return (
        f"The newest row of {_FEATURES} at predict_at is of {end:%Y-%m-%d %H:%M} UTC. It counts "
        f"what landed after {begin:%Y-%m-%d %H:%M} and not after its own moment, of carrier "
        f"{_CARRIER}."
    )


def _adds_up(work: Work) -> Finding:
    import polars as pl

    _evidence(work)
    told = _prediction(work)[_VALUE]
    delays = (pl.col("arrived_at") - pl.col("scheduled_arrival")).dt.total_minutes()
    counted = _lines(work).select(delays.mean()).item()
    place = f"{_EVIDENCE}, {_PREDICTIONS}"
    if abs(counted - told) > _CLOSE:
        raise NotYetError(
            place,
            f"The lines have a mean delay of {counted:.4f} minutes, and the prediction was given "
            f"{told:.4f}: {_FEATURES} has another definition than at the start.",
            "Bring transformations/features/carrier_delay.py back, slh run, slh score november.",
        )
    return Finding(
        place, f"The mean delay of the lines is what the prediction was given: {told:.4f} minutes."
    )


def _rebuilt(work: Work) -> Finding:
    model = work.production()
    rows = work.table(REBUILDS, "slh rebuild delay@production --from-raw").to_polars()
    mine = rows.filter(model_version=model.version, from_raw=True).sort("at")
    place = f"{REBUILDS}, version {model.version}"
    if not mine.height:
        raise NotYetError(
            place,
            "It was not built again from the landing files.",
            "slh rebuild delay@production --from-raw",
        )
    newest = mine.row(mine.height - 1, named=True)
    if newest["verdict"] != "bit-identical":
        raise NotYetError(
            place,
            f"The newest rebuild is {newest['verdict']}; the first link that differs is "
            f"{newest['first_link']!r}.",
            "Put back what differs (slh rebuild delay@production --from-raw says what), and "
            "rebuild.",
        )
    return Finding(
        place, "Built again from the landing files, every prediction is the same double."
    )


def _way_down(work: Work) -> Seen:
    row = _prediction(work)
    begin, end = _window(work)
    lines = _lines(work).sort("arrived_at")
    shown = [*lines.head(2).to_dicts(), *lines.tail(2).to_dicts()]
    versions = json.loads(row["feature_versions"])
    training = work.production()
    steps: list[tuple[str, str]] = [
        (
            f"{_PREDICTIONS}@v{work.table(_PREDICTIONS).version}",
            f"{_FLIGHT}: {row['probability']:.3f}",
        ),
        (
            f"delay@{training.version}",
            f"trained on {training.training_set}@v{training.training_set_version}, bit-identical "
            "when it was built again",
        ),
        (
            f"{_FEATURES}@v{versions[_FEATURES]}",
            f"{_CARRIER}, {begin:%d %b %H:%M} to {end:%d %b %H:%M}: {row[_VALUE]:.4f} minutes",
        ),
        *(
            (
                f"{line['_source_file']}:{line['_source_line']}",
                f"{line['flight_id']}, landed {line['arrived_at']:%d %b %H:%M}",
            )
            for line in shown
        ),
    ]
    return Seen(
        f"From the prediction down to the lines of the file ({lines.height} in all; the first and "
        "the last two).",
        ["where", "what"],
        [{"where": where, "what": what} for where, what in steps],
    )


TRACE = Lesson(
    number=8,
    slug="trace",
    title="Explain a prediction down to the raw file, and rebuild the model",
    ends_in="the way from a probability to the lines of a CSV file",
    layers=("flights", "silver", "labels", "features"),
    landed=("2013-09", "2013-10", "2013-11"),
    checks=(
        Check(
            "There is a prediction to explain",
            _predicted,
            "slh ingest, slh run, slh train experiments/delay.yml, slh promote delay --to "
            "production, slh score november.",
        ),
        Check(
            "The files that it came from are as they came",
            _files_are_there,
            "slh trace inference.november shows them, with their SHA-256.",
        ),
        Check(
            "Every line behind the feature is named",
            _evidence,
            'First the moment: slh query "SELECT max(feature_ts) FROM features.carrier_delay WHERE '
            "carrier = 'WN' AND feature_ts <= TIMESTAMP '...'\", with the predict_at of the "
            "flight. Then gold.evidence: SELECT _source_file, _source_line, ... FROM "
            "bronze.flights WHERE carrier = 'WN' AND arrived_at > that moment - INTERVAL '24' HOUR "
            "AND arrived_at <= that moment.",
        ),
        Check(
            "The lines add up to what the model was given",
            _adds_up,
            "The mean of arrived_at - scheduled_arrival, in minutes, over these lines.",
        ),
        Check(
            "The model is the same when it is built again",
            _rebuilt,
            "slh rebuild delay@production --from-raw takes the recorded files, pipeline and "
            "settings, and compares link by link.",
        ),
    ),
    seen=_way_down,
)
