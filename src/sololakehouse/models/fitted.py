"""A model that a person fitted themselves: logged and registered like those of `slh train`."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, get_args

from sololakehouse.errors import NotFoundError, UsageError, suggestion
from sololakehouse.features.training_set import TrainingSet
from sololakehouse.features.udf import said
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.environment import code_of, environment
from sololakehouse.models.inputs import model_input
from sololakehouse.models.model_file import Flavor, untrusted_types
from sololakehouse.models.packing import RunReport
from sololakehouse.models.pending import PendingRuns, TrainedModel, finish, pack_runs
from sololakehouse.models.report import carried, tables_of
from sololakehouse.models.tracking import active_run
from sololakehouse.models.versions import LOGGED, ModelVersion
from sololakehouse.provenance import Run, fingerprint

if TYPE_CHECKING:
    import pandas as pd

OPERATION = "LOG MODEL"
_NOT_KNOWN = ("threads", "device", "gpu")
_MODEL_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*$")


def log_fitted_model(
    lake: Lakehouse,
    model: Any,
    flavor: Any,
    training_set: TrainingSet,
    artifact: str,
    register_as: str | None,
    *,
    with_example: bool = False,
) -> ModelVersion | None:
    """Log a fitted model with its training set, and register it.

    A training set that is not saved is saved as `training.<name>_logged`. Columns go into the
    model as `slh train` gives them: numbers and booleans as doubles, text as text.

    Parameters
    ----------
    flavor
        `mlflow.sklearn` or `mlflow.xgboost`.
    artifact
        Name of the model in its MLflow run.
    register_as
        The registered model that gets a new version; None: the model is only logged to MLflow.

    Raises
    ------
    NotFoundError
        The model was fitted on columns that the training set does not have.
    UsageError
        The flavor is not known, the model is not fitted or cannot be kept safely, a name is not
        valid, or the MLflow run that is open belongs to another store.
    RunError
        MLflow cannot be reached.
    """
    name = register_as or artifact
    for one in (artifact, name):
        if not _MODEL_NAME.match(one):
            raise UsageError(f"{one!r} is no model's name. Write letters, digits, _ and -.")
    kind = _flavor(flavor)
    columns = _columns(model, training_set)
    _refuse_unsafe(model, kind)
    inputs = model_input(training_set.to_polars(), columns)
    _refuse_useless(model, inputs)
    opened = active_run(lake.project)
    saved = training_set.saved or training_set.save(f"{name.replace('-', '_')}_logged")
    writer = LakeWriter(lake, Run.start(lake.project.folder, lake.project.settings.engine_name))
    report = RunReport(
        experiment=name,
        config=carried(saved),
        name=LOGGED,
        params={},
        metrics={},
        tags=_tags(writer, saved),
        figures={},
        datasets=tables_of(lake, saved),
        metadata=carried(saved),
        model=model,
        inputs=inputs,
        documents={"environment": _environment(kind, writer.run)},
        flavor=kind,
        artifact=artifact,
        with_example=with_example,
        active_run=opened[0] if opened else None,
    )
    metrics = opened[1] if opened else {}
    pending = _packed(writer, saved, report, register_as, columns, metrics)
    registered = finish(lake, writer, pending)
    return registered[0] if registered else None


def _environment(flavor: Flavor, run: Run) -> dict[str, Any]:
    """Return what is known of where a person fits a model: neither threads nor device."""
    library = {"sklearn": "scikit-learn", "xgboost": "xgboost-cpu"}.get(flavor, flavor)
    found = environment((library, "numpy", "scipy"), threads=0, device="cpu")
    known = {name: value for name, value in found.items() if name not in _NOT_KNOWN}
    return {**known, **code_of(run.code_revision)}


def _flavor(module: Any) -> Flavor:
    name = getattr(module, "__name__", str(module)).removeprefix("mlflow.")
    for known in get_args(Flavor):
        if name == known:
            return known  # type: ignore[no-any-return]
    hint = suggestion(name, [f"mlflow.{known}" for known in get_args(Flavor)], "flavor")
    raise UsageError(f"log_model keeps no models of flavor {name!r}. {hint}")


def _columns(model: Any, training_set: TrainingSet) -> tuple[str, ...]:
    """Return the columns that the model takes, in its order."""
    recipe = training_set.recipe
    fitted = getattr(model, "feature_names_in_", None)
    if fitted is not None:
        for name in map(str, fitted):
            if name in (recipe.label, recipe.label_known_at):
                raise UsageError(
                    f"The model was fitted on {name!r}, which is what is to be predicted or known "
                    "only with it. Fit it on the other columns."
                )
            if name not in training_set.columns:
                known = training_set.feature_columns
                where = "the training set, for a model that was fitted on it"
                raise NotFoundError.of("column", name, known, where=where)
        return tuple(map(str, fitted))
    count = getattr(model, "n_features_in_", None)
    if count is not None and count != len(training_set.feature_columns):
        raise UsageError(
            f"The model was fitted on {count} columns without names, and the training set has "
            f"{len(training_set.feature_columns)} features: "
            f"{', '.join(training_set.feature_columns)}. Fit it on a pandas frame of some of them."
        )
    return training_set.feature_columns


def _refuse_unsafe(model: Any, flavor: Flavor) -> None:
    if flavor == "xgboost":
        from xgboost import XGBClassifier, XGBRegressor

        if not isinstance(model, XGBClassifier | XGBRegressor):
            raise UsageError(
                f"mlflow.xgboost keeps an XGBClassifier or XGBRegressor, not "
                f"{type(model).__name__}. Fit one of these, or give a pipeline to mlflow.sklearn."
            )
        return
    unsafe = untrusted_types(model)
    if unsafe:
        raise UsageError(
            f"The model holds {', '.join(unsafe)}, which cannot be loaded again without running "
            "whatever its file says. Build it from scikit-learn's own estimators and transformers."
        )


def _refuse_useless(model: Any, inputs: pd.DataFrame) -> None:
    try:
        model.predict(inputs)
    except Exception as error:
        raise UsageError(
            f"The model cannot predict from the training set's columns ({said(error)}). Columns "
            "come as 'slh train' gives them: numbers and booleans as doubles, text as text, with "
            "NULLs; what they need before the estimator belongs into a pipeline with it."
        ) from error


def _tags(writer: LakeWriter, saved: Snapshot) -> dict[str, str]:
    return {
        "role": LOGGED,
        "run_id": writer.run.run_id,
        "code_revision": writer.run.code_revision or "none",
        "training_set": str(saved.table_version),
    }


def _packed(
    writer: LakeWriter,
    saved: Snapshot,
    report: RunReport,
    register_as: str | None,
    columns: tuple[str, ...],
    metrics: dict[str, float],
) -> PendingRuns:
    table = saved.table_version
    mark = fingerprint(OPERATION, writer.run.run_id, (table.table, *table.content), columns)
    about = {
        "experiment": report.experiment,
        "role": LOGGED,
        "fingerprint": mark,
        "primary_metric": "",
        "metrics": json.dumps(metrics),
        "feature_columns": json.dumps(list(columns)),
    }
    model = TrainedModel(report, about, report.documents)
    return pack_runs(
        writer,
        saved,
        [model],
        operation=OPERATION,
        fingerprint=mark,
        register_as=register_as,
    )
