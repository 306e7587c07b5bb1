"""Rows come back as they went, from memory and from files, and files go with what was in them."""

from __future__ import annotations

import resource
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event

import numpy as np
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

WIDE = pl.DataFrame(
    {
        "huge": pl.Series([2**100, None, -1], dtype=pl.Int128),
        "category": pl.Series(["a", None, "b"], dtype=pl.Categorical),
        "listed": pl.Series(["a", None, "b"], dtype=pl.Enum(["b", "a"])),
        "pair": pl.Series([[1, 2], None, [3, None]], dtype=pl.Array(pl.Int8, 2)),
        "nothing": [None, None, None],
    }
)
FIXED = EVERY_TYPE.select(
    "whole", "small", "real", "truth", "day", "moment", "length"
).with_columns(
    clock=pl.Series([time(1, 2, 3, 4), None, time(0)]),
    half=pl.Series([1.5, None, float("-inf")], dtype=pl.Float32),
    large=pl.Series([2**64 - 1, None, 0], dtype=pl.UInt64),
    naive=pl.Series([datetime(1900, 1, 1), None, datetime(2100, 1, 1)], dtype=pl.Datetime("ns")),
)


def _spilled(folder: Path) -> list[Path]:
    """Return the files without a name that this process has open in a folder."""
    files = [one.readlink() for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
    return [one for one in files if one.is_relative_to(folder)]


def _is_spilled(folder: Path) -> bool:
    return bool(_spilled(folder))


@pytest.mark.parametrize(
    "rows", [EVERY_TYPE, WIDE, FIXED, FIXED.select("real"), EVERY_TYPE.select("text")]
)
@pytest.mark.parametrize("most_bytes", [0, 10**9])
def test_every_type_comes_back(tmp_path: Path, most_bytes: int, rows: pl.DataFrame) -> None:
    spill = Spill(tmp_path, most_bytes)
    other = pl.DataFrame({"n": [7]})
    spill.add("some", rows, np.array([4, 300, 4]))
    spill.add("other", other, np.array([0]))
    spill.add("some", rows, np.array([0, 1, 2]), at=np.array([2, 1, 0]))
    spill.add("some", rows, np.arange(0), at=np.arange(0))

    assert _is_spilled(tmp_path) == (most_bytes == 0)
    assert spill.numbers("some") == [0, 1, 2, 4, 300]
    assert_frame_equal(spill.take("some", 4), rows[[0, 2]])  # type: ignore[arg-type]
    assert spill.take("some", 4) is None
    assert spill.take("some", 3) is None
    assert spill.take("else", 0) is None
    for number, row in ((0, 2), (1, 1), (2, 0), (300, 1)):
        assert_frame_equal(spill.take("some", number), rows[[row]])  # type: ignore[arg-type]
    assert_frame_equal(spill.take("other", 0), other)  # type: ignore[arg-type]
    assert spill.numbers("some") == []
    assert not _is_spilled(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("rows", [EVERY_TYPE, FIXED, WIDE])
@pytest.mark.parametrize("most_bytes", [0, 10**9])
def test_rows_come_back_in_their_places(
    tmp_path: Path, most_bytes: int, rows: pl.DataFrame
) -> None:
    spill = Spill(tmp_path, most_bytes)
    spill.add("some", rows, np.array([1, 0, 1]), places=np.array([5, 2, 0], np.uint32))
    spill.add("some", rows, np.array([1]), at=np.array([2]), places=np.array([3], np.uint32))

    expected = pl.concat([rows[[2]], rows.clear(2), rows[[2]], rows.clear(1), rows[[0]]])
    assert_frame_equal(spill.take_in_place("some", 1, 6), expected)  # type: ignore[arg-type]
    assert spill.take_in_place("some", 1, 6) is None
    expected = pl.concat([rows.clear(2), rows[[1]]])
    assert_frame_equal(spill.take_in_place("some", 0, 3), expected)  # type: ignore[arg-type]


def test_more_columns_than_a_byte_has_bits_are_null_one_by_one(tmp_path: Path) -> None:
    rows = pl.DataFrame({str(n): [n, None] if n % 3 else [None, n] for n in range(20)})
    spill = Spill(tmp_path)
    spill.add("some", rows, np.zeros(2, np.uint8))
    assert_frame_equal(spill.take("some", 0), rows)  # type: ignore[arg-type]


def test_ranges_are_added_again_after_they_were_taken(tmp_path: Path) -> None:
    spill, rows = Spill(tmp_path), pl.DataFrame({"n": [1, 2, 3]})
    for _ in range(2):
        spill.add("some", rows, np.array([0, 1, 0]))
        assert spill.take("some", 0)["n"].to_list() == [1, 3]  # type: ignore[index]
        spill.add("some", rows, np.array([1, 1, 1]))
        assert spill.take("some", 1)["n"].to_list() == [2, 1, 2, 3]  # type: ignore[index]
    assert not _is_spilled(tmp_path)


def test_what_was_added_first_is_first_though_only_that_is_in_the_file(tmp_path: Path) -> None:
    spill, rows = Spill(tmp_path, 80), pl.DataFrame({"n": [1, 2, 3]})
    spill.add("some", rows, np.zeros(3, np.uint8))
    assert _is_spilled(tmp_path)
    spill.add("some", rows.head(1), np.zeros(1, np.uint8))
    assert spill.take("some", 0)["n"].to_list() == [1, 2, 3, 1]  # type: ignore[index]


def test_more_rows_than_before_find_room() -> None:
    spill = Spill()
    for count in (3, 50_000, 7):
        rows = pl.DataFrame({"n": np.arange(count)})
        spill.add("some", rows, np.arange(count) % 2)
        assert spill.take("some", 1)["n"].to_list() == list(range(1, count, 2))  # type: ignore[index]
        assert spill.take("some", 0)["n"].to_list() == list(range(0, count, 2))  # type: ignore[index]


def test_room_on_the_disk_is_given_back_while_later_ranges_wait(tmp_path: Path) -> None:
    spill = Spill(tmp_path)
    spill.add("some", pl.DataFrame({"n": range(40)}), np.arange(40))
    files = [len(_spilled(tmp_path))]
    for number in range(40):
        spill.take("some", number)
        files.append(len(_spilled(tmp_path)))
    assert files[0] == 10
    assert files[4::4] == list(range(9, -1, -1))


@pytest.fixture
def impatient() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("impatient")
def test_rows_on_their_way_to_the_file_are_not_missed(tmp_path: Path) -> None:
    spill = Spill(tmp_path, 1_000_000)
    few, many = pl.DataFrame({"n": range(20)}), pl.DataFrame({"n": np.zeros(200_000)})
    ended = Event()

    def crowd() -> None:
        while not ended.is_set():
            spill.add("crowd", many, np.zeros(many.height, np.uint8))
            spill.take("crowd", 0)

    with ThreadPoolExecutor(1) as pool:
        crowded = pool.submit(crowd)
        found = []
        for numbers in np.arange(3000).reshape(-1, 20):
            spill.add("few", few, numbers)
            found += [spill.take("few", number) for number in numbers]
        ended.set()
        crowded.result()
    assert not any(one is None for one in found)


@pytest.mark.parametrize("text", ["", "texts are no records"])
def test_several_threads_add_and_take(tmp_path: Path, text: str) -> None:
    spill = Spill(tmp_path, 20_000)

    def add(part: int) -> None:
        rows = pl.DataFrame({"part": [part] * 1000})
        rows = rows.with_columns(text=pl.lit(text)) if text else rows
        spill.add("some", rows, np.arange(1000) % 40)

    def take(number: int) -> list[int]:
        found = spill.take("some", number)
        assert found is not None
        return sorted(found["part"].to_list())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(20)))
        assert _is_spilled(tmp_path)
        expected = sorted(list(range(20)) * 25)
        assert all(found == expected for found in pool.map(take, range(40)))
    assert not _is_spilled(tmp_path)


def test_a_full_disk_is_said(tmp_path: Path) -> None:
    rows = pl.DataFrame({"n": range(100_000)})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            Spill(tmp_path).add("some", rows, np.zeros(rows.height, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


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
