"""Statistics of a feature table's rows, for one version: one pass, in bounded memory.

Numbers of rows and of NULLs, minima and maxima are exact. Means and quantiles are those of a sample
where there are more than `SAMPLE` rows: rows whose keys and times have a small hash, so that the
same content has the same sample, whatever the order of rows, and two versions share the rows that
both have. Numbers of distinct values are exact up to `DISTINCT`; above, they are estimated from the
smallest hashes (Bar-Yossef et al., "Counting distinct elements in a data stream", 2002).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from threading import Lock
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from sololakehouse.lake.history import instant

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from sololakehouse.lake.contract import FeatureContract
    from sololakehouse.provenance import CommitRecord

    Hashes = np.ndarray[Any, np.dtype[np.uint64]]

SAMPLE = 65_536
DISTINCT = 16_384
QUANTILES: Mapping[str, float] = {"5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95}
Scalar = bool | int | float | str
_STATISTICS = "feature_statistics"
_HASHES = 2**64
_VALUE_SEED, _KEY_SEED, _SAMPLE_SEED = 3, 5, 7
_LONGEST_TEXT = 60


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class ColumnStatistics(_Kept):
    """What the values of one feature are.

    Instants are text in UTC, dates and times ISO 8601, decimals numbers; long text is cut. NaN and
    the infinities are counted apart, and are in none of the other figures but `distinct`.

    Attributes
    ----------
    nulls
        Number of rows without a value.
    not_finite
        Number of rows with NaN or an infinity.
    distinct
        Number of different values, NULL left out; None for lists, maps and structs.
    distinct_is_exact
        Whether it was counted. An estimate has a standard error of 0.8 %.
    minimum, maximum
        None if there is no value, or if values have no order.
    mean
        Of numbers, and the share of true among booleans.
    quantiles
        By name, such as `95%`: the value below which this share of values lies, and which occurs.
        Empty for text, booleans, and what has no order.
    """

    nulls: int
    not_finite: int = 0
    distinct: int | None = None
    distinct_is_exact: bool = True
    minimum: Scalar | None = None
    maximum: Scalar | None = None
    mean: float | None = None
    quantiles: Mapping[str, Scalar] = {}


class TableStatistics(_Kept):
    """What the rows of a feature table are, at one version.

    Attributes
    ----------
    keys
        Number of different entities: values of the keys, the timestamp left out.
    keys_are_exact
        Whether they were counted. An estimate has a standard error of 0.8 %.
    first, last
        The least and the greatest timestamp, ISO 8601 in UTC to the microsecond; None without rows
        or without a timestamp.
    sampled
        Number of rows that means and quantiles are of.
    columns
        Of each feature, in the order of the table.
    """

    rows: int
    keys: int
    keys_are_exact: bool = True
    first: str | None = None
    last: str | None = None
    sampled: int
    columns: Mapping[str, ColumnStatistics]

    @property
    def details(self) -> dict[str, Any]:
        """What a commit's details keep of it."""
        return {_STATISTICS: self.model_dump(mode="json", exclude_defaults=True)}

    @classmethod
    def kept(cls, record: CommitRecord | None) -> TableStatistics | None:
        """Return the statistics that a commit keeps of its version; None if it has none."""
        found = record.details.get(_STATISTICS) if record else None
        return None if found is None else cls.model_validate(found)


def table_statistics(
    rows: pl.DataFrame | pl.LazyFrame, contract: FeatureContract
) -> TableStatistics:
    """Describe the rows of a feature table, batch by batch.

    Parameters
    ----------
    rows
        All rows of the table, which keep the contract.

    Examples
    --------
    >>> import polars as pl
    >>> from sololakehouse.lake.contract import FeatureContract
    >>> rows = pl.DataFrame({"shop": ["n", "s", "w"], "sales": [1, 2, None]})
    >>> found = table_statistics(rows, FeatureContract(("shop",)))
    >>> found.keys, found.columns["sales"].nulls, found.columns["sales"].mean
    (3, 1, 1.5)
    """
    import polars as pl

    scan = rows.lazy()
    count = int(scan.select(pl.len()).collect(engine="streaming").item())
    summary = _Summary(contract, scan.collect_schema(), count)
    # As for the manifest: a callback, because polars 2.1 ends `collect_batches` without an error
    # when the process is interrupted.
    counted = scan.map_batches(summary.add, streamable=True, schema={"rows": pl.Int64()})
    counted.sum().collect(engine="streaming")
    return summary.statistics()


