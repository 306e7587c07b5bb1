"""An evaluation as a page for people: one file, no script, nothing to download."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from sololakehouse.monitoring.measures import THRESHOLDS
from sololakehouse.monitoring.page import rendered
from sololakehouse.monitoring.svg import Mark, curves, whiskers

_TITLES = {"roc_auc": "ROC AUC", "average_precision": "Average precision", "brier": "Brier"}
_ROLES = ("champion", "challenger")
Row = Mapping[str, Any]


def evaluation_html(rows: Sequence[Row]) -> str:
    """Return the page of one evaluation.

    Parameters
    ----------
    rows
        As `Evaluation.rows` has them.
    """
    shown = [row for row in rows if row["role"] in _ROLES]
    whole = [row for row in shown if row["period"] is None and row["slice"] is None]
    champion = whole[0]
    periods = [row for row in shown if row["period"] is not None]
    return rendered(
        "evaluation.html",
        model=f"{champion['model_name']} version {champion['model_version']}",
        against=champion["against"],
        champion=champion,
        periods=periods,
        slices=_slices(shown),
        differences=_differences(rows),
        by_period=_chart(periods, "period", champion["roc_auc"]),
        calibration=curves(
            [[(one["predicted"], one["observed"]) for one in row["calibration"]] for row in whole],
            "predicted",
            "happened",
            diagonal=True,
            dots=True,
        ),
        costs=curves(
            [list(zip(THRESHOLDS, row["costs"], strict=True)) for row in whole if row["costs"]],
            "threshold",
            "cost of a row",
        ),
    )


def _slices(shown: Sequence[Row]) -> list[dict[str, Any]]:
    sliced = [row for row in shown if row["slice"] is not None]
    found = []
    for column, some in groupby(sliced, key=lambda row: row["slice"]):
        rows = list(some)
        found.append({"column": column, "rows": rows, "chart": _chart(rows, "value", None)})
    return found


def _chart(rows: Sequence[Row], name: str, reference: float | None) -> str:
    marks: dict[str, list[Mark]] = {}
    for row in rows:
        if row["roc_auc"] is not None:
            limits = (row["roc_auc_low"], row["roc_auc_high"])
            mark = Mark(row["roc_auc"], *limits, _ROLES.index(row["role"]))
            marks.setdefault(str(row[name]), []).append(mark)
    return whiskers(list(marks.items()), reference)


def _differences(rows: Sequence[Row]) -> list[dict[str, Any]]:
    for row in rows:
        if row["role"] == "difference" and row["period"] is None and row["slice"] is None:
            return [
                {
                    "title": title,
                    "value": row[name],
                    "low": row[f"{name}_low"],
                    "high": row[f"{name}_high"],
                }
                for name, title in _TITLES.items()
                if row[name] is not None and row[f"{name}_low"] is not None
            ]
    return []
