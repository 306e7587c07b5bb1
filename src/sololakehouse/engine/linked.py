"""Pinned snapshots for a server without Delta: folders of links to their Parquet files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.engine.session import TableSnapshot, execute, literal, quoted

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType


class LinkedReader:
    """Reads a version of a Delta table as the Parquet files that it consists of.

    Each version is an external table with the version's schema over a folder of its own with
    links to the files: a column that older files lack is NULL in their rows, and files of other
    versions are not there.
    """

    def __init__(self, session: SparkSession, folder: Path) -> None:
        self._session = session
        self._folder = folder
        self._known: set[str] = set()

    def source(self, snapshot: TableSnapshot, table: str) -> str:
        """Link the files of the version, and name the table over them."""
        name = f"{table}__v{snapshot.version}"
        if name not in self._known:
            folder = self._linked(snapshot)
            columns = self._session._to_ddl(_columns(snapshot))
            partitions = ", ".join(f"`{column}`" for column in snapshot.partition_columns)
            execute(
                self._session,
                f"CREATE TABLE {quoted(name)} ({columns}) USING parquet "
                + (f"PARTITIONED BY ({partitions}) " if partitions else "")
                + f"LOCATION {literal(folder)}",
            )
            if partitions:
                execute(self._session, f"ALTER TABLE {quoted(name)} RECOVER PARTITIONS")
            self._known.add(name)
        return quoted(name)

    def _linked(self, snapshot: TableSnapshot) -> Path:
        folder = self._folder / f"{snapshot.name}@v{snapshot.version}"
        folder.mkdir()
        for number, file in enumerate(snapshot.plain_files()):
            place = folder / file.parent.relative_to(snapshot.path)
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number:06}.parquet").symlink_to(file.resolve())
        return folder


def _columns(snapshot: TableSnapshot) -> StructType:
    from pyspark.sql.types import StructType

    schema = json.loads(snapshot.schema_json)
    fields = [field | {"nullable": True, "metadata": {}} for field in schema["fields"]]
    return StructType.fromJson({"type": "struct", "fields": fields})
