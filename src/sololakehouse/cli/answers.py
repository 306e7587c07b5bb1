"""Rows that a person asked for: printed or written as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sololakehouse.cli.output_file import asked_format, output_options, refuse_place, whole_file
from sololakehouse.cli.render import as_json, print_line, print_rows

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("table", "csv", "json", "parquet")
F = TypeVar("F", bound=Callable[..., Any])
_SHOWN_ROWS = 20


@dataclass(frozen=True)
class AnswerForm:
    """How an answer is wanted.

    Attributes
    ----------
    output
        The file to write; None for the terminal.
    rows
        Greatest number of rows; None for all of them.
    """

    format: str
    output: Path | None
    force: bool
    rows: int | None

    @classmethod
    def of(
        cls,
        format_wanted: str | None,
        json_wanted: bool,
        output: Path | None,
        force: bool,
        limit: int | None,
    ) -> AnswerForm:
        """Combine the options, and refuse what cannot be before anything is computed.

        Raises
        ------
        UsageError
            The options contradict each other, the file exists, or its folder does not.
        """
        from sololakehouse.errors import UsageError

        by_suffix = output.suffix.removeprefix(".") if output else ""
        wanted = asked_format(format_wanted, json_wanted)
        chosen = wanted or (by_suffix if by_suffix in FORMATS else "table")
        if chosen == "parquet" and output is None:
            raise UsageError("Parquet needs a file: add --output FILE.parquet.")
        if output is not None:
            refuse_place(output, force)
        for_people = chosen == "table" and output is None
        rows = _SHOWN_ROWS if limit is None and for_people else limit
        return cls(chosen, output, force, rows)

    @property
    def asked_rows(self) -> int | None:
        """One row more than is shown, to see whether there are more."""
        return None if self.rows is None else self.rows + 1


def answer_options(command: F) -> F:
    """Add `--format`, `--json`, `--output`, `--force` and `--limit` to a command."""
    options = (
        click.option("--limit", type=click.IntRange(min=1), help="At most so many rows."),
        click.option(
            "--format",
            "format_wanted",
            type=click.Choice(FORMATS),
            help="Default: table, or what the output file's suffix says.",
        ),
        output_options,
        as_json,
    )
    for option in reversed(options):
        command = option(command)
    return command


def give_answer(answer: pa.Table, form: AnswerForm) -> None:
    """Print the rows or write the file.

    Raises
    ------
    UsageError
        Two columns have one name, and the format cannot hold both.
    OSError
        The file cannot be written; a file that was there is as it was.
    """
    _refuse_two_of_a_name(answer, form.format)
    more = form.rows is not None and answer.num_rows > form.rows
    shown = answer.slice(0, form.rows) if form.rows is not None else answer
    if form.output is None:
        _print(shown, form.format)
        if more and form.format == "table":
            print_line(f"[dim]The first {form.rows} rows; --limit shows more.[/]")
        return
    _write(shown, form)
    click.echo(f"{shown.num_rows} rows in {form.output}", err=True)


def _refuse_two_of_a_name(answer: pa.Table, wanted: str) -> None:
    from sololakehouse.errors import UsageError

    names = answer.column_names
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None and wanted in ("json", "parquet"):
        raise UsageError(f"Two columns are named {twice!r}, and {wanted} needs AS to name them.")


def _print(answer: pa.Table, wanted: str) -> None:
    if wanted == "table":
        print_rows(answer.column_names, _columns(answer, as_cell), _numeric(answer))
    else:
        click.echo(_as_text(answer, wanted), nl=False)


def _as_text(answer: pa.Table, wanted: str) -> str:
    import csv
    import io

    if wanted == "json":
        columns = [[_plain(value) for value in column] for column in _values(answer)]
        rows = [dict(zip(answer.column_names, row, strict=True)) for row in _rows(columns)]
        return json.dumps(rows, indent=2, ensure_ascii=False) + "\n"
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.column_names)
    writer.writerows(_rows(_columns(answer, _csv_field)))
    return text.getvalue()


def _write(answer: pa.Table, form: AnswerForm) -> None:
    import pyarrow.parquet as pq

    target = form.output
    assert target is not None
    with whole_file(target, form.force) as partial:
        if form.format == "parquet":
            pq.write_table(answer, partial)
        elif form.format == "table":
            print_rows(answer.column_names, _columns(answer, as_cell), _numeric(answer), partial)
        else:
            partial.write_text(_as_text(answer, form.format), "utf-8", newline="")


def _values(answer: pa.Table) -> list[list[Any]]:
    return [_python_values(column) for column in answer.columns]


def _python_values(column: pa.ChunkedArray) -> list[Any]:
    """Python values; maps are dicts, and nanoseconds that Python lacks are cut."""
    import pyarrow as pa

    if pa.types.is_map(column.type):
        return [None if pairs is None else dict(pairs) for pairs in column.to_pylist()]
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return list(column.to_pylist())


def _columns(answer: pa.Table, text: Callable[[Any], str]) -> list[list[str]]:
    return [[text(value) for value in column] for column in _values(answer)]


def _rows(columns: list[list[Any]]) -> list[tuple[Any, ...]]:
    return list(zip(*columns, strict=True))


def _numeric(answer: pa.Table) -> list[bool]:
    import pyarrow.types as kinds

    tests = (kinds.is_integer, kinds.is_floating, kinds.is_decimal)
    return [any(test(field.type) for test in tests) for field in answer.schema]


def as_cell(value: Any) -> str:
    """Write a value for people: NULL, instants with Z, nested values as JSON.

    Examples
    --------
    >>> as_cell(None), as_cell(Decimal("1.50")), as_cell({"a": [1, None]})
    ('NULL', '1.50', '{"a": [1, null]}')
    """
    if value is None:
        return "NULL"
    plain = _plain(value)
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, list | dict):
        return json.dumps(plain, ensure_ascii=False)
    return str(plain)


def _csv_field(value: Any) -> str:
    return "" if value is None else as_cell(value)


def _plain(value: Any) -> Any:
    """Give a value as JSON has it: decimals, moments, bytes and NaN are text."""
    if isinstance(value, Mapping):
        return {as_cell(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, datetime):
        in_utc = value.astimezone(UTC) if value.tzinfo else value
        return in_utc.isoformat().replace("+00:00", "Z")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, timedelta) else value
