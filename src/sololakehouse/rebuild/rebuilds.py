"""The table `system.rebuilds`: each time that a model was built again, and what came of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    from sololakehouse.rebuild.course import Rebuilt

REBUILDS = "system.rebuilds"
OPERATION = "REBUILD"


def record_rebuild(writer: LakeWriter, rebuilt: Rebuilt) -> Snapshot:
    """Append what came of building a model again."""
    import polars as pl

    now = datetime.now(UTC)
    first = rebuilt.first
    row = {
        "model_name": rebuilt.model.name,
        "model_version": rebuilt.model.version,
        "mlflow_run_id": rebuilt.model.mlflow_run_id,
        "verdict": rebuilt.verdict,
        "first_link": first.link if first else None,
        "detail": json.dumps(rebuilt.as_json(), sort_keys=True, default=str),
        "from_raw": rebuilt.from_raw,
        "run_id": writer.run.run_id,
        "at": now,
    }
    schema = {
        **dict.fromkeys(row, pl.String()),
        "model_version": pl.Int64(),
        "from_raw": pl.Boolean(),
        "at": pl.Datetime("us", "UTC"),
    }
    mark = fingerprint(OPERATION, row["model_name"], row["model_version"], writer.run.run_id)
    change = Change(OPERATION, mark, left_out=("run_id", "at", "mlflow_run_id"))
    frame = pl.DataFrame([row], schema=schema)
    return writer.write_frame(REBUILDS, frame, change, mode="append", evolve=True)
