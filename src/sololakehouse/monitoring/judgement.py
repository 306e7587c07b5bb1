"""What counts as drift: each column of each period, judged by limits, tests and importance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sololakehouse.config.drift import DriftSettings
from sololakehouse.lake import Snapshot
from sololakehouse.monitoring.bins import NumberCounts
from sololakehouse.monitoring.comparison import Comparison, compare
from sololakehouse.monitoring.counted import PROBABILITY, Counted
from sololakehouse.monitoring.distances import corrected
from sololakehouse.monitoring.labelled import known_rows, labelled
from sololakehouse.monitoring.measures import with_intervals
from sololakehouse.monitoring.periods import period_of
from sololakehouse.monitoring.predictions import Predictions

State = Literal["stable", "warning", "alarm", "too few rows"]
STABLE: State = "stable"
WARNING: State = "warning"
ALARM: State = "alarm"
TOO_FEW: State = "too few rows"
TRAINING, BEFORE = "training", "before"
FEATURE, PREDICTION, PERFORMANCE = "feature", "prediction", "performance"
METRIC = "roc_auc"
_PERIOD = "period of the row"


@dataclass(frozen=True)
class Pair:
    """A column in a period, held against training rows or, if it is given, an earlier period."""

    period: str
    earlier: str | None
    column: str
    rows: int
    reference_rows: int
    mean: float | None
    reference_mean: float | None
    compared: Comparison


def pairs_of(counts: Counted) -> Iterator[Pair]:
    """Hold each period against the training rows, and against the period before it."""
    earlier: str | None = None
    for period, columns in counts.periods.items():
        for against in (None, earlier) if earlier else (None,):
            others = counts.periods[against] if against else counts.trained
            for column, here in columns.items():
                there = others[column]
                yield Pair(
                    period=period,
                    earlier=against,
                    column=column,
                    rows=here.rows,
                    reference_rows=there.rows,
                    mean=here.mean if isinstance(here, NumberCounts) else None,
                    reference_mean=there.mean if isinstance(there, NumberCounts) else None,
                    compared=compare(here, there),
                )
        earlier = period


def judged_rows(
    pairs: Sequence[Pair], importances: Mapping[str, float], settings: DriftSettings
) -> list[dict[str, Any]]:
    """Return a row for each pair; the p-values of all of them are corrected together."""
    tests = [p for one in pairs for p in (one.compared.p_value, one.compared.missing_p_value)]
    q_values = iter(corrected(tests))
    rows = []
    for one in pairs:
        q_value, missing_q_value = next(q_values), next(q_values)
        compared, importance = one.compared, importances.get(one.column)
        state, why = judged(one, q_value or 0.0, missing_q_value or 0.0, settings)
        rows.append(
            {
                "period": one.period,
                "against": BEFORE if one.earlier else TRAINING,
                "against_period": one.earlier,
                "kind": PREDICTION if one.column == PROBABILITY else FEATURE,
                "column": one.column,
                "rows": one.rows,
                "reference_rows": one.reference_rows,
                "value": one.mean,
                "reference_value": one.reference_mean,
                "psi": compared.psi,
                "js": compared.js,
                "ks": compared.ks,
                "p_value": compared.p_value,
                "q_value": q_value,
                "missing": compared.missing,
                "reference_missing": compared.reference_missing,
                "missing_q_value": missing_q_value,
                "unseen": compared.unseen,
                "unseen_examples": list(compared.unseen_examples),
                "importance": importance,
                "impact": None if importance is None else importance * compared.psi,
                "state": state,
                "why": why,
                "bins": list(compared.bins),
            }
        )
    return rows


def judged(
    pair: Pair, q_value: float, missing_q_value: float, settings: DriftSettings
) -> tuple[State, str | None]:
    """Return the state of a column in a period, and why.

    A change counts if it is as great as a limit says and the corrected tests do not call it chance.
    Texts that were never seen need no test, and are held against the training rows only.
    """
    if min(pair.rows, pair.reference_rows) < settings.least_rows:
        return TOO_FEW, f"fewer than {settings.least_rows} rows"
    limits, compared = settings.limits_of(pair.column), pair.compared
    is_missing = missing_q_value <= settings.significance
    is_other = q_value <= settings.significance or is_missing
    alarms: list[str] = []
    warnings: list[str] = []
    if is_other and compared.psi >= limits.psi_warn:
        (alarms if compared.psi >= limits.psi_alarm else warnings).append(
            f"other distribution (PSI {compared.psi:.2f})"
        )
    if is_missing and abs(compared.missing - compared.reference_missing) >= limits.missing:
        alarms.append(f"missing in {compared.missing:.1%}, was {compared.reference_missing:.1%}")
    if pair.earlier is None and (compared.unseen or 0.0) >= limits.unseen:
        examples = ", ".join(compared.unseen_examples)
        alarms.append(f"{compared.unseen:.1%} never seen in training: {examples}")
    said = "; ".join([*alarms, *warnings]) or None
    return (ALARM if alarms else WARNING if warnings else STABLE), said


def performance_rows(predictions: Predictions, labels: Snapshot | None) -> list[dict[str, Any]]:
    """Return how well the model ranks rows in each period whose labels are known.

    Held against its result on the test part of its training, and against the period before. It is
    worse if its whole 95 % interval is below: an alarm from `performance` on, else a warning.
    """
    if labels is None:
        return []
    settings = predictions.job.drift
    frame = labelled(predictions, labels, predictions.job.keys)
    period = period_of(predictions.timestamp, settings.period).alias(_PERIOD)
    parts = frame.with_columns(period).drop_nulls(_PERIOD).partition_by(_PERIOD, as_dict=True)
    rows: list[dict[str, Any]] = []
    tested = predictions.model.metrics.get(f"test_{METRIC}")
    earlier: tuple[str, float | None, int] | None = None
    for key in sorted(parts):
        name, known = str(key[0]), known_rows(parts[key])
        count = len(known.truth)
        found = with_intervals(known) if count else {}
        about = {"period": name, "kind": PERFORMANCE, "column": METRIC, "rows": count}
        about |= {"value": found.get(METRIC), "impact": None}
        high = found.get(f"{METRIC}_high")
        rows.append(
            about
            | {"against": TRAINING, "reference_value": tested}
            | _fallen(about, high, tested, settings)
        )
        if earlier is not None:
            before, value, count_before = earlier
            rows.append(
                about
                | {"against": BEFORE, "against_period": before, "reference_value": value}
                | {"reference_rows": count_before}
                | _fallen(about, high, value, settings)
            )
        earlier = (name, found.get(METRIC), count)
    return rows


def _fallen(
    about: Mapping[str, Any],
    high: float | None,
    reference: float | None,
    settings: DriftSettings,
) -> dict[str, Any]:
    if about["rows"] < settings.least_rows or about["value"] is None or high is None:
        return {"state": TOO_FEW, "why": f"{about['rows']} labels are known"}
    if reference is None or high >= reference:
        return {"state": STABLE, "why": None}
    fall = reference - about["value"]
    state = ALARM if fall >= settings.performance else WARNING
    return {"state": state, "why": f"{METRIC} {about['value']:.3f}, was {reference:.3f}"}
