"""Tables with several versions, for the tests of leases, vacuum, optimize and doctor."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl

from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.provenance import Change, Run, TableVersion

TABLE = "silver.t"
MONTHS_LATER = datetime.now(UTC) + timedelta(days=100)


class Shop:
    """A project under test whose retention can change."""

    def __init__(self, folder: Path, retention: str = "forever") -> None:
        self.folder = folder
        self.set_retention(retention)

    def set_retention(self, retention: str) -> None:
        (self.folder / "lakehouse.yml").write_text(f"name: shop\nretention: {retention}\n")

    @property
    def lake(self) -> Lakehouse:
        return Lakehouse.open(self.folder)

    def writer(self) -> LakeWriter:
        return LakeWriter(self.lake, Run.start(self.folder, "embedded"))

    def write(
        self,
        rows: Iterable[int],
        table: str = TABLE,
        *,
        mode: str = "overwrite",
        inputs: Iterable[TableVersion] = (),
    ) -> Snapshot:
        frame = rows_of(rows)
        change = Change("TEST", f"{table} {list(rows)}", tuple(inputs))
        return self.writer().write_frame(table, frame, change, mode=mode)

    def versions(self, count: int, table: str = TABLE) -> list[Snapshot]:
        """Overwrite a table so often; version n holds the rows n, n + 1 and n + 2."""
        return [self.write(range(n, n + 3), table) for n in range(1, count + 1)]

    def ids(self, version: int, table: str = TABLE) -> list[int]:
        return sorted(self.lake.read(table, version).to_polars()["id"].to_list())

    def log_names(self, table: str = TABLE) -> list[str]:
        folder = self.lake.path(table) / "_delta_log"
        return sorted(file.name for file in folder.iterdir() if file.name[0] != "_")

    def files(self, table: str = TABLE) -> set[str]:
        return {file.name for file in self.lake.path(table).glob("*.parquet")}


def rows_of(ids: Iterable[int]) -> pl.DataFrame:
    listed = list(ids)
    return pl.DataFrame({"id": listed, "name": [f"n{n}" for n in listed]}, schema_overrides=IDS)


IDS = {"id": pl.Int64, "name": pl.String}
