"""Saved training sets: built from a recipe, and opened again as what they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sololakehouse.errors import FeatureLookupError, NotFoundError, UsageError
from sololakehouse.features.identity import (
    functions_of,
    inputs_of,
    recipe_fingerprint,
    saved_before,
)
from sololakehouse.features.labels_query import LabelsQuery
from sololakehouse.features.recipe import SCHEMA, TrainingSetSpec, training_table
from sololakehouse.features.spine import Labels, Spine
from sololakehouse.features.tables import FeatureTable, open_tables, refuse_made_anew
from sololakehouse.features.training_set import TrainingSet
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.commit import TRAINING_SET
from sololakehouse.lake.reference import split_reference
from sololakehouse.pipelines.sql import is_select
from sololakehouse.provenance import TableVersion

if TYPE_CHECKING:
    import polars as pl


def open_training_set(lake: Lakehouse, name: str) -> TrainingSet:
    """Open a saved training set with its recipe, on the versions that it was made from.

    Parameters
    ----------
    name
        `training.NAME` or `NAME`, also at a version: `flight_delay@v2`.

    Raises
    ------
    NotFoundError
        There is no such training set, or a version that it was made from is gone.
    FeatureLookupError
        The table is no training set, or its labels came as a frame of which it keeps too little.
    """
    saved = saved_version(lake, name)
    record = saved.record
    if record is None or record.content_operation != TRAINING_SET:
        raise FeatureLookupError(
            f"{saved.name} is no training set: it was not made from a recipe. Make it with "
            "FeatureEngineeringClient.create_training_set(...).save(NAME)."
        )
    recipe = TrainingSetSpec.model_validate(record.details["recipe"])
    tables = open_tables(lake, recipe.feature_lookups, tuple(record.inputs))
    labels: Labels
    if recipe.labels is None:
        labels, recipe = _labels_of_frame(saved, recipe, tables)
    else:
        labels = open_labels(lake, recipe.labels, record.inputs, recipe.time_zone)
    opened = TrainingSet(lake, recipe, labels, tables)
    opened.saved = saved
    return opened


def open_labels(
    lake: Lakehouse,
    source: str,
    versions: Sequence[TableVersion] = (),
    zone: str | None = None,
) -> Snapshot | LabelsQuery:
    """Open labels from a table or a query, at the given versions or else the newest.

    Parameters
    ----------
    zone
        Where clocks show timestamps of a query that have no time zone; None: as the project says.

    Raises
    ------
    NotFoundError
        There is no such table or version.
    UsageError
        The query's rows would not be the same each time.
    RunError
        A table of the given versions has been dropped and made anew.
    """
    if is_select(source):
        zone = zone or lake.project.settings.time_zone
        return LabelsQuery.pin(lake, source, versions, zone=zone)
    pin = next((one for one in reversed(versions) if one.table == source), None)
    table = lake.read(source, pin.version if pin else None)
    refuse_made_anew(table, pin)
    return table


def build_training_set(
    lake: Lakehouse, writer: LakeWriter, spec: TrainingSetSpec
) -> tuple[Snapshot, bool]:
    """Build and save a training set; return its version and whether it was up to date.

    If the recipe, the versions of the labels and of the feature tables are those of the newest
    version of the training set, only metadata is read.

    Raises
    ------
    NotFoundError
        A table or column does not exist.
    FeatureLookupError
        A lookup does not fit its table or the labels.
    TrainingError
        The label is NULL in some rows.
    """
    if spec.labels is None:
        raise UsageError(
            f"{spec.name} names no table or query under 'labels'. Labels that came as a frame can "
            "be saved only with TrainingSet.save()."
        )
    zone = spec.time_zone or lake.project.settings.time_zone
    labels = open_labels(lake, spec.labels, zone=zone)
    spine = Spine(labels, spec.moments, zone)
    tables = open_tables(lake, spec.feature_lookups, spine.inputs)
    inputs = inputs_of(spine.inputs, tables)
    functions = functions_of(lake, spec)
    # The same query on the same versions has timestamps without a zone always or never. So a saved
    # version that was made without one needs none.
    read = (spec.model_copy(update={"time_zone": zone}) for zone in spine.possible_zones)
    marks = (recipe_fingerprint(one, inputs, spine.digest, functions) for one in read)
    before = saved_before(lake, spec.name, *marks)
    if before is not None:
        return before, True
    return TrainingSet(lake, spec, labels, tables).commit(writer, spec.name)


def saved_version(lake: Lakehouse, name: str) -> Snapshot:
    """Return the table of a saved training set, `training.NAME` or `NAME`, also at a version.

    Raises
    ------
    NotFoundError
        There is no such training set or version.
    """
    written = name if "." in name.split("@")[0] else f"{SCHEMA}.{name}"
    table, _ = split_reference(written, lake.project.settings.time_zone)
    training_table(table)
    if not lake.exists(table):
        known = [one for one in lake.table_names() if one.startswith(f"{SCHEMA}.")]
        raise NotFoundError.of("training set", table, known)
    return lake.read(written)


def _labels_of_frame(
    saved: Snapshot, recipe: TrainingSetSpec, tables: Mapping[str, FeatureTable]
) -> tuple[pl.DataFrame, TrainingSetSpec]:
    """Take the columns of the labels from the training set itself, in its order.

    Columns of the labels that it excludes are not known any more: the recipe is given without them.
    """
    lookups = recipe.feature_lookups
    computed = {function.output for function in recipe.feature_functions}
    outputs = computed | {
        lookup.output_name(name)
        for lookup in lookups
        for name in lookup.feature_names or tables[lookup.table_name].features
    }
    bound = {
        column
        for function in recipe.feature_functions
        for column in function.input_bindings.values()
    }
    needed = [recipe.label, *(key for lookup in lookups for key in lookup.lookup_key)]
    needed += sorted(bound - outputs)
    lost = [name for name in (*needed, *recipe.time_columns) if name not in saved.columns]
    if lost:
        raise FeatureLookupError(
            f"The labels of {saved.name} came as a frame, and their columns {', '.join(lost)} were "
            "excluded from it. Call explain() of the TrainingSet that has the frame."
        )
    own = [name for name in saved.columns if name not in outputs]
    excluded = tuple(name for name in recipe.exclude_columns if name in (*own, *outputs))
    return saved.to_polars().select(own), recipe.model_copy(update={"exclude_columns": excluded})
