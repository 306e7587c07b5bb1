"""The input forms of MLflow's scoring protocol, as rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import RequestError, suggestion
from sololakehouse.serving.fields import Fields, mistakes_of

if TYPE_CHECKING:
    import polars as pl

JSON, CSV = "application/json", "text/csv"
FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
_TRUE, _FALSE = frozenset({"true", "1", "1.0"}), frozenset({"false", "0", "0.0"})


def rows_of(
    body: bytes, content_type: str, fields: Fields, columns: Sequence[str], most_rows: int
) -> list[dict[str, Any]]:
    """Return the rows of a request, validated.

    Parameters
    ----------
    content_type
        `application/json` or `text/csv`.
    columns
        The model's inputs, for rows without names.

    Raises
    ------
    RequestError
        The body has another form; a field is not known or has another type.
    """
    from pydantic import ValidationError

    rows = _csv_rows(body, fields) if content_type == CSV else _json_rows(body, columns)
    if len(rows) > most_rows:
        raise RequestError(f"There are {len(rows):,} rows, and at most {most_rows:,} at once.")
    try:
        checked: list[dict[str, Any]] = fields.loose_rows.validate_python(rows)
    except ValidationError as error:
        raise mistakes_of(error, fields) from error
    _refuse_missing(checked, fields, columns)
    return checked


def _refuse_missing(
    rows: Sequence[Mapping[str, Any]], fields: Fields, columns: Sequence[str]
) -> None:
    features = set(fields.of_role("feature"))
    for name in columns:
        if rows and name not in rows[0] and name not in features:
            hint = suggestion(name, rows[0], "field")
            raise RequestError(f"{name!r} is missing: the model needs it. {hint}")


def _json_rows(body: bytes, columns: Sequence[str]) -> list[Any]:
    from pydantic_core import from_json

    try:
        content = from_json(body)
    except ValueError as error:
        raise RequestError(f"The body is no JSON: {error}.") from error
    if not isinstance(content, dict):
        raise RequestError(f"The body must be an object with one of {', '.join(FORMS)}.")
    for name in content:
        if name not in (*FORMS, "params"):
            raise RequestError(
                f"{name!r} is no part of the scoring protocol. {suggestion(name, FORMS, 'field')}"
            )
    if content.get("params") not in (None, {}):
        raise RequestError("'params' must be empty: models here have no parameters.")
    forms = [name for name in FORMS if name in content]
    if len(forms) != 1:
        raise RequestError(f"The body must have exactly one of {', '.join(FORMS)}.")
    (form,) = forms
    if b"NaN" in body:
        content[form] = _with_null_for_nan(content[form])
    read = {"dataframe_split": _split, "dataframe_records": _records}.get(form, _tensors)
    return read(content[form], form, columns)


def _with_null_for_nan(content: Any) -> Any:
    """MLflow's client writes what pandas does not know as NaN, which is no JSON."""
    if isinstance(content, list):
        return [_with_null_for_nan(one) for one in content]
    if isinstance(content, dict):
        return {name: _with_null_for_nan(one) for name, one in content.items()}
    return None if isinstance(content, float) and content != content else content


def _split(content: Any, form: str, columns: Sequence[str]) -> list[Any]:  # noqa: ARG001
    known = ("columns", "data", "index")
    if not isinstance(content, dict) or set(content) - set(known):
        raise RequestError(f"{form!r} must be an object with 'columns' and 'data'.")
    names, data = content.get("columns"), content.get("data")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise RequestError(f"{form}.columns must be a list of names.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RequestError(f"{form}.columns has {twice!r} twice.")
    return _named(data, names, f"{form}.data")


def _records(content: Any, form: str, columns: Sequence[str]) -> list[Any]:  # noqa: ARG001
    if not isinstance(content, list):
        raise RequestError(f"{form!r} must be a list of objects.")
    return content


def _tensors(content: Any, form: str, columns: Sequence[str]) -> list[Any]:
    if isinstance(content, list) and all(isinstance(row, dict) for row in content):
        return content
    if isinstance(content, list):
        return _named(content, columns, form)
    if form != "inputs" or not isinstance(content, dict):
        raise RequestError(f"{form!r} must be a list of rows.")
    lengths = {len(values) if isinstance(values, list) else -1 for values in content.values()}
    if -1 in lengths or len(lengths) > 1:
        raise RequestError(f"{form!r} must have a list for each column, all of one length.")
    return [dict(zip(content, row, strict=True)) for row in zip(*content.values(), strict=True)]


def _named(data: Any, names: Sequence[str], place: str) -> list[Any]:
    if not isinstance(data, list):
        raise RequestError(f"{place} must be a list of rows.")
    for number, row in enumerate(data):
        if not isinstance(row, list) or len(row) != len(names):
            raise RequestError(f"{place}[{number}] must be a list of {len(names)} values.")
    return [dict(zip(names, row, strict=True)) for row in data]


def _csv_rows(body: bytes, fields: Fields) -> list[Any]:
    try:
        lines = list(csv.reader(io.StringIO(body.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise RequestError(f"The body is no CSV in UTF-8: {error}.") from error
    if not lines:
        raise RequestError("The body is empty: CSV begins with a line of column names.")
    names, *data = lines
    if len(set(names)) < len(names):
        raise RequestError("The first line of the CSV names a column twice.")
    return [_csv_row(names, row, number, fields) for number, row in enumerate(data) if row]


def _csv_row(names: list[str], row: list[str], number: int, fields: Fields) -> dict[str, Any]:
    if len(row) != len(names):
        raise RequestError(
            f"Row {number} has {len(row)} values, and there are {len(names)} columns."
        )
    cells = zip(names, row, strict=True)
    return {name: _value(text, fields.types.get(name), f"{number}.{name}") for name, text in cells}


def _value(text: str, kind: pl.DataType | None, place: str) -> Any:
    import polars as pl

    if text == "":
        return None
    if kind is None or not (kind.is_numeric() or kind == pl.Boolean):
        return text
    if kind == pl.Boolean:
        lower = text.lower()
        return True if lower in _TRUE else False if lower in _FALSE else text
    try:
        return int(text) if kind.is_integer() and text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise RequestError(f"{place}: {text[:40]!r} is no number.") from None
