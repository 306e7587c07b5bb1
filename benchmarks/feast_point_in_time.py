"""The contestant `feast` of `point_in_time.py`, in the environment that `make feast` sets up.

`.venv-feast/bin/python benchmarks/feast_point_in_time.py LABELS OUT TABLE...`: Parquet files; each
table has `key`, `feature_ts` and features. Feast's DuckDB offline store does the join.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
from feast import Entity, FeatureStore, FeatureView, Field, FileSource
from feast.infra.offline_stores.file_source import ParquetFormat
from feast.types import Float64
from feast.value_type import ValueType

TIMES = ("key", "feature_ts")
STORE = """\
project: bench
registry: registry.db
provider: local
offline_store: {type: duckdb}
online_store: {type: sqlite, path: online.db}
entity_key_serialization_version: 3
"""


def view(name: str, file: str, entity: Entity) -> FeatureView:
    features = [column for column in pq.read_schema(file).names if column not in TIMES]
    return FeatureView(
        name=name,
        entities=[entity],
        ttl=timedelta(0),  # any age
        schema=[Field(name=feature, dtype=Float64) for feature in features],
        source=FileSource(path=file, timestamp_field="feature_ts", file_format=ParquetFormat()),
        online=False,
    )


def main() -> None:
    labels, out, *tables = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "feature_store.yaml").write_text(STORE)
        store = FeatureStore(scratch)
        key = Entity(name="key", join_keys=["key"], value_type=ValueType.INT64)
        views = [view(f"t{number}", file, key) for number, file in enumerate(tables)]
        store.apply([key, *views])
        asked = pd.read_parquet(labels).rename(columns={"at": "event_timestamp"})
        wanted = [
            f"{one.name}:{feature.name}"
            for one in views
            for feature in one.schema
            if feature.name != "key"
        ]
        found = store.get_historical_features(entity_df=asked, features=wanted).to_arrow()
    names = ["at" if name == "event_timestamp" else name for name in found.column_names]
    pq.write_table(found.rename_columns(names).sort_by("id"), out)


if __name__ == "__main__":
    main()
