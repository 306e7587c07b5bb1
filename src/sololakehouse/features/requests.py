"""Features for rows without a label, as inference asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.assembly import look_up
from sololakehouse.features.computed import plan_functions, with_functions
from sololakehouse.features.identity import functions_of
from sololakehouse.features.join import plan_lookups
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.tables import FeatureTable, open_tables
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import counted
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
    if isinstance(lookups, Recipe):
        wanted, exact = lookups.feature_lookups, lookups.allow_exact_match
    else:
        wanted, exact = tuple(lookups), True
    tables = open_tables(lake, wanted, tuple(versions or ()))
    frame, wanted = _without_given(frame, wanted, tables)
    plans = plan_lookups(wanted, tables, frame.schema, _REQUEST)
    found, _ = look_up(frame, plans, allow_exact_match=exact)
    if isinstance(lookups, Recipe):
        found = _computed(lake, found, lookups)
    used = sorted({lookup.table_name for lookup in wanted})
    return found, tuple(tables[name].snapshot.table_version for name in used)


def _computed(lake: Lakehouse, found: pl.DataFrame, recipe: Recipe) -> pl.DataFrame:
    udfs = functions_of(lake, recipe).udfs
    given = {
        one.output: udfs[one.udf_name].dtype
        for one in recipe.feature_functions
        if one.output in found.columns
    }
    missing = [one for one in recipe.feature_functions if one.output not in given]
    found = _as_features(found, given)
    return with_functions(found, plan_functions(missing, udfs, found.schema, _REQUEST))


def _without_given(
    frame: pl.DataFrame, lookups: tuple[FeatureLookup, ...], tables: Mapping[str, FeatureTable]
) -> tuple[pl.DataFrame, tuple[FeatureLookup, ...]]:
    """Return the rows with given features in their types, and lookups of the others."""
    left: list[FeatureLookup] = []
    given: dict[str, pl.DataType] = {}
    for lookup in lookups:
        table = tables[lookup.table_name]
        features = lookup.feature_names or table.features
        outputs = {name: lookup.output_name(name) for name in features}
        missing = [name for name, output in outputs.items() if output not in frame.columns]
        given |= {
            output: table.schema[name] for name, output in outputs.items() if name not in missing
        }
        if missing:
            left.append(lookup.only(missing) if len(missing) < len(outputs) else lookup)
    return _as_features(frame, given), tuple(left)


def _as_features(frame: pl.DataFrame, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    return frame.with_columns(
        _as_feature(frame[name], kind) for name, kind in types.items() if frame[name].dtype != kind
    )


def _as_feature(column: pl.Series, kind: pl.DataType) -> pl.Series:
    import polars as pl

    where = f"The column {column.name!r} of {_REQUEST} stands for a feature that is {kind}"
    if column.dtype != pl.Null and not (column.dtype.is_numeric() and kind.is_numeric()):
        raise FeatureLookupError(
            f"{where}, and is {column.dtype}. Give it the same type, or leave it out: then the "
            "feature is looked up."
        )
    cast = column.cast(kind, strict=False)
    same = column.dtype == pl.Null
    changed = 0 if same else int(cast.cast(column.dtype).ne_missing(column).sum())
    if changed:
        raise FeatureLookupError(
            f"{where}, and {counted(changed)} a value that does not fit. Give it the same type."
        )
    return cast
