"""The command line, `slh`: one group of commands, and the one place that catches errors."""

from __future__ import annotations

import sys

import click

from sololakehouse import __version__
from sololakehouse.cli import lake, models, pipelines, project
from sololakehouse.errors import SoloLakehouseError

_INTERRUPTED = 130


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
    models.promote,
    models.score,
    lake.tables,
    lake.history,
    lake.query,
    lake.trace,
    models.models,
    project.console,
    project.demo,
):
    slh.add_command(_command)


def main() -> None:
    """Run `slh`: exit code 0, 1 for a failed run, 2 for a mistake of use."""
    sys.exit(_exit_code())


def _exit_code() -> int:
    try:
        code = slh.main(standalone_mode=False)
    except SoloLakehouseError as error:
        click.secho("Error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(str(error), err=True)
        return error.exit_code
    except BrokenPipeError:
        sys.stdout = None
        return 0
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        click.echo(f"Error: {error.strerror or error}{where}", err=True)
        return SoloLakehouseError.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except _unreadable_rows() as error:
        said = str(error).strip().splitlines()[0]
        click.echo(f"Error: Rows cannot be read: {said}. Its file is damaged.", err=True)
        return SoloLakehouseError.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. Every table is as its last commit left it.", err=True)
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _unreadable_rows() -> tuple[type[BaseException], ...]:
    polars = sys.modules.get("polars")
    return (polars.exceptions.ComputeError,) if polars else ()
