"""What `slh describe` tells of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sololakehouse.cli.answers import as_cell
from sololakehouse.cli.render import print_line, print_rows, print_table

if TYPE_CHECKING:
    from sololakehouse.lake import Lakehouse, Snapshot

_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")
_ABOUT = ("comment", "rows", "files", "size", "at", "made by", "user", "run", "code revision")


def description(lake: Lakehouse, table: str) -> dict[str, Any]:
    """Describe a table version, or a computed table of the system, as JSON-like values.

    Raises
    ------
    NotFoundError
        There is no such table or version.
    """
    from sololakehouse.lake import system

    if table in system.VIEWS:
        columns = [_column(name, kind) for name, kind in system.VIEWS[table].items()]
        return {"table": table, "made by": "computed from the commits", "columns": columns}
    return _of_snapshot(lake, lake.read(table))


def _of_snapshot(lake: Lakehouse, snapshot: Snapshot) -> dict[str, Any]:
    (commit,) = lake.history(f"{snapshot.name}@v{snapshot.version}", limit=1)
    record, contract = commit.record, snapshot.contract
    return {
        "table": snapshot.name,
        "version": snapshot.version,
        "comment": snapshot.comment,
        "rows": snapshot.rows,
        "files": snapshot.files,
        "size in bytes": snapshot.size_bytes,
        "at": commit.timestamp,
        "made by": record.operation.lower() if record else commit.operation.lower(),
        "user": record.user if record else None,
        "run": record.run_id if record else None,
        "code revision": record.code_revision if record else None,
        "digest": record.manifest.digest if record else None,
        "inputs": [str(source) for source in record.inputs] if record else [],
        "columns": [_column(f.name, f.type, f.nullable, f.comment) for f in snapshot.fields],
        "properties": snapshot.properties,
        "feature contract": contract.properties if contract else None,
        "expectations": [found.model_dump() for found in snapshot.expectations],
    }


def _column(
    name: str, kind: str, nullable: bool = True, comment: str | None = None
) -> dict[str, Any]:
    return {"column": name, "type": kind, "nullable": nullable, "comment": comment}


def print_description(about: dict[str, Any]) -> None:
    """Print a description for people."""
    version = f"@v{about['version']}" if "version" in about else ""
    print_line(f"[bold]{about['table']}{version}[/]")
    told = about | {"size": readable_size(about["size in bytes"])} if version else about
    lines = [(key, told[key]) for key in _ABOUT if told.get(key) is not None]
    lines += [("inputs", ", ".join(about["inputs"]))] if about.get("inputs") else []
    print_pairs(lines)
    print_line("\n[bold]Columns[/]")
    print_table(about["columns"], ["column", "type", "nullable", "comment"])
    if about.get("properties"):
        print_line("\n[bold]Properties[/]")
        print_pairs(sorted(about["properties"].items()))
    if about.get("expectations"):
        print_line("\n[bold]Expectations, when they were last checked[/]")
        columns = ["name", "kind", "condition", "action", "rows", "violations"]
        print_table(about["expectations"], columns)


def print_pairs(pairs: list[tuple[str, Any]]) -> None:
    """Print names with their values, one a line."""
    texts = [f"{value:,}" if isinstance(value, int) else as_cell(value) for _, value in pairs]
    print_rows(["", ""], [[key for key, _ in pairs], texts], [False, False])


def readable_size(size: int) -> str:
    """Write a number of bytes for people.

    Examples
    --------
    >>> readable_size(512), readable_size(3 * 1024**2)
    ('512 bytes', '3.0 MiB')
    """
    scaled = float(size)
    for unit in _UNITS:
        if scaled < 1024 or unit == _UNITS[-1]:
            break
        scaled /= 1024
    return f"{size} bytes" if unit == "bytes" else f"{scaled:.1f} {unit}"
