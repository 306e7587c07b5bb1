"""All features of a model from memory, each table in the newest version that has been taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sololakehouse.errors import RequestError, RunError
from sololakehouse.features.computed import PlannedFunction, with_functions
from sololakehouse.features.join import PlannedLookup, plan_lookups
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake import Lakehouse
from sololakehouse.provenance import TableVersion
from sololakehouse.serving.online_lookup import OnlineLookup

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Found:
    """A request with its features.

    Attributes
    ----------
    rows
        The request's columns, then the features.
    used
        The feature table versions that were used, by name.
    lookups
        The lookups that were made, and for each of them the age in seconds of the feature row of
        each row: None if none was found, or the table has no timestamp.
    """

    rows: pl.DataFrame
    used: tuple[TableVersion, ...]
    lookups: tuple[tuple[OnlineLookup, Sequence[float | None]], ...]


@dataclass(frozen=True)
class OnlineFeatures:
    """The lookups of a recipe in memory, and its functions.

    Immutable: a request is answered from one state, whatever is committed meanwhile.
    """

    lookups: tuple[OnlineLookup, ...]
    functions: tuple[PlannedFunction, ...]

    @classmethod
    def load(
        cls,
        spec: TrainingSetSpec,
        tables: Mapping[str, FeatureTable],
        functions: tuple[PlannedFunction, ...],
        fields: Mapping[str, pl.DataType],
        now: datetime,
    ) -> OnlineFeatures:
        """Take the rows of all tables into memory.

        Parameters
        ----------
        fields
            Keys, moments and inputs of a request, with their types.
        now
            From then on memory is enough.
        """
        plans = plan_lookups(spec.feature_lookups, tables, fields, "the request")
        exact = spec.allow_exact_match
        return cls(
            tuple(OnlineLookup(plan, now, allow_exact_match=exact) for plan in plans), functions
        )

    @property
    def tables(self) -> dict[str, FeatureTable]:
        """The feature tables, by name."""
        return {lookup.table: lookup.plan.table for lookup in self.lookups}

    @property
    def rows(self) -> dict[str, int]:
        """How many rows are in memory for each table."""
        return {
            name: sum(one.rows for one in self.lookups if one.table == name) for name in self.tables
        }

    def with_table(
        self,
        table: FeatureTable,
        spec: TrainingSetSpec,
        fields: Mapping[str, pl.DataType],
        now: datetime,
    ) -> OnlineFeatures:
        """Return these features with another version of one table; the others stay as they are.

        Raises
        ------
        RunError
            The version has other features, or features of other types.
        """
        tables = {**self.tables, table.name: table}
        plans = plan_lookups(spec.feature_lookups, tables, fields, "the request")
        for one, plan in zip(self.lookups, plans, strict=True):
            _refuse_other_features(one.plan, plan)
        exact = spec.allow_exact_match
        lookups = (
            OnlineLookup(plan, now, allow_exact_match=exact) if one.table == table.name else one
            for one, plan in zip(self.lookups, plans, strict=True)
        )
        return replace(self, lookups=tuple(lookups))

    def look_up(self, request: pl.DataFrame, *, history: bool) -> Found:
        """Return a request with all features; those that it brings are used as they are.

        Parameters
        ----------
        request
            Keys, moments in UTC microseconds, and inputs, of the types of the fields.
        history
            Whether tables may be read for moments in the past.

        Raises
        ------
        RequestError
            Some features of a table are missing, and a key to look them up is missing as well.
        HistoryNeededError
            A table would have to be read.
        FunctionFailedError
            A function failed on a row.
        """
        import polars as pl

        parts, made = [request], []
        given = set(request.columns)
        for lookup in self.lookups:
            missing = [o for o in lookup.plan.outputs.values() if o not in given]
            if not missing:
                continue
            _refuse_missing(request, lookup, missing)
            features, age = lookup.look_up(request, history=history)
            parts.append(features if len(missing) == features.width else features.select(missing))
            made.append((lookup, age))
        found = pl.concat(parts, how="horizontal") if len(parts) > 1 else request
        wanted = [one for one in self.functions if one.output not in given]
        found = with_functions(found, wanted) if wanted else found
        used = {lookup.table: lookup.version for lookup, _ in made}
        return Found(found, tuple(used[name] for name in sorted(used)), tuple(made))


def newest_tables(lake: Lakehouse, features: OnlineFeatures) -> list[FeatureTable]:
    """Return the feature tables that have a newer content than what is in memory."""
    found = []
    for name, held in features.tables.items():
        newest = lake.newest(name)
        if newest is None or newest.table_version == held.snapshot.table_version:
            continue
        found.append(FeatureTable.open(lake, name))
    return found


def _refuse_other_features(before: PlannedLookup, after: PlannedLookup) -> None:
    had, has = _types(before), _types(after)
    for name in (*had, *has):
        if had.get(name) != has.get(name):
            raise RunError(
                f"{after.table.snapshot.table_version}: the feature {name!r} is "
                f"{has.get(name, 'gone')}, and was {had.get(name, 'not there')}. Train again with "
                "the new features, or bring the old ones back."
            )


def _types(plan: PlannedLookup) -> dict[str, pl.DataType]:
    return {output: plan.table.schema[name] for name, output in plan.outputs.items()}


def _refuse_missing(request: pl.DataFrame, lookup: OnlineLookup, missing: Sequence[str]) -> None:
    for name in lookup.plan.lookup.lookup_key:
        if name not in request.columns:
            raise RequestError(
                f"{name!r} is missing: it is the key of {lookup.table}, where {missing[0]!r} is "
                f"looked up. Send {name!r}, or the features themselves."
            )
