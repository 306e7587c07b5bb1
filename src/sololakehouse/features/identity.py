"""What decides the content of a training set: recipe, rules, functions and input versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sololakehouse.features.recipe import Recipe, TrainingSetSpec
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.udf import Functions
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.commit import TRAINING_SET
from sololakehouse.provenance import TableVersion, fingerprint

# Part of every fingerprint. Raise it when a change of the rules or of their code can change what
# a training set holds.
RULES_VERSION = 2


def functions_of(lake: Lakehouse, recipe: Recipe) -> Functions:
    """Load the functions of a recipe: as its record keeps them, else from the project's folder."""
    sources = recipe.function_sources if isinstance(recipe, TrainingSetSpec) else None
    return Functions.load(lake.project, recipe.feature_functions, sources)


def inputs_of(
    labels: tuple[TableVersion, ...], tables: Mapping[str, FeatureTable]
) -> tuple[TableVersion, ...]:
    """Return the table versions that a training set reads: those of the labels, then features."""
    features = [table.snapshot.table_version for table in tables.values()]
    return tuple(dict.fromkeys([*labels, *features]))


def recipe_fingerprint(
    recipe: Recipe,
    inputs: tuple[TableVersion, ...],
    spine_digest: str | None,
    functions: Functions,
) -> str:
    """Return the hash of all that decides what a training set holds."""
    rules: dict[str, Any] = recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    tables = [(source.table, *source.content) for source in inputs]
    code = functions.fingerprints
    return fingerprint(TRAINING_SET, RULES_VERSION, rules, tables, spine_digest, code)


def saved_before(lake: Lakehouse, table: str, *fingerprints: str) -> Snapshot | None:
    """Return the newest version of a training set if it has one of these fingerprints."""
    newest = lake.newest(table)
    if newest is None or newest.record is None or newest.record.fingerprint not in fingerprints:
        return None
    return newest
