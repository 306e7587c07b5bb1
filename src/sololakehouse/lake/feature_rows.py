"""Rows on their way into a feature table: held to its contract, and described."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deltalake.exceptions import CommitFailedError

from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.feature_statistics import TableStatistics, table_statistics
from sololakehouse.lake.table import Snapshot

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class FeatureRows:
    """What a commit adds to a feature table.

    Attributes
    ----------
    rows
        The staged rows.
    are_checked
        Whether they were held to the contract, together with those of the version `beside`.
    beside
        None: there were no other rows.
    statistics
        Of these rows alone; None: they were not computed.
    """

    contract: FeatureContract
    rows: pl.DataFrame | pl.LazyFrame
    are_checked: bool = False
    beside: Snapshot | None = None
    statistics: TableStatistics | None = None

    @classmethod
    def of(
        cls,
        table: str,
        before: Snapshot | None,
        properties: Mapping[str, str] | None,
        rows: pl.DataFrame | pl.LazyFrame,
    ) -> FeatureRows | None:
        """Return the rows with the contract of their table; None if it is no feature table.

        Parameters
        ----------
        before
            Its newest version; None if there is none yet.
        properties
            The table properties that the commit sets; None: they stay as they are.

        Raises
        ------
        DefinitionError
            The `feature.*` properties contradict each other.
        NotFoundError
            A column that the contract names does not exist.
        FeatureTableError
            A timestamp has no time zone, or a key has no dependable equality.
        """
        contract = before.contract if before and properties is None else None
        if properties is not None:
            contract = FeatureContract.from_properties(properties)
        if contract is None:
            return None
        contract.check_types(rows.collect_schema(), table)
        return cls(contract, rows)

    def described(self) -> FeatureRows:
        """Return the rows with their statistics."""
        return replace(self, statistics=table_statistics(self.rows, self.contract))

    def checked(self, table: str, beside: Snapshot | None, removes: pl.Expr | None) -> FeatureRows:
        """Hold the table as it will be to its contract, unless that was done.

        Parameters
        ----------
        beside
            The version whose rows stay; None if these rows are all of the table.
        removes
            Which of them do not stay.

        Raises
        ------
        NotFoundError
            A column that the contract names does not exist.
        FeatureTableError
            A type does not fit, or rows violate the contract: says how many, with three of them.
        """
        if self.are_checked:
            return self
        if beside is None or not beside.rows:
            self.contract.check(self.rows.lazy(), table)
        else:
            self._check_beside(table, beside, removes)
        return replace(self, are_checked=True, beside=beside)

    def refuse_other_version(self, now: Snapshot) -> None:
        """Refuse to add rows to others than those that they were checked with."""
        known = set(self.beside.file_uris()) if self.beside else set()
        if set(now.file_uris()) != known:
            raise CommitFailedError(f"{now} has other rows than those that were checked")

    def _check_beside(self, table: str, beside: Snapshot, removes: pl.Expr | None) -> None:
        import polars as pl

        added, stays = self.rows.lazy(), beside.scan()
        if removes is not None:
            stays = stays.filter(~removes.fill_null(False))
        if not beside.is_foreign:
            self.contract.check_added(added, stays, table)
            return
        self.contract.check_types(beside.schema, table)
        sides = [rows.select(self.contract.identity) for rows in (added, stays)]
        self.contract.check(pl.concat(sides, how="vertical_relaxed"), table)
