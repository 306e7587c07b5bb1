"""The OpenAPI document of a server: the fields of its model, with their types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sololakehouse.serving.state import ServingState

if TYPE_CHECKING:
    from fastapi import FastAPI

_REFERENCES = "#/components/schemas/{model}"
_PROBLEM = {
    "type": "object",
    "required": ["error_code", "message"],
    "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}},
}
_WHY = {
    "400": "A field is not known, is missing or has another type, or the model refuses a value.",
    "401": "The token is missing.",
    "408": "The body did not come in time.",
    "413": "The body is too large.",
    "415": "The body is of another type.",
    "421": "The Host header is not of this machine.",
    "503": "The server is busy, or a feature table cannot be read.",
    "504": "There is no answer in time.",
}
_PREDICTIONS = {
    "type": "object",
    "required": ["request_id", "model", "predictions", "lookups"],
    "properties": {
        "request_id": {"type": "string"},
        "model": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "version": {"type": "integer"}},
        },
        "predictions": {"type": "array", "items": {"type": "object"}},
        "lookups": {"type": "array", "items": {"type": "object"}},
        "features": {"type": "array", "items": {"type": "object"}},
    },
}
_SCORES = {
    "type": "object",
    "required": ["predictions"],
    "properties": {"predictions": {"type": "array"}},
}
_SUMMARIES = {
    "/predict": "Predict for keys: features are looked up in memory.",
    "/invocations": "MLflow's scoring protocol; features that are left out are looked up.",
    "/model": "The version that answers, what it was trained on, what is in memory.",
    "/ping": "MLflow's health check.",
    "/version": "The version of MLflow whose protocol this is.",
    "/health": "Whether the process lives.",
    "/ready": "Whether it answers, and looks after its features.",
    "/metrics": "Prometheus metrics.",
}

_TEXTS = frozenset({"/ping", "/version", "/metrics"})


def document(app: FastAPI, state: ServingState) -> dict[str, Any]:
    """Return the document for the model that answers now."""
    from fastapi.openapi.utils import get_openapi

    served = state.served
    found = get_openapi(
        title=f"{served.name} version {served.version.version}",
        version=str(served.version.version),
        description="A model of SoloLakehouse, with its features.",
        routes=app.routes,
    )
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    schemas.clear()
    schemas["Problem"] = _PROBLEM
    bodies = {
        "/predict": {"application/json": _predict_schema(state, schemas)},
        "/invocations": {
            "application/json": _invocations_schema(state, schemas),
            "text/csv": {"type": "string"},
        },
    }
    answers = {"/predict": _PREDICTIONS, "/invocations": _SCORES}
    for path, methods in found["paths"].items():
        for operation in methods.values():
            operation["summary"] = _SUMMARIES[path]
            if path in bodies:
                content = {kind: {"schema": schema} for kind, schema in bodies[path].items()}
                operation["requestBody"] = {"required": True, "content": content}
                operation["responses"] = _responses(answers[path])
            elif path in _TEXTS:
                text = {"text/plain": {"schema": {"type": "string"}}}
                operation["responses"] = {"200": {"description": "Text.", "content": text}}
    if state.access.token is not None:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"token": []}]
    return found


def _responses(answer: dict[str, Any]) -> dict[str, Any]:
    refused = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        "200": {
            "description": "The predictions.",
            "content": {"application/json": {"schema": answer}},
        },
        **{
            status: {"description": why, "content": {"application/json": refused}}
            for status, why in _WHY.items()
        },
    }


def _predict_schema(state: ServingState, schemas: dict[str, Any]) -> dict[str, Any]:
    schema = state.served.predict_body(state.limits.rows).json_schema(ref_template=_REFERENCES)
    schemas.update(schema.pop("$defs", {}))
    return schema


def _invocations_schema(state: ServingState, schemas: dict[str, Any]) -> dict[str, Any]:
    rows = state.served.fields.loose_rows.json_schema(ref_template=_REFERENCES)
    schemas.update(rows.pop("$defs", {}))
    names = sorted(state.served.fields.types)
    split = {
        "type": "object",
        "required": ["columns", "data"],
        "additionalProperties": False,
        "properties": {
            "columns": {"type": "array", "items": {"enum": names}},
            "data": {"type": "array", "items": {"type": "array"}},
            "index": {"type": "array"},
        },
    }
    lists = {"type": "array", "items": {"type": "array"}}
    columns = {"type": "object", "additionalProperties": {"type": "array"}}
    forms = {
        "dataframe_split": split,
        "dataframe_records": rows,
        "instances": {"anyOf": [rows, lists]},
        "inputs": {"anyOf": [rows, lists, columns]},
    }
    return {
        "oneOf": [
            {
                "type": "object",
                "required": [name],
                "additionalProperties": False,
                "properties": {name: form, "params": {"type": "object", "maxProperties": 0}},
            }
            for name, form in forms.items()
        ]
    }
