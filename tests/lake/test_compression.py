"""Files of feature tables and training sets: compressed where it pays."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest

from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.lake.compression import compression_of
from tests.features.conftest import project  # noqa: F401

RANDOM = np.random.default_rng(1)


@pytest.mark.parametrize(
    ("values", "compression"),
    [
        (RANDOM.normal(size=30_000), "snappy"),
        (RANDOM.integers(0, 50, 30_000) / 4, "zstd"),
        ([f"flight {number}" for number in range(30_000)], "zstd"),
        ([], "snappy"),
    ],
)
def test_zstd_is_taken_where_it_saves_a_tenth(values, compression):
    assert compression_of(pl.DataFrame({"x": values})) == compression


def test_the_middle_of_the_rows_is_judged():
    alike, random = np.zeros(100_000), RANDOM.normal(size=30_000)
    rows = pl.DataFrame({"x": np.concatenate([alike, random, alike])})
    assert compression_of(rows) == "snappy"
    assert compression_of(rows.head(100_000)) == "zstd"


def test_a_feature_table_of_random_doubles_is_read_without_zstd(project):  # noqa: F811
    moments = pl.datetime_range(
        pl.datetime(2026, 1, 1), pl.datetime(2026, 1, 2), "1m", time_zone="UTC", eager=True
    )
    rows = pl.DataFrame({"key": "a", "feature_ts": moments})
    client = FeatureEngineeringClient(project.lake)
    several = {f"x{number}": RANDOM.normal(size=rows.height) for number in range(6)}
    for name, values in (("random", several), ("alike", dict.fromkeys(several, 1.0))):
        client.create_table(
            name=f"features.{name}",
            primary_keys=["key", "feature_ts"],
            timeseries_columns="feature_ts",
            df=rows.with_columns(**values),
        )
    codecs = {
        name: pq.ParquetFile(project.lake.read(f"features.{name}").data_files[0])
        .metadata.row_group(0)
        .column(2)
        .compression
        for name in ("random", "alike")
    }
    assert codecs == {"random": "SNAPPY", "alike": "ZSTD"}
