"""One Delta table at one version: a reader without write methods."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable, Transaction
from deltalake.exceptions import DeltaError

from sololakehouse.errors import DefinitionError, RunError
from sololakehouse.lake.columns import Column, columns_of, type_name
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.damage import (
    LOG,
    located,
    log_damage,
    refuse_damaged_files,
    refuse_empty_entries,
    refuse_lost_lines,
)
from sololakehouse.lake.failures import disk_error, one_line
from sololakehouse.lake.history import (
    HistoryEntry,
    commit_versions,
    content_history,
    read_commit,
)
from sololakehouse.lake.protocol import (
    listed_features,
    refuse_unreadable,
    unknown_feature,
    unreadable,
)
from sololakehouse.provenance import CommitRecord, ExpectationResult, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession

# Delta features that say of which types columns are, as the data files do.
_OF_TYPES = frozenset({"timestampNtz"})


class Snapshot:
    """A table pinned to one version.

    Reading never changes the table, and later commits never change what a snapshot reads.
    """

    def __init__(
        self, name: str, path: Path, version: int | None = None, delta: DeltaTable | None = None
    ) -> None:
        self.name = name
        self.path = path
        try:
            self._delta = delta or DeltaTable(path, version=version)
        except (DeltaError, OSError) as error:
            raise _cannot_be_opened(name, path, version, error) from error
        self.version: int = self._delta.version()
        refuse_empty_entries(path, name, self.version)
        refuse_unreadable(self._delta, name)

    def __repr__(self) -> str:
        return f"Snapshot({self.name}@v{self.version})"

    @property
    def table_version(self) -> TableVersion:
        """The identity that a commit record keeps of its inputs."""
        older = self.data_version if self.data_version != self.version else None
        return TableVersion(
            table=self.name, version=self.version, table_id=self.table_id, data_version=older
        )

    @property
    def data_version(self) -> int:
        """The version that wrote the rows; older if later commits only arranged the files."""
        record = self.record
        if record is not None and record.data_version is not None:
            return record.data_version
        return self._data_commit.version

    @cached_property
    def table_id(self) -> str:
        """The Delta table's own identifier; a table made anew has another one."""
        return str(self._delta.metadata().id)

    @cached_property
    def properties(self) -> dict[str, str]:
        """The Delta table properties, `delta.*` and the project's own."""
        return dict(self._delta.metadata().configuration)

    @cached_property
    def columns(self) -> dict[str, str]:
        """Column names with their Delta types, in the order of the table."""
        return {field.name: type_name(field.type) for field in self._delta.schema().fields}

    @property
    def log(self) -> Path:
        """The folder of the Delta log."""
        return self.path / LOG

    @cached_property
    def fields(self) -> tuple[Column, ...]:
        """The columns with Spark SQL's types, whether NULL is allowed, and their comments."""
        return columns_of(self._delta.schema().to_json())

    @cached_property
    def comment(self) -> str | None:
        """What the table's maker said that it holds; None if nothing was said."""
        said = self.record.details.get("comment") if self.record else None
        return said or self._delta.metadata().description or None

    @cached_property
    def contract(self) -> FeatureContract | None:
        """Keys and times of a feature table; None if the table is none.

        Raises
        ------
        DefinitionError
            The `feature.*` properties contradict each other.
        """
        try:
            return FeatureContract.from_properties(self.properties)
        except DefinitionError as error:
            raise DefinitionError(f"{self.name}: {error}") from error

    @cached_property
    def _sizes(self) -> list[int]:
        return [int(size) for size in self._actions("size_bytes")]

    @cached_property
    def _adds(self) -> Any:
        return self._delta.get_add_actions()

    def _actions(self, column: str) -> list[Any]:
        return [value.as_py() for value in self._adds.column(column)]

    @cached_property
    def schema(self) -> pl.Schema:
        """The columns with Polars' types; no data file is read."""
        import polars as pl

        return pl.scan_delta(self._delta).collect_schema()

    @property
    def data_files(self) -> list[Path]:
        """The data files of this version."""
        return [located(self.path, path) for path in self._actions("path")]

    @property
    def file_sizes(self) -> dict[str, int]:
        """Bytes of each data file of this version, by its path in the log."""
        return dict(zip(self._actions("path"), self._sizes, strict=True))

    @property
    def size_bytes(self) -> int:
        """Bytes of this version's data files."""
        return sum(self._sizes)

    @property
    def files(self) -> int:
        """Number of this version's data files."""
        return len(self._sizes)

    @cached_property
    def expectations(self) -> tuple[ExpectationResult, ...]:
        """The results of the newest commit that checked expectations; empty if none did."""
        records = (entry.record for entry in content_history(self.history()))
        return next((r.expectations for r in records if r and r.expectations), ())

    @cached_property
    def arrow_schema(self) -> pa.Schema:
        """The columns with their Arrow types, in the order of the table."""
        import pyarrow as pa

        return pa.schema(self._delta.schema().to_arrow())

    @cached_property
    def schema_json(self) -> str:
        """The columns as Delta and Spark write them in JSON."""
        return str(self._delta.schema().to_json())

    @cached_property
    def partition_columns(self) -> tuple[str, ...]:
        """The columns whose values are in the names of folders, not in the data files."""
        return tuple(self._delta.metadata().partition_columns)

    @cached_property
    def reader_features(self) -> frozenset[str]:
        """The Delta features that a reader has to know."""
        return frozenset(self._delta.protocol().reader_features or ())

    def plain_files(self) -> list[Path]:
        """Return the data files, which any reader of Parquet files can read.

        Raises
        ------
        RunError
            Names the Delta features for which the files alone do not say all.
        """
        features = self.reader_features - _OF_TYPES
        if features:
            raise RunError(
                f"{self.name} uses {listed_features(sorted(features))}, which the engine cannot "
                "read: it is a server without Delta. Use 'engine: embedded', or a server with "
                "Delta."
            )
        return self.data_files

    @cached_property
    def rows(self) -> int:
        """Number of rows, from the commit record or else counted in the files."""
        record = self.record
        if record:
            return record.manifest.rows
        import polars as pl

        return int(self.scan().select(pl.len()).collect().item())

    @cached_property
    def record(self) -> CommitRecord | None:
        """The record of the commit that made this version, None if another writer made it.

        Commits of other writers that only arranged files do not hide the record of the rows.
        """
        return self._data_commit.record

    @property
    def is_foreign(self) -> bool:
        """Whether another program wrote rows or properties that no commit of ours has checked."""
        record = self.record
        return record is None or record.arranges_foreign_rows

    @cached_property
    def _data_commit(self) -> HistoryEntry:
        commit = self.commit
        while commit.record is None and not commit.changes_data:
            before = self._entry(commit.version - 1)
            if before is None:
                break
            commit = before
        return commit

    @cached_property
    def commit(self) -> HistoryEntry:
        """The commit that made this version."""
        found = self._entry(self.version)
        return found or HistoryEntry(self.version, datetime.fromtimestamp(0, UTC), "UNKNOWN", None)

    def _entry(self, version: int) -> HistoryEntry | None:
        return read_commit(self.name, self.log, version)

    def history(self, limit: int | None = None) -> list[HistoryEntry]:
        """Return the commits up to this version, newest first.

        They are read from the Delta log itself: `DeltaTable.history` numbers the commits of a
        table that has newer ones wrongly. Commits whose log file has been cleaned up are not
        there; `Lakehouse.history` has them too.
        """
        versions = [version for version in commit_versions(self.log) if version <= self.version]
        wanted = versions[::-1][:limit]
        entries = (self._entry(version) for version in wanted)
        return [entry for entry in entries if entry is not None]

    def record_of(self, fingerprint: str) -> CommitRecord | None:
        """Return the newest record with a fingerprint in the history; None if there is none.

        Commits that a restore took back do not count.
        """
        records = (entry.record for entry in content_history(self.history()))
        return next((r for r in records if r and r.fingerprint == fingerprint), None)

    def file_uris(self) -> list[str]:
        """Return the data files of this version."""
        return list(self._delta.file_uris())

    def rows_beside(self, other: Snapshot) -> int:
        """Return the number of rows in this version's files that the other version lacks.

        Files whose writer left no statistics count as without rows.
        """
        theirs = set(other._actions("path"))
        counts = zip(self._actions("path"), self._actions("num_records"), strict=True)
        return sum(rows or 0 for path, rows in counts if path not in theirs)

    def has_transaction(self, transaction: Transaction) -> bool:
        """Whether the application's transaction, or a later one, is part of this version."""
        newest = self.transaction_version(transaction.app_id)
        return newest is not None and newest >= transaction.version

    def transaction_version(self, app_id: str) -> int | None:
        """Return an application's newest transaction in this version; None if it has none."""
        version = self._delta.transaction_version(app_id)
        return None if version is None else int(version)

    def to_polars(self) -> pl.DataFrame:
        """Read the whole version into memory."""
        return self.scan().collect()

    def scan(self) -> pl.LazyFrame:
        """Read the version lazily, column by column as needed.

        Raises
        ------
        RunError
            A data file is missing or cut short, or the log has lost some of them.
        """
        import polars as pl

        self.verify()
        return pl.scan_delta(self._delta)

    def numbered_scan(self, number: str) -> pl.LazyFrame:
        """Read the version lazily with the number of each row, from 0, as a first column.

        Files and row groups that a filter cannot match are skipped, and their rows counted. The
        numbers are the same in each scan of a version.

        Raises
        ------
        RunError
            A data file is missing or cut short, or the log has lost some of them.
        """
        import polars as pl

        files = self.file_uris()
        if not (self.is_plain and files):
            return self.scan().with_row_index(number)
        self.verify()
        return pl.scan_parquet(
            files,
            schema=self.schema,
            row_index_name=number,
            missing_columns="insert",
            extra_columns="ignore",
            cast_options=pl.ScanCastOptions(
                integer_cast="upcast",
                float_cast="upcast",
                datetime_cast=["nanosecond-downcast", "millisecond-upcast", "convert-timezone"],
            ),
        )

    def verify(self) -> None:
        """Check that each data file is there in full length, and that none is missing in the log.

        Raises
        ------
        RunError
            Names the file.
        """
        self.verify_log()
        try:
            refuse_damaged_files(self._adds, self.path, f"{self.name}@v{self.version}")
        except RunError as error:
            vacuumed = self._vacuumed()
            if vacuumed:
                raise RunError(vacuumed) from error
            raise

    def _vacuumed(self) -> str:
        """Say since when the version's files are gone, if a vacuum removed them."""
        from sololakehouse.lake.vacuumed import vacuumed_version

        known = vacuumed_version(self.path.parent.parent, self.table_id, self.version)
        return str(known or "")

    def verify_log(self) -> None:
        """Check that the log names as many rows as the version's commit record.

        Raises
        ------
        RunError
            Names the log.
        """
        if "deletionVectors" not in self.reader_features:
            name = f"{self.name}@v{self.version}"
            refuse_lost_lines(self._adds, self.path, name, self.record)

    def scans_beside(self, other: Snapshot) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """Scan this and the other version without the files that both have.

        Whole versions are scanned where a file is not all that there is to know: partitions,
        deletion vectors, renamed columns.
        """
        if not (self.is_plain and other.is_plain):
            return self.scan(), other.scan()
        ours, theirs = self.file_uris(), other.file_uris()
        both = set(ours) & set(theirs)
        return self._scan_files(ours, both), other._scan_files(theirs, both)

    def has_files_of(self, other: Snapshot) -> bool:
        """Whether both versions have the same files, and so the same rows."""
        plain = self.is_plain and other.is_plain
        return plain and set(self.file_uris()) == set(other.file_uris())

    @property
    def is_plain(self) -> bool:
        """Whether the data files say all: no partitions, deletion vectors or renamed columns."""
        renamed = self._delta.protocol().min_reader_version == 2
        return not (self.partition_columns or renamed or self.reader_features - _OF_TYPES)

    def _scan_files(self, files: list[str], without: set[str]) -> pl.LazyFrame:
        import polars as pl

        schema = self.schema
        wanted = [file for file in files if file not in without]
        if not wanted:
            return pl.LazyFrame(schema=schema)
        return pl.scan_parquet(
            wanted, schema=schema, missing_columns="insert", extra_columns="ignore"
        )

    def to_arrow(self) -> pa.Table:
        """Read the whole version into memory as an Arrow table."""
        return self.to_polars().to_arrow()

    def to_pandas(self) -> pd.DataFrame:
        """Read the whole version into memory as a pandas frame."""
        return self.to_polars().to_pandas()

    def to_spark(self, session: SparkSession) -> DataFrame:
        """Give the version as a lazy DataFrame of an open Spark session.

        Parameters
        ----------
        session
            A session whose engine reads Delta tables from this machine's files, as the one of
            `Lakehouse.engine()`. The DataFrame lives as long as the session.
        """
        reader = session.read.format("delta").option("versionAsOf", str(self.version))
        return reader.load(str(self.path))


def _cannot_be_opened(
    name: str, path: Path, version: int | None, error: DeltaError | OSError
) -> RunError:
    feature = unknown_feature(error)
    if feature:
        return unreadable(name, [feature])
    said = log_damage(path, name, version) or disk_error(error, path)
    return said or RunError(f"{name} cannot be read from {path}: {one_line(error)}.")
