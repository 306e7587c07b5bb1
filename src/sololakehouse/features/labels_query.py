"""Labels that a query gives, on versions of its tables that stay what they are."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from sololakehouse.errors import UsageError
from sololakehouse.features.frames import as_polars
from sololakehouse.features.tables import refuse_made_anew
from sololakehouse.lake import Lakehouse, system
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.flow_plan import VOLATILE_FUNCTIONS
from sololakehouse.pipelines.query import run_query
from sololakehouse.pipelines.time_travel import clauses, tables_as_they_are, with_clauses
from sololakehouse.provenance import TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class LabelsQuery:
    """A `SELECT` whose rows are labels.

    Attributes
    ----------
    text
        The query as it was written.
    named
        The versions that the query itself says.
    pinned
        The versions of its other tables.
    zone
        Where clocks show timestamps that have no time zone; None: they are refused.
    """

    lake: Lakehouse
    text: str
    named: tuple[TableVersion, ...]
    pinned: tuple[TableVersion, ...]
    zone: str | None = None

    @classmethod
    def pin(
        cls,
        lake: Lakehouse,
        text: str,
        versions: Iterable[TableVersion] = (),
        what: str = "the labels",
        zone: str | None = None,
    ) -> LabelsQuery:
        """Check a query and pin its tables to the given versions, or else to the newest.

        `what` names the rows for the messages.

        Raises
        ------
        NotFoundError
            A table or version does not exist.
        UsageError
            The text is not one query, or its rows are not the same each time.
        RunError
            A table of the given versions has been dropped and made anew.
        """
        query = with_clauses(text)
        names = sql.tables_in_query(query)
        _refuse_changing(query, names, what)
        wanted = {version.table: version for version in versions}
        named = [lake.read(table, version).table_version for table, version in _named(query, what)]
        plain = sorted(tables_as_they_are(query))
        pinned = [_pinned(lake, name, wanted.get(name)) for name in plain]
        return cls(lake, text, tuple(dict.fromkeys(named)), tuple(pinned), zone)

    @property
    def inputs(self) -> tuple[TableVersion, ...]:
        """The versions that are read; of a table that is read twice, the pinned one comes last."""
        return tuple(dict.fromkeys([*self.named, *self.pinned]))

    @property
    def digest(self) -> str:
        """Hash of what the query says, whatever its layout and comments."""
        return fingerprint(sql.normal_form(self.text))

    @property
    def schema(self) -> pl.Schema:
        """The columns with Polars' types; the query is run."""
        return self.rows.schema

    @property
    def rows(self) -> pl.DataFrame:
        """The rows, in no order.

        Raises
        ------
        UsageError
            The engine cannot run the query.
        FeatureLookupError
            A timestamp has no time zone, or times that are not one moment there.
        """
        return self._answer[0]

    @property
    def has_local_time(self) -> bool:
        """Whether a column of the answer has no time zone; the query is run."""
        return self._answer[1]

    @cached_property
    def _answer(self) -> tuple[pl.DataFrame, bool]:
        import pyarrow as pa

        versions = {table.table: table.version for table in self.pinned}
        answer = run_query(self.lake, self.text, versions=versions)
        naive = (pa.types.is_timestamp(kind) and kind.tz is None for kind in answer.schema.types)
        return as_polars(answer, "the labels", self.zone), any(naive)


def _named(query: str, what: str) -> list[tuple[str, int]]:
    found = []
    for clause in clauses(query):
        if not isinstance(clause.at, int):
            raise UsageError(
                f"The query of {what} reads {clause.table} TIMESTAMP AS OF "
                f"{clause.expression}. Write VERSION AS OF and a version, or nothing: what is "
                "newest now is pinned."
            )
        found.append((clause.table, clause.at))
    return found


def _pinned(lake: Lakehouse, name: str, pin: TableVersion | None) -> TableVersion:
    snapshot = lake.read(name, pin.version if pin else None)
    refuse_made_anew(snapshot, pin)
    return snapshot.table_version


def _refuse_changing(query: str, names: set[str], what: str) -> None:
    called = sorted(sql.functions_in(query) & VOLATILE_FUNCTIONS)
    reasons = [f"{name}()" for name in called] + sql.samples_in(query)
    reasons += sorted(names & set(system.VIEWS))
    if reasons:
        raise UsageError(
            f"The query of {what} uses {', '.join(reasons)}, so the same versions would not "
            f"give {what} again. Take the value from a table or write it down, and write "
            "ORDER BY before LIMIT."
        )
