"""A request that works, without loading the model or its features."""

from __future__ import annotations

import shlex
from typing import Any

from sololakehouse.features.identity import functions_of
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.tables import open_tables
from sololakehouse.lake import Lakehouse
from sololakehouse.models.versions import ModelVersion
from sololakehouse.serving.fields import fields_of


def example_row(lake: Lakehouse, version: ModelVersion) -> dict[str, Any] | None:
    """Return a row of the newest labels as `/predict` takes it; None if they are no table."""
    spec = TrainingSetSpec.model_validate(version.recipe)
    labels = lake.newest(spec.labels) if spec.labels and lake.exists(spec.labels) else None
    if labels is None:
        return None
    tables = open_tables(lake, spec.feature_lookups)
    training_set = lake.read(version.training_set, version.training_set_version)
    functions = functions_of(lake, spec)
    fields = fields_of(spec, version.feature_columns, training_set, tables, functions)
    asked = fields.of_role("key", "moment", "input")
    newest_first = [*fields.of_role("moment"), *asked]
    rows = labels.scan().select(name for name in asked if name in labels.columns)
    order = [name for name in dict.fromkeys(newest_first) if name in labels.columns]
    known = rows.sort(order, descending=True).head(1).collect().to_dicts()
    return {name: known[0].get(name) for name in asked} if known else None


def curl_line(url: str, row: dict[str, Any]) -> str:
    """Return the command that asks a server at `url` for the prediction of a row."""
    from pydantic_core import to_json

    body = shlex.quote(to_json({"rows": [row]}).decode())
    return f"curl -s {url}/predict -H 'Content-Type: application/json' -d {body}"
