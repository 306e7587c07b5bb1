"""Training sets: labels with the features that were valid and known at each label's moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import FeatureLookupError, NotFoundError, UsageError
from sololakehouse.features.asof import instant_unit
from sololakehouse.features.assembly import FoundFeatures, find, look_up
from sololakehouse.features.explanation import NEAR, RowExplanation, explain_lookup
from sololakehouse.features.join import LookupReport, PlannedLookup, plan_lookups
from sololakehouse.features.recipe import Recipe, TrainingSetSpec, training_table
from sololakehouse.features.restatement import RestatementReport, restatements
from sololakehouse.features.spine import Spine, refuse_null_labels
from sololakehouse.features.suspects import SUSPECTS, Suspect, Suspicions, suspects
from sololakehouse.features.tables import FeatureTable, open_tables
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.leases import Holder, lease_inputs
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.row_groups import write_row_groups
from sololakehouse.pipelines.ahead import ahead
from sololakehouse.provenance import Change, Run, TableVersion, fingerprint

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

OPERATION = "TRAINING SET"
# Part of every fingerprint. Raise it when a change of the rules or of their code can change what
# a training set holds.
RULES_VERSION = 1


class TrainingSet:
    """Labels with their features, computed when they are asked for.

    The labels are never dropped, repeated or, if they are a frame, reordered. A table has no
    order, so labels from a table are sorted by the recipe's timestamp, then by all their columns.
    All tables are pinned to the versions that they have when the training set is made.
    """

    def __init__(
        self,
        lake: Lakehouse,
        recipe: Recipe,
        labels: Snapshot | pl.DataFrame,
        tables: Mapping[str, FeatureTable],
    ) -> None:
        self.recipe = recipe
        self._lake = lake
        self._spine = Spine(labels)
        self._tables = tables
        self._plans = self._checked()

    @classmethod
    def create(
        cls, lake: Lakehouse, recipe: Recipe, labels: Snapshot | pl.DataFrame
    ) -> TrainingSet:
        """Pin the feature tables and check the recipe; no data is read.

        Raises
        ------
        NotFoundError
            A table or column does not exist.
        FeatureLookupError
            A lookup does not fit its table or the labels, names collide, or the label would also
            be a feature.
        """
        return cls(lake, recipe, labels, open_tables(lake, recipe.feature_lookups))

    @property
    def inputs(self) -> tuple[TableVersion, ...]:
        """The table versions that are read: the labels, if they are a table, then the features."""
        return inputs_of(self._spine.table_version, self._tables)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result: labels, then features, without the excluded ones."""
        outputs = [name for plan in self._plans for name in plan.outputs.values()]
        excluded = self.recipe.exclude_columns
        return tuple(name for name in (*self._spine.schema, *outputs) if name not in excluded)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """What a model may learn from: all columns but the label and the moments of lookup."""
        others = {self.recipe.label} | self.recipe.time_columns
        return tuple(name for name in self.columns if name not in others)

    @property
    def reports(self) -> tuple[LookupReport, ...]:
        """What each lookup found, with the count of labels whose key is NULL."""
        return self._result[1]

    def to_polars(self) -> pl.DataFrame:
        """Return the training set.

        Raises
        ------
        TrainingError
            The label is NULL in some rows.
        FeatureLookupError
            A timestamp has values that microseconds cannot hold.
        """
        return self._result[0]

    def to_arrow(self) -> pa.Table:
        """Return the training set as an Arrow table."""
        import polars as pl

        return self.to_polars().to_arrow(compat_level=pl.CompatLevel.oldest())

    def to_pandas(self) -> pd.DataFrame:
        """Return the training set as a pandas frame."""
        return self.to_polars().to_pandas()

    def load_df(self) -> DataFrame:
        """Return the training set as a DataFrame of the active Spark session.

        Raises
        ------
        UsageError
            No Spark session is active.
        """
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session is None:
            raise UsageError(
                "load_df() gives a Spark DataFrame, and no Spark session is active. Start one, or "
                "use to_polars(), to_pandas() or to_arrow()."
            )
        return session.createDataFrame(self.to_arrow())

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """The features that equal the label or say it nearly alone."""
        return suspects(self.to_polars(), self.recipe.label, self.feature_columns)

    def explain(self, row: int, near: int = NEAR) -> RowExplanation:
        """Explain where the features of one row come from, and what was rejected.

        Parameters
        ----------
        row
            Number of the row, from 0.
        near
            How many rejected feature rows to show before the label's moment, and how many after.

        Raises
        ------
        NotFoundError
            There is no such row.
        """
        labels = self._spine.ordered(self.recipe.timestamp)
        if not 0 <= row < labels.height:
            raise NotFoundError(
                f"{self._name} has no row {row}: its {labels.height:,} rows are numbered from 0."
            )
        label = labels.slice(row, 1)
        recipe = self.recipe
        explained = [
            explain_lookup(
                plan,
                label,
                plan.rule(
                    allow_exact_match=recipe.allow_exact_match, known_as_of=recipe.known_as_of
                ),
                near,
            )
            for plan in self._plans
        ]
        return RowExplanation(self._name, row, label.row(0, named=True), tuple(explained))

    def restatement_report(self, known_as_of: datetime | None = None) -> RestatementReport:
        """Say how many labels would have other features if something else were known.

        Parameters
        ----------
        known_as_of
            The fixed day to compare with, with a time zone; None: the recipe's, or else the
            greatest moment at which a feature is looked up.

        Raises
        ------
        FeatureLookupError
            No lookup is by time, or the moment has no time zone.
        """
        labels = self._spine.ordered(self.recipe.timestamp)
        moments = {lookup.timestamp_lookup_key for lookup in self.recipe.feature_lookups} - {None}
        if not moments:
            raise FeatureLookupError(
                f"{self._name}: no lookup is by time, so nothing can be known later or restated."
            )
        if known_as_of is not None and known_as_of.tzinfo is None:
            raise FeatureLookupError(f"known_as_of={known_as_of} has no time zone. Say which.")
        latest = max((labels[name].max() for name in moments if name), key=str, default=None)
        day: Any = known_as_of or self.recipe.known_as_of or latest
        if day is None:
            raise FeatureLookupError(f"{self._name} has no row with a moment of lookup.")
        return restatements(partial(self._features, labels), day)

    def _features(self, labels: pl.DataFrame, known_as_of: datetime | None) -> pl.DataFrame:
        exact = self.recipe.allow_exact_match
        found = look_up(labels, self._plans, allow_exact_match=exact, known_as_of=known_as_of)[0]
        return found.drop(labels.columns)

    @property
    def _name(self) -> str:
        recipe = self.recipe
        return recipe.name if isinstance(recipe, TrainingSetSpec) else "The training set"

    def save(self, name: str) -> Snapshot:
        """Save as the table `training.<name>`; nothing is done if it is up to date.

        The version, and all versions that it was made from, are leased until a person drops the
        leases: `slh vacuum` keeps them.

        Raises
        ------
        UsageError
            The name is no table name in the schema `training`.
        """
        project = self._lake.project
        writer = LakeWriter(self._lake, Run.start(project.folder, project.settings.engine_name))
        saved = self.commit(writer, training_table(name))[0].table_version
        holder = Holder("training_set", str(saved))
        lease_inputs(writer, holder, saved, f"Building {saved} again.")
        return self._lake.read(saved.table, saved.version)

    def commit(self, writer: LakeWriter, table: str) -> tuple[Snapshot, bool]:
        """Commit on behalf of a run; return the version and whether it was there already."""
        mark = recipe_fingerprint(self.recipe, self.inputs, self._spine.digest)
        before = saved_before(self._lake, table, mark)
        if before is not None:
            return before, True
        suspicions = Suspicions(self.recipe.label, self.feature_columns)
        with writer.staging() as folder:
            beside = folder / "beside"
            beside.mkdir()
            rows, reports = self._ranges(beside)
            manifest = write_row_groups(folder / "part-0.parquet", ahead(suspicions.watched(rows)))
            details = {
                "recipe": self._spec(table).model_dump(mode="json"),
                "feature_columns": list(self.feature_columns),
                "lookups": [report.as_dict() for report in reports],
                SUSPECTS: [suspect.as_dict() for suspect in suspicions.suspects()],
            }
            change = Change(OPERATION, mark, inputs=self.inputs, details=details)
            return writer.commit(table, folder, change, manifest=manifest), False

    def _ranges(self, folder: Path) -> tuple[Iterator[pl.DataFrame], tuple[LookupReport, ...]]:
        """Give the rows, one range of them after the other, with the folder in place of memory."""
        if "_result" in vars(self):
            frame, reports = self._result
            return iter([frame]), reports
        memory = self._memory
        labels = self._spine.scan(self.recipe.timestamp, folder, memory)
        found = self._find(labels, memory, folder)
        return map(self._finished, found.ranges()), found.reports

    def _spec(self, table: str) -> TrainingSetSpec:
        fields = {name: getattr(self.recipe, name) for name in Recipe.model_fields}
        labels = self._spine.source.name if self._spine.source else None
        return TrainingSetSpec(name=table, labels=labels, **fields)

    @cached_property
    def _result(self) -> tuple[pl.DataFrame, tuple[LookupReport, ...]]:
        import polars as pl

        found = self._find(self._spine.ordered(self.recipe.timestamp).lazy(), self._memory)
        return pl.concat(map(self._finished, found.ranges())), found.reports

    @property
    def _memory(self) -> Memory:
        return Memory.of(self._lake.project.settings.memory_limit)

    def _find(
        self, labels: pl.LazyFrame, memory: Memory, folder: Path | None = None
    ) -> FoundFeatures:
        recipe = self.recipe
        refuse_null_labels(labels, recipe, self._spine.name)
        return find(
            labels,
            self._plans,
            allow_exact_match=recipe.allow_exact_match,
            known_as_of=recipe.known_as_of,
            memory=memory,
            folder=folder,
        )

    def _finished(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the result's rows, of labels with what the lookups found for them."""
        return rows.select(self.columns)

    def _checked(self) -> list[PlannedLookup]:
        recipe, schema, where = self.recipe, self._spine.schema, self._spine.name
        for column in (recipe.label, recipe.timestamp):
            if column is not None and column not in schema:
                raise NotFoundError.of("column", column, schema, where=where)
        if recipe.timestamp is not None:
            instant_unit(schema[recipe.timestamp], recipe.timestamp, where)
        self._refuse_label_as_input()
        plans = plan_lookups(recipe.feature_lookups, self._tables, schema, where)
        self._check_excluded([*schema, *(out for plan in plans for out in plan.outputs.values())])
        return plans

    def _refuse_label_as_input(self) -> None:
        label = self.recipe.label
        for lookup in self.recipe.feature_lookups:
            table = self._tables[lookup.table_name]
            features = lookup.feature_names or table.features
            if label in map(lookup.output_name, features):
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

    def _check_excluded(self, columns: list[str]) -> None:
        for name in self.recipe.exclude_columns:
            if name not in columns:
                raise NotFoundError.of("column", name, columns, where="exclude_columns")
            if name == self.recipe.label:
                raise FeatureLookupError(f"exclude_columns: {name!r} is the label; it must stay.")


def inputs_of(
    labels: TableVersion | None, tables: Mapping[str, FeatureTable]
) -> tuple[TableVersion, ...]:
    """Return the table versions that a training set reads: labels, if a table, then features."""
    features = [table.snapshot.table_version for table in tables.values()]
    return tuple(dict.fromkeys([*([labels] if labels else []), *features]))


def recipe_fingerprint(
    recipe: Recipe, inputs: tuple[TableVersion, ...], spine_digest: str | None
) -> str:
    """Return the hash of all that decides what a training set holds."""
    rules: dict[str, Any] = recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    tables = [(source.table, *source.content) for source in inputs]
    return fingerprint(OPERATION, RULES_VERSION, rules, tables, spine_digest)


def saved_before(lake: Lakehouse, table: str, fingerprint: str) -> Snapshot | None:
    """Return the newest version of a training set if it has this fingerprint."""
    newest = lake.newest(table)
    if newest is None or newest.record is None or newest.record.fingerprint != fingerprint:
        return None
    return newest
