"""`slh explain`: where the features of a training set's row come from, and what was rejected."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from sololakehouse.cli.answers import as_cell
from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from sololakehouse.features.explanation import LookupExplanation, RowExplanation
    from sololakehouse.features.restatement import KnowledgeChange, RestatementReport


@click.command()
@click.argument("training_set")
@click.option("--row", type=click.IntRange(min=0), help="Number of the row, from 0.")
@click.option(
    "--near",
    type=click.IntRange(min=0),
    default=3,
    show_default=True,
    help="Rejected rows to show before the label's moment, and after it.",
)
@click.option("--svg", type=click.Path(path_type=Path), help="Draw the row's time lines here.")
@click.option("--restatements", is_flag=True, help="What changes if something else were known.")
@click.option("--known-as-of", help="The fixed day of --restatements, with a time zone.")
@as_json
def explain(
    training_set: str,
    row: int | None,
    near: int,
    svg: Path | None,
    restatements: bool,
    known_as_of: str | None,
    json_wanted: bool,
) -> None:
    """Explain where the features of a saved training set come from.

    With --row: the chosen row of each feature table, and the rejected ones near it with the reason:
    in the future, not yet known, expired, lost the tie. With --restatements: how many labels would
    have other features with other knowledge.

    \b
    Examples:
      slh explain training.flight_delay --row 17
      slh explain training.flight_delay@v2 --row 17 --svg row17.svg
      slh explain flight_delay --restatements --known-as-of 2013-06-30T00:00:00Z
    """
    from sololakehouse.errors import UsageError
    from sololakehouse.features.saved import open_training_set
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.reference import parse_moment

    if (row is None) != restatements:
        raise UsageError("Say --row N to explain one row, or --restatements to compare knowledge.")
    if restatements and svg is not None:
        raise UsageError("--svg draws one row: say --row N.")
    if row is not None and known_as_of is not None:
        raise UsageError("--known-as-of goes with --restatements.")
    lake = Lakehouse.open()
    opened = open_training_set(lake, training_set)
    if row is None:
        zone = lake.project.settings.time_zone
        day = parse_moment(known_as_of, zone) if known_as_of else None
        _print_report(opened.restatement_report(day), json_wanted)
        return
    explained = opened.explain(row, near)
    if svg is not None:
        _draw(explained, svg)
    if json_wanted:
        print_json(explained.as_dict())
    else:
        _print_row(explained)


def _draw(explained: RowExplanation, file: Path) -> None:
    from sololakehouse.errors import UsageError
    from sololakehouse.features.timeline import timeline

    try:
        file.write_text(timeline(explained), "utf-8")
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.") from error


def _print_row(explained: RowExplanation) -> None:
    label = ", ".join(f"{name}={as_cell(value)}" for name, value in explained.label.items())
    print_line(f"[bold]{explained.name}[/], row {explained.row}: {_plain(label)}")
    for lookup in explained.lookups:
        _print_lookup(lookup)
    for function in explained.functions:
        arguments = ", ".join(f"{k}={as_cell(v)}" for k, v in function.arguments.items())
        print_line("")
        print_line(
            f"[bold]{function.output}[/] = {_plain(as_cell(function.value))}: "
            f"{_plain(f'{function.name}({arguments})')}, {function.place}"
        )


def _print_lookup(lookup: LookupExplanation) -> None:
    key = ", ".join(f"{name}={as_cell(value)}" for name, value in lookup.key.items())
    print_line("")
    print_line(f"[bold]{lookup.table}@v{lookup.version}[/], {_plain(key)}: {lookup.summary}")
    limits = [f"as of {as_cell(lookup.event)}"] if lookup.event else []
    limits += [f"lookback {lookup.lookback}"] if lookup.lookback is not None else []
    limits += [f"known as of {as_cell(lookup.known_as_of)}"] if lookup.known_as_of else []
    if limits:
        print_line(f"  [dim]{', '.join(limits)}[/]")
    rows = [
        {
            "verdict": one.verdict,
            "feature_ts": as_cell(one.feature_ts),
            **({"known_at": as_cell(one.known_at)} if one.known_at else {}),
            **{name: as_cell(value) for name, value in one.values.items()},
            "because": one.because,
        }
        for one in lookup.candidates
    ]
    if rows:
        columns = list(dict.fromkeys(name for row in rows for name in row if name != "because"))
        print_table(rows, [*columns, "because"])
    if lookup.left_out:
        print_line(f"  [dim]{lookup.left_out:,} other rows have this key (--near shows more)[/]")


def _print_report(report: RestatementReport, json_wanted: bool) -> None:
    if json_wanted:
        print_json(report.as_dict())
        return
    print_line(f"{report.rows:,} labels; the fixed day is {as_cell(report.known_as_of)}")
    for change in report.changes:
        _print_change(change, report.rows)


def _print_change(change: KnowledgeChange, rows: int) -> None:
    share = change.labels / max(rows, 1)
    print_line("")
    print_line(
        f"[bold]{change.before}, then {change.after}[/]: {change.labels:,} labels "
        f"({share:.1%}) have other features"
    )
    table = [
        {
            "feature": one.feature,
            "labels": one.rows,
            "share": f"{one.share:.1%}",
            "mean change": "" if one.mean_change is None else f"{one.mean_change:.4g}",
            "for example": "; ".join(
                f"row {row}: {as_cell(old)}, then {as_cell(new)}" for row, old, new in one.examples
            ),
        }
        for one in change.features
    ]
    if table:
        print_table(table, list(table[0]))


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
