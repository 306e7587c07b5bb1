"""Drift as a page for people: one file, no script, nothing to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sololakehouse.monitoring.judgement import (
    ALARM,
    FEATURE,
    PERFORMANCE,
    TOO_FEW,
    TRAINING,
    WARNING,
)
from sololakehouse.monitoring.page import rendered
from sololakehouse.monitoring.svg import bars

_SHOWN = 12
Row = Mapping[str, Any]


def drift_html(rows: Sequence[Row]) -> str:
    """Return the page of one look at drift.

    Parameters
    ----------
    rows
        As `Drift.rows` has them.
    """
    of_training = [row for row in rows if row["against"] == TRAINING]
    columns = [row for row in of_training if row["kind"] != PERFORMANCE]
    judged = sorted({row["period"] for row in columns if row["state"] != TOO_FEW})
    newest = judged[-1] if judged else None
    now = [row for row in columns if row["period"] == newest]
    before = [
        row
        for row in rows
        if row["against"] != TRAINING
        and row["kind"] != PERFORMANCE
        and row["state"] in (ALARM, WARNING)
    ]
    return rendered(
        "drift.html",
        model=_model(rows),
        about=rows[0] if rows else {"predictions": "nothing", "drift": "", "rows": 0},
        newest=newest,
        alarms=[row for row in now if row["state"] == ALARM],
        warnings=[row for row in now if row["state"] == WARNING],
        stable=len([row for row in now if row["state"] not in (ALARM, WARNING)]),
        changed=[_with_chart(row) for row in now if row["state"] in (ALARM, WARNING)][:_SHOWN],
        performance=[row for row in rows if row["kind"] == PERFORMANCE],
        matrix=_matrix(columns),
        before=before,
        alarms_before=sum((row["period"], row["state"]) == (newest, ALARM) for row in before),
        quality=[row for row in now if row["missing"] or row["unseen"]],
    )


def _model(rows: Sequence[Row]) -> str:
    return f"{rows[0]['model_name']} version {rows[0]['model_version']}" if rows else "The model"


def _with_chart(row: Row) -> dict[str, Any]:
    bins = row["bins"]
    shares = [[one["reference"] for one in bins], [one["share"] for one in bins]]
    return {**row, "chart": bars(shares, [one["label"] for one in bins])}


def _matrix(columns: Sequence[Row]) -> dict[str, Any]:
    """Arrange the index of each column in each period, the greatest impact of any first."""
    periods = sorted({row["period"] for row in columns})
    cells = {(row["column"], row["period"]): row for row in columns}
    rank: dict[str, float] = {}
    for row in columns:
        impact = (row["impact"] or 0.0) if row["kind"] == FEATURE else float("inf")
        if row["state"] != TOO_FEW or row["column"] not in rank:
            rank[row["column"]] = max(rank.get(row["column"], 0.0), impact)
    names = sorted(rank, key=lambda name: -rank[name])
    return {
        "periods": periods,
        "rows": [(name, [cells.get((name, period)) for period in periods]) for name in names],
    }
