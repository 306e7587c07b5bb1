"""Training sets: labels with the features that were valid and known at each label's moment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pydantic import AwareDatetime, Field

from sololakehouse.config import TABLE_NAME, Settings
from sololakehouse.errors import (
    FeatureLookupError,
    NotFoundError,
    RunError,
    TrainingError,
    UsageError,
)
from sololakehouse.features.asof import instant_unit
from sololakehouse.features.explanation import NEAR, RowExplanation, explain_lookup
from sololakehouse.features.join import LookupReport, PlannedLookup, look_up, plan_lookups
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.restatement import RestatementReport, restatements
from sololakehouse.features.suspects import SUSPECTS, Suspect, suspects
from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.contract import counted, described_row
from sololakehouse.lake.leases import Holder, lease_inputs
from sololakehouse.provenance import Change, Run, TableVersion, content_manifest, fingerprint

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa
    from pyspark.sql import DataFrame

OPERATION = "TRAINING SET"
SCHEMA = "training"
# Part of every fingerprint. Raise it when a change of the rules or of their code can change what
# a training set holds.
RULES_VERSION = 1
_EXAMPLES = 3


class Recipe(Settings):
    """How labels become a training set.

    Attributes
    ----------
    label
        Column of the labels to predict; a NULL in it is refused.
    timestamp
        Column of the labels by which a table of labels is ordered and data is split.
    feature_lookups
        What to look up; the features follow the labels' columns in this order.
    exclude_columns
        Columns of labels or features that the result does not have; they may still be lookup keys.
    allow_exact_match
        Whether a feature row of exactly the label's moment is visible.
    known_as_of
        Replay what could be known at this moment, with a time zone; None: what was known at each
        label's moment.
    """

    label: str
    timestamp: str | None = None
    feature_lookups: tuple[FeatureLookup, ...] = ()
    exclude_columns: tuple[str, ...] = ()
    allow_exact_match: bool = True
    known_as_of: AwareDatetime | None = None

    @property
    def time_columns(self) -> frozenset[str]:
        """Columns of the labels that hold a moment to look up or split by: never features."""
        lookups = {lookup.timestamp_lookup_key for lookup in self.feature_lookups}
        return frozenset(name for name in (self.timestamp, *lookups) if name)


class TrainingSetSpec(Recipe):
    """A recipe with a name and a table of labels, as in an experiment file.

    Attributes
    ----------
    name
        The table to save to, `training.<name>`.
    labels
        The table of labels. None in the record of a training set whose labels came as a frame.
    """

    name: str = Field(pattern=rf"^{SCHEMA}\.[A-Za-z_][A-Za-z0-9_]*$")
    labels: str | None = Field(default=None, pattern=TABLE_NAME)


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
        self._labels = labels
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
        labels = self._source.table_version if self._source else None
        return _inputs(labels, self._tables)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the result: labels, then features, without the excluded ones."""
        outputs = [name for plan in self._plans for name in plan.outputs.values()]
        excluded = self.recipe.exclude_columns
        return tuple(name for name in (*self._schema, *outputs) if name not in excluded)

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
        labels = self._ordered_labels()
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
        labels = self._ordered_labels()
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
        mark = _mark(self.recipe, self.inputs, self._frame_digest)
        before = _up_to_date(self._lake, table, mark)
        if before is not None:
            return before, True
        change = Change(
            operation=OPERATION,
            fingerprint=mark,
            inputs=self.inputs,
            details={
                "recipe": self._spec(table).model_dump(mode="json"),
                "feature_columns": list(self.feature_columns),
                "lookups": [report.as_dict() for report in self.reports],
                SUSPECTS: [suspect.as_dict() for suspect in self.suspects],
            },
        )
        return writer.write_frame(table, self.to_polars(), change), False

    def _spec(self, table: str) -> TrainingSetSpec:
        fields = {name: getattr(self.recipe, name) for name in Recipe.model_fields}
        labels = self._source.name if self._source else None
        return TrainingSetSpec(name=table, labels=labels, **fields)

    @property
    def _source(self) -> Snapshot | None:
        return self._labels if isinstance(self._labels, Snapshot) else None

    @property
    def _where(self) -> str:
        return self._source.name if self._source else "the labels"

    @cached_property
    def _schema(self) -> dict[str, pl.DataType]:
        if isinstance(self._labels, Snapshot):
            return dict(self._labels.schema)
        return dict(self._labels.schema)

    @cached_property
    def _frame_digest(self) -> str | None:
        if isinstance(self._labels, Snapshot):
            return None
        # The manifest knows no order of rows, but a frame has one: number them.
        return content_manifest(self._labels.with_row_index("row number")).digest

    @cached_property
    def _result(self) -> tuple[pl.DataFrame, tuple[LookupReport, ...]]:
        labels = self._ordered_labels()
        self._refuse_null_labels(labels)
        recipe = self.recipe
        joined, reports = look_up(
            labels,
            self._plans,
            allow_exact_match=recipe.allow_exact_match,
            known_as_of=recipe.known_as_of,
        )
        return joined.select(self.columns), reports

    def _ordered_labels(self) -> pl.DataFrame:
        if not isinstance(self._labels, Snapshot):
            return self._labels
        frame = self._labels.to_polars()
        first = [self.recipe.timestamp] if self.recipe.timestamp else []
        return frame.sort([*first, *(name for name in frame.columns if name not in first)])

    def _refuse_null_labels(self, labels: pl.DataFrame) -> None:
        import polars as pl

        label = self.recipe.label
        missing = labels[label].null_count()
        if missing:
            keys = [key for lookup in self.recipe.feature_lookups for key in lookup.lookup_key]
            shown = dict.fromkeys([*keys, *sorted(self.recipe.time_columns), label])
            rows = labels.filter(pl.col(label).is_null()).select(list(shown)).head(_EXAMPLES)
            examples = "; ".join(described_row(row) for row in rows.to_dicts())
            raise TrainingError(
                f"{self._where}: the label {label!r} must be set, but {counted(missing)} a NULL "
                f"there. Examples: {examples}."
            )

    def _checked(self) -> list[PlannedLookup]:
        recipe, schema, where = self.recipe, self._schema, self._where
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
            f"{spec.name} names no table under 'labels'. Labels that came as a frame can be saved "
            "only with TrainingSet.save()."
        )
    labels = lake.read(spec.labels)
    tables = open_tables(lake, spec.feature_lookups)
    before = _up_to_date(lake, spec.name, _mark(spec, _inputs(labels.table_version, tables), None))
    if before is not None:
        return before, True
    return TrainingSet(lake, spec, labels, tables).commit(writer, spec.name)


