"""What a feature table promises about its rows, and the check of that promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import DefinitionError, FeatureTableError, NotFoundError, suggestion

if TYPE_CHECKING:
    import polars as pl

KEYS = "feature.keys"
TIMESTAMP = "feature.timestamp"
KNOWN_AT = "feature.known_at"
PREFIX = "feature."
_EXAMPLES = 3


@dataclass(frozen=True)
class FeatureContract:
    """Keys, timestamp and time of knowledge of a feature table.

    Attributes
    ----------
    keys
        Columns that name the entity, in the order of `feature.keys`.
    timestamp
        Column with the moment from which a row's values may be used; None for a table whose rows
        do not change over time.
    known_at
        Column with the moment when the row itself became known, for values that are restated
        later; None if a row is known at its timestamp.
    """

    keys: tuple[str, ...]
    timestamp: str | None = None
    known_at: str | None = None

    @classmethod
    def from_properties(cls, properties: Mapping[str, str]) -> FeatureContract | None:
        """Read the contract from table properties; None if the table is no feature table.

        An empty value is none: it is how a property is taken back.

        Raises
        ------
        DefinitionError
            A `feature.*` property is unknown, or one that the others need is missing.

        Examples
        --------
        >>> FeatureContract.from_properties({"feature.keys": "origin, dest"})
        FeatureContract(keys=('origin', 'dest'), timestamp=None, known_at=None)
        """
        given = {n: value for n, value in properties.items() if n.startswith(PREFIX) and value}
        if not given:
            return None
        for name in given:
            if name not in (KEYS, TIMESTAMP, KNOWN_AT):
                hint = suggestion(name, (KEYS, TIMESTAMP, KNOWN_AT))
                raise DefinitionError(f"Unknown table property {name!r}. {hint}")
        keys = tuple(key.strip() for key in given.get(KEYS, "").split(",") if key.strip())
        contract = cls(keys, given.get(TIMESTAMP), given.get(KNOWN_AT))
        contract._refuse_incomplete()
        return contract

    def _refuse_incomplete(self) -> None:
        if not self.keys:
            raise DefinitionError(
                f"A feature table needs the table property {KEYS!r}, such as 'origin,dest'."
            )
        if self.known_at and not self.timestamp:
            raise DefinitionError(
                f"The table property {KNOWN_AT!r} needs {TIMESTAMP!r}: the moment from which a "
                "value may be used."
            )
        if len(set(self.identity)) < len(self.identity):
            raise DefinitionError(
                f"The feature table's keys and times name a column twice: "
                f"{', '.join(self.identity)}."
            )

    @property
    def properties(self) -> dict[str, str]:
        """The table properties that declare this contract."""
        times = {TIMESTAMP: self.timestamp, KNOWN_AT: self.known_at}
        return {KEYS: ",".join(self.keys)} | {name: col for name, col in times.items() if col}

    @property
    def times(self) -> tuple[str, ...]:
        """The timestamp and `known_at` columns, as far as there are any."""
        return tuple(column for column in (self.timestamp, self.known_at) if column)

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that no two rows may have in common."""
        return (*self.keys, *self.times)

    def check_types(self, schema: Mapping[str, pl.DataType], table: str) -> None:
        """Check that the columns exist and that their types can be joined; no data is read.

        Raises
        ------
        NotFoundError
            A column that the contract names does not exist.
        FeatureTableError
            A timestamp has no time zone, or a key is a float or nested.
        """
        import polars as pl

        for column in self.identity:
            if column not in schema:
                raise NotFoundError.of("column", column, schema, where=table)
        for column in self.times:
            kind = schema[column]
            if not isinstance(kind, pl.Datetime) or kind.time_zone is None:
                raise FeatureTableError(
                    f"{table}: {column!r} must be a timestamp with a time zone, and is "
                    f"{_described(kind)}.{_way_to_utc(kind, column)}"
                )
        for column in self.keys:
            if schema[column].is_float() or schema[column].is_nested():
                raise FeatureTableError(
                    f"{table}: the key {column!r} is {_described(schema[column])}, which has no "
                    "dependable equality. Use text, an integer, a date, a timestamp or a boolean."
                )

    def check(self, scan: pl.LazyFrame, table: str) -> None:
        """Check that keys and times are set, and unique together.

        Parameters
        ----------
        scan
            All rows of the table.
        table
            Name for the messages.

        Raises
        ------
        NotFoundError
            A column that the contract names does not exist.
        FeatureTableError
            A type does not fit, or rows violate the contract: says how many, with three of them.

        Examples
        --------
        >>> import polars as pl
        >>> rows = pl.LazyFrame({"shop": ["n", "n", "s"], "sales": [1, 2, 3]})
        >>> FeatureContract(("shop",)).check(rows, "features.shops")
        Traceback (most recent call last):
            ...
        sololakehouse.errors.FeatureTableError: features.shops: shop must be unique, but 2 rows \
have it in common with another row. Examples: shop='n' (2 rows).
        """
        self.check_types(scan.collect_schema(), table)
        self._refuse_nulls(scan, table)
        self._refuse_duplicates(scan, table)

    def check_added(self, added: pl.LazyFrame, beside: pl.LazyFrame, table: str) -> None:
        """Check rows that join others which keep the contract already.

        Of the others, only those of the times of the added rows are read.

        Raises
        ------
        NotFoundError, FeatureTableError
            As `check`.
        """
        import polars as pl

        for rows in (added, beside):
            self.check_types(rows.collect_schema(), table)
        if self.timestamp is not None:
            moment = pl.col(self.timestamp)
            bounds = added.select(moment.min(), moment.max().alias("last")).collect().row(0)
            beside = beside.filter(moment.is_between(*bounds))
        sides = [rows.select(self.identity) for rows in (added, beside)]
        self.check(pl.concat(sides, how="vertical_relaxed"), table)

    def identity_change(
        self,
        columns: Mapping[str, str],
        after: FeatureContract | None,
        columns_after: Mapping[str, str],
    ) -> str | None:
        """Say how rows would be told apart otherwise than by this contract; None if they are not.

        Parameters
        ----------
        columns, columns_after
            Columns with the names of their types.
        after
            The other contract; None: the table is no feature table any more.

        Examples
        --------
        >>> old, new = FeatureContract(("shop",)), FeatureContract(("shop", "day"))
        >>> types = {"shop": "string", "day": "date"}
        >>> old.identity_change(types, new, types)
        'feature.keys was shop and is shop,day'
        >>> old.identity_change(types, old, types | {"shop": "bigint"})
        'shop was string and is bigint'
        """
        old, new = self.properties, after.properties if after else {}
        changes = [
            f"{name} was {old.get(name, 'not set')} and is {new.get(name, 'not set')}"
            for name in (KEYS, TIMESTAMP, KNOWN_AT)
            if old.get(name) != new.get(name)
        ]
        changes += [
            f"{name} was {columns[name]} and is {columns_after[name]}"
            for name in self.identity
            if name in columns and columns_after.get(name, columns[name]) != columns[name]
        ]
        return "; ".join(changes) or None

    def _refuse_nulls(self, scan: pl.LazyFrame, table: str) -> None:
        import polars as pl

        columns = list(self.identity)
        unset = scan.select(columns).filter(pl.any_horizontal(pl.col(columns).is_null()))
        count = unset.select(pl.len()).collect(engine="streaming").item()
        if count:
            rows = unset.bottom_k(_EXAMPLES, by=columns).collect()
            raise FeatureTableError(
                f"{table}: {' and '.join(_unset_in(rows))} must be set, but {counted(count)} a "
                f"NULL there. Examples: {'; '.join(map(described_row, rows.to_dicts()))}."
            )

    def _refuse_duplicates(self, scan: pl.LazyFrame, table: str) -> None:
        import polars as pl

        columns = list(self.identity)
        size = "rows in this group"
        groups = scan.group_by(columns).agg(pl.len().alias(size)).filter(pl.col(size) > 1)
        found = groups.collect(engine="streaming")
        if found.height:
            rows = found.sort(columns).head(_EXAMPLES).to_dicts()
            examples = [f"{described_row(row)} ({n} rows)" for row in rows if (n := row.pop(size))]
            together = "" if len(columns) == 1 else " together"
            have = "it" if len(columns) == 1 else "them"
            raise FeatureTableError(
                f"{table}: {', '.join(columns)} must be unique{together}, but "
                f"{found[size].sum()} rows have {have} in common with another row. "
                f"Examples: {'; '.join(examples)}."
            )


