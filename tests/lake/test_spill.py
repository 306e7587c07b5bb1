"""Frames come back as they went, from memory and from files, and files go with what was in them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from sololakehouse.lake.memory import Memory
from sololakehouse.lake.ranges import cuts_of
from sololakehouse.lake.sorted_rows import sorted_scan
from sololakehouse.lake.spill import Spill

EVERY_TYPE = pl.DataFrame(
    {
        "whole": [1, None, -3],
        "small": pl.Series([1, None, 3], dtype=pl.UInt8),
        "real": [0.5, float("nan"), None],
        "text": ["a longer text than is kept inline", None, ""],
        "bytes": [b"\x00\x01", None, b""],
        "truth": [True, None, False],
        "day": [date(2026, 1, 1), None, date(1969, 12, 31)],
        "moment": pl.Series([0, None, -1]).cast(pl.Datetime("us", "UTC")),
        "length": [timedelta(1), None, timedelta(0)],
        "money": [Decimal("1.50"), None, Decimal("-0.01")],
        "list": [[1, 2], None, []],
        "struct": [{"a": 1, "b": "x"}, None, {"a": None, "b": None}],
    }
)


@pytest.mark.parametrize("most_bytes", [0, 10**9])
def test_every_type_comes_back(tmp_path: Path, most_bytes: int) -> None:
    spill = Spill(tmp_path, most_bytes)
    other = pl.DataFrame({"n": [7]})
    spill.add([("one", EVERY_TYPE), ("two", EVERY_TYPE.reverse()), ("other", other)])
    spill.add([("one", EVERY_TYPE.slice(1, 1)), ("nothing", EVERY_TYPE.clear())])

    assert bool(list(tmp_path.iterdir())) == (most_bytes == 0)
    found = spill.take("one")
    assert found is not None
    assert_frame_equal(found, pl.concat([EVERY_TYPE, EVERY_TYPE.slice(1, 1)]))
    assert spill.take("one") is None
    assert spill.take("nothing") is None
    assert_frame_equal(spill.take("other"), other)  # type: ignore[arg-type]
    assert_frame_equal(spill.take("two"), EVERY_TYPE.reverse())  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_several_threads_add_and_take(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 20_000)
    names = [str(number) for number in range(40)]

    def add(part: int) -> None:
        spill.add((name, pl.DataFrame({"part": [part] * 25})) for name in names)

    def take(name: str) -> list[int]:
        found = spill.take(name)
        assert found is not None
        return sorted(found["part"].to_list())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(20)))
        assert len(list(tmp_path.iterdir())) > 1
        expected = sorted(list(range(20)) * 25)
        assert all(found == expected for found in pool.map(take, names))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("column", ["whole", "real", "text", "moment", "truth", "day"])
def test_rows_are_sorted_in_files_as_in_memory(tmp_path: Path, column: str) -> None:
    moments = [datetime(2026, 1, 1, hour % 24, tzinfo=UTC) for hour in range(400)]
    rows = pl.concat([EVERY_TYPE.drop("list", "struct")] * 100)
    more = rows.with_columns(
        pl.Series("moment", [*moments[:200], *[None] * 100]).cast(pl.Datetime("us", "UTC")),
        pl.Series("whole", range(300, 0, -1)),
    )
    order = [column, *(name for name in more.columns if name != column)]
    found = sorted_scan(more.lazy(), order, tmp_path, Memory(1, 0, 3_000, 0)).collect()
    assert_frame_equal(found, more.sort(order))


def test_cuts_give_ranges_of_about_as_many_rows() -> None:
    rows = pl.DataFrame({"v": range(300_000)}).sample(fraction=1.0, shuffle=True, seed=3)
    cuts = cuts_of(rows.lazy(), "v", rows.height, 10_000)
    sizes = pl.Series([0, *cuts, rows.height]).diff().drop_nulls()
    assert len(sizes) == 31
    assert sizes.max() < 11_000  # type: ignore[operator]


def test_rows_without_values_are_not_cut() -> None:
    assert cuts_of(pl.LazyFrame({"v": [None] * 9}, schema={"v": pl.Int64}), "v", 9, 2).is_empty()
