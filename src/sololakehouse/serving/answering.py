"""From the bytes of a request to those of its answer; nothing here knows the web framework."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sololakehouse.serving.fields import mistakes_of
from sololakehouse.serving.invocations import rows_of
from sololakehouse.serving.served_model import Answer, ServedModel
from sololakehouse.serving.served_rows import Served
from sololakehouse.serving.state import ServingState


@dataclass(frozen=True)
class Request:
    """One request as it came.

    Attributes
    ----------
    served
        The model that answers, whatever takes over meanwhile.
    content_type
        `application/json` or `text/csv`.
    began
        `time.perf_counter()` when it came.
    """

    request_id: str
    endpoint: str
    served: ServedModel
    body: bytes
    content_type: str
    at: datetime
    began: float


def answer_predict(state: ServingState, request: Request, *, history: bool) -> tuple[bytes, Served]:
    """Answer `/predict`; see `ServedModel.answer` for what is raised."""
    from pydantic import ValidationError

    served = request.served
    try:
        asked = served.predict_body(state.limits.rows).validate_json(request.body)
    except ValidationError as error:
        raise mistakes_of(error, served.fields) from error
    answer = served.answer(asked["rows"], request.at, history=history)
    content = {
        "request_id": request.request_id,
        "model": {"name": served.name, "version": served.version.version},
        "predictions": answer.prediction.outputs.to_dicts(),
        "lookups": _lookups(answer),
    }
    if asked.get("with_features"):
        content["features"] = answer.prediction.values.to_dicts()
    return _json(content), _served(request, answer)


def answer_invocations(
    state: ServingState, request: Request, *, history: bool
) -> tuple[bytes, Served]:
    """Answer `/invocations` as `mlflow models serve` does, and look up what is left out."""
    served = request.served
    columns, most = served.version.feature_columns, state.limits.rows
    rows = rows_of(request.body, request.content_type, served.fields, columns, most)
    answer = served.answer(rows, request.at, history=history)
    return _json({"predictions": served.scores(answer)}), _served(request, answer)


def about_model(state: ServingState) -> dict[str, Any]:
    """Say which version answers, what it was trained on, and what is in its memory."""
    served, version = state.served, state.served.version
    record = served.training_set.record
    return {
        "name": version.name,
        "version": version.version,
        "reference": state.reference,
        "role": version.role,
        "trained_at": version.trained_at,
        "loaded_at": served.loaded_at,
        "metrics": dict(version.metrics),
        "mlflow_run_id": version.mlflow_run_id,
        "trained_on": {
            "training_set": str(served.training_set.table_version),
            "rows": served.training_set.rows,
            "inputs": [str(source) for source in record.inputs] if record else [],
            "label": version.recipe["label"],
        },
        "fields": {
            field.name: {"type": str(field.dtype), "role": field.role}
            for field in served.fields.fields
        },
        "inputs": served.input_types,
        "feature_tables": _tables(served),
    }


def _tables(served: ServedModel) -> dict[str, Any]:
    now, rows = datetime.now(UTC), served.features.rows
    found = {}
    for name, table in served.features.tables.items():
        committed = table.snapshot.commit.timestamp
        found[name] = {
            "version": table.version,
            "committed_at": committed,
            "age_seconds": (now - committed).total_seconds(),
            "rows_in_memory": rows[name],
        }
    return found


def _lookups(answer: Answer) -> list[Mapping[str, Any]]:
    return [
        {
            "table": lookup.table,
            "version": lookup.plan.table.version,
            "key": lookup.plan.lookup.lookup_key,
            "age_seconds": ages,
        }
        for lookup, ages in answer.found.lookups
    ]


def _served(request: Request, answer: Answer) -> Served:
    milliseconds = (time.perf_counter() - request.began) * 1000
    return Served(request.request_id, request.endpoint, request.at, milliseconds, answer)


def _json(content: Any) -> bytes:
    from pydantic_core import to_json

    return to_json(content, inf_nan_mode="null")
