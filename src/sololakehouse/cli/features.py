"""Commands about feature tables: `slh features list`, `show` and `diff`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from sololakehouse.cli.answers import as_cell
from sololakehouse.cli.asking import print_counts, print_schema
from sololakehouse.cli.description import print_pairs
from sololakehouse.cli.render import as_json, print_json, print_line, print_table

if TYPE_CHECKING:
    from sololakehouse.errors import SoloLakehouseError
    from sololakehouse.features.catalog import CatalogEntry, FeatureDiff, FeatureMove
    from sololakehouse.features.tables import FeatureTable
    from sololakehouse.features.users import TableUser
    from sololakehouse.lake import Lakehouse
    from sololakehouse.lake.definition import DefinitionVersion

_LISTED = ("table", "keys", "timestamp", "features", "rows", "newest", "definition", "used by")
_NOT_FINITE = "not finite"
_MOVED = ("nulls", _NOT_FINITE, "distinct", "mean", "minimum", "5%", "50%", "95%", "maximum")
_COLUMNS = ("column", "role", "type", *_MOVED, "comment")
_WIDEST_TEXT = 40


@click.group()
def features() -> None:
    """Feature tables: what they hold, in which definition, and who uses them.

    \b
    Examples:
      slh features list
      slh features show features.origin_weather
      slh features diff features.origin_weather 1 2
    """


@features.command("list")
@as_json
def list_tables(json_wanted: bool) -> None:
    """List the feature tables, their definitions, and who uses them.

    A definition is the code and the policy of a table, written as the beginning of a hash.

    \b
    Examples:
      slh features list
      slh features list --json
    """
    from sololakehouse.errors import RunError
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.users import table_users

    lake = Lakehouse.open()
    entries, damaged = _entries(lake)
    users = table_users(lake)
    rows = [_entry_row(entry, users.get(entry.table, ())) for entry in entries]
    if json_wanted:
        print_json(rows)
    elif rows:
        print_table([_in_short(row) for row in rows], _LISTED)
    elif not damaged:
        print_line("No feature tables yet. The table property 'feature.keys' makes a table one.")
    if damaged:
        raise RunError("\n       ".join(str(error) for error in damaged))


def _entries(lake: Lakehouse) -> tuple[list[CatalogEntry], list[SoloLakehouseError]]:
    """Return the feature tables, and apart what is wrong with tables that cannot be read."""
    from sololakehouse.errors import SoloLakehouseError
    from sololakehouse.features.catalog import catalog_entry
    from sololakehouse.features.tables import FeatureTable
    from sololakehouse.lake.catalog import healthy_and_damaged

    healthy, unreadable = healthy_and_damaged(lake, lake.table_names())
    entries, damaged = [], list[SoloLakehouseError](unreadable.values())
    for snapshot in healthy:
        try:
            if snapshot.contract is not None:
                entries.append(catalog_entry(FeatureTable(snapshot, snapshot.contract)))
        except SoloLakehouseError as error:
            damaged.append(error)
    return entries, damaged


def _entry_row(entry: CatalogEntry, users: Sequence[TableUser]) -> dict[str, Any]:
    definition = entry.definition.short if entry.definition else None
    return asdict(entry) | {"definition": definition, "used by": [asdict(user) for user in users]}


def _in_short(row: dict[str, Any]) -> dict[str, Any]:
    from sololakehouse.features.users import TableUser

    users = [TableUser(**user) for user in row["used by"]]
    return row | {
        "keys": ", ".join(row["keys"]),
        "features": len(row["features"]),
        "used by": ", ".join(str(user) for user in users if user.counts_on_it),
    }


@features.command()
@click.argument("table")
@click.option("--definition", "text_wanted", is_flag=True, help="Print the definition's text, too.")
@as_json
def show(table: str, text_wanted: bool, json_wanted: bool) -> None:
    """Show a feature table: contract, statistics of its columns, definitions, and who uses it.

    TABLE may name a version or a moment. Numbers after ~ are estimates: of distinct values within
    1.6 % in 95 of 100 cases; means and quantiles are of a sample if the table has more than 65,536
    rows.

    \b
    Examples:
      slh features show features.origin_weather
      slh features show features.origin_weather@v3 --definition
      slh features show features.origin_weather --json
    """
    from sololakehouse.features.tables import FeatureTable
    from sololakehouse.lake import Lakehouse
    from sololakehouse.models.users import table_users

    lake = Lakehouse.open()
    opened = FeatureTable.open(lake, table)
    about = _about(lake, opened, table_users(lake).get(opened.name, ()))
    if json_wanted:
        print_json(about)
    else:
        _print_about(about, text_wanted=text_wanted)


def _about(lake: Lakehouse, table: FeatureTable, users: Sequence[TableUser]) -> dict[str, Any]:
    from sololakehouse.lake.definition import definition_versions, last_definition

    found, newest = table.statistics, table.newest_timestamp
    definition = last_definition(table.snapshot)
    history = lake.history(f"{table.name}@v{table.version}")
    return {
        "table": table.name,
        "version": table.version,
        "comment": table.description,
        "tags": table.tags,
        "contract": table.contract.properties,
        "rows": found.rows,
        "entities": found.keys,
        "entities are exact": found.keys_are_exact,
        "first": found.first,
        "last": found.last,
        "age in seconds": (datetime.now(UTC) - newest).total_seconds() if newest else None,
        "sampled": found.sampled,
        "columns": [
            {
                "column": field.name,
                "type": field.type,
                "comment": field.comment,
                "role": _role(table, field.name),
                "statistics": found.columns[field.name].model_dump()
                if field.name in found.columns
                else None,
            }
            for field in table.snapshot.fields
        ],
        "properties": table.snapshot.properties,
        "definition": definition.model_dump(mode="json") if definition else None,
        "definitions": [_version_row(version) for version in definition_versions(history)],
        "used by": [asdict(user) for user in users],
    }


def _role(table: FeatureTable, column: str) -> str:
    contract = table.contract
    if column in contract.keys:
        return "key"
    return {contract.timestamp: "timestamp", contract.known_at: "known at"}.get(column, "feature")


def _version_row(version: DefinitionVersion) -> dict[str, Any]:
    return {
        "definition": version.definition.short,
        "versions": list(version.versions),
        "since": version.since,
        "user": version.user,
        "reason": version.reason,
    }


def _print_about(about: dict[str, Any], *, text_wanted: bool) -> None:
    from sololakehouse.lake.definition import Definition
    from sololakehouse.lake.leases import ranges

    print_line(f"[bold]{about['table']}@v{about['version']}[/]")
    print_pairs([(name, value) for name, value in _summary(about) if value is not None])
    print_line("\n[bold]Columns[/]")
    columns = [_column_row(column) for column in about["columns"]]
    shown = [name for name in _COLUMNS if name != _NOT_FINITE or any(map(_is_not_finite, columns))]
    print_table(columns, shown)
    if about["definitions"]:
        print_line("\n[bold]Definitions[/]")
        rows = [row | {"versions": ranges(row["versions"])} for row in about["definitions"]]
        print_table(rows, ["definition", "versions", "since", "user", "reason"])
    if text_wanted and about["definition"]:
        print_line("\n[bold]Definition[/]")
        click.echo("\n".join(Definition(**about["definition"]).lines))
    if about["used by"]:
        print_line("\n[bold]Used by[/]")
        print_table(about["used by"], ["kind", "name", "stage", "version"])


def _summary(about: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    entities = _counted(about["entities"], is_exact=about["entities are exact"])
    yield "comment", about["comment"]
    if about["tags"]:
        yield "tags", ", ".join(f"{name}: {text}" for name, text in about["tags"].items())
    yield from about["contract"].items()
    yield "rows", about["rows"]
    yield "entities", entities
    if about["last"]:
        yield "from", about["first"]
        yield "to", f"{about['last']}, {_age(about['age in seconds'])}"
    if about["sampled"] < about["rows"]:
        yield "sample", f"{about['sampled']:,} rows, for means and quantiles"


def _age(seconds: float) -> str:
    ago, when = abs(seconds), "ago" if seconds >= 0 else "from now"
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if ago >= 2 * length:
            return f"{ago / length:,.0f} {unit} {when}"
    return f"{ago:,.0f} seconds {when}"


def _column_row(column: dict[str, Any]) -> dict[str, Any]:
    row = {name: column[name] for name in ("column", "role", "type", "comment")}
    found = column["statistics"]
    if found is None:
        return row
    measures = found | found["quantiles"] | {_NOT_FINITE: found["not_finite"]}
    row |= {name: _value(measures.get(name)) for name in _MOVED}
    return row | {"distinct": _counted(found["distinct"], is_exact=found["distinct_is_exact"])}


def _is_not_finite(row: dict[str, Any]) -> bool:
    return bool(row.get(_NOT_FINITE, "0") != "0")


def _counted(number: int | None, *, is_exact: bool) -> str | None:
    return None if number is None else f"{'' if is_exact else '~'}{number:,}"


def _value(value: Any) -> str | None:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, str):
        return _short(value)
    return None if value is None else as_cell(value)


def _short(text: str) -> str:
    """Write text in one cell: the empty one can be told from none, and long text is cut."""
    shown = text if text.isprintable() and text else repr(text)
    return shown if len(shown) <= _WIDEST_TEXT else f"{shown[: _WIDEST_TEXT - 1]}…"


@features.command()
@click.argument("table")
@click.argument("old")
@click.argument("new", required=False)
@as_json
def diff(table: str, old: str, new: str | None, json_wanted: bool) -> None:
    """Compare version OLD of a feature table with version NEW (default: the newest).

    Tells how the definition, the columns, the statistics of each feature, and the rows differ.
    Versions may be moments with a time zone.

    \b
    Examples:
      slh features diff features.origin_weather 1 2
      slh features diff features.origin_weather 1 --json
      slh features diff features.origin_weather 2026-01-31T00:00:00Z
    """
    from sololakehouse.features.catalog import feature_diff
    from sololakehouse.lake import Lakehouse

    lake = Lakehouse.open()
    zone = lake.project.settings.time_zone
    after = table if new is None else _reference(table, new, zone)
    found = feature_diff(lake, _reference(table, old, zone), after)
    if json_wanted:
        print_json(found.as_dict())
    else:
        _print_diff(found)


def _reference(table: str, version: str, zone: str | None) -> str:
    from sololakehouse.lake.history import instant
    from sololakehouse.lake.reference import parse_version

    at = parse_version(version, zone)
    return f"{table}@v{at}" if isinstance(at, int) else f"{table}@{instant(at)}"


def _print_diff(found: FeatureDiff) -> None:
    rows = found.rows
    print_line(f"[bold]{rows.table}[/] v{rows.old} to v{rows.new}")
    print_line("\n[bold]Definition[/]")
    for line in _definition_lines(found):
        click.echo(f"  {line}")
    print_line("\n[bold]Statistics[/]")
    if found.moves:
        moved = {move.measure for move in found.moves}
        print_table(_move_rows(found.moves), ["feature", *(m for m in _MOVED if m in moved)])
    else:
        print_line("  the same")
    print_line("\n[bold]Rows[/]")
    print_line(f"  {rows.rows_old:,} rows, then {rows.rows_new:,}")
    print_schema(rows)
    print_counts(rows)


def _definition_lines(found: FeatureDiff) -> list[str]:
    old, new, rows = found.old, found.new, found.rows
    if old is None or new is None or found.definition is None:
        return ["not known: the commits of one of the versions keep none"]
    if old.fingerprint == new.fingerprint:
        return [f"{old.short} in both"]
    return found.definition.lines(f"{old.short} (v{rows.old})", f"{new.short} (v{rows.new})")


def _move_rows(moves: Iterable[FeatureMove]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for move in moves:
        row = rows.setdefault(move.feature, {"feature": move.feature})
        before, after = (_value(value) or "none" for value in (move.before, move.after))
        row[move.measure] = f"{before}, then {after}"
    return list(rows.values())
