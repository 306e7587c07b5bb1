"""What was known of a table at a moment: rows and values that came later are gone, or spoiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.provenance import fingerprint
from sololakehouse.replay.dating import ROW, DatedTable

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

_TOLD = "__slh_told"
Mode = Literal["truncate", "perturb"]


@dataclass(frozen=True)
class Revealed:
    """What is there nevertheless of a table whose later rows and values are hidden.

    Attributes
    ----------
    rows
        Numbers of rows that are there.
    values
        By column that is known later than its row: the numbers of rows that have their value.
    """

    rows: Sequence[int] = ()
    values: Mapping[str, Sequence[int]] = field(default_factory=dict)


NOTHING = Revealed()


def clipped(dated: DatedTable, cutoff: datetime, revealed: Revealed = NOTHING) -> pl.LazyFrame:
    """Return the rows known by a cutoff, it included; values that came later are NULL."""
    import polars as pl

    def shown(moment: str, numbers: Sequence[int]) -> pl.Expr:
        known = pl.col(moment) <= cutoff
        return known | pl.col(ROW).is_in(list(numbers)) if numbers else known

    rows = dated.scan().filter(shown(dated.row_known, revealed.rows))
    known = {
        column: pl.when(shown(moment, revealed.values.get(column, ())))
        .then(pl.col(column))
        .otherwise(None)
        for column, moment in dated.late.items()
    }
    return rows.select(known.get(name, pl.col(name)) for name in dated.snapshot.columns)


def spoiled(dated: DatedTable, cutoff: datetime, seed: int) -> pl.DataFrame:
    """Return all rows, with their numbers, in which all that came after a cutoff is made up.

    Values that came later are shuffled among each other, and half of the numbers and truth values
    are replaced by others between the least and the greatest. Columns that the moments are computed
    from as the declaration names them stay as they are, unless they came later themselves.
    """
    import numpy as np
    import polars as pl

    frame = dated.scan().collect()
    draw = np.random.default_rng([seed, int(fingerprint(dated.name, cutoff.isoformat())[:8], 16)])
    row_is_later = ~(frame[dated.row_known] <= cutoff).fill_null(value=False)
    columns = []
    for name in dated.snapshot.columns:
        later = row_is_later
        if name in dated.late:
            later = later | ~(frame[dated.late[name]] <= cutoff).fill_null(value=False)
        elif name in dated.kept:
            later = pl.zeros(frame.height, dtype=pl.Boolean, eager=True)
        columns.append(_spoiled_column(frame[name], later.to_numpy(), draw))
    return frame.select(ROW).with_columns(columns)


def still_later(
    dated: DatedTable, made_up: pl.DataFrame, moments: pl.DataFrame, cutoff: datetime
) -> pl.DataFrame:
    """Return made-up rows without those values that would have been known by the cutoff.

    A made-up delay may let a flight land before the cutoff: that would change what was known. Such
    rows are gone, and such values NULL, as if they were clipped.

    Parameters
    ----------
    made_up
        What `spoiled` gives.
    moments
        What the declaration says of the made-up rows, with their numbers. A row that is not there
        exactly once is clipped.
    """
    import polars as pl

    told = moments.filter(pl.col(ROW).is_unique()).with_columns(pl.lit(value=True).alias(_TOLD))
    names = [name for name in moments.columns if name != ROW]
    made = {name: f"{name}_made" for name in names}
    both = (
        dated.scan()
        .select(ROW, *names)
        .join(made_up.lazy(), on=ROW, how="left", maintain_order="left")
        .join(told.rename(made).lazy(), on=ROW, how="left", maintain_order="left")
    )
    is_later = {
        name: pl.col(_TOLD).fill_null(value=False) & ~_known(made[name], cutoff) for name in names
    }
    row = dated.row_known
    kept = {
        column: pl.when(_known(moment, cutoff) | is_later[moment])
        .then(pl.col(column))
        .otherwise(None)
        for column, moment in dated.late.items()
    }
    stays = _known(row, cutoff) | is_later[row]
    rows = both.filter(stays).select(kept.get(n, pl.col(n)) for n in dated.snapshot.columns)
    return rows.collect()


def _known(moment: str, cutoff: datetime) -> pl.Expr:
    import polars as pl

    return (pl.col(moment) <= cutoff).fill_null(value=False)


def _spoiled_column(
    values: pl.Series, later: np.ndarray[Any, Any], draw: np.random.Generator
) -> pl.Series:
    import numpy as np

    places = np.flatnonzero(later)
    if len(places) == 0 or values.dtype.is_nested():
        return values
    shuffled = values.gather(draw.permutation(places))
    replaced = _replaced(shuffled, draw)
    order = np.arange(len(values))
    order[places] = len(values) + np.arange(len(places))
    return values.append(replaced).gather(order).rename(values.name)


def _replaced(values: pl.Series, draw: np.random.Generator) -> pl.Series:
    """Draw half of the numbers and truth values anew; NULL stays NULL."""
    import polars as pl

    kind, count = values.dtype, len(values)
    known = values.drop_nulls()
    if known.is_empty():
        return values
    if kind == pl.Boolean:
        drawn = pl.Series(draw.random(count) < 0.5)
    elif kind.is_integer():
        low, high = int(known.min()), int(known.max())  # type: ignore[arg-type]
        drawn = pl.Series(draw.integers(low, high, count, endpoint=True))
    elif kind.is_float():
        finite = known.filter(known.is_finite())
        if finite.is_empty():
            return values
        drawn = pl.Series(draw.uniform(float(finite.min()), float(finite.max()), count))  # type: ignore[arg-type]
    else:
        return values
    anew = pl.Series(draw.random(count) < 0.5) & values.is_not_null()
    return drawn.cast(kind).zip_with(anew, values)
