"""The lineage graph as JSON-like values."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pydantic import BaseModel

from sololakehouse.lineage.graph import Lineage, Node


def lineage_json(lineage: Lineage) -> dict[str, Any]:
    """Return the graph as JSON-like values: its nodes, each with what it was made from."""
    return {
        "asked": lineage.asked,
        "direction": lineage.direction,
        "roots": list(lineage.roots),
        "nodes": [
            _node(node)
            | {
                "made from": [
                    {"id": edge.source, "as": edge.role} for edge in lineage.sources[node.id]
                ]
            }
            for node in lineage.nodes.values()
        ],
        "not deterministic": lineage.not_deterministic,
    }


def _node(node: Node) -> dict[str, Any]:
    found = {field.name.replace("_", " "): getattr(node, field.name) for field in fields(node)}
    return {"kind": node.kind} | {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    return list(value) if isinstance(value, tuple) else value
