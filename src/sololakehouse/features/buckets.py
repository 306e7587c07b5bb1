"""Looking up in a feature table of any size: one range of keys after the other.

A bucket is a range of the first key with about as many labels as every other. Of a table in the
order of its keys, as `FeatureEngineeringClient` writes it, a predicate reads its row groups alone;
any other table is first cut into files, one for each bucket. So the memory that a lookup needs is
that of one bucket and of the values that it found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sololakehouse.features.asof import AsOf, chosen_rows, rows_at
from sololakehouse.pipelines.ahead import ahead

if TYPE_CHECKING:
    import polars as pl

BUCKET_BYTES = 48_000_000
_BYTES_OF_A_VALUE = 12
_BATCH = 500_000


@dataclass(frozen=True)
class Found:
    """The values that a lookup found.

    Attributes
    ----------
    values
        One row for each label, in the order of the labels; NULLs where no row was chosen.
    matched
        Number of labels for which a row was chosen.
    """

    values: pl.DataFrame
    matched: int


def look_up_in_buckets(
    labels: pl.DataFrame,
    features: pl.LazyFrame,
    values: Sequence[str],
    rule: AsOf,
    buckets: int,
    *,
    in_order: bool = False,
) -> Found:
    """Return the columns `values` of the chosen feature rows, by the rules of `AsOf`.

    Parameters
    ----------
    features
        Keys, times and values.
    buckets
        How many ranges of keys to take one after the other; fewer if the labels have fewer keys.
    in_order
        Whether a range of keys can be read without reading all rows.
    """
    import polars as pl

    parts, places, matched = [], [], 0
    asked = labels.select(name for name in (*rule.keys, rule.timestamp) if name)
    for place, rows in ahead(
        _collected(_buckets(asked, features, rule, buckets, in_order=in_order))
    ):
        chosen = chosen_rows(asked[place] if buckets > 1 else asked, rows, rule)
        matched += len(chosen) - chosen.null_count()
        parts.append(rows_at(rows.select(values), chosen))
        places.append(place)
    if len(parts) == 1:
        return Found(parts[0], matched)
    order = pl.concat(places).arg_sort()
    whole = (pl.concat([part[name] for part in parts]).gather(order) for name in values)
    return Found(pl.DataFrame(whole), matched)


def bucket_count(rows: int, columns: int) -> int:
    """Return into how many buckets a feature table is cut; 1 if it is small enough as a whole.

    Examples
    --------
    >>> bucket_count(rows=1_000_000, columns=8), bucket_count(rows=5_000_000, columns=8)
    (2, 10)
    """
    return max(1, rows * columns * _BYTES_OF_A_VALUE // BUCKET_BYTES)


def _buckets(
    asked: pl.DataFrame, features: pl.LazyFrame, rule: AsOf, buckets: int, *, in_order: bool
) -> Iterator[tuple[pl.Series, pl.LazyFrame]]:
    """Give for each bucket the places of its labels and its feature rows.

    Labels whose key is NULL are in the first one: they find nothing anywhere.
    """
    import polars as pl

    keys = asked[rule.keys[0]]
    everything = pl.int_range(asked.height, dtype=pl.UInt32, eager=True)
    edges = _edges(keys, buckets)
    if not edges:
        yield everything, features
        return
    ranges = list(zip([None, *edges], [*edges, None], strict=True))
    key = (rule.feature_keys or rule.keys)[0]
    with TemporaryDirectory() as folder:
        cut = None if in_order else _cut(features, key, edges, Path(folder))
        for number, (low, high) in enumerate(ranges):
            inside = _inside(pl.lit(keys), low, high)
            of_null = keys.is_null() if low is None else pl.lit(False)
            place = everything.filter(asked.select((inside | of_null).fill_null(False)).to_series())
            yield place, cut[number] if cut else features.filter(_inside(pl.col(key), low, high))


def _cut(features: pl.LazyFrame, key: str, edges: list[Any], folder: Path) -> list[pl.LazyFrame]:
    """Write rows into files by the range of their key; return a scan of each range."""
    import polars as pl

    nothing = features.collect_schema().to_frame().lazy()
    files: list[list[Path]] = [[] for _ in range(len(edges) + 1)]
    rows = features.select(pl.len()).collect().item()
    for turn, first in enumerate(range(0, rows, _BATCH)):
        batch = features.slice(first, _BATCH).collect()
        begins = pl.Series(edges, dtype=batch.schema[key])
        numbers = pl.Series("", begins.search_sorted(batch[key], side="right"))
        for number, some in enumerate(files):
            inside = batch.filter(numbers == number)
            if inside.height:
                some.append(folder / f"{number}-{turn}.arrow")
                inside.write_ipc(some[-1])
    return [pl.scan_ipc(some) if some else nothing for some in files]


def _collected(
    buckets: Iterator[tuple[pl.Series, pl.LazyFrame]],
) -> Iterator[tuple[pl.Series, pl.DataFrame]]:
    for place, rows in buckets:
        yield place, rows.collect()


def _edges(keys: pl.Series, buckets: int) -> list[Any]:
    """Return the keys at which buckets begin, except for the first bucket."""
    known = keys.drop_nulls().sort()
    if buckets < 2 or known.is_empty():
        return []
    at = [len(known) * number // buckets for number in range(1, buckets)]
    found = known.gather(at).unique().sort()
    return [edge for edge in found.to_list() if edge != known[0]]


def _inside(key: pl.Expr, low: Any, high: Any) -> pl.Expr:
    import polars as pl

    above = pl.lit(True) if low is None else key >= low
    return above if high is None else above & (key < high)
