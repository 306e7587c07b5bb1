"""`slh lesson`: the course, on scratch projects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sololakehouse.cli.render import as_json, print_json, print_table

if TYPE_CHECKING:
    from sololakehouse.lessons.checking import Checked
    from sololakehouse.lessons.lesson import Finding, Lesson

_WIDTH = 86
_INDENT = " " * 9


@click.group(short_help="The course: eight lessons, each on a scratch project.")
def lesson() -> None:
    """Learn by doing: eight lessons on real flights, each on a scratch project of its own.

    A lesson begins with a folder and a task, LESSON.md. Its check looks at the lake that you made:
    tables, versions, models, predictions.

    \b
    Examples:
      slh lesson list
      slh lesson start 1 && cd lesson_1_time_travel
      slh lesson check
    """


@lesson.command("list")
@as_json
def list_lessons(json_wanted: bool) -> None:
    """List the lessons, and how far the scratch projects here are.

    Looked for in this folder and in those directly in it.

    \b
    Examples:
      slh lesson list
      slh lesson list --json
    """
    from sololakehouse.lessons.catalog import LESSONS
    from sololakehouse.lessons.scratch import progress_in

    folders = [Path(), *sorted(path for path in Path().iterdir() if path.is_dir())]
    started = [found for folder in folders if (found := progress_in(folder))]
    rows = []
    for one in LESSONS:
        mine = [progress for progress in started if progress.lesson == one]
        rows.append(
            {
                "lesson": one.number,
                "what it is about": one.title,
                "ends in": one.ends_in,
                "folder": ", ".join(str(progress.folder) for progress in mine) or None,
                "checks": ", ".join(f"{p.passed} of {p.of}" if p.of else "none yet" for p in mine)
                or None,
                "done": any(progress.is_done for progress in mine),
            }
        )
    if json_wanted:
        print_json(rows)
        return
    shown = ["lesson", "what it is about", "ends in"]
    print_table(rows, [*shown, *(["folder", "checks"] if started else [])])
    click.echo("\nBegin one: slh lesson start 1")


@lesson.command()
@click.argument("wanted", metavar="LESSON")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
def start(wanted: str, folder: Path | None) -> None:
    """Write the scratch project of a LESSON into FOLDER, which must be new or empty.

    LESSON is a number or a name of 'slh lesson list'. Without FOLDER it is a new folder with the
    lesson's name. Nothing is ingested or run: that is yours.

    \b
    Examples:
      slh lesson start 3
      slh lesson start leak ~/course/leak
    """
    from sololakehouse.lessons.catalog import find_lesson
    from sololakehouse.lessons.scratch import start as write_project

    chosen = find_lesson(wanted)
    place = folder or Path(chosen.folder)
    write_project(chosen, place)
    go = "" if place == Path() else f"cd {place} && "
    click.secho(f"Lesson {chosen.number}: {chosen.title}", bold=True)
    click.echo(f"The task is in {place / 'LESSON.md'}. It ends in {chosen.ends_in}.")
    click.echo(f"Next:\n  {go}slh ingest && slh run")


@lesson.command()
@as_json
def check(json_wanted: bool) -> int:
    """Look at what you made of a lesson: what is there, what is missing, and the next step.

    Exit code 1 if something is missing.

    \b
    Examples:
      slh lesson check
      slh lesson check --json
    """
    checked = _checked()
    if json_wanted:
        print_json(checked.as_json())
    else:
        _print_checked(checked)
    return int(not checked.passed)


@lesson.command()
def hint() -> int:
    """Help with the first thing that is missing.

    \b
    Example:
      slh lesson hint
    """
    checked = _checked()
    if checked.missing is None:
        click.echo("Nothing is missing.")
        return 0
    click.secho(checked.missing.title, bold=True)
    click.echo(_filled(checked.missing.hint))
    return 1


def _checked() -> Checked:
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lessons.checking import check_lesson

    return check_lesson(Lakehouse.open())


def _print_checked(checked: Checked) -> None:
    one = checked.lesson
    click.secho(f"Lesson {one.number}: {one.title}", bold=True)
    for asked, finding in zip(one.checks, checked.findings, strict=True):
        _print_finding(asked.title, finding)
    if checked.seen is None:
        done = sum(finding.passed for finding in checked.findings)
        click.echo(f"\n{done} of {len(checked.findings)} checks passed. 'slh lesson hint' helps.")
        return
    click.echo(f"\n{_filled(checked.seen.sentence)}\n")
    if checked.seen.rows:
        print_table(checked.seen.rows, checked.seen.columns)
    click.echo(f"\nDone. {_next_one(one)}")


def _next_one(done: Lesson) -> str:
    from sololakehouse.lessons.catalog import LESSONS

    after = next((one for one in LESSONS if one.number > done.number), None)
    if after is None:
        return "That was the last lesson."
    return f"The next one: slh lesson start {after.number} FOLDER"


def _print_finding(title: str, finding: Finding) -> None:
    said, color = ("passed ", "green") if finding.passed else ("missing", "red")
    click.echo(f"{click.style(said, fg=color)}  {title}")
    click.echo(_filled(f"{finding.looked_at}: {finding.found}", _INDENT))
    if finding.next_step is not None:
        click.echo(_filled(f"Next: {finding.next_step}", _INDENT))


def _filled(text: str, indent: str = "") -> str:
    """Break lines between words, never within a name or a command's option."""
    from textwrap import fill

    return fill(
        text,
        _WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
