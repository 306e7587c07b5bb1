"""`slh conformance`: hold a join, an engine or a saved training set to the point-in-time rules."""

from __future__ import annotations

import atexit
import gc
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.answers import as_cell
from sololakehouse.cli.render import as_json, print_json, print_rows, print_table, progress

if TYPE_CHECKING:
    from sololakehouse.conformance import (
        ConformanceReport,
        Contestant,
        Difference,
        TrainingSetReport,
    )


@click.command()
@click.argument("join", required=False, metavar="[FILE.py:FUNCTION]")
@click.option(
    "--engine",
    metavar="ENGINE",
    help="One of our own: 'polars', or Spark SQL on 'embedded' or sc://host:15002.",
)
@click.option("--training-set", metavar="NAME", help="A saved training set of this project.")
@click.option(
    "--cases",
    type=click.IntRange(min=1),
    default=2000,
    show_default=True,
    help="At least so many cases.",
)
@click.option(
    "--rows",
    type=click.IntRange(min=1),
    default=200,
    show_default=True,
    help="Rows of the training set.",
)
@click.option(
    "--seed", default=1, show_default=True, help="The same seed, the same cases and rows."
)
@as_json
def conformance(
    join: str | None,
    engine: str | None,
    training_set: str | None,
    cases: int,
    rows: int,
    seed: int,
    json_wanted: bool,
) -> int:
    """Hold a point-in-time join to the rules, by an oracle in plain Python.

    FUNCTION takes labels, features and a rule, and returns the labels with the columns 'row' and
    'value' of the chosen feature rows. Exit code 1 if an answer differs.

    \b
    Examples:
      slh conformance my_store.py:join --cases 2000 --seed 1
      slh conformance --engine embedded
      slh conformance --training-set training.flight_delay --rows 200
    """
    from sololakehouse.conformance import load_contestant, our_contestant
    from sololakehouse.errors import UsageError

    if sum(one is not None for one in (join, engine, training_set)) != 1:
        raise UsageError(
            "Say what to hold to the rules: FILE.py:FUNCTION, --engine ENGINE or --training-set "
            "NAME, one of them."
        )
    if training_set is not None:
        return _check_training_set(training_set, rows, seed, json_wanted)
    if engine is not None:
        return _check_join(our_contestant(engine), cases, seed, json_wanted)
    # Libraries of a store, such as DuckDB, complain about what nobody cleans up at the end.
    atexit.unregister(gc.freeze)
    return _check_join(nullcontext(load_contestant(join or "")), cases, seed, json_wanted)


def _check_join(
    opened: AbstractContextManager[Contestant], cases: int, seed: int, json_wanted: bool
) -> int:
    from sololakehouse.conformance import check_join
    from sololakehouse.conformance.traps import TRAPS

    with opened as contestant, progress(len(TRAPS), quiet=json_wanted) as begin:
        report = check_join(contestant, cases, seed, begin=begin)
    if json_wanted:
        print_json(report.as_dict())
    else:
        _print_report(report)
    return int(report.failed > 0)


def _print_report(report: ConformanceReport) -> None:
    columns = ("trap", "cases", "passed", "failed", "verdict", "rule")
    rows = [result.as_dict() for result in report.results]
    print_table([_counted(row) for row in rows], columns)
    for result in report.results:
        if result.example is not None:
            click.secho(f"\n{result.trap}: {result.rule}", bold=True)
            _print_difference(result.example)
    outcome = f"{report.failed:,} of {report.cases:,} cases differ"
    said = outcome if report.failed else f"No difference in {report.cases:,} cases"
    click.echo(f"\n{said} (seed {report.seed}).")


def _counted(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out the counts of what was not asked."""
    unasked = ("cases", "passed", "failed") if row["verdict"] == "not supported" else ()
    return {name: None if name in unasked else value for name, value in row.items()}


def _print_difference(found: Difference) -> None:
    options = (f"{name} = {as_cell(value)}" for name, value in found.options.items())
    click.echo(f"The smallest case that differs, with {', '.join(options)}")
    _print_rows("feature rows", found.features)
    _print_rows("expected", found.rows(found.expected))
    if isinstance(found.got, str):
        click.echo(f"got: {found.got}")
    else:
        _print_rows("got", found.rows(found.got))


def _print_rows(title: str, rows: list[dict[str, Any]]) -> None:
    click.echo(f"{title}:" if rows else f"{title}: none")
    if rows:
        columns = list(rows[0])
        texts = [[_cell(row[name]) for row in rows] for name in columns]
        print_rows(columns, texts, [False] * len(columns))


def _cell(value: Any) -> str:
    """Write texts with quotes: a key may be empty, or end in a blank."""
    return repr(value) if isinstance(value, str) else as_cell(value)


def _check_training_set(name: str, rows: int, seed: int, json_wanted: bool) -> int:
    from sololakehouse.conformance import check_training_set
    from sololakehouse.lake import Lakehouse

    report = check_training_set(Lakehouse.open(), name, rows, seed)
    if json_wanted:
        print_json(report.as_dict())
    else:
        _print_training_set(report)
    return int(report.failed > 0)


def _print_training_set(report: TrainingSetReport) -> None:
    print_table([one.as_dict() for one in report.results], ("lookup", "rows", "passed", "failed"))
    for result in report.results:
        if result.example is not None:
            example = result.example
            click.secho(f"\n{result.lookup}: row {example.row} differs", bold=True)
            _print_rows("label", [example.label])
            _print_rows("expected", [example.expected])
            _print_rows("got", [example.got])
    drawn = report.results[0].rows
    click.echo(
        f"\n{drawn:,} of {report.rows:,} rows of {report.training_set} (seed {report.seed})."
    )
