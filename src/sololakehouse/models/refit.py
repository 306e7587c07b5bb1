"""Fitting models of an experiment from a folder alone: no lakehouse, no MLflow, another process.

The folder holds what decides a model: `training_set.parquet` and `experiment.json`. What comes out
lies beside it, a folder for each role: `model.skops`, `predictions.npz` by part, `outcome.json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import SoloLakehouseError
from sololakehouse.models.batches import parts_of
from sololakehouse.models.evidence import model_evidence, predict
from sololakehouse.models.experiment import Experiment, ModelSettings
from sololakehouse.models.fitting import ROWS_AT_ONCE, fit_and_measure
from sololakehouse.models.model_file import SKOPS_FILE

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

TRAINING_SET_FILE = "training_set.parquet"
EXPERIMENT_FILE = "experiment.json"
OUTCOME_FILE = "outcome.json"
PREDICTIONS_FILE = "predictions.npz"
ROLES = ("baseline", "model")
_ROWS_OF_A_GROUP = 122_880


@dataclass(frozen=True)
class Refitted:
    """A model that was fitted from a folder.

    Attributes
    ----------
    metrics
        By part and name, as `test_roc_auc`.
    evidence
        What identifies it, see `models.evidence.model_evidence`.
    record
        What the fitting itself notes, such as the `environment`.
    settings
        Those that were fitted in the end.
    folder
        Where its file and its predictions are.
    """

    role: str
    metrics: Mapping[str, float]
    evidence: Mapping[str, Any]
    record: Mapping[str, Any]
    settings: ModelSettings
    folder: Path

    @classmethod
    def read(cls, folder: Path, role: str) -> Refitted:
        """Read what `refit` wrote for a role."""
        found = json.loads((folder / role / OUTCOME_FILE).read_text("utf-8"))
        settings = ModelSettings.model_validate(found["settings"])
        return cls(
            role, found["metrics"], found["evidence"], found["record"], settings, folder / role
        )

    def predictions(self) -> dict[str, np.ndarray]:
        """Return the probability of class 1 by part, each of shape (n,)."""
        import numpy as np

        with np.load(self.folder / PREDICTIONS_FILE) as stored:
            return {name: stored[name] for name in stored.files}

    def model(self) -> Any:
        """Load the model."""
        from sololakehouse.models.model_file import load_model_file

        return load_model_file(self.folder)


def write_inputs(
    folder: Path,
    rows: pl.LazyFrame,
    config: Mapping[str, Any],
    columns: Sequence[str],
    rows_at_once: int | None = None,
) -> None:
    """Write what `refit` takes: a training set in its order, the experiment, its features.

    Parameters
    ----------
    rows
        Written as they come: they need not fit into memory.
    rows_at_once
        Train from batches of so many rows; None: from all rows at once.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / TRAINING_SET_FILE
    rows.sink_parquet(file, compression="zstd", row_group_size=_ROWS_OF_A_GROUP)
    about = {"config": config, "feature_columns": list(columns), ROWS_AT_ONCE: rows_at_once}
    (folder / EXPERIMENT_FILE).write_text(json.dumps(about, indent=2, sort_keys=True), "utf-8")


def refit(
    folder: Path,
    roles: Sequence[str] = ROLES,
    on_step: Callable[[str], None] | None = None,
) -> list[Refitted]:
    """Fit and measure models from a folder, and write what comes out into it.

    Parameters
    ----------
    roles
        `baseline`, `model`, or both.
    on_step
        Called with a few words when a step begins.

    Raises
    ------
    TrainingError
        Labels or split do not allow training.
    ConfigError
        The estimator refuses a parameter's value.
    """
    import numpy as np
    import polars as pl
    from skops.io import dump

    begin = on_step or (lambda _: None)
    about = json.loads((folder / EXPERIMENT_FILE).read_text("utf-8"))
    experiment = Experiment.model_validate(about["config"])
    rows, columns = pl.scan_parquet(folder / TRAINING_SET_FILE), about["feature_columns"]
    with parts_of(rows, experiment, columns, about.get(ROWS_AT_ONCE), folder) as parts:
        for role in roles:
            begin(f"fitting the {role}")
            trained = fit_and_measure(role, getattr(experiment, role), parts, experiment)
            own = folder / role
            own.mkdir(exist_ok=True)
            dump(trained.model, own / SKOPS_FILE)
            found: dict[str, Any] = {n: predict(trained.model, part) for n, part in parts.items()}
            np.savez(own / PREDICTIONS_FILE, **found)
            outcome = {
                "metrics": dict(trained.metrics),
                "evidence": model_evidence(trained.model, parts),
                "record": dict(trained.record),
                "settings": trained.settings.model_dump(mode="json"),
            }
            (own / OUTCOME_FILE).write_text(json.dumps(outcome, indent=2, sort_keys=True), "utf-8")
    return [Refitted.read(folder, role) for role in roles]


def main() -> None:
    """Fit from the folder and the roles that the command line names."""
    folder, *roles = sys.argv[1:]
    try:
        refit(Path(folder), roles or ROLES)
    except SoloLakehouseError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
