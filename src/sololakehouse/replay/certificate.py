"""The certificate of a replay: rows of `system.replays`, and a file of the model's run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.features.certificates import (
    REPLAYS,
    certificate_of,
    definitions_before,
    recipe_mark,
)
from sololakehouse.features.identity import functions_of
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.registry import model_versions
from sololakehouse.models.tracking import attach
from sololakehouse.provenance import Change, fingerprint
from sololakehouse.replay.planning import ReplayPlan
from sololakehouse.replay.training_sets import ReplayedSet
from sololakehouse.replay.verdicts import ReplayReport, TableVerdict, as_json, table_json

if TYPE_CHECKING:
    import polars as pl

OPERATION = "REPLAY"
ARTIFACT = "replay.json"


def write_certificates(writer: LakeWriter, plan: ReplayPlan, report: ReplayReport) -> Snapshot:
    """Append a row for each replayed table to `system.replays`."""
    sets = {one.name: one for one in plan.training_sets}
    rows = [
        _row(writer, report, table, _steps(writer.lake, table.table, sets))
        for table in report.tables
    ]
    change = Change(OPERATION, fingerprint(OPERATION, writer.run.run_id), left_out=("replay_id",))
    return writer.write_frame(REPLAYS, _frame(rows), change, mode="append")


def attach_to_models(lake: Lakehouse, report: ReplayReport) -> int:
    """Put the report beside the newest version of each model whose training set it vouches for.

    Models of other definitions are left alone: for them the certificate does not count.

    Returns
    -------
    The number of models.

    Raises
    ------
    RunError
        The MLflow store cannot be reached.
    """
    replayed = {table.table for table in report.tables if table.kind == "training set"}
    newest = {one.name: one for one in model_versions(lake) if one.training_set in replayed}
    runs = []
    for model in newest.values():
        snapshot = lake.read(model.training_set, model.training_set_version)
        found = certificate_of(lake, snapshot)
        if found is not None and found.replayed_at == report.replayed_at:
            runs.append(model.mlflow_run_id)
    if runs:
        attach(lake.project, runs, as_json(report), ARTIFACT)
    return len(runs)


def _steps(lake: Lakehouse, table: str, sets: Mapping[str, ReplayedSet]) -> dict[str, str]:
    one = sets.get(table)
    if one is None:
        return definitions_before(lake, [table])
    mark = recipe_mark(one.as_read(lake), functions_of(lake, one.spec).fingerprints)
    return {table: mark, **definitions_before(lake, one.tables)}


def _row(
    writer: LakeWriter, report: ReplayReport, table: TableVerdict, steps: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "replay_id": writer.run.run_id,
        "replayed_at": report.replayed_at,
        "table_name": table.table,
        "kind": table.kind,
        "verdict": table.state,
        "cutoffs": list(report.cutoffs),
        "modes": list(report.modes),
        "seed": report.seed,
        "slices": table.cutoffs,
        "rows_compared": table.rows,
        "leaking": [f"{table.table}.{column.column}" for column in table.leaking],
        "uncovered": table.uncovered,
        "steps": json.dumps(dict(steps), sort_keys=True),
        "columns": json.dumps(table_json(table)["columns"]),
        "engine": report.engine,
        "user": writer.run.user,
    }


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    text, number, moment = pl.String(), pl.Int64(), pl.Datetime("us", "UTC")
    return pl.DataFrame(
        rows,
        schema={
            "replay_id": text,
            "replayed_at": moment,
            **dict.fromkeys(("table_name", "kind", "verdict"), text),
            "cutoffs": pl.List(moment),
            "modes": pl.List(text),
            **dict.fromkeys(("seed", "slices", "rows_compared"), number),
            "leaking": pl.List(text),
            **dict.fromkeys(("uncovered", "steps", "columns", "engine", "user"), text),
        },
    )