def taken_back(properties: Mapping[str, str]) -> dict[str, str]:
    """Return what takes the contract among table properties back; Delta's cannot be removed here.

    Examples
    --------
    >>> taken_back({"feature.keys": "shop", "delta.appendOnly": "true"})
    {'feature.keys': ''}
    """
    return {name: "" for name in properties if name.startswith(PREFIX)}


def counted(rows: int) -> str:
    """Return '1 row has' or '2 rows have'.

    Examples
    --------
    >>> counted(1), counted(12)
    ('1 row has', '12 rows have')
    """
    return "1 row has" if rows == 1 else f"{rows} rows have"


def described_row(row: Mapping[str, Any]) -> str:
    """Write a row for an error message: NULL is NULL, instants are in UTC, long text is cut.

    Examples
    --------
    >>> described_row({"shop": "north", "day": None})
    "shop='north', day=NULL"
    """
    return ", ".join(f"{name}={_value(value)}" for name, value in row.items())


def _value(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, datetime):
        if value.tzinfo is None:
            return value.isoformat()
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _unset_in(rows: pl.DataFrame) -> list[str]:
    return [name for name in rows.columns if rows[name].null_count()]


def _way_to_utc(kind: pl.DataType, column: str) -> str:
    import polars as pl

    if not isinstance(kind, pl.Datetime):
        return ""
    return f" Make it one in the query, as in to_utc_timestamp({column}, 'Europe/Berlin')."


def _described(kind: pl.DataType) -> str:
    import polars as pl

    if isinstance(kind, pl.Datetime):
        return "a timestamp without a time zone"
    return f"of type {kind}"
