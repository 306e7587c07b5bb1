"""Write a landing file's batches into staged Parquet files, with where each row came from."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.pipelines.columns import (
    INGESTED_AT,
    RESCUED,
    SOURCE_FILE,
    SOURCE_LINE,
    SOURCE_SHA256,
)
from sololakehouse.pipelines.landing import Batch, LandingFile

if TYPE_CHECKING:
    import pyarrow as pa

PART_BYTES = 256 << 20


def bronze_schema(columns: pa.Schema, *, rescued: bool) -> pa.Schema:
    """Return the columns of a bronze table: the contract's, then those that ingestion adds."""
    import pyarrow as pa

    added = [
        (SOURCE_FILE, pa.string()),
        (SOURCE_LINE, pa.int64()),
        (INGESTED_AT, pa.timestamp("us", "UTC")),
        (SOURCE_SHA256, pa.string()),
    ]
    extra = [pa.field(RESCUED, pa.string())] if rescued else []
    return pa.schema([*columns, *(pa.field(*one) for one in added), *extra])


def quarantine_schema() -> pa.Schema:
    """Return the columns of a quarantine table."""
    import pyarrow as pa

    return pa.schema(
        [
            (SOURCE_FILE, pa.string()),
            (SOURCE_LINE, pa.int64()),
            ("_raw", pa.string()),
            ("_reason", pa.string()),
            (INGESTED_AT, pa.timestamp("us", "UTC")),
            (SOURCE_SHA256, pa.string()),
        ]
    )


class Parts:
    """Parquet files `<stem>-00000.parquet`, ... of one schema and of about 256 MB each.

    Only text is dictionary-encoded: for numbers and instants it took half as long again to write,
    and the files were larger.
    """

    def __init__(self, folder: Path, stem: str, schema: pa.Schema) -> None:
        self._folder, self._stem, self._schema = folder, stem, schema
        self.paths: list[Path] = []
        self._sink: Any = None
        self._writer: Any = None

    def begin(self) -> None:
        """Begin a file even if no row comes."""
        if self._writer is None:
            self._open()

    def write(self, rows: pa.Table) -> None:
        """Write rows as a row group of their own."""
        self.begin()
        self._writer.write_table(rows)
        if self._sink.tell() > PART_BYTES:
            self.close()

    def close(self) -> None:
        """Finish the file that is being written."""
        if self._writer is not None:
            self._writer.close()
            self._sink.close()
            self._writer = None

    def _open(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self._folder / f"{self._stem}-{len(self.paths):05d}.parquet"
        texts = [f.name for f in self._schema if pa.types.is_string(f.type)]
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pq.ParquetWriter(
            self._sink,
            _coded(self._schema),
            compression="zstd",
            use_dictionary=texts,
            column_encoding={SOURCE_LINE: "DELTA_BINARY_PACKED"},
            store_schema=False,
        )
        self.paths.append(path)


class Located:
    """Adds to rows of one file where they came from; the same for all rows, so written once."""

    def __init__(self, file: LandingFile, moment: datetime, schema: pa.Schema) -> None:
        self.schema = schema
        self._file = file
        self._moment = moment

    def accepted(self, batch: Batch) -> pa.Table:
        """Return a batch's rows as the bronze table has them."""
        import pyarrow as pa

        count = batch.rows.num_rows
        lines = batch.lines if batch.lines is not None else pa.nulls(count, pa.int64())
        added = self._constants(count) | {SOURCE_LINE: lines}
        if RESCUED not in batch.rows.schema.names:
            added[RESCUED] = pa.nulls(count, pa.string())
        return self._table([added[n] if n in added else batch.rows[n] for n in self.schema.names])

    def malformed(self, batch: Batch) -> pa.Table:
        """Return a batch's malformed records as the quarantine has them."""
        import pyarrow as pa

        found = batch.malformed
        columns = self._constants(len(found)) | {
            SOURCE_LINE: pa.array([one.line for one in found], pa.int64()),
            "_raw": pa.array([one.raw for one in found], pa.string()),
            "_reason": pa.array([one.reason for one in found], pa.string()),
        }
        return self._table([columns[name] for name in self.schema.names])

    def _constants(self, count: int) -> dict[str, Any]:
        import pyarrow as pa

        return {
            SOURCE_FILE: _repeated(self._file.path, pa.string(), count),
            INGESTED_AT: pa.repeat(pa.scalar(self._moment, pa.timestamp("us", "UTC")), count),
            SOURCE_SHA256: _repeated(self._file.sha256, pa.string(), count),
        }

    def _table(self, columns: list[Any]) -> pa.Table:
        import pyarrow as pa

        return pa.table(columns, schema=_coded(self.schema))


def _coded(schema: pa.Schema) -> pa.Schema:
    import pyarrow as pa

    code = pa.dictionary(pa.int32(), pa.string())
    constant = (SOURCE_FILE, SOURCE_SHA256)
    return pa.schema([f.with_type(code) if f.name in constant else f for f in schema])


def _repeated(value: str, kind: pa.DataType, count: int) -> pa.Array:
    import numpy as np
    import pyarrow as pa

    codes = pa.array(np.zeros(count, np.int32))
    return pa.DictionaryArray.from_arrays(codes, pa.array([value], kind))
