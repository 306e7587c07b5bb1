"""A file to score: CSV, JSON lines or Parquet, read as a landing file is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sololakehouse.config.source import CsvOptions
from sololakehouse.errors import RunError
from sololakehouse.pipelines.csv_file import CsvFile
from sololakehouse.pipelines.json_file import JsonFile
from sololakehouse.pipelines.landing import COMPRESSIONS, Batch
from sololakehouse.pipelines.parquet_file import ParquetFile
from sololakehouse.pipelines.schema_policy import Contract
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

Kind = Literal["csv", "json", "parquet"]
SUFFIXES: Mapping[str, Kind] = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
}


def kind_of_file(name: str) -> Kind | None:
    """Return what a file holds by its suffix; None if that is none of the known ones.

    Examples
    --------
    >>> kind_of_file("tomorrow.csv.gz"), kind_of_file("gold.flights")
    ('csv', None)
    """
    path = Path(name)
    if path.suffix in COMPRESSIONS:
        path = path.with_suffix("")
    return SUFFIXES.get(path.suffix.lower())


@dataclass(frozen=True)
class InputFile:
    """The rows of a file, in their order.

    A column that the model needs has the type that it was trained with; of the others the values
    decide, and what looks like a timestamp stays text.

    Attributes
    ----------
    sha256
        Of the file as it lies there.
    types
        Types of the columns that the model needs, by name.
    """

    path: Path
    name: str
    sha256: str
    types: dict[str, pl.DataType]

    @classmethod
    def identify(cls, path: Path, name: str, types: dict[str, pl.DataType]) -> InputFile:
        """Read a file once, to know its content."""
        with path.open("rb") as file:
            return cls(path, name, hashlib.file_digest(file, "sha256").hexdigest(), types)

    @property
    def versions(self) -> tuple[TableVersion, ...]:
        """The table versions that are read: none."""
        return ()

    @property
    def identity(self) -> str:
        """What decides the rows."""
        return f"sha256:{self.sha256}"

    def write(self, file: Path) -> None:
        """Write the rows as an Arrow file.

        Raises
        ------
        RunError
            A record is no row, or does not fit the types that the model needs: says where.
        """
        import pyarrow as pa

        contract = self._contract()
        with pa.ipc.new_file(str(file), contract.columns) as out:
            for batch in self._reader.batches(contract):
                self._refuse_malformed(batch)
                out.write_table(batch.rows.select(contract.columns.names).cast(contract.columns))

    @property
    def _reader(self) -> CsvFile | JsonFile | ParquetFile:
        kind = kind_of_file(self.name)
        if kind == "json":
            return JsonFile(self.path, self.name)
        if kind == "parquet":
            return ParquetFile(self.path, self.name)
        return CsvFile(self.path, self.name, CsvOptions())

    def _contract(self) -> Contract:
        import pyarrow as pa

        fields = self._reader.new_fields(None)
        if not fields:
            raise RunError(f"{self.name} has no columns, so there is nothing to score.")
        return Contract(pa.schema(list(self._typed(fields))), "strict")

    def _typed(self, fields: list[pa.Field]) -> Iterator[pa.Field]:
        import polars as pl
        import pyarrow as pa

        for field in fields:
            known = self.types.get(field.name)
            if known is None or kind_of_file(self.name) == "parquet":
                yield field
                continue
            empty = pl.Series(field.name, [], dtype=known)
            kind = empty.to_arrow(compat_level=pl.CompatLevel.oldest()).type
            kind = pa.string() if pa.types.is_large_string(kind) else kind
            yield pa.field(field.name, kind)

    def _refuse_malformed(self, batch: Batch) -> None:
        if batch.malformed:
            first, count = batch.malformed[0], len(batch.malformed)
            more = f" {count:,} records are like that." if count > 1 else ""
            raise RunError(
                f"{self.name}:{first.line}: {first.reason}.{more} Correct the file. Nothing was "
                "scored."
            )
