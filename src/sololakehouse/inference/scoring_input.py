"""What batch inference reads: a table, a query or a file, pinned, as rows of any number."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeAlias

from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.features.labels_query import LabelsQuery
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.tables import open_tables
from sololakehouse.inference.input_file import InputFile, kind_of_file
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.models.registry import ModelVersion
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.query import write_query
from sololakehouse.pipelines.time_travel import tables_as_they_are, with_clauses
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class TableInput:
    """All rows of a table at one version, in the order in which its files hold them."""

    snapshot: Snapshot

    @property
    def versions(self) -> tuple[TableVersion, ...]:
        """The table versions that are read."""
        return (self.snapshot.table_version,)

    @property
    def identity(self) -> str:
        """What decides the rows besides the versions."""
        return self.snapshot.name

    def write(self, file: Path) -> None:
        """Write the rows as an Arrow file, which can be read from any row on."""
        self.snapshot.scan().sink_ipc(file)


@dataclass(frozen=True)
class QueryInput:
    """The rows of a `SELECT` on pinned tables, in the order in which the engine gives them."""

    lake: Lakehouse
    query: LabelsQuery

    @property
    def versions(self) -> tuple[TableVersion, ...]:
        """The table versions that are read."""
        return self.query.inputs

    @property
    def identity(self) -> str:
        """What decides the rows besides the versions."""
        return sql.normal_form(self.query.text)

    def write(self, file: Path) -> None:
        """Let the engine answer, and write the rows as an Arrow file."""
        import polars as pl

        pinned = {table.table: table.version for table in self.query.pinned}
        with TemporaryDirectory(dir=file.parent) as folder:
            answer = Path(folder) / "answer"
            write_query(self.lake, self.query.text, answer, pinned)
            files = sorted(answer.glob("*.parquet"))
            pl.scan_parquet(files).sink_ipc(file)


ScoringInput: TypeAlias = TableInput | QueryInput | InputFile


@dataclass(frozen=True)
class InputPlace:
    """Where the input of a batch inference is said, and as of which moment it is read."""

    lake: Lakehouse
    text: str
    as_of: datetime | None = None

    def open(self, types: Mapping[str, pl.DataType]) -> ScoringInput:
        """Pin what is read.

        Parameters
        ----------
        types
            The types of the columns that the model needs, which a file does not tell.

        Raises
        ------
        NotFoundError
            There is no such table, version or file.
        UsageError
            The text is empty, the rows of the query are not the same each time, or a file has no
            past.
        """
        text = self.text.strip()
        if not text:
            raise UsageError("The input is empty. Name a table or a file, or write a SELECT.")
        if sql.is_select(text):
            return QueryInput(self.lake, LabelsQuery.pin(self.lake, text, self._pins, "the input"))
        if self._is_file:
            if self.as_of is not None:
                raise UsageError(
                    f"{text} is a file, which has no past: --as-of goes with a table or a SELECT."
                )
            return InputFile.identify(self.lake.project.folder / text, text, dict(types))
        return TableInput(self.lake.read(text, timestamp=self.as_of))

    @property
    def _is_file(self) -> bool:
        """Whether the text means a file: it has a file's suffix, and is no table's name."""
        if kind_of_file(self.text) is None:
            return False
        is_name = re.match(TABLE_NAME, self.text) is not None
        if is_name and self.lake.exists(self.text):
            return False
        if not (self.lake.project.folder / self.text).is_file():
            or_table = " and no table of this name" if is_name else ""
            raise NotFoundError(
                f"There is no file {self.text!r}{or_table}. A path is relative to the project's "
                f"folder, {self.lake.project.folder}."
            )
        return True

    @cached_property
    def _pins(self) -> list[TableVersion]:
        if self.as_of is None:
            return []
        names = sorted(tables_as_they_are(with_clauses(self.text)))
        return [self.lake.read(name, timestamp=self.as_of).table_version for name in names]


def needed_types(
    lake: Lakehouse, version: ModelVersion, spec: TrainingSetSpec
) -> dict[str, pl.DataType]:
    """Return the types of what the model was trained with, and of its lookups' keys and times."""
    import polars as pl

    types = dict(lake.read(version.training_set, version.training_set_version).schema)
    types.pop(spec.label, None)
    tables = open_tables(lake, spec.feature_lookups)
    for lookup in spec.feature_lookups:
        table = tables[lookup.table_name]
        keys = zip(lookup.lookup_key, table.contract.keys, strict=True)
        types |= {column: table.schema[key] for column, key in keys}
        if lookup.timestamp_lookup_key:
            types[lookup.timestamp_lookup_key] = pl.Datetime("us", "UTC")
    return types
