"""Bringing back what was trained from a bundle: checked, then logged and registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import BadZipFile

from sololakehouse.errors import RunError, UsageError, shortened
from sololakehouse.features.udf import said
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.models.batches import parts_of, rows_held
from sololakehouse.models.bundle.archive import Manifest, sha256, unpack
from sololakehouse.models.bundle.bundles import known_bundles
from sololakehouse.models.bundle.training import BUNDLE_FILE
from sololakehouse.models.environment import code_of
from sololakehouse.models.evidence import PREDICTIONS, digest, predict
from sololakehouse.models.experiment import Experiment
from sololakehouse.models.fitting import Trained
from sololakehouse.models.metrics import compute_metrics, metric
from sololakehouse.models.part import AnyPart
from sololakehouse.models.refit import EXPERIMENT_FILE, ROLES, Refitted
from sololakehouse.models.registry import ModelVersion, model_versions
from sololakehouse.models.training import SCRATCH, register_trained
from sololakehouse.provenance import fingerprint

OPERATION = "BUNDLE TRAINING"
# Another processor adds floats in another order. What is further apart is another model.
TOLERANCE = 1e-4
_DIGITS = 12
_AGAIN = "Train from the bundle again, and import what that gives."


@dataclass(frozen=True)
class Imported:
    """The baseline and the model that came back; `again`: they were here already."""

    runs: tuple[ModelVersion, ...]
    again: bool


def import_result(
    lake: Lakehouse,
    writer: LakeWriter,
    file: Path,
    on_step: Callable[[str], None] | None = None,
) -> Imported:
    """Log and register the models of a result, on the training-set version of its bundle.

    Everything is checked first: each file's SHA-256, that the bundle is one that this project
    wrote, that the training set still is the one in the bundle, that the reported metrics are
    those of the reported predictions, and that each model predicts here what it predicted there
    (to 4 digits: a GPU adds in another order).

    Raises
    ------
    UsageError
        The file is no result, was altered, or is of a bundle that this project did not write.
    NotFoundError, RunError
        The training set is not the one of the bundle any more, or a model is not what the result
        says.
    """
    begin = on_step or (lambda _: None)
    with TemporaryDirectory(prefix="slh-bundle-") as name:
        folder = Path(name)
        begin("checking the files")
        result = unpack(file, folder, "result")
        bundle = _bundle_of(lake, file, folder)
        training_set = _training_set(lake, bundle)
        mark = fingerprint(OPERATION, result.digest)
        known = _registered(lake, mark)
        if known:
            return Imported(known, again=True)
        begin("checking the models")
        experiment, columns = _experiment(file, folder, bundle)
        at_once = rows_held(training_set, lake.project.settings.memory_limit)
        place = lake.project.folder / SCRATCH
        with parts_of(training_set.scan(), experiment, columns, at_once, place) as parts:
            fitted = [Refitted.read(folder, role) for role in ROLES]
            trained = [_checked(file, one, experiment, parts) for one in fitted]
            register_trained(
                lake,
                writer,
                experiment,
                training_set,
                mark,
                trained,
                parts,
                notes=[_notes(result, bundle, one) for one in fitted],
                begin=begin,
            )
    return Imported(_registered(lake, mark), again=False)


def _bundle_of(lake: Lakehouse, file: Path, folder: Path) -> Manifest:
    place = folder / BUNDLE_FILE
    if not place.is_file():
        raise UsageError(
            f"{file} does not say from which bundle it was trained. Train from the bundle again, "
            "and import what that gives."
        )
    bundle = Manifest.parse(place.read_text("utf-8"))
    known = known_bundles(lake)
    if bundle.digest not in {row["digest"] for row in known}:
        listed = [f"{row['digest'][:_DIGITS]} ({row['experiment']})" for row in reversed(known)]
        raise UsageError(
            f"{file} was trained from the bundle {bundle.digest[:_DIGITS]}, which this project did "
            "not write, or which was altered since. Bundles: "
            f"{shortened(listed) or 'none'}. Export one with 'slh bundle export EXPERIMENT'."
        )
    return bundle


def _training_set(lake: Lakehouse, bundle: Manifest) -> Snapshot:
    about = bundle.about["training_set"]
    saved = lake.read(about["table"], about["version"])
    manifest = saved.record.manifest.model_dump(mode="json") if saved.record else None
    if saved.table_id != about["table_id"] or manifest != about["manifest"]:
        raise RunError(
            f"{saved.table_version} is not the training set of the bundle any more: it was made "
            "anew since. Export the bundle again."
        )
    saved.verify()
    return saved


def _experiment(file: Path, folder: Path, bundle: Manifest) -> tuple[Experiment, tuple[str, ...]]:
    """Return the experiment of the bundle, and its feature columns."""
    place = folder / EXPERIMENT_FILE
    if not place.is_file() or sha256(place) != bundle.files[EXPERIMENT_FILE]:
        raise UsageError(
            f"{file} was trained by another experiment than the one in its bundle. Change the "
            "experiment here, export a bundle of it, and train from that."
        )
    about = json.loads(place.read_text("utf-8"))
    return Experiment.model_validate(about["config"]), tuple(about["feature_columns"])


def _checked(
    file: Path, fitted: Refitted, experiment: Experiment, parts: Mapping[str, AnyPart]
) -> Trained:
    """Return a model that predicts here what the result says, with the metrics that follow."""
    reported = fitted.predictions()
    model = _loaded(file, fitted)
    for name, part in parts.items():
        if digest(reported[name]) != fitted.evidence[PREDICTIONS][name]:
            raise RunError(
                f"{file}: the predictions of the {fitted.role} are not those that it names. "
                f"{_AGAIN}"
            )
        apart = float(abs(predict(model, part) - reported[name]).max())
        if not apart <= TOLERANCE:
            raise RunError(
                f"{file}: the {fitted.role} predicts otherwise here than where it was trained: by "
                f"up to {apart:.2g} in the part {name!r}. Its file is another model, or its "
                "libraries are too different from those here. Install there what the bundle's "
                "requirements.txt names, and train from the bundle again."
            )
        _check_metrics(file, fitted, experiment, name, part.labels, reported[name])
    return Trained(fitted.role, fitted.settings, model, fitted.metrics, fitted.record)


def _loaded(file: Path, fitted: Refitted) -> Any:
    try:
        return fitted.model()
    except (ImportError, OSError, TypeError, ValueError, KeyError, BadZipFile) as error:
        raise RunError(
            f"{file}: the {fitted.role} cannot be loaded here ({said(error)}). Install what the "
            "bundle's requirements.txt names, and import again."
        ) from error


def _check_metrics(
    file: Path, fitted: Refitted, experiment: Experiment, part: str, labels: Any, found: Any
) -> None:
    """Refuse metrics that do not follow from the predictions; those of classes need a threshold."""
    names = [name for name in experiment.metrics if not metric(name).of_classes]
    for name, value in compute_metrics(names, labels, found).items():
        reported = fitted.metrics.get(f"{part}_{name}")
        if reported is None or abs(reported - value) > TOLERANCE:
            raise RunError(
                f"{file}: {part}_{name} of the {fitted.role} is {value:.6f} by its predictions, "
                f"and {reported} by its report. {_AGAIN}"
            )


def _notes(result: Manifest, bundle: Manifest, fitted: Refitted) -> dict[str, Any]:
    """Return what the record of an imported model says of the machine that it came from."""
    there = {**fitted.record["environment"], **code_of(bundle.about["code_revision"])}
    origin = {"bundle": bundle.digest, "result": result.digest}
    return {**fitted.evidence, "environment": there, "trained_elsewhere": origin}


def _registered(lake: Lakehouse, mark: str) -> tuple[ModelVersion, ...]:
    return tuple(version for version in model_versions(lake) if version.fingerprint == mark)
