from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from sololakehouse.errors import DefinitionError, FeatureTableError, NotFoundError
from sololakehouse.lake.contract import FeatureContract

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
CONTRACT = FeatureContract(("origin", "dest"), "feature_ts")


def rows(**columns: object) -> pl.LazyFrame:
    whole = {"origin": ["JFK", "JFK"], "dest": ["LAX", "SFO"], "feature_ts": [NOON, NOON]}
    return pl.LazyFrame(whole | columns)


def test_a_contract_is_read_from_table_properties():
    properties = {
        "feature.keys": "origin, dest",
        "feature.timestamp": "feature_ts",
        "feature.known_at": "known_at",
        "delta.appendOnly": "true",
    }
    contract = FeatureContract.from_properties(properties)
    assert contract == FeatureContract(("origin", "dest"), "feature_ts", "known_at")
    assert contract.properties["feature.keys"] == "origin,dest"
    assert FeatureContract.from_properties(contract.properties) == contract


def test_a_table_without_feature_properties_has_no_contract():
    assert FeatureContract.from_properties({"delta.appendOnly": "true"}) is None


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"feature.keys": "k", "feature.timestmap": "ts"},
            "Unknown table property 'feature.timestmap'. Did you mean 'feature.timestamp'? "
            "Names: feature.keys, feature.known_at, feature.timestamp.",
        ),
        (
            {"feature.timestamp": "ts"},
            "A feature table needs the table property 'feature.keys', such as 'origin,dest'.",
        ),
        (
            {"feature.keys": "k", "feature.known_at": "at"},
            "The table property 'feature.known_at' needs 'feature.timestamp': the moment from "
            "which a value may be used.",
        ),
        (
            {"feature.keys": "k,k"},
            "The feature table's keys and times name a column twice: k, k.",
        ),
    ],
)
def test_an_incomplete_contract_is_refused(properties, message):
    with pytest.raises(DefinitionError) as raised:
        FeatureContract.from_properties(properties)
    assert str(raised.value) == message


def test_rows_that_keep_the_contract_pass():
    CONTRACT.check(rows(), "features.t")
    CONTRACT.check(rows().clear(), "features.t")


def test_duplicates_are_refused_with_three_examples():
    many = pl.concat([rows().collect()] * 2 + [rows(dest=["BOS", "MIA"]).collect()] * 3)
    with pytest.raises(FeatureTableError) as raised:
        CONTRACT.check(many.lazy(), "features.t")
    assert str(raised.value) == (
        "features.t: origin, dest, feature_ts must be unique together, but 10 rows have them in "
        "common with another row. Examples: origin='JFK', dest='BOS', "
        "feature_ts=2026-01-01T12:00:00Z (3 rows); origin='JFK', dest='LAX', "
        "feature_ts=2026-01-01T12:00:00Z (2 rows); origin='JFK', dest='MIA', "
        "feature_ts=2026-01-01T12:00:00Z (3 rows)."
    )


def test_the_same_key_and_time_may_be_known_at_two_moments():
    contract = FeatureContract(("k",), "ts", "known_at")
    times = {"ts": [NOON, NOON], "known_at": [NOON, NOON.replace(hour=13)]}
    contract.check(pl.LazyFrame({"k": [1, 1]} | times), "features.t")
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        contract.check(pl.LazyFrame({"k": [1, 1]} | times | {"known_at": [NOON, NOON]}), "t")


@pytest.mark.parametrize("column", ["origin", "feature_ts"])
def test_nulls_in_keys_and_times_are_refused(column):
    whole = rows().collect()
    broken = whole.with_columns(pl.lit(None, whole.schema[column]).alias(column))
    with pytest.raises(FeatureTableError) as raised:
        CONTRACT.check(pl.concat([whole, broken]).lazy(), "features.t")
    message = str(raised.value)
    assert f"features.t: {column} must be set, but 2 rows have a NULL there. Examples:" in message
    assert f"{column}=NULL" in message


def test_timestamps_need_a_time_zone():
    naive = rows(feature_ts=[NOON.replace(tzinfo=None)] * 2)
    with pytest.raises(FeatureTableError) as raised:
        CONTRACT.check(naive, "features.t")
    assert str(raised.value) == (
        "features.t: 'feature_ts' must be a timestamp with a time zone, and is a timestamp "
        "without a time zone. Make it one in the query, as in to_utc_timestamp(feature_ts, "
        "'Europe/Berlin')."
    )
    with pytest.raises(FeatureTableError, match="and is of type Date"):
        CONTRACT.check(rows(feature_ts=[NOON.date()] * 2), "features.t")


def test_floats_are_no_keys():
    with pytest.raises(
        FeatureTableError, match="the key 'origin' is of type Float64, which has no"
    ):
        CONTRACT.check(rows(origin=[1.0, 2.0]), "features.t")


def test_a_contract_that_names_a_missing_column_is_refused():
    with pytest.raises(NotFoundError) as raised:
        FeatureContract(("orgin",)).check(rows(), "features.t")
    assert str(raised.value) == (
        "features.t: No column 'orgin'. Did you mean 'origin'? Columns: dest, feature_ts, origin."
    )
