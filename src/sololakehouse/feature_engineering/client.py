"""The client for features, with Databricks' names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from sololakehouse.config.moment import in_zone
from sololakehouse.config.validation import validation_mistakes
from sololakehouse.errors import FeatureLookupError, UsageError, suggestion
from sololakehouse.feature_engineering.arguments import (
    declared_contract,
    declared_tags,
    lookups_in,
    names_in,
    one_label,
)
from sololakehouse.feature_engineering.redefinition import redefinition, written_definition
from sololakehouse.feature_engineering.rows import first_rows, merged, refuse_filled
from sololakehouse.features.frames import as_polars
from sololakehouse.features.function import FeatureFunction
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.saved import open_labels
from sololakehouse.features.spine import Labels
from sololakehouse.features.storable import refuse_untyped
from sololakehouse.features.tables import FeatureTable
from sololakehouse.features.training_set import TrainingSet
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.redefinition import Redefinition
from sololakehouse.provenance import Change, Run, content_manifest, fingerprint

if TYPE_CHECKING:
    from types import ModuleType

    import polars as pl

    from sololakehouse.models.registry import ModelVersion

WRITE = "FEATURE TABLE WRITE"


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
        df: Any = None,
        timeseries_columns: str | Sequence[str] | None = None,
        known_at: str | None = None,
        schema: Any = None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> FeatureTable:
        """Create a feature table from a frame, or an empty one from a schema.

        Parameters
        ----------
        name
            `schema.table`, as a rule in the schema `features`.
        primary_keys
            The key columns. As on Databricks, they may include the timestamp.
        df
            A Polars, pandas, Arrow or Spark frame; None: the table has no rows yet.
        timeseries_columns
            The one column with the moment from which a row's values may be used; None for a table
            whose rows do not change over time.
        known_at
            Column with the moment when a row became known, for values that are restated later.
            Databricks has no such thing.
        schema
            Columns with their types, as a Spark StructType, an Arrow schema or a dict of Polars
            types; a frame that is given too must have exactly these.
        description
            What the table holds.
        tags
            Texts by name, such as `{"team": "weather"}`.

        Raises
        ------
        UsageError
            The table exists or is in the schema `system`, no key is named, there is neither a
            frame nor a schema, or they differ.
        FeatureTableError
            Keys and times are not set, not unique or of a type that cannot be joined.
        """
        self._refuse_name(name)
        contract = declared_contract(name, primary_keys, timeseries_columns, known_at)
        details = {"comment": description} if description else {}
        found = declared_tags(name, tags)
        about = details | ({"tags": found} if found else {})
        rows = first_rows(name, df, schema, self._zone)
        with table_lock(self._lake.project.warehouse, name):
            self._refuse_name(name)
            return self._write(name, rows, contract, about)

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
            `merge` writes to the rows with the same keys and times and adds the others. Features
            that the frame does not have stay as they are, and are NULL in added rows; features
            that the table does not have are added to it. `overwrite` replaces all rows, and may
            change features.
        redefine
            Why the columns of a table may change that a model in staging or production uses, or
            the type of a key or timestamp; kept in the commit.

        Raises
        ------
        UsageError
            The mode is unknown, a pipeline or `slh ingest` fills the table, or the types of columns
            do not fit.
        RedefinitionError
            Columns that somebody counts on would change, and `redefine` does not say why.
        FeatureTableError
            Keys and times are not set, not unique or of a type that cannot be joined.
        """
        if mode not in ("merge", "overwrite"):
            hint = suggestion(str(mode), ("merge", "overwrite"), "mode")
            raise UsageError(f"write_table has no mode {mode!r}. {hint}")
        refuse_filled(FeatureTable.open(self._lake, name))
        frame = as_polars(df, f"the rows of {name}", self._zone)
        with table_lock(self._lake.project.warehouse, name):
            table = FeatureTable.open(self._lake, name)
            return self._written(table, frame, mode, redefine)

    def _written(
        self, table: FeatureTable, frame: pl.DataFrame, mode: str, redefine: str | None
    ) -> FeatureTable:
        """Write to a table that nobody else of the project writes to meanwhile."""
        table.contract.check_types(frame.schema, table.name)
        rows = merged(table, frame) if mode == "merge" else frame
        change = redefinition(self._lake, table, rows, mode, redefine)
        details = {"comment": table.description} if table.description else {}
        about = details | ({"tags": table.tags} if table.tags else {})
        return self._write(table.name, rows, table.contract, about, change)

    def create_training_set(
        self,
        *,
        df: Any,
        feature_lookups: Sequence[FeatureLookup | FeatureFunction],
        label: str | Sequence[str],
        exclude_columns: str | Sequence[str] | None = None,
        timestamp: str | None = None,
        label_known_at: str | None = None,
        allow_exact_match: bool = True,
        known_as_of: datetime | None = None,
    ) -> TrainingSet:
        """Look up features for labels, each as of its own moment.

        Parameters
        ----------
        df
            Labels with lookup keys and timestamps: the name of a table (also at a version, as
            `gold.labels@v3`), a `SELECT`, or a Polars, pandas, Arrow or Spark frame.
        feature_lookups
            What to look up, and functions that are evaluated afterwards in the order given.
        label
            Column to predict, by its name or in a list of one; a NULL in it is refused.
        exclude_columns
            Columns of labels or features that the training set does not have.
        timestamp
            Column by which labels from a table or a query are ordered, and data is split later.
        label_known_at
            Column with the moment from which a label is known; it is no feature.
        allow_exact_match
            Whether a feature row of exactly the label's moment is visible.
        known_as_of
            Replay what could be known at this moment, with a time zone unless the project declares
            one; None: what was known at each label's moment.

        Raises
        ------
        NotFoundError
            A table or column does not exist.
        FeatureLookupError
            A lookup does not fit its table or the labels, names collide, or the label would also
            be a feature.
        FeatureFunctionError
            A function is not found, not typed, or does not fit the columns.
        UsageError
            The query of the labels would not give the same rows each time.
        """
        try:
            recipe = Recipe.model_validate(
                {
                    "label": one_label(label),
                    "timestamp": timestamp,
                    "label_known_at": label_known_at,
                    "feature_lookups": lookups_in(feature_lookups),
                    "exclude_columns": names_in(exclude_columns or ()),
                    "allow_exact_match": allow_exact_match,
                    "known_as_of": known_as_of,
                },
                context=in_zone(self._zone),
            )
        except ValidationError as error:
            mistakes = validation_mistakes(error, Recipe)
            raise FeatureLookupError(f"create_training_set: {mistakes}") from error
        return TrainingSet.create(self._lake, recipe, self._labels(df))

    def log_model(
        self,
        *,
        model: Any,
        flavor: ModuleType,
        training_set: TrainingSet,
        name: str | None = None,
        artifact_path: str | None = None,
        registered_model_name: str | None = None,
        infer_input_example: bool = False,
    ) -> ModelVersion | None:
        """Log a model that you fitted on a training set, with everything that it needs to predict.

        Into the MLflow run that is open in the project's store, or else into a new one, go the
        model in a safe format, its signature, and the tables that it saw with version and digest.
        The training set is saved, as `training.<model>_logged` unless it is saved already. A
        registered version is leased with all that it was made from, can be in staging, and scores
        with `score_batch` and `slh score`. Production has a gate, which only models of an
        experiment file can pass: they were trained beside a baseline.

        Parameters
        ----------
        model
            A scikit-learn estimator or pipeline, an `XGBClassifier` or an `XGBRegressor`. It gets
            numbers and booleans as doubles with NaN for NULL, and text as text.
        flavor
            `mlflow.sklearn` or `mlflow.xgboost`.
        training_set
            What the model was fitted on.
        name
            Name of the model in its MLflow run; `artifact_path` is the older word for it.
        registered_model_name
            The registered model that gets a new version; None: the model is logged only.
        infer_input_example
            Whether five rows of the training set are kept beside the model.

        Returns
        -------
        The registered version, with the metrics that the open run has by now; None if the model is
        not registered.

        Raises
        ------
        NotFoundError
            The model was fitted on columns that the training set does not have.
        UsageError
            The flavor is not known, the model is not fitted or cannot be kept safely, a name is
            missing or not valid, or the open MLflow run belongs to another store.
        RunError
            MLflow cannot be reached.
        """
        from sololakehouse.models.fitted import log_fitted_model

        if not isinstance(training_set, TrainingSet):
            raise UsageError(
                "log_model needs the training set that create_training_set gave, not "
                f"{type(training_set).__name__}."
            )
        if (name is None) == (artifact_path is None):
            raise UsageError("log_model needs either 'name' or, as it was called, 'artifact_path'.")
        return log_fitted_model(
            self._lake,
            model,
            flavor,
            training_set,
            str(name or artifact_path),
            registered_model_name,
            with_example=infer_input_example,
        )

    def score_batch(self, *, model_uri: str, df: Any, result_type: str | None = None) -> Any:
        """Predict for the rows of a frame, with features as of the rows' own moments.

        Features are looked up and computed by the code and the rules of training. A column of the
        frame that has a feature's name is used instead.

        Parameters
        ----------
        model_uri
            `models:/flight_delay@production`, `models:/flight_delay/2`, or `flight_delay@2`.
        df
            A Polars, pandas, Arrow or Spark frame with the lookup keys, the timestamp, and the
            model's other inputs.
        result_type
            Type of the predictions, such as `double` or `string`; None: as the model gives them.

        Returns
        -------
        A frame of the same kind, in the same order: its columns, the features that it did not
        have, of a classifier of two classes `probability` (of the second one), and `prediction`.

        Raises
        ------
        NotFoundError
            The model, a version, a feature table or a result type does not exist.
        UsageError
            The object is no frame, or has a column named `prediction` or `probability`.
        FeatureLookupError, FeatureFunctionError, FunctionFailedError
            The rows lack what a feature needs, or a function failed on one of them.
        """
        from sololakehouse.inference.frames import score_frame

        return score_frame(self._lake, model_uri, df, result_type)

    def _refuse_name(self, name: str) -> None:
        if name.lower().startswith("system."):
            raise UsageError(
                f"{name} is in the schema 'system', which tells of runs. Take another schema, such "
                "as features."
            )
        if self._lake.exists(name):
            raise UsageError(
                f"{name} exists. Write to it with write_table, or choose another name."
            )

    def _labels(self, df: Any) -> Labels:
        if isinstance(df, str):
            return open_labels(self._lake, df)
        return as_polars(df, "the labels", self._zone)

    @property
    def _zone(self) -> str | None:
        return self._lake.project.settings.time_zone

    def _write(
        self,
        name: str,
        rows: pl.DataFrame,
        contract: FeatureContract,
        details: dict[str, Any],
        redefinition: Redefinition | None = None,
    ) -> FeatureTable:
        refuse_untyped(rows.schema, f"the rows of {name}")
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
