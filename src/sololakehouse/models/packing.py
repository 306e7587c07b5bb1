"""A trained model packed into a folder: all that MLflow gets of its run, and nothing else.

A run is packed before anything is sent, so that what was trained outlives a server that does not
answer and a process that is killed. Sending it reads the folder alone; see `sending`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from sololakehouse.lake import Snapshot
from sololakehouse.models.hashes import file_hashes
from sololakehouse.models.model_file import TRUSTED_TYPES, Flavor
from sololakehouse.models.tracking import quiet_mlflow

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

ABOUT = "run.json"
_EXAMPLE_ROWS = 5
_REQUIREMENTS = ("scikit-learn", "xgboost-cpu", "skops", "pandas", "numpy")


@dataclass(frozen=True)
class RunReport:
    """Everything that is logged of one trained model.

    `datasets` pairs each table with its role, such as `training` or `input`; `config` is the
    experiment with all defaults filled in, `flavor` the MLflow module that keeps the model,
    `documents` what else is kept as JSON files, `active_run` the run that is open already and
    takes all of it, `libraries` what the model needs beside those that every model does.
    """

    experiment: str
    config: Mapping[str, Any]
    name: str
    params: Mapping[str, Any]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    figures: Mapping[str, Figure]
    datasets: Sequence[tuple[Snapshot, str]]
    metadata: Mapping[str, Any]
    model: Any
    inputs: pd.DataFrame
    documents: Mapping[str, Any]
    flavor: Flavor = "sklearn"
    libraries: Sequence[str] = ()
    artifact: str = "model"
    with_example: bool = True
    active_run: str | None = None


@dataclass(frozen=True)
class PackedRun:
    """One run in its folder: `run.json`, the run's files, and the model's.

    `key` tells it from all others, on a server too.
    """

    folder: Path
    key: str
    about: Mapping[str, Any]

    @classmethod
    def open(cls, folder: Path) -> PackedRun:
        """Read a run that was packed."""
        about = json.loads((folder / ABOUT).read_text("utf-8"))
        return cls(folder, about["key"], about)

    @property
    def files(self) -> Path:
        """The folder of the run's own files: configuration, plots, documents."""
        return self.folder / "files"

    @property
    def model(self) -> Path:
        """The folder of the model as MLflow keeps it."""
        return self.folder / "model"

    @property
    def hashes(self) -> dict[str, str]:
        """The SHA-256 of the model's files by name."""
        return file_hashes(self.model)


def pack(report: RunReport, folder: Path, key: str) -> PackedRun:
    """Write a run into a new folder; nothing is asked of any server.

    Raises
    ------
    OSError
        The disk is full, or the folder cannot be written to.
    """
    files = folder / "files"
    (files / "plots").mkdir(parents=True)
    (files / "experiment.yml").write_text(yaml.safe_dump(dict(report.config)), "utf-8")
    for name, document in report.documents.items():
        (files / f"{name}.json").write_text(json.dumps(document, indent=2), "utf-8")
    for name, figure in report.figures.items():
        figure.savefig(files / "plots" / f"{name}.png")
    _save_model(report, folder / "model")
    about = {
        "key": key,
        "experiment": report.experiment,
        "name": report.name,
        "artifact": report.artifact,
        "active_run": report.active_run,
        "packed_at": int(datetime.now(UTC).timestamp() * 1000),
        "params": {name: str(value) for name, value in report.params.items()},
        "metrics": {name: float(value) for name, value in report.metrics.items()},
        "tags": dict(report.tags),
        "datasets": [dataset(table, role) for table, role in report.datasets],
    }
    (folder / ABOUT).write_text(json.dumps(about), "utf-8")
    return PackedRun(folder, key, about)


def _save_model(report: RunReport, place: Path) -> None:
    import importlib

    quiet_mlflow()
    from mlflow.exceptions import MlflowException
    from mlflow.models import infer_signature

    example = report.inputs.head(_EXAMPLE_ROWS)
    predict = "predict_proba" if hasattr(report.model, "predict_proba") else "predict"
    kept: dict[str, Any] = {"model_format": "ubj"}
    if report.flavor == "sklearn":
        trusted = list(TRUSTED_TYPES)
        kept = {"serialization_format": "skops", "skops_trusted_types": trusted}
        kept["pyfunc_predict_fn"] = predict
    try:
        importlib.import_module(f"mlflow.{report.flavor}").save_model(
            report.model,
            place,
            signature=infer_signature(example, getattr(report.model, predict)(example)),
            input_example=example if report.with_example else None,
            pip_requirements=_requirements(report.libraries),
            metadata=dict(report.metadata),
            **kept,
        )
    except MlflowException as error:
        if isinstance(error.__cause__, OSError):  # MLflow takes a full disk for a wrong type
            raise error.__cause__ from error
        raise


def _requirements(libraries: Sequence[str]) -> list[str]:
    """Pin libraries; what follows a '+' only says how one was built."""
    names = dict.fromkeys((*_REQUIREMENTS, *libraries))
    return [f"{name}=={version(name).partition('+')[0]}" for name in names]


def dataset(table: Snapshot, role: str) -> dict[str, Any]:
    """Return what MLflow keeps of a table at a version: our manifest is its digest."""
    return {
        "name": table.name,
        "digest": table.record.manifest.digest if table.record else table.table_id[:32],
        "source_type": "delta_table",
        "source": json.dumps({"path": str(table.path), "delta_table_version": table.version}),
        "schema": json.dumps(table.columns),
        "profile": json.dumps({"num_rows": table.rows}),
        "role": role,
    }
