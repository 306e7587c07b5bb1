"""Writing a bundle: an experiment's training set, what is to be learned, and the code for it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import sololakehouse
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.leases import Holder, lease_inputs
from sololakehouse.models.batches import parts_of, rows_held
from sololakehouse.models.bundle.archive import Manifest, pack
from sololakehouse.models.bundle.bundles import record_bundle
from sololakehouse.models.evidence import DATA, data_evidence
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.refit import write_inputs
from sololakehouse.models.trainers import decisive_libraries
from sololakehouse.models.training import SCRATCH, training_set_of

FORMAT = 1
PACKAGE_FILE = "package/sololakehouse.zip"
REQUIREMENTS_FILE = "requirements.txt"
RECIPE_FILE = "recipe.json"
_LIBRARIES = (
    *("numpy", "pandas", "polars", "pyarrow", "pydantic", "pyyaml", "scikit-learn", "scipy"),
    *("skops", "threadpoolctl"),
)
# Where a kind's library is called otherwise on a machine with a GPU.
_ELSEWHERE = {"xgboost-cpu": "xgboost"}
OWN = "sololakehouse"


def export_bundle(
    lake: Lakehouse, writer: LakeWriter, experiment: Experiment, target: Path
) -> Manifest:
    """Write everything that training an experiment elsewhere needs into one file.

    The training set is built first, unless it is up to date, and leased: the result can be
    imported as long as the lease holds.

    Raises
    ------
    NotFoundError, ConfigError, FeatureLookupError
        The experiment does not fit the tables.
    TrainingError
        Labels or split do not allow training.
    """
    training_set = training_set_of(lake, writer, experiment)
    rows = training_set.scan()
    details = training_set.record.details if training_set.record else {}
    columns = tuple(details["feature_columns"])
    at_once = rows_held(training_set, lake.project.settings.memory_limit)
    with parts_of(rows, experiment, columns, at_once, lake.project.folder / SCRATCH):
        pass  # it can be split, and a model takes what it holds
    saved = training_set.table_version
    lease_inputs(writer, Holder("training_set", str(saved)), saved, f"Building {saved} again.")
    with TemporaryDirectory(prefix="slh-bundle-") as name:
        folder = Path(name)
        write_inputs(folder, rows, experiment.model_dump(mode="json", by_alias=True), columns)
        recipe = json.dumps(details["recipe"], indent=2, sort_keys=True)
        (folder / RECIPE_FILE).write_text(recipe, "utf-8")
        pinned = "".join(f"{line}\n" for line in requirements(experiment))
        (folder / REQUIREMENTS_FILE).write_text(pinned, "utf-8")
        _write_package(folder / PACKAGE_FILE)
        manifest = pack(folder, target, "bundle", _about(lake, writer, experiment, training_set))
    record_bundle(writer, manifest, training_set)
    return manifest


def requirements(experiment: Experiment) -> list[str]:
    """Return the libraries that training needs, each pinned to the version that is here.

    A library that only runs on the CPU here is called by the name of the one that knows GPUs as
    well; one that is not installed here is not pinned.
    """
    decisive = {
        library
        for settings in (experiment.baseline, experiment.model)
        for library in decisive_libraries(settings)
    }
    here = sorted({*_LIBRARIES, *decisive} - {OWN})
    return [f"{_ELSEWHERE.get(name, name)}{_pin(name)}" for name in here]


def _pin(name: str) -> str:
    try:
        return f"=={version(name).partition('+')[0]}"
    except PackageNotFoundError:
        return ""


def _about(
    lake: Lakehouse, writer: LakeWriter, experiment: Experiment, training_set: Snapshot
) -> dict[str, Any]:
    record = training_set.record
    return {
        "format": FORMAT,
        "experiment": experiment.name,
        "training_set": {
            "table": training_set.name,
            "version": training_set.version,
            "table_id": training_set.table_id,
            "rows": training_set.rows,
            "manifest": record.manifest.model_dump(mode="json") if record else None,
        },
        "tables": data_evidence(lake, training_set)[DATA]["tables"],
        "code_revision": writer.run.code_revision,
        "run_id": writer.run.run_id,
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sololakehouse": sololakehouse.__version__,
    }


def _write_package(target: Path) -> None:
    """Write this package's modules, so that the other machine fits with the same code."""
    folder = Path(sololakehouse.__file__).parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for module in _modules(folder):
            archive.write(module, f"sololakehouse/{module.relative_to(folder).as_posix()}")


def _modules(folder: Path) -> Iterable[Path]:
    return (path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts)
