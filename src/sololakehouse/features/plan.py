"""A recipe, held against labels, feature tables and functions before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sololakehouse.errors import FeatureLookupError, NotFoundError
from sololakehouse.features.asof import instant_unit
from sololakehouse.features.computed import PlannedFunction, plan_functions
from sololakehouse.features.join import PlannedLookup, plan_lookups
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.storable import refuse_untyped
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.udf import Functions

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class RecipePlan:
    """The lookups and functions of a recipe, which are known to fit."""

    lookups: tuple[PlannedLookup, ...]
    functions: tuple[PlannedFunction, ...]

    @property
    def outputs(self) -> list[str]:
        """The columns that they make, in their order."""
        found = [name for plan in self.lookups for name in plan.outputs.values()]
        return [*found, *(plan.output for plan in self.functions)]


def plan_recipe(
    recipe: Recipe,
    labels: Mapping[str, pl.DataType],
    where: str,
    tables: Mapping[str, FeatureTable],
    functions: Functions,
) -> RecipePlan:
    """Check a recipe; no data is read.

    Parameters
    ----------
    labels
        The labels' columns with their types.
    where
        Name of the labels for the messages.

    Raises
    ------
    NotFoundError
        A column does not exist.
    FeatureLookupError
        A lookup does not fit its table or the labels, names collide, or the label would also be a
        feature.
    FeatureFunctionError
        A function does not fit the columns.
    UsageError
        Nothing tells the type of a column of the labels.
    """
    refuse_untyped(labels, where)
    for column in (recipe.label, recipe.timestamp, recipe.label_known_at):
        if column is not None and column not in labels:
            raise NotFoundError.of("column", column, labels, where=where)
    for column in filter(None, (recipe.timestamp, recipe.label_known_at)):
        instant_unit(labels[column], column, where)
    _refuse_label_as_input(recipe, tables)
    lookups = plan_lookups(recipe.feature_lookups, tables, labels, where)
    columns = dict(labels)
    for plan in lookups:
        columns |= {output: plan.table.schema[name] for name, output in plan.outputs.items()}
    hidden = _hidden_from_functions(recipe)
    udfs, declared = functions.udfs, recipe.feature_functions
    found = RecipePlan(
        tuple(lookups), tuple(plan_functions(declared, udfs, columns, where, hidden))
    )
    _check_excluded(recipe, [*labels, *found.outputs])
    return found


def _refuse_label_as_input(recipe: Recipe, tables: Mapping[str, FeatureTable]) -> None:
    label, known_at = recipe.label, recipe.label_known_at
    for lookup in recipe.feature_lookups:
        table = tables[lookup.table_name]
        if label in map(lookup.output_name, lookup.feature_names or table.features):
            raise FeatureLookupError(
                f"The label {label!r} is also a feature: {table.name} has a column of this "
                "name. Leave it out of feature_names, or rename it with rename_outputs if it "
                "is something else."
            )
        if label in (*lookup.lookup_key, lookup.timestamp_lookup_key):
            raise FeatureLookupError(
                f"The label {label!r} cannot be a lookup key of {table.name}: it is what is "
                "to be predicted."
            )
        if known_at and known_at in (*lookup.lookup_key, lookup.timestamp_lookup_key):
            raise FeatureLookupError(
                f"label_known_at {known_at!r} cannot be a lookup key of {table.name}: that "
                "moment is not known when a model predicts."
            )


def _hidden_from_functions(recipe: Recipe) -> dict[str, str]:
    hidden = {recipe.label: "the label"}
    if recipe.label_known_at:
        hidden[recipe.label_known_at] = "the moment from which the label is known"
    return hidden


def _check_excluded(recipe: Recipe, columns: list[str]) -> None:
    for name in recipe.exclude_columns:
        if name not in columns:
            raise NotFoundError.of("column", name, columns, where="exclude_columns")
        if name == recipe.label:
            raise FeatureLookupError(f"exclude_columns: {name!r} is the label; it must stay.")
