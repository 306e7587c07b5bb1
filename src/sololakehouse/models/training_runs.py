"""The table `system.training_runs`: one row for each registered version."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.models.sending import LoggedModel
from sololakehouse.models.tracking import shown_uri
from sololakehouse.models.versions import RUNS
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import polars as pl

RUN_COLUMNS = (
    *("run_id", "experiment", "role", "fingerprint", "mlflow_run_id", "model_uri", "model_name"),
    *("model_version", "training_set", "training_set_version", "primary_metric", "metrics"),
    *("recipe", "feature_columns", "record", "started_at", "registered_at", "store"),
)


def run_row(
    writer: LakeWriter,
    training_set: Snapshot,
    logged: LoggedModel,
    about: Mapping[str, Any],
    record: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the row of `system.training_runs` of a registered model.

    `record` is what training it again needs, such as the resolved `config`.
    """
    commit = training_set.record
    recipe = commit.details["recipe"] if commit else {}
    row = {
        "run_id": writer.run.run_id,
        "mlflow_run_id": logged.run_id,
        "model_uri": logged.model_uri,
        "training_set": training_set.name,
        "training_set_version": training_set.version,
        "recipe": json.dumps(recipe, sort_keys=True),
        "record": json.dumps(record, sort_keys=True),
        "started_at": writer.run.started_at,
        "registered_at": datetime.now(UTC),
        "store": shown_uri(writer.lake.project),
        **about,
    }
    return {name: row[name] for name in RUN_COLUMNS}


def record_runs(
    writer: LakeWriter,
    rows: list[dict[str, Any]],
    training_set: Snapshot,
    operation: str,
    mark: str,
) -> None:
    """Append rows of registered models to `system.training_runs`."""
    change = Change(
        operation=operation,
        fingerprint=fingerprint(operation, mark, writer.run.run_id),
        inputs=[training_set.table_version],
        left_out=(
            *("run_id", "fingerprint", "mlflow_run_id", "model_uri", "started_at"),
            *("registered_at", "store"),
        ),
    )
    writer.write_frame(RUNS, _runs_frame(rows), change, mode="append", evolve=True)


def _runs_frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    frame = pl.DataFrame(rows)
    moments = pl.col("started_at", "registered_at")
    return frame.with_columns(moments.cast(pl.Datetime("us", "UTC")))