def open_tables(
    lake: Lakehouse, lookups: tuple[FeatureLookup, ...], versions: tuple[TableVersion, ...] = ()
) -> dict[str, FeatureTable]:
    """Pin the feature tables of lookups to the given versions, or else to the newest.

    Raises
    ------
    RunError
        A table of the given versions has been dropped and made anew.
    """
    pinned = {pin.table: pin for pin in versions}
    return {name: _opened(lake, name, pinned.get(name)) for name in _table_names(lookups)}


def training_table(name: str) -> str:
    """Return the table for a training set's name, with or without its schema.

    Examples
    --------
    >>> training_table("flight_delay"), training_table("training.flight_delay")
    ('training.flight_delay', 'training.flight_delay')
    """
    table = name if "." in name else f"{SCHEMA}.{name}"
    if not table.startswith(f"{SCHEMA}."):
        raise UsageError(
            f"A training set is saved in the schema {SCHEMA!r}: write {SCHEMA}.NAME, not {name!r}."
        )
    return table


def _table_names(lookups: tuple[FeatureLookup, ...]) -> list[str]:
    return sorted({lookup.table_name for lookup in lookups})


def _opened(lake: Lakehouse, name: str, pin: TableVersion | None) -> FeatureTable:
    table = FeatureTable.open(lake, name, pin.version if pin else None)
    if pin and pin.table_id != table.snapshot.table_id:
        raise RunError(
            f"{name} has been dropped and made anew: version {pin.version} is not the one that "
            "was asked for."
        )
    return table


def _inputs(
    labels: TableVersion | None, tables: Mapping[str, FeatureTable]
) -> tuple[TableVersion, ...]:
    features = [table.snapshot.table_version for table in tables.values()]
    return tuple(dict.fromkeys([*([labels] if labels else []), *features]))


def _mark(recipe: Recipe, inputs: tuple[TableVersion, ...], frame_digest: str | None) -> str:
    rules: dict[str, Any] = recipe.model_dump(mode="json", include=set(Recipe.model_fields))
    tables = [(source.table, *source.content) for source in inputs]
    return fingerprint(OPERATION, RULES_VERSION, rules, tables, frame_digest)


def _up_to_date(lake: Lakehouse, table: str, mark: str) -> Snapshot | None:
    newest = lake.newest(table)
    found = newest is not None and newest.record is not None and newest.record.fingerprint == mark
    return newest if found else None
