"""One part of a training set, as an estimator takes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@dataclass(frozen=True)
class Part:
    """One part of the data: inputs of shape (n, features) and labels 0 or 1 of shape (n,).

    Attributes
    ----------
    unknown
        How many rows of its period are left out, because their label was not known when the period
        ended.
    embargoed
        How many rows are left out, because they lie within the embargo before the next part.
    moments
        By which the rows are ordered in time, UTC, shape (n,), datetime64[us]; None: not known, and
        the part cannot be cut further.
    known_at
        When each label was known, likewise, NaT if it is not; None: the experiment does not say.
    """

    name: str
    inputs: pd.DataFrame
    labels: np.ndarray
    unknown: int = 0
    embargoed: int = 0
    moments: np.ndarray | None = None
    known_at: np.ndarray | None = None

    def frames(self) -> Iterator[pd.DataFrame]:
        """Give the inputs, all at once."""
        yield self.inputs

    @property
    def example(self) -> pd.DataFrame:
        """The inputs, of which the first rows may be shown."""
        return self.inputs


@dataclass(frozen=True)
class BatchedPart:
    """One part of the data whose inputs lie in a Parquet file, each row group one block of rows.

    Attributes
    ----------
    file
        The features in the types of `models.inputs.model_input`.
    rows_at_once
        Rows of a block; the last block has what is left.
    labels, unknown, embargoed
        As those of `Part`.
    """

    name: str
    file: Path
    rows_at_once: int
    labels: np.ndarray
    unknown: int = 0
    embargoed: int = 0

    @property
    def blocks(self) -> int:
        """How many blocks there are."""
        return -(-len(self.labels) // self.rows_at_once)

    def rows_of(self, block: int) -> slice:
        """Return which rows a block has, in the order of the training set."""
        begin = block * self.rows_at_once
        return slice(begin, min(begin + self.rows_at_once, len(self.labels)))

    def frame(self, block: int) -> pd.DataFrame:
        """Read the inputs of a block."""
        import polars as pl
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.file) as stored:
            found = pl.DataFrame(pl.from_arrow(stored.read_row_group(block)))
        return found.to_pandas()

    def frames(self) -> Iterator[pd.DataFrame]:
        """Give the inputs, block by block."""
        return map(self.frame, range(self.blocks))

    @property
    def example(self) -> pd.DataFrame:
        """The inputs of the first block, of which the first rows may be shown."""
        return self.frame(0)

    def column(self, name: str) -> np.ndarray:
        """Read one column of numbers, NaN where a value is missing; shape (n,)."""
        import polars as pl

        values = pl.read_parquet(self.file, columns=[name])[name]
        numbers: np.ndarray = values.to_numpy()
        return numbers

    def distinct(self, name: str) -> list[Any]:
        """Return the different texts of a column, sorted, None first if values are missing."""
        import polars as pl

        texts = pl.scan_parquet(self.file).select(pl.col(name).unique())
        return list(texts.collect(engine="streaming")[name].sort().to_list())


AnyPart = Part | BatchedPart
