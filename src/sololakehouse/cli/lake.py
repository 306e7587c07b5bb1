"""Commands about tables: `slh tables`, `describe`, `history`, `restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from sololakehouse.lake import HistoryEntry, Snapshot


_HISTORY_COLUMNS = (
    "version",
    "at",
    "user",
    "operation",
    "rows",
    "rows written",
    "inputs",
    "run",
    "code revision",
)
_SELDOM = ("definition", "redefined because")


@click.command()
@click.option("--all", "all_wanted", is_flag=True, help="List the tables of the system, too.")
@as_json
def tables(all_wanted: bool, json_wanted: bool) -> None:
    """List the tables with their rows and newest version.

    Tables that cannot be read are named at the end, with the reason, and the exit code is 1.

    \b
    Examples:
      slh tables
      slh tables --all
      slh tables --json
    """
    from sololakehouse.errors import RunError
    from sololakehouse.lake import Lakehouse, system
    from sololakehouse.lake.catalog import healthy_and_damaged

    lake = Lakehouse.open()
    names = [name for name in lake.table_names() if all_wanted or not system.is_system(name)]
    healthy, damaged = healthy_and_damaged(lake, names)
    rows = [table_row(snapshot) for snapshot in healthy]
    if all_wanted:
        rows += [{"table": name, "made by": "computed from the commits"} for name in system.VIEWS]
        rows.sort(key=lambda row: str(row["table"]))
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
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="At most so many commits.",
)
@as_json
def history(table: str, limit: int, json_wanted: bool) -> None:
    """Show the commits of a table, newest first.

    TABLE may name a version or a moment: then the commits up to it. Of a feature table it also
    tells the definition of each version, and why a definition in use was changed.

    \b
    Examples:
      slh history silver.flights
      slh history silver.flights@v3 --limit 1
      slh history silver.flights --json
    """
    from sololakehouse.lake import Lakehouse

    rows = [_history_row(entry) for entry in Lakehouse.open().history(table, limit)]
    if json_wanted:
        print_json(rows)
    else:
        seldom = [name for name in _SELDOM if any(row.get(name) for row in rows)]
        print_table(rows, [*_HISTORY_COLUMNS, *seldom])


def _history_row(entry: HistoryEntry) -> dict[str, Any]:
    from sololakehouse.lake.definition import Definition, redefinition_reason

    record = entry.record
    row = {"version": entry.version, "at": entry.timestamp, "operation": entry.operation}
    if entry.restored is not None:
        row["restored version"] = entry.restored
    if record is None:
        return row
    definition = Definition.kept(record)
    return row | {
        "user": record.user,
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
        "definition": definition.short if definition else None,
        "redefined because": redefinition_reason(entry),
    }


@click.command()
@click.argument("table")
@as_json
def describe(table: str, json_wanted: bool) -> None:
    """Describe a table: columns, size, who made it, feature contract, expectations.

    TABLE may name a version, as in silver.flights@v3, or a moment.

    \b
    Examples:
      slh describe silver.flights
      slh describe silver.flights@2026-01-31T00:00:00Z --json
    """
    from sololakehouse.cli.description import description, print_description
    from sololakehouse.lake import Lakehouse

    about = description(Lakehouse.open(), table)
    if json_wanted:
        print_json(about)
    else:
        print_description(about)


@click.command()
@click.argument("table")
@click.option("--to", required=True, metavar="VERSION", help="A version, or a moment with a zone.")
@as_json
def restore(table: str, to: str, json_wanted: bool) -> None:
    """Bring back an earlier content of a table, as a new version.

    Rows, schema and properties become those of VERSION; no version is lost. A table that the
    pipeline makes is computed again by the next 'slh run', unless VERSION is what the pipeline
    would make now.

    \b
    Examples:
      slh restore silver.flights --to 3
      slh restore bronze.flights --to 2026-01-31T00:00:00Z
    """
    from sololakehouse.cli.recording import recorded
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.reference import parse_version
    from sololakehouse.lake.restore import restore as restore_version

    lake = Lakehouse.open()
    wanted = parse_version(to, lake.project.settings.time_zone)
    with recorded(lake, "restore", table, "--to", to) as log:
        log.begin(table, table)
        restored = restore_version(log.writer, table, wanted)
        log.end(restored, f"to {to}")
    record = restored.record
    content = record.restored_version if record else None
    if json_wanted:
        print_json(table_row(restored) | {"restored version": content})
    else:
        print_line(
            f"{table} is at version {restored.version}, which has the content of version "
            f"{content}: {restored.rows:,} rows."
        )
