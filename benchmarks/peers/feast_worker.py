"""Feast in an environment of its own, `make feast`: one request per line, answered by one line.

Usage: feast_worker.py duckdb|dask. A request is JSON: a folder with labels.parquet and
features.parquet, where found.parquet is written, and what the rule asks for.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Float64, Int64, String


def join(kind: str, asked: dict[str, Any]) -> None:
    folder = Path(asked["folder"])
    labels = pd.read_parquet(folder / "labels.parquet")
    labels["place"] = range(len(labels))
    store = FeatureStore(
        config=RepoConfig(
            project="conformance",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": kind},
            online_store=None,
            entity_key_serialization_version=3,
        )
    )
    case, *keys = asked["keys"]
    entities = [Entity(name=case, join_keys=[case], value_type=ValueType.INT64)]
    entities += [Entity(name=key, join_keys=[key], value_type=ValueType.STRING) for key in keys]
    types = {case: Int64, **dict.fromkeys(keys, String), "row": Int64, "value": Float64}
    view = FeatureView(
        name="features",
        entities=entities,
        ttl=timedelta(microseconds=asked["ttl"]),
        schema=[Field(name=name, dtype=kind) for name, kind in types.items()],
        source=FileSource(
            path=str(folder / "features.parquet"),
            timestamp_field="feature_ts",
            created_timestamp_column=asked["known_at"],
        ),
        online=False,
    )
    store.apply([*entities, view])
    found = store.get_historical_features(
        entity_df=labels.rename(columns={"event_ts": "event_timestamp"}),
        features=["features:row", "features:value"],
        filter_by_created_timestamp=asked["known_at"] is not None,
    ).to_df()
    found = found.rename(columns={"event_timestamp": "event_ts"}).sort_values("place")
    found.to_parquet(folder / "found.parquet")


def main() -> None:
    warnings.simplefilter("ignore")
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        try:
            join(sys.argv[1], json.loads(line))
            said = ""
        except Exception as error:  # noqa: BLE001  (the answer says what it was)
            traceback.print_exc()
            said = f"{type(error).__name__}: {error}".splitlines()[0]
        print(json.dumps(said), file=answers, flush=True)


if __name__ == "__main__":
    main()
