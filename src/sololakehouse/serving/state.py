"""What all parts of a server share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from sololakehouse.lake import Lakehouse
from sololakehouse.serving.limits import Access, Limits
from sololakehouse.serving.metrics import Metrics
from sololakehouse.serving.served_model import ServedModel

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass
class ServingState:
    """A server's state; `served` is replaced as a whole when another version takes over."""

    lake: Lakehouse
    reference: str
    served: ServedModel
    limits: Limits
    access: Access
    metrics: Metrics = field(default_factory=Metrics)
    stopping: bool = False


@lru_cache(maxsize=2)
def predict_body(served: ServedModel, most_rows: int) -> TypeAdapter[Any]:
    """Return what validates the body of `/predict`; it is built once."""
    return served.predict_body(most_rows)
