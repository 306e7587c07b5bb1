"""A feature table at one version, with its contract."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from sololakehouse.errors import FeatureLookupError, RunError
from sololakehouse.features.latest import ROW
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.contract import KEYS, FeatureContract
from sololakehouse.lake.definition import last_definition
from sololakehouse.lake.feature_statistics import TableStatistics, table_statistics
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl


class FeatureTable:
    """A feature table, pinned to a version.

    Examples
    --------
    >>> table = FeatureTable.open(Lakehouse.open(), "features.planes")
    >>> table.primary_keys, table.timeseries_columns
    (('tailnum',), ())
    """

    def __init__(self, snapshot: Snapshot, contract: FeatureContract) -> None:
        self.snapshot = snapshot
        self.contract = contract

    def __repr__(self) -> str:
        return f"FeatureTable({self.name}@v{self.version})"

    @classmethod
    def open(cls, lake: Lakehouse, name: str, version: int | None = None) -> FeatureTable:
        """Pin a feature table to a version (default: the newest).

        Raises
        ------
        NotFoundError
            There is no such table or version.
        FeatureLookupError
            The table declares no keys, so nothing can be looked up in it.
        """
        snapshot = lake.read(name, version)
        contract = snapshot.contract
        if contract is None:
            raise FeatureLookupError(
                f"{name} is no feature table: it has no table property {KEYS!r}. "
                f"Feature tables: {', '.join(feature_tables(lake)) or 'none yet'}."
            )
        return cls(snapshot, contract)

    @property
    def name(self) -> str:
        """`schema.table`."""
        return self.snapshot.name

    @property
    def version(self) -> int:
        """The Delta version."""
        return self.snapshot.version

    @property
    def primary_keys(self) -> tuple[str, ...]:
        """The keys and, as on Databricks, the timestamp."""
        return (*self.contract.keys, *self.timeseries_columns)

    @property
    def timeseries_columns(self) -> tuple[str, ...]:
        """The timestamp column; empty for a table whose rows do not change over time."""
        return (self.contract.timestamp,) if self.contract.timestamp else ()

    @property
    def known_at(self) -> str | None:
        """The column with the moment when a row became known, None if there is none."""
        return self.contract.known_at

    @property
    def features(self) -> tuple[str, ...]:
        """All columns but keys, timestamp and `known_at`, in the order of the table."""
        return tuple(name for name in self.snapshot.columns if name not in self.contract.identity)

    @property
    def description(self) -> str | None:
        """What the table's maker said that it holds."""
        record = self.snapshot.record
        return record.details.get("comment") if record else None

    @property
    def tags(self) -> dict[str, str]:
        """The tags that the table was created with."""
        record = self.snapshot.record
        return dict(record.details.get("tags", {})) if record else {}

    @property
    def definition(self) -> str | None:
        """Fingerprint of the definition that the version has; None if its commits keep none."""
        found = last_definition(self.snapshot)
        return found.fingerprint if found else None

    @cached_property
    def schema(self) -> dict[str, pl.DataType]:
        """Columns with their Polars types; no data is read.

        Raises
        ------
        NotFoundError
            The contract names a column that does not exist.
        FeatureTableError
            A timestamp has no time zone, or a key has no dependable equality.
        """
        schema = dict(self.snapshot.schema)
        self.contract.check_types(schema, self.name)
        return schema

    @cached_property
    def statistics(self) -> TableStatistics:
        """What the rows are: kept by the commit that wrote all of them, else computed now.

        A commit that added or replaced some rows keeps no statistics: they would have to be those
        of all rows.
        """
        kept = TableStatistics.kept(self.snapshot.record)
        if kept is not None and kept.rows == self.snapshot.rows:
            return kept
        return table_statistics(self.snapshot.scan(), self.contract)

    @property
    def newest_timestamp(self) -> datetime | None:
        """The greatest timestamp, in UTC; None without rows or without a timestamp."""
        column = self.contract.timestamp
        kept = TableStatistics.kept(self.snapshot.record)
        if column is None or kept is not None:
            return datetime.fromisoformat(kept.last) if kept and kept.last else None
        newest: datetime | None = self.snapshot.scan().select(column).max().collect().item()
        return newest.astimezone(UTC) if newest else None

    def scan(self, columns: Sequence[str]) -> pl.LazyFrame:
        """Scan keys, times and the given columns, with the number of each row in `ROW`.

        Rows are checked when a table is written. Those that another program wrote are checked here.

        Raises
        ------
        FeatureTableError
            Another writer left rows that violate the contract.
        """
        self._check_foreign()
        scan = self.snapshot.numbered_scan(ROW)
        return scan.select(list(dict.fromkeys((ROW, *self.contract.identity, *columns))))

    def verify(self) -> None:
        """Check the files, and the rows of a version that another writer made, as `scan` does.

        Raises
        ------
        RunError
            A data file is missing or cut short.
        FeatureTableError
            Another writer left rows that violate the contract.
        """
        self.snapshot.verify()
        self._check_foreign()

    def _check_foreign(self) -> None:
        if self.snapshot.is_foreign:
            self.contract.check(self.snapshot.scan(), self.name)


def feature_tables(lake: Lakehouse) -> list[str]:
    """Return the names of all feature tables, sorted."""
    newest = (lake.read(name) for name in lake.table_names())
    return [snapshot.name for snapshot in newest if KEYS in snapshot.properties]


def open_tables(
    lake: Lakehouse, lookups: tuple[FeatureLookup, ...], versions: tuple[TableVersion, ...] = ()
) -> dict[str, FeatureTable]:
    """Pin the feature tables of lookups to the given versions, or else to the newest.

    Raises
    ------
    RunError
        A table of the given versions has been dropped and made anew.
    """
    pinned = {pin.table: pin for pin in versions}
    return {name: _opened(lake, name, pinned.get(name)) for name in _table_names(lookups)}


def _table_names(lookups: tuple[FeatureLookup, ...]) -> list[str]:
    return sorted({lookup.table_name for lookup in lookups})


def _opened(lake: Lakehouse, name: str, pin: TableVersion | None) -> FeatureTable:
    table = FeatureTable.open(lake, name, pin.version if pin else None)
    refuse_made_anew(table.snapshot, pin)
    return table


def refuse_made_anew(snapshot: Snapshot, pin: TableVersion | None) -> None:
    """Refuse a table that only has the name of the one whose version was asked for.

    Raises
    ------
    RunError
        The table has been dropped and made anew.
    """
    if pin and pin.table_id != snapshot.table_id:
        raise RunError(
            f"{snapshot.name} has been dropped and made anew: version {pin.version} is not the "
            "one that was asked for."
        )
