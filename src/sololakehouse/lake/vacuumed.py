"""`system.vacuumed_versions`: versions that `slh vacuum` made unreadable, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.damage import is_table
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import Change, fingerprint

if TYPE_CHECKING:
    import polars as pl

VACUUMED = "system.vacuumed_versions"
OPERATION = "VACUUM LOG"


@dataclass(frozen=True)
class VacuumedVersion:
    """A version whose files a vacuum removed; `at` is when that run began to, in UTC."""

    table: str
    version: int
    run_id: str
    at: datetime

    def __str__(self) -> str:
        moment = self.at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return (
            f"{self.table}@v{self.version} cannot be read since {moment}: 'slh vacuum' removed its "
            f"files (run {self.run_id})."
        )


def vacuumed_version(warehouse: Path, table_id: str, version: int) -> VacuumedVersion | None:
    """Return when and by which run a version was removed; None if no vacuum of ours did it.

    Versions that were removed before this was recorded are not known.
    """
    import polars as pl

    folder = warehouse.joinpath(*VACUUMED.split("."))
    if not is_table(folder):
        return None
    ours = pl.col("table_id") == table_id, pl.col("version") == version
    rows = Snapshot(VACUUMED, folder).scan().filter(*ours).sort("at").head(1).collect().to_dicts()
    return next((_of(row) for row in rows), None)


def record_vacuumed(writer: LakeWriter, table: str, table_id: str, versions: Sequence[int]) -> None:
    """Note versions that this run is about to remove; the table of them is not noted itself."""
    if not versions or table == VACUUMED:
        return
    now = datetime.now(UTC)
    rows = [
        {
            "table": table,
            "table_id": table_id,
            "version": version,
            "run_id": writer.run.run_id,
            "at": now,
        }
        for version in versions
    ]
    mark = fingerprint(OPERATION, table, table_id, list(versions), writer.run.run_id)
    change = Change(OPERATION, mark, left_out=("table_id", "run_id", "at"))
    writer.write_frame(VACUUMED, _frame(rows), change, mode="append")


def _of(row: dict[str, Any]) -> VacuumedVersion:
    return VacuumedVersion(row["table"], row["version"], row["run_id"], row["at"].astimezone(UTC))


def _frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    import polars as pl

    texts = dict.fromkeys(("table", "table_id", "run_id"), pl.String())
    schema = texts | {"version": pl.Int64(), "at": pl.Datetime("us", "UTC")}
    order = ("table", "table_id", "version", "run_id", "at")
    return pl.DataFrame(rows, schema={name: schema[name] for name in order})
