"""Lookups that are checked against labels and feature tables, before any data is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import FeatureLookupError, NotFoundError, suggestion
from sololakehouse.features.asof import AsOf, instant_unit
from sololakehouse.features.defaults import default_value
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.tables import FeatureTable

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class LookupReport:
    """What one lookup found.

    Attributes
    ----------
    table
        The feature table.
    rows
        Number of labels.
    null_keys
        Labels with a NULL in a lookup key: they have no features.
    null_timestamps
        Labels with keys but without a timestamp: they have no features.
    unmatched
        Labels with key and timestamp for which no row was visible and fresh enough.
    """

    table: str
    rows: int
    null_keys: int
    null_timestamps: int
    unmatched: int

    def as_dict(self) -> dict[str, Any]:
        """Return the report for a commit record."""
        return asdict(self)

    def plus(self, other: Mapping[str, Any]) -> LookupReport:
        """Return the report on these labels and those of a report in a commit record."""
        mine = asdict(self)
        counts = {name: mine[name] + other[name] for name in mine if name != "table"}
        return LookupReport(self.table, **counts)


@dataclass(frozen=True)
class PlannedLookup:
    """A lookup that is known to fit its feature table and the labels.

    `outputs` maps each feature to its name in the result.
    """

    lookup: FeatureLookup
    table: FeatureTable
    outputs: Mapping[str, str]

    def rule(self, *, allow_exact_match: bool, known_as_of: datetime | None) -> AsOf:
        """Return what the point-in-time join needs to know."""
        contract = self.table.contract
        return AsOf(
            keys=self.lookup.lookup_key,
            feature_keys=contract.keys,
            timestamp=self.lookup.timestamp_lookup_key,
            feature_timestamp=contract.timestamp,
            known_at=contract.known_at,
            known_as_of=known_as_of,
            lookback=self.lookup.lookback_window,
            allow_exact_match=allow_exact_match,
        )


def plan_lookups(
    lookups: Iterable[FeatureLookup],
    tables: Mapping[str, FeatureTable],
    labels: Mapping[str, pl.DataType],
    where: str,
) -> list[PlannedLookup]:
    """Check lookups against the labels' columns and the feature tables; no data is read.

    Parameters
    ----------
    tables
        The feature table of each lookup, by name.
    labels
        The labels' columns with their types.
    where
        Name of the labels for the messages.

    Raises
    ------
    NotFoundError
        A feature does not exist.
    FeatureLookupError
        A lookup does not fit: columns, types, time zones, names.
    """
    plans = [_planned(lookup, tables[lookup.table_name], labels, where) for lookup in lookups]
    _refuse_collisions(plans, labels, where)
    return plans


def _planned(
    lookup: FeatureLookup, table: FeatureTable, labels: Mapping[str, pl.DataType], where: str
) -> PlannedLookup:
    _check_keys(lookup, table, labels, where)
    _check_timestamp(lookup, table, labels, where)
    features = lookup.feature_names or table.features
    for name in features:
        if name not in table.schema:
            raise NotFoundError.of("column", name, table.schema, where=table.name)
    place = f"Lookup in {table.name}: rename_outputs"
    for name in lookup.rename_outputs:
        if name not in features:
            raise NotFoundError.of("feature", name, features, where=place)
    outputs = {name: lookup.output_name(name) for name in features}
    _check_defaults(lookup, table, outputs)
    return PlannedLookup(lookup, table, outputs)


def _check_keys(
    lookup: FeatureLookup, table: FeatureTable, labels: Mapping[str, pl.DataType], where: str
) -> None:
    keys = table.contract.keys
    if len(lookup.lookup_key) != len(keys):
        raise FeatureLookupError(
            f"Lookup in {table.name}: lookup_key names {', '.join(lookup.lookup_key)}, but the "
            f"table's keys are {', '.join(keys)}. Name one column of the labels for each key, in "
            "this order."
        )
    for column, key in zip(lookup.lookup_key, keys, strict=True):
        _require(column, lookup, labels, where)
        if labels[column] != table.schema[key]:
            raise FeatureLookupError(
                f"Lookup in {table.name}: the key {column!r} of {where} is {labels[column]}, but "
                f"{key!r} of the feature table is {table.schema[key]}. Keys are not cast silently: "
                "give both the same type."
            )


def _check_timestamp(
    lookup: FeatureLookup, table: FeatureTable, labels: Mapping[str, pl.DataType], where: str
) -> None:
    column, timestamp = lookup.timestamp_lookup_key, table.contract.timestamp
    if timestamp and column is None:
        raise FeatureLookupError(
            f"Lookup in {table.name}: its rows are valid from {timestamp!r} on, so "
            "timestamp_lookup_key must name the column of the labels with the moment to look up."
        )
    if column is None:
        if lookup.lookback_window is not None:
            raise FeatureLookupError(
                f"Lookup in {table.name}: lookback_window needs a table with a timestamp, and this "
                "one has none."
            )
        return
    if not timestamp:
        raise FeatureLookupError(
            f"Lookup in {table.name}: timestamp_lookup_key is {column!r}, but the table has no "
            "timestamp. Leave it out, or declare the table property 'feature.timestamp'."
        )
    _require(column, lookup, labels, where)
    instant_unit(labels[column], column, where)


def _require(
    column: str, lookup: FeatureLookup, labels: Mapping[str, pl.DataType], where: str
) -> None:
    if column not in labels:
        raise FeatureLookupError(
            f"Lookup in {lookup.table_name}: there is no column {column!r} in {where}. "
            f"{suggestion(column, labels, 'column')}"
        )


def _check_defaults(lookup: FeatureLookup, table: FeatureTable, outputs: Mapping[str, str]) -> None:
    features = {output: name for name, output in outputs.items()}
    place = f"Lookup in {table.name}: default_values"
    for output, value in lookup.default_values.items():
        if output not in features:
            raise NotFoundError.of("feature", output, features, where=place)
        kind = table.schema[features[output]]
        try:
            default_value(value, kind)
        except ValueError as error:
            said = f": {error}" if str(error) else ""
            raise FeatureLookupError(
                f"{place}: {value!r} does not fit {output!r}, which is {kind}{said}."
            ) from error


def with_defaults(found: pl.DataFrame, defaults: Mapping[str, Any]) -> pl.DataFrame:
    """Replace NULLs in looked-up features, by their names in the result."""
    import polars as pl

    return found.with_columns(
        pl.col(name).fill_null(pl.lit(default_value(value, found.schema[name])).first())
        for name, value in defaults.items()
    )


def _refuse_collisions(
    plans: Sequence[PlannedLookup], labels: Mapping[str, pl.DataType], where: str
) -> None:
    # Delta compares column names without regard to case.
    makers: dict[str, list[str]] = {}
    for name in labels:
        makers.setdefault(name.lower(), []).append(where)
    for plan in plans:
        for output in plan.outputs.values():
            makers.setdefault(output.lower(), []).append(plan.table.name)
    collisions = {name: made for name, made in makers.items() if len(made) > 1}
    if collisions:
        listed = "; ".join(f"{name} ({', '.join(made)})" for name, made in collisions.items())
        raise FeatureLookupError(
            f"Columns collide: {listed}. Give them other names with rename_outputs, or choose "
            "feature_names."
        )
