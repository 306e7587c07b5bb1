"""Features for rows without a label, as inference asks for them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.assembly import FoundFeatures, find
from sololakehouse.features.computed import PlannedFunction, plan_functions, with_functions
from sololakehouse.features.identity import functions_of
from sololakehouse.features.join import PlannedLookup, plan_lookups
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.tables import FeatureTable, open_tables
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import counted
from sololakehouse.lake.memory import DEFAULT, Memory
from sololakehouse.local_time import in_utc, naive_columns
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl

_REQUEST = "the request"


def lookup_features(
    lake: Lakehouse,
    frame: pl.DataFrame,
    lookups: Recipe | Sequence[FeatureLookup],
    versions: Iterable[TableVersion] | None = None,
) -> tuple[pl.DataFrame, tuple[TableVersion, ...]]:
    """Look up and compute features for rows without a label, by the code and rules of training.

    A feature that the rows have already is used as it is: neither looked up nor computed.

    Parameters
    ----------
    frame
        Rows with lookup keys and timestamps.
    lookups
        A training set's recipe, or lookups alone. A recipe's `known_as_of` is not used: what is
        predicted now may use what is known now. Its excluded columns stay.
    versions
        Feature table versions to read; tables that are not among them are read at their newest.

    Returns
    -------
    The rows, in their order, with the features, and the table versions that were read, by name.

    Raises
    ------
    NotFoundError
        A feature table, a version or a feature does not exist.
    FeatureLookupError
        The rows lack a column that a lookup needs, or it has another type.
    FeatureFunctionError, FunctionFailedError
        The rows lack a column that a function needs, or it failed on a row.
    """
    import polars as pl

    request = FeatureRequest.plan(lake, frame.schema, lookups, versions)
    found = request.find(request.given(frame).lazy())
    return request.computed(pl.concat(found.ranges())), request.versions


@dataclass(frozen=True)
class FeatureRequest:
    """What rows of some columns need of a recipe; it is known to fit, and no row was read.

    Attributes
    ----------
    lookups
        The lookups of the features that the rows lack.
    versions
        The feature tables that are read, in their versions, by name.
    time_zone
        The zone that the project declares, if it is needed; else None.
    local_times
        Columns that have to be moments and have no time zone: they are read in that one.
    """

    lookups: tuple[PlannedLookup, ...]
    versions: tuple[TableVersion, ...]
    functions: tuple[PlannedFunction, ...]
    allow_exact_match: bool
    given_types: Mapping[str, pl.DataType]
    time_zone: str | None = None
    local_times: tuple[str, ...] = ()

    @classmethod
    def plan(
        cls,
        lake: Lakehouse,
        schema: Mapping[str, pl.DataType],
        lookups: Recipe | Sequence[FeatureLookup],
        versions: Iterable[TableVersion] | None = None,
    ) -> FeatureRequest:
        """Hold the columns of rows against lookups and functions; see `lookup_features`."""
        import polars as pl

        recipe = lookups if isinstance(lookups, Recipe) else None
        wanted = lookups.feature_lookups if isinstance(lookups, Recipe) else tuple(lookups)
        tables = open_tables(lake, wanted, tuple(versions or ()))
        left, given = _without_given(schema, wanted, tables)
        zone = lake.project.settings.time_zone
        local = naive_columns(schema, _moments(recipe, left, schema)) if zone else ()
        schema = {**schema, **dict.fromkeys(local, pl.Datetime("us", "UTC"))}
        plans = plan_lookups(left, tables, {**schema, **given}, _REQUEST)
        columns = {**schema, **given}
        for plan in plans:
            columns |= {output: plan.table.schema[name] for name, output in plan.outputs.items()}
        functions, given_too = _functions(lake, recipe, columns, schema)
        used = sorted({lookup.table_name for lookup in left})
        return cls(
            tuple(plans),
            tuple(tables[name].snapshot.table_version for name in used),
            functions,
            recipe.allow_exact_match if recipe else True,
            given | given_too,
            zone if local else None,
            local,
        )

    def given(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows with the features that they have already in their types.

        Raises
        ------
        FeatureLookupError
            A value does not fit the type of its feature.
        """
        return rows.with_columns(
            _as_feature(rows[name], kind)
            for name, kind in self.given_types.items()
            if rows[name].dtype != kind
        )

    def find(
        self, rows: pl.LazyFrame, memory: Memory = DEFAULT, folder: Path | None = None
    ) -> FoundFeatures:
        """Look up the features of rows as `given` returns them; see `assembly.find`.

        Raises
        ------
        FeatureLookupError
            A time without a zone is not one moment in that of the project.
        """
        return find(
            self.in_utc(rows),
            self.lookups,
            allow_exact_match=self.allow_exact_match,
            known_as_of=None,
            memory=memory,
            folder=folder,
        )

    def in_utc(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return rows with their moments in UTC."""
        return in_utc(rows, self.local_times, self.time_zone, _REQUEST)

    def computed(self, found: pl.DataFrame) -> pl.DataFrame:
        """Return rows of which the features were found, with those that functions compute."""
        return with_functions(found, self.functions)


def _moments(
    recipe: Recipe | None, lookups: Iterable[FeatureLookup], schema: Container[str]
) -> set[str]:
    """Return the columns that are looked up by, or that functions take which are not given."""
    found = {one.timestamp_lookup_key for one in lookups if one.timestamp_lookup_key}
    missing = (
        [one for one in recipe.feature_functions if one.output not in schema] if recipe else []
    )
    return found.union(*(one.input_bindings.values() for one in missing))


def _functions(
    lake: Lakehouse,
    recipe: Recipe | None,
    columns: Mapping[str, pl.DataType],
    schema: Mapping[str, pl.DataType],
) -> tuple[tuple[PlannedFunction, ...], dict[str, pl.DataType]]:
    """Return the functions of what the rows lack, and the types of what they have."""
    if recipe is None:
        return (), {}
    udfs = functions_of(lake, recipe).udfs
    given = {
        one.output: udfs[one.udf_name].dtype
        for one in recipe.feature_functions
        if one.output in columns
    }
    for name, kind in given.items():
        _check_given(name, schema[name], kind)
    missing = [one for one in recipe.feature_functions if one.output not in given]
    return tuple(plan_functions(missing, udfs, {**columns, **given}, _REQUEST)), given


def _without_given(
    schema: Mapping[str, pl.DataType],
    lookups: tuple[FeatureLookup, ...],
    tables: Mapping[str, FeatureTable],
) -> tuple[tuple[FeatureLookup, ...], dict[str, pl.DataType]]:
    """Return lookups of the features that rows lack, and the types of those that they have."""
    left: list[FeatureLookup] = []
    given: dict[str, pl.DataType] = {}
    for lookup in lookups:
        table = tables[lookup.table_name]
        features = lookup.feature_names or table.features
        outputs = {name: lookup.output_name(name) for name in features}
        missing = [name for name, output in outputs.items() if output not in schema]
        given |= {
            output: table.schema[name] for name, output in outputs.items() if name not in missing
        }
        if missing:
            left.append(lookup.only(missing) if len(missing) < len(outputs) else lookup)
    for name, kind in given.items():
        _check_given(name, schema[name], kind)
    return tuple(left), given


def _check_given(name: str, given: pl.DataType, kind: pl.DataType) -> None:
    import polars as pl

    numbers = given.is_numeric() and kind.is_numeric()
    if given not in (kind, pl.Null) and not numbers:
        raise FeatureLookupError(
            f"{_stands_for(name, kind)}, and is {given}. Give it the same type, or leave it out: "
            "then the feature is looked up."
        )


def _as_feature(column: pl.Series, kind: pl.DataType) -> pl.Series:
    import polars as pl

    cast = column.cast(kind, strict=False)
    same = column.dtype == pl.Null
    changed = 0 if same else int(cast.cast(column.dtype).ne_missing(column).sum())
    if changed:
        raise FeatureLookupError(
            f"{_stands_for(column.name, kind)}, and {counted(changed)} a value that does not fit. "
            "Give it the same type."
        )
    return cast


def _stands_for(name: str, kind: pl.DataType) -> str:
    return f"The column {name!r} of {_REQUEST} stands for a feature that is {kind}"
