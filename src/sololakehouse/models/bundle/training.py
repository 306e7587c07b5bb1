"""Training from a bundle, on any machine: no lakehouse, no MLflow, no engine.

`python -m sololakehouse.models.bundle.training BUNDLE RESULT` is what the notebook runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from sololakehouse.errors import SoloLakehouseError
from sololakehouse.models.bundle.archive import Manifest, pack, unpack
from sololakehouse.models.refit import EXPERIMENT_FILE, TRAINING_SET_FILE, refit

BUNDLE_FILE = "bundle.json"


def train_bundle(
    bundle: Path, result: Path, on_step: Callable[[str], None] | None = None
) -> Manifest:
    """Fit the models of a bundle, and write what comes out as one file.

    Parameters
    ----------
    on_step
        Called with a few words when a step begins.

    Raises
    ------
    UsageError
        The bundle is damaged or was altered.
    TrainingError
        Labels or split do not allow training.
    ConfigError
        The estimator refuses a parameter's value.
    """
    with TemporaryDirectory(prefix="slh-bundle-") as folder:
        given, work = Path(folder) / "given", Path(folder) / "work"
        manifest = unpack(bundle, given, "bundle")
        work.mkdir()
        for name in (TRAINING_SET_FILE, EXPERIMENT_FILE):
            (given / name).rename(work / name)
        fitted = refit(work, on_step=on_step)
        (work / TRAINING_SET_FILE).unlink()
        (work / BUNDLE_FILE).write_text(manifest.text, "utf-8")
        about = {
            "bundle": manifest.digest,
            "experiment": manifest.about["experiment"],
            "environment": fitted[-1].record["environment"],
            "metrics": {one.role: dict(one.metrics) for one in fitted},
        }
        return pack(work, result, "result", about)


def main() -> None:
    """Train from the bundle that the command line names, and write the result."""
    if len(sys.argv) != 3:
        sys.exit("Write: python -m sololakehouse.models.bundle.training BUNDLE RESULT")
    try:
        manifest = train_bundle(Path(sys.argv[1]), Path(sys.argv[2]), _say)
    except SoloLakehouseError as error:
        sys.exit(f"Error: {error}")
    for role, metrics in manifest.about["metrics"].items():
        for name, value in metrics.items():
            _say(f"{role} {name} {value:.4f}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
