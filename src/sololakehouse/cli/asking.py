"""Commands that ask for rows: `slh show`, `slh diff`, `slh query`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.answers import AnswerForm, answer_options, as_cell, give_answer
from sololakehouse.cli.engine_option import engine_option
from sololakehouse.cli.render import as_json, print_json, print_line, print_rows, print_table

if TYPE_CHECKING:
    import pyarrow as pa

    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.diff import ChangedRow, TableDiff


@click.command()
@click.argument("table")
@answer_options
def show(
    table: str,
    limit: int | None,
    format_wanted: str | None,
    output: Path | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Show the rows of a table, also of an earlier version.

    TABLE is schema.table, schema.table@v3, or schema.table@2026-01-31T00:00:00Z: the version of
    that moment.

    \b
    Examples:
      slh show silver.flights
      slh show silver.flights@v3 --limit 5
      slh show gold.sales@2026-01-31T00:00:00Z --output sales.parquet
    """
    from sololakehouse.lake import Lakehouse

    form = AnswerForm.of(format_wanted, json_wanted, output, force, limit)
    give_answer(_rows_of(Lakehouse.open(), table, form.asked_rows), form)


def _rows_of(lake: Lakehouse, table: str, limit: int | None) -> pa.Table:
    from sololakehouse.lake import system

    if table in system.VIEWS:
        rows = system.view(lake, table)
        return (rows if limit is None else rows.head(limit)).to_arrow()
    scan = lake.read(table).scan()
    return (scan if limit is None else scan.head(limit)).collect().to_arrow()


@click.command()
@click.argument("sql")
@engine_option
@answer_options
def query(
    sql: str,
    engine: str | None,
    limit: int | None,
    format_wanted: str | None,
    output: Path | None,
    force: bool,
    json_wanted: bool,
) -> None:
    """Ask a question in Spark SQL; older versions with VERSION AS OF or TIMESTAMP AS OF.

    A moment has a time zone and means the newest version at or before it. The tables of the
    schema 'system' can be asked, too: 'slh tables --all' lists them.

    \b
    Examples:
      slh query "SELECT origin, count(*) AS flights FROM silver.flights GROUP BY origin"
      slh query "SELECT count(*) FROM silver.flights VERSION AS OF 1" --json
      slh query "SELECT * FROM gold.sales TIMESTAMP AS OF '2026-01-31T00:00:00Z'" -o sales.csv
      slh query "SELECT command, status, started_at FROM system.runs"
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.pipelines.query import run_query

    form = AnswerForm.of(format_wanted, json_wanted, output, force, limit)
    give_answer(run_query(Lakehouse.open(engine=engine), sql, form.asked_rows), form)


@click.command()
@click.argument("table")
@click.argument("old")
@click.argument("new", required=False)
@click.option(
    "--keys",
    "--key",
    "keys",
    help="What identifies a row, comma-separated. Default: its feature keys.",
)
@click.option(
    "--examples",
    type=click.IntRange(min=0),
    default=5,
    show_default=True,
    help="At most so many rows of each kind of change.",
)
@as_json
def diff(
    table: str, old: str, new: str | None, keys: str | None, examples: int, json_wanted: bool
) -> None:
    """Compare version OLD of a table with version NEW (default: the newest).

    Tells changes of the schema, row counts, and which rows were added, removed and changed by
    key. Without keys, rows are added or removed. Versions may be moments with a time zone.

    \b
    Examples:
      slh diff silver.flights 3 5
      slh diff silver.flights 3 5 --keys carrier,flight
      slh diff silver.flights 2026-01-31T00:00:00Z --json
    """
    from sololakehouse.errors import UsageError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.diff import diff as compare

    identity = [key.strip() for key in keys.split(",")] if keys is not None else []
    if keys is not None and not all(identity):
        raise UsageError(f"--keys {keys!r} names no column in one place. Write --keys a,b.")
    lake = Lakehouse.open()
    before = lake.read(table, **_version(lake, old))
    after = lake.read(table, **(_version(lake, new) if new is not None else {}))
    found = compare(before, after, identity, examples)
    if json_wanted:
        print_json(found.as_dict())
    else:
        _print_diff(found)


def _version(lake: Lakehouse, text: str) -> dict[str, Any]:
    from sololakehouse.lake.reference import parse_version

    at = parse_version(text, lake.project.settings.time_zone)
    return {"version": at} if isinstance(at, int) else {"timestamp": at}


def _print_diff(found: TableDiff) -> None:
    names = f"{found.table} v{found.old} to v{found.new}"
    if found.is_empty:
        print_line(f"{names}: no difference, {found.rows_new:,} rows.")
    else:
        print_line(f"{names}: {found.rows_old:,} rows, then {found.rows_new:,}.")
    print_schema(found)
    if not found.is_empty:
        print_counts(found)
    for title, rows in (("Added", found.added_examples), ("Removed", found.removed_examples)):
        if rows:
            print_line(f"\n[bold]{title}[/], for example")
            names_of = list(rows[0])
            columns = [[as_cell(row[name]) for row in rows] for name in names_of]
            print_rows(names_of, columns, [False] * len(columns))
    if found.changed_examples:
        print_line("\n[bold]Changed[/], for example")
        _print_changed(found.changed_examples)


def print_schema(found: TableDiff) -> None:
    """Print which columns two versions of a table do not have alike."""
    for name, kind in found.columns_added.items():
        print_line(f"  column added: {name} {kind}")
    for name, kind in found.columns_removed.items():
        print_line(f"  column removed: {name} {kind}")
    for name, (before, after) in found.columns_retyped.items():
        print_line(f"  column changed: {name} {before}, then {after}")
    for name, reason in found.not_compared.items():
        print_line(f"  not compared: {name} {reason}")


def print_counts(found: TableDiff) -> None:
    """Print how many rows were added, removed and changed, and in which columns."""
    told = f"  {found.added:,} rows added, {found.removed:,} removed"
    if found.keys:
        print_line(f"{told}, {found.changed:,} changed by {', '.join(found.keys)}")
    else:
        print_line(f"{told}. There are no keys: --keys a,b would tell changed rows.")
    if found.unkeyed:
        print_line(f"  {found.unkeyed:,} of these rows have a NULL in a key, so none of them pair")
    if found.changed_columns:
        rows = [{"column": name, "rows": n} for name, n in found.changed_columns.items()]
        print_line("\n[bold]Changed columns[/]")
        print_table(rows, ["column", "rows"])


def _print_changed(examples: tuple[ChangedRow, ...]) -> None:
    rows = [
        [*map(as_cell, row.key.values()), name, as_cell(before), as_cell(after)]
        for row in examples
        for name, (before, after) in row.columns.items()
    ]
    names = [*examples[0].key, "column", "before", "after"]
    columns = [list(column) for column in zip(*rows, strict=True)]
    print_rows(names, columns, [False] * len(names))
