from __future__ import annotations

import math
from dataclasses import astuple

import numpy as np
import polars as pl
import pytest

from sololakehouse.buffers import Buffers
from sololakehouse.features.association import PairSums, sums_beside

BLOCK = 8_192
ORIGIN = 3.0


def summed(column: pl.Series, y: np.ndarray) -> tuple[PairSums, list[float]]:
    sums, missing = sums_beside(Buffers.of(column), ORIGIN, y, PairSums.of_zeros(y))
    return sums, missing.tolist()


def oracle(values: list[float | None], y: list[float]) -> tuple[float, ...]:
    pairs = [(x - ORIGIN, b) for x, b in zip(values, y, strict=True) if x is not None]
    products = [(x, b, x * x, b * b, x * b) for x, b in pairs]
    return (len(pairs), *(math.fsum(each) for each in zip(*products, strict=True)))


@pytest.mark.parametrize("rows", [1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_sums_are_those_of_plain_python_whatever_the_blocks(rows, share):
    draw = np.random.default_rng(rows)
    values, y = draw.normal(size=rows), draw.integers(0, 2, rows) - 1.0
    unknown = draw.random(rows) < share
    unknown[[*range(BLOCK - 1, min(rows - 1, BLOCK + 1))]] = share > 0
    column = pl.Series(values).set(pl.Series(unknown), None)
    sums, missing = summed(column, y)
    if column.null_count() < rows:
        assert astuple(sums) == pytest.approx(oracle(column.to_list(), y.tolist()), rel=1e-12)
    assert missing == y[unknown].tolist()


def test_nothing_but_null_adds_nothing_whatever_stands_there():
    y = np.arange(50.0)
    hidden = pl.Series([math.nan, math.inf] * 25).set(pl.Series([True] * 50), None)
    sums, missing = summed(hidden, y)
    assert astuple(sums) == (0.0,) * 6
    assert missing == y.tolist()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e200])
@pytest.mark.parametrize("place", [0, BLOCK - 1, BLOCK, 2 * BLOCK])
def test_what_is_not_finite_or_too_large_to_square_shows_in_the_sum_of_squares(value, place):
    values = np.ones(2 * BLOCK + 1)
    values[place] = value
    with np.errstate(over="ignore", invalid="ignore"):
        assert not math.isfinite(summed(pl.Series(values), np.ones(len(values)))[0].xx)


def test_sums_of_parts_are_added_and_taken_away():
    one, other = PairSums(1, 2, 3, 4, 5, 6), PairSums(10, 20, 30, 40, 50, 60)
    assert one + other == PairSums(11, 22, 33, 44, 55, 66)
    assert other - one == PairSums(9, 18, 27, 36, 45, 54)
