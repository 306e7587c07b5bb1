"""A Parquet file as batches of rows of the contract's types."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import IngestError
from sololakehouse.pipelines.columns import check_names, plain_name
from sololakehouse.pipelines.landing import Batch, broken
from sololakehouse.pipelines.rescue import rescued
from sololakehouse.pipelines.schema_policy import Contract

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 17
_UNSIGNED = {"uint8": "int16", "uint16": "int32", "uint32": "int64"}
_WIDTHS = ("int8", "int16", "int32", "int64")


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file; `name` is what errors call it. Its rows have no lines."""

    path: Path
    name: str
    batch_rows: int = ROWS

    def check(self, contract: Contract) -> None:
        """Refuse a file whose columns break the contract."""
        with self._opened() as file:
            self._check(file.schema_arrow, contract)

    def new_fields(self, contract: Contract | None) -> list[pa.Field]:
        """Return the columns that the contract lacks, with types that Delta can store."""
        import pyarrow as pa

        with self._opened() as file:
            schema = file.schema_arrow
        check_names(schema.names, self.name)
        unknown = contract.unknown(schema.names) if contract else schema.names
        return [pa.field(n, self._storable(n, schema.field(n).type)) for n in unknown]

    def batches(self, contract: Contract) -> Iterator[Batch]:
        """Read the file, some row groups' rows at a time.

        Raises
        ------
        IngestError
            The file is cut short, or a column has a type that does not fit the contract's.
        """
        import pyarrow as pa

        with self._opened() as file:
            self._check(file.schema_arrow, contract)
            size, rows = self.path.stat().st_size, max(1, file.metadata.num_rows)
            read = 0
            try:
                for batch in file.iter_batches(self.batch_rows):
                    read += batch.num_rows
                    table = self._arranged(pa.Table.from_batches([batch]), contract)
                    yield Batch(table, None, (), size * read // rows)
            except (OSError, pa.ArrowException) as error:
                raise broken(self.name, error) from error

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            file = pq.ParquetFile(self.path, pre_buffer=False, buffer_size=1 << 20)
        except (OSError, pa.ArrowException) as error:
            raise broken(self.name, error) from error
        with file:
            yield file

    def _check(self, schema: pa.Schema, contract: Contract) -> None:
        check_names(schema.names, self.name)
        contract.check_header(schema.names, self.name)
        if contract.policy == "rescue":
            return
        for field in schema:
            column = contract.column_of(field.name)
            wanted = contract.columns.field(column).type if column else field.type
            if not _widens(self._storable(field.name, field.type), wanted):
                raise IngestError(
                    f"{self.name}: column {field.name!r} is {_named(field.type)}, and its source "
                    f"has it as {plain_name(wanted)}. Correct the file, declare another type in "
                    "lakehouse.yml, or set 'schema_policy: rescue'. Nothing was ingested."
                )

    def _storable(self, name: str, kind: pa.DataType) -> pa.DataType:
        found = storable(kind)
        if found is None:
            raise IngestError(
                f"{self.name}: column {name!r} is {kind}, which a Delta table cannot hold. Convert "
                "it. Nothing was ingested."
            )
        return found

    def _arranged(self, rows: pa.Table, contract: Contract) -> pa.Table:
        import pyarrow as pa

        columns: dict[str, Any] = {}
        left: list[tuple[str, Any]] = []
        for name in rows.schema.names:
            column = contract.column_of(name)
            kind = contract.columns.field(column).type if column else None
            if column and kind and _widens(storable(rows[name].type), kind):
                columns[column] = self._cast(name, rows[name], kind)
            else:
                left.append((name, rows[name]))
        arrays = [columns.get(f.name, pa.nulls(rows.num_rows, f.type)) for f in contract.columns]
        table = pa.table(arrays, schema=contract.columns)
        return rescued(table, left, self.name) if contract.policy == "rescue" else table

    def _cast(self, name: str, values: Any, kind: pa.DataType) -> Any:
        import pyarrow as pa

        try:
            return values.cast(kind)
        except pa.ArrowInvalid as error:
            raise IngestError(
                f"{self.name}: column {name!r} has a value that {plain_name(kind)} cannot hold "
                f"without loss: {error}. Nothing was ingested."
            ) from error


def storable(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that a Delta table has for a Parquet column; None if it has none.

    Unsigned integers become the next wider signed ones, timestamps have microseconds, and what is
    in a dictionary or in large text is plain text. A wider type is never one that loses a value.
    """
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        return storable(kind.value_type)
    if str(kind) in _UNSIGNED:
        return pa.type_for_alias(_UNSIGNED[str(kind)])
    if kind == pa.uint64():
        return pa.decimal128(20, 0)
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_decimal(kind):
        return pa.decimal128(kind.precision, kind.scale) if kind.precision <= 38 else None
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_null(kind):
        return pa.string()
    return _storable_nested(kind)


def _storable_nested(kind: pa.DataType) -> pa.DataType | None:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        inner = [(field.name, storable(field.type)) for field in kind]
        return pa.struct(inner) if all(found for _, found in inner) else None
    if pa.types.is_map(kind):
        key, item = storable(kind.key_type), storable(kind.item_type)
        return pa.map_(key, item) if key and item else None
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        found = storable(kind.value_type)
        return pa.list_(found) if found else None
    plain = ("bool", *_WIDTHS, "float", "double", "string", "binary")
    return kind if str(kind) in plain else None


def _widens(given: pa.DataType | None, wanted: pa.DataType) -> bool:
    import pyarrow as pa

    if given is None:
        return False
    if given == wanted or _same_nested(given, wanted):
        return True
    one, other = str(given), str(wanted)
    if one in _WIDTHS and other in _WIDTHS:
        return _WIDTHS.index(one) <= _WIDTHS.index(other)
    if other == "double":
        return one in ("float", "int8", "int16", "int32")
    if pa.types.is_decimal(given) and pa.types.is_decimal(wanted):
        whole = wanted.precision - wanted.scale >= given.precision - given.scale
        return bool(whole and wanted.scale >= given.scale)
    return False


def _same_nested(given: pa.DataType, wanted: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_nested(given) and given == storable(wanted))


def _named(kind: pa.DataType) -> str:
    found = storable(kind)
    return plain_name(found) if found is not None else str(kind)
