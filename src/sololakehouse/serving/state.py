"""What all parts of a server share."""

from __future__ import annotations

from dataclasses import dataclass, field

from sololakehouse.lake import Lakehouse
from sololakehouse.serving.limits import Access, Limits
from sololakehouse.serving.metrics import Metrics
from sololakehouse.serving.served_model import ServedModel


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
