"""Training sets: labels with the features that were valid and known at each label's moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from sololakehouse.engine import Engine
from sololakehouse.errors import FeatureLookupError, NotFoundError, UsageError
from sololakehouse.features.asof import AsOf
from sololakehouse.features.assembly import FoundFeatures, find, look_up
from sololakehouse.features.computed import with_functions
from sololakehouse.features.explanation import (
    NEAR,
    RowExplanation,
    explain_functions,
    explain_lookup,
)
from sololakehouse.features.extension import LOOKUPS, Extension
from sololakehouse.features.identity import (
    functions_of,
    inputs_of,
    recipe_fingerprint,
    saved_before,
)
from sololakehouse.features.join import LookupReport, PlannedLookup
from sololakehouse.features.plan import plan_recipe
from sololakehouse.features.recipe import Recipe, TrainingSetSpec, training_table
from sololakehouse.features.restatement import RestatementReport, restatements
from sololakehouse.features.spark_join import named
from sololakehouse.features.spark_lookup import handed_over, sent
from sololakehouse.features.spark_lookup import look_up as look_up_on_engine
from sololakehouse.features.spine import Labels, Spine, refuse_null_labels
from sololakehouse.features.suspects import SUSPECTS, Suspect, Suspicions, suspects
from sololakehouse.features.tables import FeatureTable, open_tables
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.commit import TRAINING_SET
from sololakehouse.lake.leases import Holder, lease_inputs
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.reference import parse_moment
from sololakehouse.lake.row_groups import write_row_groups
from sololakehouse.local_time import SETTING
from sololakehouse.pipelines.ahead import ahead
from sololakehouse.provenance import Change, Run, TableVersion

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

Reports: TypeAlias = tuple[LookupReport, ...]


class TrainingSet:
    """Labels with their features, computed when they are asked for.

    The labels are never dropped, repeated or, if they are a frame, reordered. A table has no
    order, so labels from a table or a query are sorted by the recipe's timestamp, then by all their
    columns. All tables are pinned to the versions that they have when the training set is made,
    and functions to the code that they have then.

    Attributes
    ----------
    recipe
        How labels become the training set.
    saved
        The version that holds it; None until it is saved.
    """

    def __init__(
        self,
        lake: Lakehouse,
        recipe: Recipe,
        labels: Labels,
        tables: Mapping[str, FeatureTable],
    ) -> None:
        zone = recipe.time_zone or lake.project.settings.time_zone
        self._spine = Spine(labels, recipe.moments, zone)
        self.recipe = recipe = recipe.model_copy(update={"time_zone": self._spine.time_zone})
        self.saved: Snapshot | None = None
        self._lake = lake
        self._tables = tables
        self._functions = functions_of(lake, recipe)
        schema, where = self._spine.schema, self._spine.name
        self._plan = plan_recipe(recipe, schema, where, tables, self._functions)

    @classmethod
    def create(cls, lake: Lakehouse, recipe: Recipe, labels: Labels) -> TrainingSet:
        """Pin the feature tables and check the recipe; data is read of a query only.

        Raises
        ------
        NotFoundError
            A table or column does not exist.
        FeatureLookupError
            A lookup does not fit its table or the labels, names collide, or the label would also
            be a feature.
        FeatureFunctionError
            A function is not typed, or does not fit the columns.
        """
        pinned = Spine(labels, (), None).inputs
        return cls(lake, recipe, labels, open_tables(lake, recipe.feature_lookups, pinned))

    @property
    def inputs(self) -> tuple[TableVersion, ...]:
        """The table versions that are read: those of the labels, then the features."""
        return inputs_of(self._spine.inputs, self._tables)

    @property
    def labels(self) -> pl.DataFrame:
        """The labels, in their order, with all their columns."""
        return self._spine.ordered(self.recipe.timestamp)

    @property
    def lookups(self) -> tuple[PlannedLookup, ...]:
        """The lookups of the recipe, each with its feature table and the names of its features."""
        return self._plan.lookups

    def rule_of(self, plan: PlannedLookup) -> AsOf:
        """Return the rule that chooses the rows of a lookup."""
        recipe = self.recipe
        return plan.rule(allow_exact_match=recipe.allow_exact_match, known_as_of=recipe.known_as_of)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result: labels, then features, without the excluded ones."""
        columns = (*self._spine.schema, *self._plan.outputs)
        return tuple(name for name in columns if name not in self.recipe.exclude_columns)

    @property
    def feature_columns(self) -> tuple[str, ...]:
        """What a model may learn from: all columns but the label and the time columns."""
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
        FunctionFailedError
            A function failed on a row.
        """
        return self._result[0]

    def write(self, file: Path) -> None:
        """Write the training set to a Parquet file, one range of rows after the other.

        Raises
        ------
        TrainingError, FeatureLookupError, FunctionFailedError
            As `to_polars`.
        """
        with TemporaryDirectory(prefix="beside-", dir=file.parent) as folder:
            write_row_groups(file, ahead(self._ranges(Path(folder))[0]))

    def to_arrow(self) -> pa.Table:
        """Return the training set as an Arrow table."""
        import polars as pl

        return self.to_polars().to_arrow(compat_level=pl.CompatLevel.oldest())

    def to_pandas(self) -> pd.DataFrame:
        """Return the training set as a pandas frame."""
        return self.to_polars().to_pandas()

    def load_df(self) -> DataFrame:
        """Return the training set as a DataFrame of the active Spark session, in its order.

        In a session of `Lakehouse.engine()` on a server, the server reads the tables and looks the
        features up when the DataFrame is asked for its rows. Elsewhere they are looked up at once,
        in this process. The rows are those of `to_polars()`.

        Raises
        ------
        UsageError
            No Spark session is active.
        TrainingError
            The label is NULL in some rows.
        """
        from pyspark.sql import SparkSession

        session = SparkSession.getActiveSession()
        if session is None:
            raise UsageError(
                "load_df() gives a Spark DataFrame, and no Spark session is active. Start one, or "
                "use to_polars(), to_pandas() or to_arrow()."
            )
        engine = Engine.of(session)
        if engine is None:
            return sent(session, self.to_polars())
        if engine.is_embedded or self._plan.functions:
            return handed_over(engine, self.to_polars())
        return self._on_server(engine)

    def _on_server(self, engine: Engine) -> DataFrame:
        recipe = self.recipe
        refuse_null_labels(self._spine.without_label(recipe).lazy(), recipe, self._spine.name)
        found = look_up_on_engine(
            engine,
            self._spine.sortable_table or self.labels,
            [(plan, self.rule_of(plan)) for plan in self.lookups],
            recipe.timestamp,
        )
        return found.select(*map(named, self.columns))

    @property
    def suspects(self) -> tuple[Suspect, ...]:
        """The features that equal the label or say it nearly alone."""
        return self._suspects(self.to_polars())

    def _suspects(self, rows: pl.DataFrame) -> tuple[Suspect, ...]:
        return suspects(rows, self.recipe.label, self.feature_columns)

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
        labels = self.labels
        if not 0 <= row < labels.height:
            raise NotFoundError(
                f"{self._name} has no row {row}: its {labels.height:,} rows are numbered from 0."
            )
        label = labels.slice(row, 1)
        explained = [explain_lookup(plan, label, self.rule_of(plan), near) for plan in self.lookups]
        computed = explain_functions(
            self._plan.functions, label, zip(self.lookups, explained, strict=True)
        )
        shown = label.row(0, named=True)
        return RowExplanation(self._name, row, shown, tuple(explained), computed)

    def restatement_report(self, known_as_of: datetime | None = None) -> RestatementReport:
        """Say how many labels would have other features if something else were known.

        Parameters
        ----------
        known_as_of
            The fixed day to compare with, with a time zone unless the project declares one; None:
            the recipe's, or else the greatest moment at which a feature is looked up.

        Raises
        ------
        FeatureLookupError
            No lookup is by time, or the day has no time zone and the project declares none.
        """
        labels = self._spine.ordered(self.recipe.timestamp)
        columns = {lookup.timestamp_lookup_key for lookup in self.recipe.feature_lookups} - {None}
        if not columns:
            raise FeatureLookupError(
                f"{self._name}: no lookup is by time, so nothing can be known later or restated."
            )
        zone = self._lake.project.settings.time_zone
        if known_as_of is not None and known_as_of.tzinfo is None and zone is None:
            raise FeatureLookupError(
                f"known_as_of={known_as_of} has no time zone. Say which, or declare {SETTING}."
            )
        if known_as_of is not None:
            known_as_of = parse_moment(known_as_of, zone)
        moments = [labels[name].drop_nulls() for name in columns if name]
        latest = max((column.max() for column in moments if len(column)), default=None)  # type: ignore[type-var]
        day: Any = known_as_of or self.recipe.known_as_of or latest
        if day is None:
            raise FeatureLookupError(f"{self._name} has no row with a moment of lookup.")
        return restatements(partial(self._features, labels), day)

    def _features(self, labels: pl.DataFrame, known_as_of: datetime | None) -> pl.DataFrame:
        exact = self.recipe.allow_exact_match
        found = look_up(
            labels, self._plan.lookups, allow_exact_match=exact, known_as_of=known_as_of
        )[0]
        return with_functions(found, self._plan.functions).drop(labels.columns)

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
        self.saved = self._lake.read(saved.table, saved.version)
        return self.saved

    def commit(self, writer: LakeWriter, table: str) -> tuple[Snapshot, bool]:
        """Commit on behalf of a run; return the version and whether it was there already."""
        mark = recipe_fingerprint(self.recipe, self.inputs, self._spine.digest, self._functions)
        before = saved_before(self._lake, table, mark)
        if before is not None:
            return before, True
        extension, why_not = self._extension(self._lake.newest(table))
        suspicions = Suspicions(self.recipe.label, self.feature_columns, self._spine.height)
        with writer.staging() as folder:
            beside = folder / "beside"
            beside.mkdir()
            rows, reports = self._extended(extension) if extension else self._ranges(beside)
            manifest = write_row_groups(folder / "part-0.parquet", ahead(suspicions.watched(rows)))
            details = {
                "recipe": self._spec(table).model_dump(mode="json"),
                "functions": self._functions.fingerprints,
                "feature_tables": {name: t.definition for name, t in self._tables.items()},
                "feature_columns": list(self.feature_columns),
                LOOKUPS: [report.as_dict() for report in reports],
                SUSPECTS: [suspect.as_dict() for suspect in suspicions.suspects()],
                "computed": {"kept": extension.reused} if extension else {"in full": why_not},
            }
            change = Change(TRAINING_SET, mark, inputs=self.inputs, details=details)
            return writer.commit(table, folder, change, manifest=manifest), False

    def _extended(self, extension: Extension) -> tuple[Iterator[pl.DataFrame], Reports]:
        """Give the rows of the saved version beside those of the new labels."""
        rows, reports = extension.rows(self.columns, self._found)
        return iter([rows]), reports

    def _ranges(self, folder: Path) -> tuple[Iterator[pl.DataFrame], Reports]:
        """Give the rows, one range of them after the other, with the folder in place of memory."""
        if "_result" in vars(self):
            frame, reports = self._result
            return iter([frame]), reports
        memory = self._memory
        labels = self._spine.scan(self.recipe.timestamp, folder, memory)
        found = self._find(labels, memory, folder)
        return map(self._finished, found.ranges()), found.reports

    def _extension(self, before: Snapshot | None) -> tuple[Extension | None, str]:
        labels = self._spine.table
        if before is None:
            return None, "there was no version before"
        if labels is None:
            return None, "the labels are no table"
        if not self._is_of_this_recipe(before):
            return None, f"{before} was made by another recipe, rule or function"
        if not self._memory.holds(labels.rows, len(self.columns)):
            return None, "it is larger than memory_limit allows to be held at once"
        extension = Extension(
            self._lake, before, self._spine, labels, self.recipe, self._plan.lookups
        )
        obstacle = extension.obstacle()
        return (None, obstacle) if obstacle else (extension, "")

    def _is_of_this_recipe(self, before: Snapshot) -> bool:
        record = before.record
        if record is None or record.content_operation != TRAINING_SET:
            return False
        same = recipe_fingerprint(self.recipe, record.inputs, None, self._functions)
        return record.fingerprint == same

    def _spec(self, table: str) -> TrainingSetSpec:
        fields = {name: getattr(self.recipe, name) for name in Recipe.model_fields}
        sources = dict(self._functions.sources)
        return TrainingSetSpec(
            name=table, labels=self._spine.source, function_sources=sources, **fields
        )

    @cached_property
    def _result(self) -> tuple[pl.DataFrame, Reports]:
        return self._found(self._spine.ordered(self.recipe.timestamp))

    def _found(self, labels: pl.DataFrame) -> tuple[pl.DataFrame, Reports]:
        import polars as pl

        found = self._find(labels.lazy(), self._memory)
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
            self._plan.lookups,
            allow_exact_match=recipe.allow_exact_match,
            known_as_of=recipe.known_as_of,
            memory=memory,
            folder=folder,
        )

    def _finished(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the result's rows, of labels with what the lookups found for them."""
        return with_functions(rows, self._plan.functions).select(self.columns)
