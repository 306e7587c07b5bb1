"""Commands about a whole project: `slh init` and `slh demo`."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import click

from sololakehouse.cli.render import as_json, print_json, print_line

_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9_-]*$")
_TEMPLATE = Path(__file__).parent / "template"


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Create a small project that runs as it is, in a new folder NAME.

    \b
    Example:
      slh init shop && cd shop && slh ingest && slh run
    """
    from sololakehouse.config.project import refuse_unreadable
    from sololakehouse.errors import UsageError

    folder = Path(name)
    if not _NAME.match(folder.name):
        raise UsageError(
            f"{folder.name!r} is no name for a project. Begin with a letter and use letters, "
            "digits, - and _ only."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty. Choose another name.")
    refuse_unreadable(folder.resolve())
    _copy_template(folder)
    print_line(f"Created {folder}. Next:\n  cd {folder} && slh ingest && slh run && slh tables")


def _copy_template(folder: Path) -> None:
    shutil.copytree(
        _TEMPLATE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "gitignore").rename(folder / ".gitignore")
    for file in (folder / "README.md", folder / "lakehouse.yml", folder / "spark-pipeline.yml"):
        file.write_text(file.read_text("utf-8").replace("{{name}}", folder.name), "utf-8")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@as_json
def demo(folder: Path, json_wanted: bool) -> None:
    """Take the project in FOLDER the whole way, from raw files to predictions.

    Ingests, runs the pipeline, trains each experiment, promotes what beats its baseline, scores,
    and sums up. What is up to date is left alone.

    \b
    Example:
      slh demo examples/nyc_flights
    """
    from sololakehouse.cli.demo import print_summary, run_demo

    summary = run_demo(folder, quiet=json_wanted)
    if json_wanted:
        print_json(summary)
    else:
        print_summary(summary)


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8765,
    show_default=True,
    help="Where this machine listens.",
)
def console(port: int) -> None:
    """Show the tables in a browser, on this machine only, until Ctrl-C.

    \b
    Example:
      slh console --port 8765
    """
    from sololakehouse.console.app import LOCALHOST, serve
    from sololakehouse.lake import Lakehouse

    lake = Lakehouse.open()
    said = f"http://{LOCALHOST}:{port}  (Ctrl-C stops it)"
    serve(lake, port, lambda: print_line(said))
