"""Training again, in a process of its own, and what comes out against what was registered."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml

from sololakehouse.errors import RunError, SoloLakehouseError
from sololakehouse.lake import Lakehouse
from sololakehouse.models.evidence import MODEL_CONTENT, PREDICTIONS
from sololakehouse.models.fitting import ROWS_AT_ONCE
from sololakehouse.models.refit import Refitted, write_inputs
from sololakehouse.models.registry import ModelVersion, load_model
from sololakehouse.models.tracking import connected
from sololakehouse.rebuild.links import Finding

if TYPE_CHECKING:
    import polars as pl

Verdict = Literal["bit-identical", "metric-identical", "diverged"]
# Metrics that are closer than this are the same: less than any comparison of models looks at.
TOLERANCE = 1e-6
_SHOWN_LINES = 3


@dataclass(frozen=True)
class Comparison:
    """A model that was trained again against the registered one.

    Attributes
    ----------
    metrics
        By part and name: recorded, and now.
    predictions
        By part, whether each probability is the same to the last bit.
    model_content
        Whether every parameter and learned number is; None if it was not recorded.
    greatest
        By part, the greatest difference of two probabilities; empty where nothing differs, or the
        registered model cannot be loaded.
    """

    metrics: Mapping[str, tuple[float, float]]
    predictions: Mapping[str, bool]
    model_content: bool | None
    greatest: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict:
        """What all of it comes to."""
        if all(self.predictions.values()) and self.model_content is not False:
            return "bit-identical"
        return "metric-identical" if self.farthest[1] <= TOLERANCE else "diverged"

    @property
    def farthest(self) -> tuple[str, float]:
        """The metric that differs most, and by how much."""
        apart = {name: abs(now - was) for name, (was, now) in self.metrics.items()}
        name = max(apart, key=lambda one: apart[one])
        return name, apart[name]

    @property
    def said(self) -> str:
        """What is the same and by how much the rest differs, in a sentence."""
        if self.verdict == "bit-identical":
            learned = "" if self.model_content is None else ", and so is all that was learned"
            return f"All predictions are the same to the last bit{learned}."
        name, apart = self.farthest
        was, now = self.metrics[name]
        said = "Every metric is the same"
        if apart:
            said = f"{name} was {was:.6f} and is {now:.6f} ({apart:.2g} apart)"
        if all(self.predictions.values()):
            return f"{said}; so are predictions, but not what the model holds."
        if not self.greatest:
            return f"{said}; predictions differ."
        part, greatest = max(self.greatest.items(), key=lambda one: one[1])
        return f"{said}; predictions differ by at most {greatest:.2g} (part {part!r})."

    def as_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values."""
        return {
            "metrics": {n: {"recorded": was, "now": now} for n, (was, now) in self.metrics.items()},
            "predictions": dict(self.predictions),
            "model_content": self.model_content,
            "greatest_difference": dict(self.greatest),
        }


def train_again(
    version: ModelVersion, rows: pl.LazyFrame, folder: Path, definitions: Path
) -> Refitted:
    """Fit a version's model again from its record and a training set.

    A process of its own: the libraries that this one has loaded, their threads and the project's
    modules as they are now do not reach it.

    Parameters
    ----------
    folder
        What the process reads and writes.
    definitions
        Where it runs, so that the project's own modules are those of the revision.

    Raises
    ------
    RunError
        The process failed.
    """
    at_once = version.record.get(ROWS_AT_ONCE)
    write_inputs(folder, rows, version.record["config"], version.feature_columns, at_once)
    command = [sys.executable, "-m", "sololakehouse.models.refit", str(folder), version.role]
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        command, cwd=definitions, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        said = " ".join(lines[-1:]) or f"exit code {done.returncode}"
        raise RunError(
            f"{version} could not be trained again: {said.rstrip('.')}. The libraries that it was "
            f"trained with are in environment.json of the MLflow run {version.mlflow_run_id}."
        )
    return Refitted.read(folder, version.role)


