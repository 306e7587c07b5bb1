"""`slh optimize` gives feature tables the layout in which lookups read least."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sololakehouse.lake.memory import Memory
from sololakehouse.lake.optimize import optimize
from sololakehouse.provenance import Change, content_manifest
from tests.lake.keeping import Shop

TABLE = "features.sales"
IDENTITY = ["shop", "ts"]
PROPERTIES = {"feature.keys": "shop", "feature.timestamp": "ts"}


@pytest.fixture
def shop(tmp_path) -> Shop:
    """Two appends, each in the order of time."""
    shop = Shop(tmp_path)
    draw = np.random.default_rng(1)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(2):
        rows = pl.DataFrame(
            {
                "shop": draw.permutation(500),
                "ts": [start + timedelta(hours=500 * number + hour) for hour in range(500)],
                "sales": draw.normal(size=500),
                "note": [None if row % 7 == 0 else f"note {row}" for row in range(500)],
            }
        )
        change = Change("TEST", str(number))
        shop.writer().write_frame(TABLE, rows, change, mode="append", properties=PROPERTIES)
    return shop


@pytest.mark.parametrize(
    "memory", [Memory.of(10**9), Memory(labels=1, found=0, rows=5_000, whole=0)]
)
def test_a_feature_table_is_put_into_the_order_of_key_and_time(shop, monkeypatch, memory):
    monkeypatch.setattr(Memory, "of", lambda _: memory)
    before = shop.lake.read(TABLE)
    result = optimize(shop.writer(), TABLE)
    after = shop.lake.read(TABLE)
    assert (result.changed, result.files_before, result.files_after) == (True, 2, 1)
    assert after.to_polars().equals(before.to_polars().sort(IDENTITY))
    assert content_manifest(after.scan()) == before.record.manifest
    assert after.record.details["arranged"] == {
        "zorder": [],
        "sorted": IDENTITY,
        "operation": "TEST",
    }
    assert after.table_version.content == before.table_version.content
    assert not list((shop.lake.project.warehouse / "_staging").iterdir())
    assert not optimize(shop.writer(), TABLE).changed


def test_files_are_split_at_ranges_of_keys(shop):
    size = shop.lake.read(TABLE).size_bytes
    result = optimize(shop.writer(), TABLE, target_bytes=size // 3)
    assert result.files_after == 4
    assert sorted(result.snapshot.to_polars().rows()) == sorted(
        shop.lake.read(TABLE, 2).to_polars().rows()
    )
    assert not optimize(shop.writer(), TABLE, target_bytes=size // 3).changed


def test_what_is_appended_later_is_sorted_in(shop):
    optimize(shop.writer(), TABLE)
    rows = shop.lake.read(TABLE).to_polars().with_columns(pl.col("ts") + timedelta(days=99))
    shop.writer().write_frame(TABLE, rows, Change("TEST", "2"), mode="append")
    assert optimize(shop.writer(), TABLE).changed
    assert shop.lake.read(TABLE).to_polars()["shop"].is_sorted()


def test_a_zorder_that_is_asked_for_is_made(shop):
    optimize(shop.writer(), TABLE, ["ts"])
    assert shop.lake.read(TABLE).to_polars()["ts"].is_sorted()
