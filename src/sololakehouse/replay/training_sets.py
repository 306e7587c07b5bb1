"""Training sets under replay: their recipe over tables that hold what was known at a moment."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import SCHEMA, TrainingSetSpec
from sololakehouse.features.saved import open_labels
from sololakehouse.features.spine import Spine
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.training_set import TrainingSet
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.models.experiment import Experiment, load_experiment
from sololakehouse.pipelines import sql
from sololakehouse.replay.comparing import ROWS, Compared, compare

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class ReplayedSet:
    """A training set by its recipe, and the experiment that learns from it, if one does."""

    spec: TrainingSetSpec
    experiment: Experiment | None = None

    @property
    def name(self) -> str:
        """`training.NAME`."""
        return self.spec.name

    def as_read(self, lake: Lakehouse) -> TrainingSetSpec:
        """Return the recipe as it is saved: with the zone in which labels are read, if any is.

        Where a zone is declared, a query for labels is run to see that.
        """
        spec = self.spec
        zone = spec.time_zone or lake.project.settings.time_zone
        if zone is None or spec.labels is None:
            return spec
        spine = Spine(open_labels(lake, spec.labels, zone=zone), spec.moments, zone)
        return spec.model_copy(update={"time_zone": spine.time_zone})

    @property
    def label_tables(self) -> tuple[str, ...]:
        """The tables that the labels come from; none if they came as a frame."""
        labels = self.spec.labels
        if labels is None:
            return ()
        return tuple(sorted(sql.tables_in_query(labels))) if sql.is_select(labels) else (labels,)

    @property
    def feature_tables(self) -> tuple[str, ...]:
        """The feature tables that are looked up."""
        return tuple(sorted({one.table_name for one in self.spec.feature_lookups}))

    @property
    def tables(self) -> tuple[str, ...]:
        """All tables that it is made from."""
        return (*self.label_tables, *self.feature_tables)


def training_sets_of(lake: Lakehouse) -> list[ReplayedSet]:
    """Return the training sets of the project's experiments, then the other saved ones."""
    found: dict[str, ReplayedSet] = {}
    for file in lake.project.settings.experiments:
        experiment = load_experiment(lake.project, Path(file))
        known = ReplayedSet(experiment.training_set, experiment)
        found.setdefault(known.name, known)
    for name in lake.table_names():
        if name.startswith(f"{SCHEMA}.") and name not in found:
            record = lake.read(name).record
            recipe = record.details.get("recipe") if record else None
            if recipe:
                found[name] = ReplayedSet(TrainingSetSpec.model_validate(recipe))
    return list(found.values())


class SetUnderReplay:
    """A training set by the full history, to hold replayed ones against.

    Its rows are told apart by a column of the labels that is unique, or else by the lookups' keys
    and the timestamp. Columns that the recipe leaves out are not compared.
    """

    def __init__(self, lake: Lakehouse, one: ReplayedSet) -> None:
        self.one = one
        self._lake = lake
        self._recipe = one.spec.model_copy(update={"exclude_columns": ()})
        self._contracts: dict[str, FeatureContract] = {}
        self._making = Lock()

    @property
    def full(self) -> pl.DataFrame:
        """All rows by the full history; threads may ask side by side."""
        with self._making:
            return self._full

    @cached_property
    def _full(self) -> pl.DataFrame:
        labels = open_labels(self._lake, str(self.one.spec.labels), zone=self.one.spec.time_zone)
        made = TrainingSet.create(self._lake, self._recipe, labels)
        self._label_columns = tuple(labels.schema)
        self._contracts = {plan.table.name: plan.table.contract for plan in made.lookups}
        return made.to_polars()

    @cached_property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell rows apart."""
        spec, full = self.one.spec, self.full
        not_keys = {spec.label, spec.label_known_at}
        for name in self._label_columns:
            kind = full.schema[name]
            if name not in not_keys and not (kind.is_float() or kind.is_nested()):
                values = full[name]
                if values.null_count() == 0 and values.n_unique() == full.height:
                    return (name,)
        keys = [key for lookup in spec.feature_lookups for key in lookup.lookup_key]
        return tuple(dict.fromkeys([*keys, *([spec.timestamp] if spec.timestamp else [])]))

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns that come from the labels, which are opened for it."""
        with self._making:
            _ = self._full
        return self._label_columns

    @property
    def compared_columns(self) -> tuple[str, ...]:
        """The columns that are compared."""
        spec = self.one.spec
        out = {*self.identity, *spec.exclude_columns}
        names = [name for name in self.full.columns if name not in out]
        if spec.label_known_at is None:
            names.remove(spec.label)
        return tuple(names)

    def compared(
        self,
        scratch: Lakehouse,
        cutoff: datetime | None,
        differ: Collection[str] = (),
        *,
        joined: bool = True,
    ) -> Compared:
        """Make the training set from a scratch lakehouse, and compare its rows up to the cutoff.

        The label and the moment when it was known are compared where they were known by then, and
        only a row whose label was known must be there.

        Parameters
        ----------
        differ
            Feature tables that were found to differ up to the cutoff.
        joined
            Whether features are looked up even if none of their tables differs. Otherwise the
            features of equal labels are equal, since a lookup sees nothing after its moment, and
            only the labels are compared.
        """
        import polars as pl

        spec, columns = self.one.spec, self.compared_columns
        full, labels = self.full, self.labels_of(scratch)
        judged: dict[str, pl.Expr] = {}
        if cutoff is not None and spec.timestamp is not None:
            seen = pl.col(spec.timestamp) <= cutoff
            full, labels = full.filter(seen), labels.filter(seen)
            if spec.label_known_at is not None:
                known = (pl.col(spec.label_known_at) <= cutoff).fill_null(value=False)
                judged = dict.fromkeys((ROWS, spec.label, spec.label_known_at), known)
        if joined or not self._looks_up_alike(differ):
            tables = self._tables_of(scratch)
            labels = TrainingSet(scratch, self._recipe, labels, tables).to_polars()
        else:
            columns = tuple(name for name in columns if name in labels.columns)
        return compare(full, labels, self.identity, spec.timestamp, columns, judged)

    def _looks_up_alike(self, differ: Collection[str]) -> bool:
        spec = self.one.spec
        moments = {lookup.timestamp_lookup_key for lookup in spec.feature_lookups}
        return not set(self.one.feature_tables) & set(differ) and moments <= {None, spec.timestamp}

    def labels_of(self, scratch: Lakehouse) -> pl.DataFrame:
        """Return the labels with something in place of a label that is not known yet."""
        import polars as pl

        spec = self.one.spec
        labels = open_labels(scratch, str(spec.labels), zone=spec.time_zone)
        zone = spec.time_zone or scratch.project.settings.time_zone
        rows = Spine(labels, spec.moments, zone).rows
        label = spec.label
        filled = pl.col(label).fill_null(self.full[label].drop_nulls().first())
        return rows.with_columns(filled)

    def _tables_of(self, scratch: Lakehouse) -> Mapping[str, FeatureTable]:
        lookups: tuple[FeatureLookup, ...] = self.one.spec.feature_lookups
        return {
            name: FeatureTable(scratch.read(name), self._contracts[name])
            for name in sorted({lookup.table_name for lookup in lookups})
        }