def compare(lake: Lakehouse, version: ModelVersion, again: Refitted) -> Comparison:
    """Hold a model that was trained again against the registered one.

    The registered model is loaded only if something differs, to say by how much, or if the record
    does not say what it predicted.

    Raises
    ------
    RunError
        The record names no predictions, and MLflow has the model no more.
    """
    shared = [name for name in version.metrics if name in again.metrics]
    metrics = {name: (version.metrics[name], again.metrics[name]) for name in shared}
    if not metrics:
        raise RunError(
            f"{version} has no metric on record that could be compared. Train it again with "
            "'slh train FILE --force'."
        )
    known = version.record.get(PREDICTIONS)
    content = version.record.get(MODEL_CONTENT)
    same_model = None if content is None else content == again.evidence[MODEL_CONTENT]
    if known is not None:
        now: Mapping[str, str] = again.evidence[PREDICTIONS]
        same = {part: now.get(part) == digest for part, digest in known.items()}
        if all(same.values()):
            return Comparison(metrics, same, same_model)
    try:
        greatest = _greatest(lake, version, again)
    except SoloLakehouseError:
        if known is None:
            raise
        return Comparison(metrics, same, same_model)
    if known is None:
        same = {part: apart == 0 for part, apart in greatest.items()}
    return Comparison(metrics, same, same_model, greatest)


def _greatest(lake: Lakehouse, version: ModelVersion, again: Refitted) -> dict[str, float]:
    import json

    import polars as pl

    from sololakehouse.models.batches import parts_of
    from sololakehouse.models.evidence import predict
    from sololakehouse.models.experiment import Experiment
    from sololakehouse.models.refit import EXPERIMENT_FILE, TRAINING_SET_FILE

    model = load_model(lake.project, version)
    folder = again.folder.parent
    about = json.loads((folder / EXPERIMENT_FILE).read_text("utf-8"))
    experiment = Experiment.model_validate(about["config"])
    rows, columns = pl.scan_parquet(folder / TRAINING_SET_FILE), about["feature_columns"]
    now = again.predictions()
    with parts_of(rows, experiment, columns, about[ROWS_AT_ONCE], folder) as parts:
        return {
            name: float(abs(predict(model, part) - now[name]).max()) for name, part in parts.items()
        }


def experiment_finding(lake: Lakehouse, version: ModelVersion) -> Finding:
    """Say whether the recorded experiment is the one that MLflow got when the model was trained."""
    recorded = version.record["config"]
    try:
        logged = _logged_config(lake, version)
    except SoloLakehouseError as error:
        said = f"The experiment on record is taken as it is: {error}"
        return Finding("seed", "not compared", said)
    differing = _differing(logged, recorded)
    if not differing:
        return Finding("seed", "same", f"Seed {recorded['seed']}, and every setting, as logged.")
    link: Literal["seed", "experiment"] = "seed" if set(differing) == {"seed"} else "experiment"
    listed = "; ".join(
        f"{name} was {was} when it was trained, and is {now} in the record"
        for name, (was, now) in list(differing.items())[:_SHOWN_LINES]
    )
    figures = {n: {"trained": was, "recorded": now} for n, (was, now) in differing.items()}
    return Finding(link, "differs", f"{listed}.", figures)


def _logged_config(lake: Lakehouse, version: ModelVersion) -> Any:
    from tempfile import TemporaryDirectory

    with connected(lake.project) as client, TemporaryDirectory() as folder:
        file = client.download_artifacts(version.mlflow_run_id, "experiment.yml", folder)
        return yaml.safe_load(Path(file).read_text("utf-8"))


def _differing(was: Any, now: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for key in dict.fromkeys((*was, *now)):
            place = f"{name}.{key}" if name else str(key)
            found |= _differing(was.get(key), now.get(key), place)
        return found
    return {} if was == now else {name: (was, now)}
