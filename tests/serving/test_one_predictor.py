"""Batch inference, serving and the training set have the same values for the same rows."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.inference.batch import score
from sololakehouse.models.registry import resolve
from tests.serving.process import as_rows

FIELDS = ["place", "device", "at", "humid", "wind", "cloud"]
LAST = 400


@pytest.fixture(scope="module")
def training_rows(rich) -> pl.DataFrame:
    """Give the last rows of the training set; every tenth of them is of an unknown place."""
    version = resolve(rich.lake, "rain@staging")
    rows = rich.lake.read(version.training_set, version.training_set_version).to_polars()
    return rows.tail(LAST)


def test_serving_finds_what_the_training_set_has_and_predicts_as_batch_does(
    rich, copied, client, training_rows
):
    version = resolve(rich.lake, "rain@staging")
    project = copied()
    job = ScoringJob(model="rain@staging", input="gold.labels", output="inference.rain")
    batch = score(project.lake, project.writer(), job).snapshot.to_polars().tail(LAST)
    assert batch.select(FIELDS).equals(training_rows.select(FIELDS))
    reply = client.predict(*as_rows(training_rows.select(FIELDS)), with_features=True).json
    served = pl.DataFrame(reply["features"], schema=_types(training_rows, version.feature_columns))
    assert served.equals(training_rows.select(version.feature_columns))
    predictions = [(one["probability"], one["prediction"]) for one in reply["predictions"]]
    assert predictions == batch.select("probability", "prediction").rows()


def test_the_rows_were_worth_comparing(training_rows):
    """Missing pressures, old ones, defaults and computed values are all there."""
    missing = training_rows["gauge_pressure"].null_count()
    assert 0 < missing < LAST
    assert set(training_rows["height"]) == {300, -1}
    assert 0 < training_rows["muggy"].null_count() + 1 < LAST


def test_moments_that_memory_knows_are_answered_from_memory(server, client, training_rows):
    before = server.metric("slh_serve_history_reads_total")
    row = as_rows(training_rows.tail(1).select(FIELDS))[0]
    later = client.predict({**row, "at": "2026-04-01T05:00:00Z"}).json
    now = client.predict({k: v for k, v in row.items() if k != "at"}).json
    assert server.metric("slh_serve_history_reads_total") == before
    client.predict({**row, "at": "2026-02-01T05:00:00Z"})
    assert server.metric("slh_serve_history_reads_total") == before + 1
    ages = {one["table"]: one["age_seconds"] for one in later["lookups"]}
    assert ages["features.sky"] == [12 * 3600.0]
    assert ages["features.places"] == [None]
    (old,) = {one["table"]: one["age_seconds"] for one in now["lookups"]}["features.sky"]
    expected = (datetime.now(UTC) - datetime(2026, 3, 31, 17, tzinfo=UTC)).total_seconds()
    assert old == pytest.approx(expected, abs=60)
    assert {one["table"]: one["age_seconds"] for one in now["lookups"]}["features.gauge"] == [None]


def test_a_feature_that_a_request_brings_is_used_as_it_is(client, training_rows):
    row = as_rows(training_rows.tail(1).select(FIELDS))[0]
    given = client.predict({**row, "light": 99.5, "humid": 2}, with_features=True).json
    (features,) = given["features"]
    assert features["light"] == 99.5
    assert features["muggy"] == 2 * 99.5 + datetime.fromisoformat(row["at"]).hour
    assert [one["table"] for one in given["lookups"]] == ["features.gauge", "features.places"]


def test_the_request_that_is_shown_at_the_start_is_answered(client, served):
    example = served.example()
    assert set(example) == set(FIELDS) - {"at"}
    assert example["place"] in ("hill", "shore")
    assert client.predict(example).status == 200


def _types(rows: pl.DataFrame, columns) -> dict[str, pl.DataType]:
    return {name: rows.schema[name] for name in columns}
