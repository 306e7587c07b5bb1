"""The client for features, with Databricks' names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from sololakehouse.config import validation_mistakes
from sololakehouse.errors import FeatureLookupError, UsageError, suggestion
from sololakehouse.feature_engineering.redefinition import redefinition, written_definition
from sololakehouse.features.frames import as_polars
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.training_set import TrainingSet
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.redefinition import Redefinition
from sololakehouse.pipelines.ingested import INGEST
from sololakehouse.provenance import Change, Run, content_manifest, fingerprint

if TYPE_CHECKING:
    import polars as pl

WRITE = "FEATURE TABLE WRITE"
_COMPUTED = ("MATERIALIZED VIEW", "STREAMING TABLE")


class FeatureEngineeringClient:
    """Make, read and write feature tables, and build training sets from them.

    Parameters
    ----------
    lakehouse
        The project's tables; default: the project in or above the current folder.

    Examples
    --------
    >>> fe = FeatureEngineeringClient()
    >>> training_set = fe.create_training_set(
    ...     df="gold.flight_labels",
    ...     feature_lookups=[
    ...         FeatureLookup(
    ...             table_name="features.origin_weather",
    ...             lookup_key="origin",
    ...             timestamp_lookup_key="predict_at",
    ...         )
    ...     ],
    ...     label="is_late",
    ... )
    >>> training_set.feature_columns
    ('origin', 'temp')
    >>> training_set.save("flight_delay")
    Snapshot(training.flight_delay@v1)
    """

    def __init__(self, lakehouse: Lakehouse | None = None) -> None:
        self._lake = lakehouse or Lakehouse.open()

    def create_table(
        self,
        *,
        name: str,
        primary_keys: str | Sequence[str],
        df: Any,
        timeseries_columns: str | Sequence[str] | None = None,
        known_at: str | None = None,
        description: str | None = None,
    ) -> FeatureTable:
        """Create a feature table from a frame.

        Parameters
        ----------
        name
            `schema.table`, as a rule in the schema `features`.
        primary_keys
            The key columns. As on Databricks, they may include the timestamp.
        df
            A Polars, pandas, Arrow or Spark frame.
        timeseries_columns
            The one column with the moment from which a row's values may be used; None for a table
            whose rows do not change over time.
        known_at
            Column with the moment when a row became known, for values that are restated later.
            Databricks has no such thing.
        description
            What the table holds.

        Raises
        ------
        UsageError
            The table exists.
        FeatureTableError
            Keys and times are not set, not unique or of a type that cannot be joined.
        """
        if self._lake.exists(name):
            raise UsageError(
                f"{name} exists. Write to it with write_table, or choose another name."
            )
        timestamp = _timestamp(name, timeseries_columns)
        keys = tuple(key for key in _names(primary_keys) if key != timestamp)
        declared = FeatureContract(keys, timestamp, known_at).properties
        contract = FeatureContract.from_properties(declared)
        details = {"comment": description} if description else {}
        frame = as_polars(df, f"the rows of {name}")
        return self._write(name, frame, contract or FeatureContract(keys), details)

    def get_table(self, *, name: str) -> FeatureTable:
        """Return a feature table with its keys, times and features.

        Raises
        ------
        NotFoundError
            There is no such table.
        FeatureLookupError
            The table is no feature table.
        """
        return FeatureTable.open(self._lake, name)

    def read_table(self, *, name: str, as_of_version: int | None = None) -> Snapshot:
        """Return a feature table at a version (default: the newest), to read as any frame.

        Raises
        ------
        NotFoundError
            There is no such table or version.
        """
        return FeatureTable.open(self._lake, name, as_of_version).snapshot

    def write_table(
        self,
        *,
        name: str,
        df: Any,
        mode: Literal["merge", "overwrite"] = "merge",
        redefine: str | None = None,
    ) -> FeatureTable:
        """Write rows to a feature table; nothing is committed if it holds them already.

        Parameters
        ----------
        df
            A Polars, pandas, Arrow or Spark frame.
        mode
            `merge` replaces the rows with the same keys and times and adds the others; the frame
            needs all columns of the table. `overwrite` replaces all rows, and may change features.
        redefine
            Why `overwrite` may change columns that a model in staging or production uses, or the
            type of a key or timestamp; kept in the commit.

        Raises
        ------
        UsageError
            The mode is unknown, a pipeline or `slh ingest` fills the table, or the columns do not
            fit.
        RedefinitionError
            Columns that somebody counts on would change, and `redefine` does not say why.
        FeatureTableError
            Keys and times are not set, not unique or of a type that cannot be joined.
        """
        if mode not in ("merge", "overwrite"):
            hint = suggestion(str(mode), ("merge", "overwrite"), "mode")
            raise UsageError(f"write_table has no mode {mode!r}. {hint}")
        if redefine is not None and mode == "merge":
            raise UsageError("'redefine' goes with mode='overwrite': a merge changes no column.")
        table = FeatureTable.open(self._lake, name)
        _refuse_filled(table)
        frame = as_polars(df, f"the rows of {name}")
        table.contract.check_types(frame.schema, name)
        change = None if mode == "merge" else redefinition(self._lake, table, frame, redefine)
        details = {"comment": table.description} if table.description else {}
        rows = _merged(table, frame) if mode == "merge" else frame
        return self._write(name, rows, table.contract, details, change)

    def create_training_set(
        self,
        *,
        df: Any,
        feature_lookups: Sequence[FeatureLookup],
        label: str,
        exclude_columns: Sequence[str] | None = None,
        timestamp: str | None = None,
        allow_exact_match: bool = True,
        known_as_of: datetime | None = None,
    ) -> TrainingSet:
        """Look up features for labels, each as of its own moment.

        Parameters
        ----------
        df
            Labels with lookup keys and timestamps: the name of a table, or a Polars, pandas, Arrow
            or Spark frame.
        feature_lookups
            What to look up.
        label
            Column to predict; a NULL in it is refused.
        exclude_columns
            Columns of labels or features that the training set does not have.
        timestamp
            Column by which labels from a table are ordered, and data is split later.
        allow_exact_match
            Whether a feature row of exactly the label's moment is visible.
        known_as_of
            Replay what could be known at this moment, with a time zone; None: what was known at
            each label's moment.

        Raises
        ------
        NotFoundError
            A table or column does not exist.
        FeatureLookupError
            A lookup does not fit its table or the labels, names collide, or the label would also
            be a feature.
        """
        try:
            recipe = Recipe(
                label=label,
                timestamp=timestamp,
                feature_lookups=tuple(feature_lookups),
                exclude_columns=tuple(exclude_columns or ()),
                allow_exact_match=allow_exact_match,
                known_as_of=known_as_of,
            )
        except ValidationError as error:
            mistakes = validation_mistakes(error, Recipe)
            raise FeatureLookupError(f"create_training_set: {mistakes}") from error
        labels = self._lake.read(df) if isinstance(df, str) else as_polars(df, "the labels")
        return TrainingSet.create(self._lake, recipe, labels)

    def _write(
        self,
        name: str,
        rows: pl.DataFrame,
        contract: FeatureContract,
        details: dict[str, Any],
        redefinition: Redefinition | None = None,
    ) -> FeatureTable:
        contract.check_types(rows.schema, name)
        ordered = rows.sort(contract.identity)
        manifest = content_manifest(ordered)
        types = [(column, str(kind)) for column, kind in ordered.schema.items()]
        mark = fingerprint(WRITE, contract.properties, details, types, manifest.digest)
        newest = self._lake.newest(name)
        if newest is None or newest.record is None or newest.record.fingerprint != mark:
            project = self._lake.project
            writer = LakeWriter(self._lake, Run.start(project.folder, project.settings.engine_name))
            kept = written_definition(contract, ordered).details
            why = redefinition.details if redefinition else {}
            change = Change(operation=WRITE, fingerprint=mark, details=details | kept | why)
            newest = writer.write_frame(name, ordered, change, properties=contract.properties)
        return FeatureTable(newest, contract)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _timestamp(name: str, timeseries_columns: str | Sequence[str] | None) -> str | None:
    columns = _names(timeseries_columns or ())
    if len(columns) > 1:
        raise UsageError(
            f"{name}: a feature table has one timestamp, and timeseries_columns names "
            f"{len(columns)}: {', '.join(columns)}."
        )
    return columns[0] if columns else None


def _refuse_filled(table: FeatureTable) -> None:
    record = table.snapshot.record
    operation = record.content_operation if record else None
    if record is not None and operation in _COMPUTED:
        place = record.details.get("place", "its pipeline")
        raise UsageError(
            f"{table.name} is computed by the pipeline: change its definition ({place}) instead of "
            "writing to it."
        )
    if record is not None and operation == INGEST:
        source = record.details.get("source", "its source")
        raise UsageError(
            f"{table.name} is filled by 'slh ingest {source}': deliver the rows as a landing file "
            "instead of writing to it."
        )


def _merged(table: FeatureTable, frame: pl.DataFrame) -> pl.DataFrame:
    stored = table.snapshot.to_polars()
    _require_same_columns(table, stored, frame)
    table.contract.check(frame.lazy(), table.name)
    identity = list(table.contract.identity)
    kept = stored.join(frame, on=identity, how="anti")
    return kept.vstack(frame.select(stored.columns))


def _require_same_columns(table: FeatureTable, stored: pl.DataFrame, frame: pl.DataFrame) -> None:
    known, given = stored.schema, frame.schema
    mistakes = [f"{name} is missing" for name in known if name not in given]
    mistakes += [f"{name} is not in the table" for name in given if name not in known]
    mistakes += [
        f"{name} is {given[name]} and not {kind}"
        for name, kind in known.items()
        if name in given and given[name] != kind and not _are_instants(given[name], kind)
    ]
    if mistakes:
        raise UsageError(
            f"{table.name}: the rows do not have the table's columns: {', '.join(mistakes)}. "
            "Use mode='overwrite' to change the table's columns."
        )


def _are_instants(*kinds: pl.DataType) -> bool:
    import polars as pl

    return all(isinstance(kind, pl.Datetime) and kind.time_zone for kind in kinds)
