"""`slh bundle`: training on another machine, one with a GPU, and bringing back what came out."""

from __future__ import annotations

from pathlib import Path

import click

from sololakehouse.cli.output_file import output_options, refuse_place, whole_file
from sololakehouse.cli.recording import recorded
from sololakehouse.cli.render import as_json, print_json, print_line, progress

_STEPS_OF_IMPORT = 5


@click.group()
def bundle() -> None:
    """Train an experiment on another machine, such as one with a GPU.

    \b
    Examples:
      slh bundle export experiments/flight_delay.yml -o flight_delay.bundle.zip
      slh bundle import flight_delay.result.zip
    """


@bundle.command("export")
@click.argument("experiment", type=click.Path(path_type=Path))
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
@output_options
@as_json
def bundle_export(
    experiment: Path,
    overrides: tuple[str, ...],
    output: Path | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Write one file with all that training an EXPERIMENT elsewhere needs.

    It holds the training set, the experiment with all its settings, pinned requirements, and this
    package. notebooks/gpu_training.ipynb trains from it, on Colab or any machine with Python.

    \b
    Examples:
      slh bundle export experiments/flight_delay.yml
      slh bundle export experiments/flight_delay.yml --set model.params.max_depth=8 -o deep.zip
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.bundle.export import export_bundle
    from sololakehouse.models.experiment import load_experiment

    lake = Lakehouse.open()
    wanted = load_experiment(lake.project, experiment, overrides)
    target = output or Path(f"{wanted.name}.bundle.zip")
    refuse_place(target, force)
    with recorded(lake, "bundle export", str(experiment)) as log:
        log.begin(str(experiment), wanted.training_set.name)
        with whole_file(target, force) as partial:
            manifest = export_bundle(lake, log.writer, wanted, partial)
        log.end()
    saved = manifest.about["training_set"]
    about = {
        "file": str(target),
        "bytes": target.stat().st_size,
        "digest": manifest.digest,
        "training_set": f"{saved['table']}@v{saved['version']}",
        "rows": saved["rows"],
    }
    if json_wanted:
        print_json(about)
        return
    size = about["bytes"] / 1e6
    print_line(f"{target}: {about['training_set']}, {saved['rows']:,} rows, {size:.1f} MB.")
    print_line(f"Digest {manifest.digest}.")
    print_line(
        "Train from it with notebooks/gpu_training.ipynb, then 'slh bundle import RESULT' here."
    )


@bundle.command("import")
@click.argument("result", type=click.Path(path_type=Path))
@as_json
def bundle_import(result: Path, json_wanted: bool) -> None:
    """Check a RESULT that was trained from a bundle, and register its models.

    They come into MLflow and the registry on the training-set version of the bundle, with the
    environment of the machine that trained them. A file that was altered is refused.

    \b
    Examples:
      slh bundle import flight_delay.result.zip
    """
    from sololakehouse.cli.models import print_models, run_rows
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.bundle.result import import_result

    lake = Lakehouse.open()
    with recorded(lake, "bundle import", str(result)) as log:
        log.begin(str(result))
        with progress(_STEPS_OF_IMPORT, quiet=json_wanted) as begin:
            imported = import_result(lake, log.writer, result, begin)
        log.end()
    rows = run_rows(imported.runs)
    if json_wanted:
        print_json(rows)
        return
    print_models(rows)
    if imported.again:
        print_line("Up to date: this result was imported before.")
