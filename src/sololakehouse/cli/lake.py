"""Commands that ask the lake: `slh tables`, `slh history`, `slh query`, `slh trace`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from sololakehouse.lake import HistoryEntry, Snapshot

_SHOWN_ROWS = 20


@click.command()
@as_json
def tables(json_wanted: bool) -> None:
    """List the tables with their rows and newest version.

    Tables that cannot be read are named at the end, with the reason, and the exit code is 1.

    \b
    Examples:
      slh tables
      slh tables --json
    """
    from sololakehouse.errors import RunError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.catalog import healthy_and_damaged

    healthy, damaged = healthy_and_damaged(Lakehouse.open())
    rows = [table_row(snapshot) for snapshot in healthy]
    if json_wanted:
        print_json(rows)
    elif rows:
        print_table(rows, ["table", "rows", "version", "made by", "at"])
    elif not damaged:
        print_line("No tables yet. 'slh ingest' makes the first ones.")
    if damaged:
        raise RunError("\n       ".join(str(error) for error in damaged.values()))


def table_row(snapshot: Snapshot) -> dict[str, Any]:
    """Describe a table in one row."""
    newest = snapshot.commit
    record = newest.record
    return {
        "table": snapshot.name,
        "rows": snapshot.rows,
        "version": snapshot.version,
        "made by": record.operation.lower() if record else newest.operation.lower(),
        "at": newest.timestamp,
        "digest": record.manifest.digest if record else None,
    }


@click.command()
@click.argument("table")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@as_json
def history(table: str, limit: int, json_wanted: bool) -> None:
    """Show the commits of a table, newest first.

    \b
    Examples:
      slh history silver.flights
      slh history silver.flights --json
    """
    from sololakehouse.lake import Lakehouse

    rows = [_history_row(entry) for entry in Lakehouse.open().read(table).history(limit)]
    if json_wanted:
        print_json(rows)
    else:
        columns = ["version", "at", "operation", "rows", "rows written", "inputs", "code revision"]
        print_table(rows, columns)


def _history_row(entry: HistoryEntry) -> dict[str, Any]:
    record = entry.record
    row = {"version": entry.version, "at": entry.timestamp, "operation": entry.operation}
    if record is None:
        return row
    return row | {
        "operation": record.operation,
        "rows": record.manifest.rows,
        "rows written": record.rows_written,
        "inputs": ", ".join(str(source) for source in record.inputs),
        "run": record.run_id,
        "code revision": (record.code_revision or "")[:12],
        "fingerprint": record.fingerprint,
        "digest": record.manifest.digest,
        "left out of the digest": list(record.manifest.left_out),
        "expectations": [found.model_dump() for found in record.expectations],
    }


@click.command()
@click.argument("sql")
@click.option("--limit", type=click.IntRange(min=1), help="Print at most so many rows.")
@as_json
def query(sql: str, limit: int | None, json_wanted: bool) -> None:
    """Ask a question in Spark SQL; older versions with VERSION AS OF.

    \b
    Examples:
      slh query "SELECT origin, count(*) AS flights FROM silver.flights GROUP BY origin"
      slh query "SELECT count(*) FROM silver.flights VERSION AS OF 1" --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.pipelines.query import run_query

    shown = limit if limit is not None or json_wanted else _SHOWN_ROWS
    answer = run_query(Lakehouse.open(), sql, None if shown is None else shown + 1)
    rows = answer.to_pylist() if shown is None else answer.to_pylist()[:shown]
    if json_wanted:
        print_json(rows)
        return
    print_table(rows, answer.column_names)
    if shown is not None and answer.num_rows > shown:
        print_line(f"[dim]The first {shown} rows; --limit shows more.[/]")


@click.command()
@click.argument("table")
@as_json
def trace(table: str, json_wanted: bool) -> None:
    """Show what a table was made from, down to the landing files.

    TABLE is a table, also at a version: gold.sales@v3.

    \b
    Examples:
      slh trace inference.flight_delay
      slh trace training.flight_delay@v1 --json
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lineage.trace import trace as traced

    node = traced(Lakehouse.open(), table)
    if json_wanted:
        print_json(node.as_dict())
        return
    for depth, line in node.lines():
        print_line("  " * depth + line)