class _Summary:
    """Takes the rows of a table batch by batch, from any thread and in any order."""

    def __init__(
        self, contract: FeatureContract, schema: Mapping[str, pl.DataType], rows: int
    ) -> None:
        self._contract = contract
        self._rows = rows
        self._sampled_below = _HASHES if rows <= SAMPLE else _HASHES * SAMPLE // rows
        self._kinds = {n: kind for n, kind in schema.items() if n not in contract.identity}
        self._aggregates = _aggregates(self._kinds, contract.timestamp)
        self._found: dict[str, list[pl.DataFrame]] = {kind: [] for kind in self._aggregates}
        self._sampled = 0
        self._sample: list[pl.DataFrame] = []
        self._keys = _Distinct()
        self._distinct = {n: _Distinct() for n, kind in self._kinds.items() if not kind.is_nested()}
        self._lock = Lock()

    def add(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Take a batch, and return how many rows it has."""
        import polars as pl

        found = {kind: batch.select(asked) for kind, asked in self._aggregates.items()}
        sampled = batch.filter(_hash(self._contract.identity, _SAMPLE_SEED) < self._sampled_below)
        keys = batch.select(_hash(self._contract.keys, _KEY_SEED)).to_series()
        with self._lock:
            for kind, values in found.items():
                self._found[kind].append(values)
            self._sampled += sampled.height
            self._sample.append(sampled.select(list(self._kinds)))
            self._keys.add(keys)
            for name, distinct in self._distinct.items():
                distinct.add(batch[name].drop_nulls().hash(_VALUE_SEED))
        return pl.DataFrame({"rows": [batch.height]})

    def statistics(self) -> TableStatistics:
        """Return what the rows are that were taken."""
        import polars as pl

        totals = {kind: self._total(kind) for kind in self._found}
        minima, maxima = totals["minima"], totals["maxima"]
        sample = pl.concat([pl.DataFrame(schema=self._kinds), *self._sample])
        timestamp = self._contract.timestamp
        return TableStatistics(
            rows=self._rows,
            keys=self._keys.number,
            keys_are_exact=self._keys.is_exact,
            first=minima.get(timestamp) if timestamp else None,
            last=maxima.get(timestamp) if timestamp else None,
            sampled=self._sampled,
            columns={name: self._of_column(sample[name], totals) for name in self._kinds},
        )

    def _total(self, kind: str) -> dict[str, Any]:
        import polars as pl

        together = {"minima": pl.all().min(), "maxima": pl.all().max()}.get(kind, pl.all().sum())
        found = [values for values in self._found[kind] if values.width]
        totals = pl.concat(found).select(together).to_dicts() if found else [{}]
        return {name: _scalar(value) for name, value in totals[0].items()}

    def _of_column(
        self, sample: pl.Series, totals: Mapping[str, Mapping[str, Any]]
    ) -> ColumnStatistics:
        name = sample.name
        distinct = self._distinct.get(name)
        values = _ordered(sample)
        return ColumnStatistics(
            nulls=totals["nulls"].get(name, 0),
            not_finite=totals["not_finite"].get(name, 0),
            distinct=distinct.number if distinct else None,
            distinct_is_exact=distinct.is_exact if distinct else True,
            minimum=totals["minima"].get(name),
            maximum=totals["maxima"].get(name),
            mean=_mean(values),
            quantiles=_quantiles(values),
        )


class _Distinct:
    """Counts different values by the smallest of their hashes."""

    def __init__(self) -> None:
        import numpy as np

        self._smallest: Hashes = np.empty(0, np.uint64)

    def add(self, hashes: pl.Series) -> None:
        """Take the hashes of some values."""
        import numpy as np

        if not self.is_exact:
            hashes = hashes.filter(hashes < self._smallest[-1])
        if hashes.is_empty():
            return
        both = np.sort(np.concatenate([self._smallest, hashes.unique().to_numpy()]))
        new = np.concatenate([[True], both[1:] != both[:-1]])
        self._smallest = both[new][:DISTINCT]

    @property
    def is_exact(self) -> bool:
        """Whether there are fewer values than hashes that are kept."""
        return len(self._smallest) < DISTINCT

    @property
    def number(self) -> int:
        """How many different values there were."""
        if self.is_exact:
            return len(self._smallest)
        return round((DISTINCT - 1) * _HASHES / int(self._smallest[-1]))


def _hash(columns: Sequence[str], seed: int) -> pl.Expr:
    import polars as pl

    value = pl.col(columns[0]) if len(columns) == 1 else pl.struct(columns)
    return value.hash(seed)


def _aggregates(
    kinds: Mapping[str, pl.DataType], timestamp: str | None
) -> dict[str, list[pl.Expr]]:
    import polars as pl

    floats = [name for name, kind in kinds.items() if kind.is_float()]
    comparable = [name for name, kind in kinds.items() if _is_ordered(kind)]
    others = [name for name in comparable if name not in floats]
    ordered = pl.col([*others, *([timestamp] if timestamp else [])])
    finite = [pl.when(pl.col(name).is_finite()).then(name) for name in floats]
    return {
        "nulls": [pl.col(list(kinds)).null_count()],
        "not_finite": [pl.col(floats).is_finite().not_().sum()],
        "minima": [ordered.min(), *(values.min() for values in finite)],
        "maxima": [ordered.max(), *(values.max() for values in finite)],
    }


def _is_ordered(kind: pl.DataType) -> bool:
    import polars as pl

    return not kind.is_nested() and kind != pl.Binary


def _ordered(sample: pl.Series) -> pl.Series:
    """Return the values that have a place among the others, in order."""
    values = sample.drop_nulls()
    if values.dtype.is_float():
        values = values.filter(values.is_finite())
    return values.sort() if _is_ordered(values.dtype) else values.clear()


def _mean(values: pl.Series) -> float | None:
    import polars as pl

    if values.is_empty() or not (values.dtype.is_numeric() or values.dtype == pl.Boolean):
        return None
    numbers = values.cast(pl.Float64)
    try:
        return math.fsum(numbers) / len(numbers)
    except OverflowError:
        return math.fsum(numbers / len(numbers))


def _quantiles(values: pl.Series) -> dict[str, Scalar]:
    if values.is_empty() or not (values.dtype.is_numeric() or values.dtype.is_temporal()):
        return {}
    places = {name: math.ceil(share * len(values)) - 1 for name, share in QUANTILES.items()}
    return {name: _scalar(values[place]) for name, place in places.items()}


def _scalar(value: Any) -> Any:
    if isinstance(value, datetime):
        return instant(value) if value.tzinfo else value.isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[: _LONGEST_TEXT - 3]}..."
    return value
