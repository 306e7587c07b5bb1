"""Features for rows without a label, as inference asks for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from sololakehouse.features.assembly import look_up
from sololakehouse.features.join import plan_lookups
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.tables import open_tables
from sololakehouse.lake import Lakehouse
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl


def lookup_features(
    lake: Lakehouse,
    frame: pl.DataFrame,
    lookups: Recipe | Sequence[FeatureLookup],
    versions: Iterable[TableVersion] | None = None,
) -> tuple[pl.DataFrame, tuple[TableVersion, ...]]:
    """Look up features for rows without a label, by the code and the rules of training.

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
    """
    if isinstance(lookups, Recipe):
        wanted, exact = lookups.feature_lookups, lookups.allow_exact_match
    else:
        wanted, exact = tuple(lookups), True
    tables = open_tables(lake, wanted, tuple(versions or ()))
    plans = plan_lookups(wanted, tables, frame.schema, "the request")
    found, _ = look_up(frame, plans, allow_exact_match=exact)
    return found, tuple(table.snapshot.table_version for table in tables.values())
