"""Text to typed values: what the CSV parser of Arrow accepts fits, everything else does not.

Every value that a block of the fast path accepts fits here with the same result, and the other way
round, because both ask the same parser.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGER = r"^[ \t]*(-?\d+|0[xX][0-9a-fA-F]+)[ \t]*$"
_NUMBER = r"^[ \t]*[-+]?([0-9.][0-9.eE+-]*|[nN][aA][nN].*|[iI][nN][fF][a-zA-Z]*)[ \t]*$"
_BOOLEAN = r"^(0|1|[tT][rR][uU][eE]|[fF][aA][lL][sS][eE])$"
_DATE = r"^[ \t]*\d{4}-\d\d-\d\d[ \t]*$"
_INSTANT = r"^\d{4}-\d\d-\d\d[T ].*(Z|[+-]\d\d(:?\d\d)?)$"
_LOCAL = r"^\d{4}-\d\d-\d\d([T ][0-9:.]*)?$"


def typed(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert text to a type; a value that does not fit becomes NULL, as NULL does.

    Parameters
    ----------
    values
        Strings; leading and trailing blanks of numbers and dates do not matter.
    kind
        The type to give.

    Examples
    --------
    >>> import pyarrow as pa
    >>> typed(pa.array(["1", "x", None, " 2"]), pa.int64()).to_pylist()
    [1, None, None, 2]
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(kind):
        return values
    if pa.types.is_binary(kind):
        return values.cast(kind)
    same = _of_one_form(values, kind)
    if same is not None:
        return same
    coded = values.dictionary_encode()
    distinct = coded.dictionary
    plausible = pc.match_substring_regex(distinct, necessary_form(kind))
    places = pc.indices_nonzero(plausible)
    fitting = _converted(distinct.take(places), kind)
    back = pc.index_in(pa.array(range(len(distinct)), pa.uint64()), value_set=places)
    return fitting.take(back).take(coded.indices)


def _of_one_form(values: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Convert dates and instants as ISO 8601 has them; None if a value may be written otherwise."""
    import pyarrow as pa

    if not pa.types.is_temporal(kind):
        return None
    try:
        return values.cast(kind)
    except pa.ArrowInvalid:
        return None


def necessary_form(kind: pa.DataType) -> str:
    """Return a regular expression that every value of the type matches; others may, too."""
    import pyarrow as pa

    if pa.types.is_integer(kind):
        return _INTEGER
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _NUMBER
    if pa.types.is_boolean(kind):
        return _BOOLEAN
    if pa.types.is_date(kind):
        return _DATE
    return _LOCAL if kind.tz is None else _INSTANT


def parsed(values: pa.Array, kind: pa.DataType) -> pa.Array | None:
    """Convert text to a type; None if one of the values does not fit."""
    import pyarrow as pa
    from pyarrow import csv

    if not len(values):
        return pa.array([], kind)
    try:
        rows = csv.read_csv(
            io.BytesIO(_as_csv(values)),
            csv.ReadOptions(column_names=["v"], use_threads=False),
            csv.ParseOptions(newlines_in_values=True),
            csv.ConvertOptions(
                column_types={"v": kind}, null_values=[], timestamp_parsers=[csv.ISO8601]
            ),
        )
    except pa.ArrowInvalid:
        return None
    return rows["v"].combine_chunks()


def _as_csv(values: pa.Array) -> bytes:
    import pyarrow.compute as pc

    escaped = pc.replace_substring(values, '"', '""')
    lines = pc.binary_join_element_wise('"', escaped, '"\n', "")
    length = pc.sum(pc.binary_length(lines)).as_py()
    text: bytes = lines.buffers()[2].slice(0, length).to_pybytes()
    return text


def _converted(values: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    all_of_them = parsed(values, kind)
    if all_of_them is not None:
        return all_of_them
    if len(values) == 1:
        return pa.nulls(1, kind)
    half = len(values) // 2
    return pa.concat_arrays([_converted(values[:half], kind), _converted(values[half:], kind)])
