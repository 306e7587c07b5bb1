"""Training sets of which little is held at once are what they are when everything is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest

from sololakehouse.feature_engineering import FeatureLookup
from sololakehouse.features import training_set
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.staging import STAGING
from sololakehouse.provenance import content_manifest

from .flights import LABELS, airports, weather

TINY = Memory(labels=40, found=0, rows=1500, whole=0)  # 13 rows of 9 columns at once
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def shops(project):
    """Two feature tables of several overlapping files, one of them restated, and labels."""
    draw = np.random.default_rng(5)

    def moments(count: int) -> list[datetime]:
        return [START + timedelta(minutes=int(n)) for n in draw.integers(0, 300, count)]

    for name, known in (("features.sales", []), ("features.restated", ["known_at"])):
        properties = {"feature.keys": "shop,till", "feature.timestamp": "ts"}
        for number in range(3):
            rows = pl.DataFrame(
                {
                    "shop": draw.choice(["n", "s", "w"], 60),
                    "till": draw.integers(-1, 2, 60),
                    "ts": moments(60),
                    **{column: moments(60) for column in known},
                    name.split(".")[1]: draw.normal(size=60),
                    f"{name.split('.')[1]}_text": [f"{number}-{row}" for row in range(60)],
                }
            ).unique(["shop", "till", "ts"], maintain_order=True)
            rows = rows.sort("shop", "till", "ts") if number else rows
            properties |= {"feature.known_at": "known_at"} if known else {}
            if number:
                stored = project.lake.read(name).to_polars()
                rows = rows.join(stored, on=["shop", "till", "ts"], how="anti")
            project.write(name, rows, mode="append", properties=properties)
    labels = pl.DataFrame(
        {
            "id": range(100),
            "shop": draw.choice(["n", "s", "w", "x"], 100),
            "till": [None if row % 17 == 3 else row % 3 - 1 for row in range(100)],
            "at": [None if row % 13 == 5 else at for row, at in enumerate(moments(100))],
            "label": draw.integers(0, 2, 100),
        }
    )
    project.write(
        "gold.visits", pl.concat([labels, labels.head(9)]).sample(109, seed=1, shuffle=True)
    )
    return project


def lookup(table: str, **fields: Any) -> FeatureLookup:
    whole = {"table_name": table, "lookup_key": ["shop", "till"], "timestamp_lookup_key": "at"}
    return FeatureLookup(**whole | fields)


def made(project, **options: Any) -> training_set.TrainingSet:
    lookups = [
        lookup("features.sales", default_values={"sales_text": "none"}),
        lookup("features.restated", lookback_window="90min"),
    ]
    whole = {"df": "gold.visits", "label": "label", "timestamp": "at", "feature_lookups": lookups}
    return project.client.create_training_set(**whole | options)


@pytest.mark.parametrize(
    "options", [{}, {"known_as_of": START + timedelta(minutes=200)}, {"timestamp": None}]
)
def test_a_saved_training_set_is_the_same_however_little_is_held(shops, monkeypatch, options):
    expected = made(shops, **options).to_polars()
    monkeypatch.setattr(Memory, "of", lambda _: TINY)
    saved = made(shops, **options).save("visits")
    assert saved.to_polars().equals(expected)
    assert expected.height == 109
    assert expected["restated"].null_count() > expected["sales"].null_count() > 0
    assert saved.record.manifest == content_manifest(expected)
    assert made(shops, **options).to_polars().equals(expected)


def test_what_it_says_of_itself_is_the_same_however_little_is_held(shops, monkeypatch):
    whole = made(shops).save("whole").record.details
    monkeypatch.setattr(Memory, "of", lambda _: TINY)
    in_parts = made(shops).save("parts").record.details
    assert in_parts["lookups"] == whole["lookups"]
    assert in_parts["feature_columns"] == whole["feature_columns"]


def test_labels_of_a_frame_keep_their_order_in_ranges(project, monkeypatch):
    monkeypatch.setattr(Memory, "of", lambda _: TINY)
    options = {"df": LABELS, "feature_lookups": [weather(), airports()], "label": "is_late"}
    saved = project.client.create_training_set(**options).save("delay").to_polars()
    assert saved.select(LABELS.columns).equals(LABELS)
    assert saved["temp"].to_list() == [2.0, 7.0, 9.0, None]
    assert saved["altitude"].to_list() == [22, 13, 13, None]


def test_a_training_set_without_labels_has_its_columns(project):
    training = project.client.create_training_set(
        df=LABELS.clear(), feature_lookups=[weather()], label="is_late"
    )
    saved = training.save("nothing")
    assert saved.to_polars().equals(training.to_polars())
    assert saved.columns.keys() == {*LABELS.columns, "temp", "wind"}
    assert saved.record.manifest.rows == 0


def test_nothing_is_left_on_the_disk(shops, monkeypatch):
    monkeypatch.setattr(Memory, "of", lambda _: TINY)
    made(shops).save("visits")
    assert not list((shops.lake.project.warehouse / STAGING).iterdir())
