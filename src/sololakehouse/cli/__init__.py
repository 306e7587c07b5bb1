"""The command line, `slh`: one group of commands, and the one place that catches errors."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path

import click

from sololakehouse import __version__
from sololakehouse.cli import (
    asking,
    bundle,
    conformance,
    diagram,
    explain,
    features,
    inference,
    keep,
    lake,
    lesson,
    lineage,
    models,
    monitoring,
    pipelines,
    project,
    rebuild,
    replay,
    runs,
    serve,
    stages,
)
from sololakehouse.errors import SoloLakehouseError

_INTERRUPTED = 130
_OBJECTS_BETWEEN = 200_000


class _Commands(click.Group):
    """A group whose help lists the commands in the order of the work, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="slh")
def slh() -> None:
    """SoloLakehouse: from raw files to a model you can account for, on one machine.

    Run the commands in a project's folder, the one that holds lakehouse.yml.

    \b
    Example:
      slh init shop && cd shop && slh ingest && slh run && slh tables
    """


for _command in (
    project.init,
    pipelines.ingest,
    pipelines.run,
    models.train,
    bundle.bundle,
    stages.promote,
    stages.rollback,
    inference.score,
    monitoring.evaluate,
    monitoring.drift,
    serve.serve,
    lake.tables,
    lake.describe,
    lake.history,
    asking.show,
    asking.diff,
    asking.query,
    features.features,
    explain.explain,
    conformance.conformance,
    replay.replay,
    lineage.trace,
    lineage.impact,
    diagram.diagram,
    rebuild.rebuild,
    lake.restore,
    stages.models,
    runs.runs,
    runs.compare,
    runs.mlflow,
    keep.lease,
    keep.vacuum,
    keep.optimize,
    keep.doctor,
    project.console,
    project.demo,
    lesson.lesson,
):
    slh.add_command(_command)


def main() -> None:
    """Run `slh`: exit code 0, 1 for a failed run, 2 for a mistake of use."""
    _collect_garbage_seldom()
    _look_for_no_plugins()
    sys.exit(_exit_code())


def _collect_garbage_seldom() -> None:
    """Look through a million objects of libraries a few times less, and at the end not at all.

    What is imported stays for as long as the command lives. To search it for garbage again and
    again took a third of the time of a run that does nothing.
    """
    gc.set_threshold(_OBJECTS_BETWEEN, *gc.get_threshold()[1:])
    atexit.register(gc.freeze)


def _look_for_no_plugins() -> None:
    """Spare pydantic to look for plugins in the metadata of all installed packages.

    Plugins only watch; set the variable to an empty text to have them.
    """
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _exit_code() -> int:
    try:
        code = slh.main(standalone_mode=False)
    except SoloLakehouseError as error:
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo("\n".join([str(error), *_notes(error)]), err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = None
        return 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as error:
        stopped = "Stopped. Every table is as its last commit left it."
        click.echo("\n".join([stopped, *_notes(error.__cause__ or error)]), err=True)
        return _INTERRUPTED
    except Exception as error:
        said = _said_of_the_machine(error)
        if said is None:
            raise
        click.echo(f"Error: {said}", err=True)
        return SoloLakehouseError.exit_code
    return code if isinstance(code, int) else 0


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _said_of_the_machine(error: Exception) -> str | None:
    from sololakehouse.lake.failures import disk_error, one_line, unreadable_rows

    said = disk_error(error, Path.cwd()) or unreadable_rows(error)
    if said is None and isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or one_line(error)}{where}"
    return str(said) if said else None
