"""The links of the chain that ends in a model, and what was found about each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Link = Literal[
    "landing file",
    "environment",
    "code",
    "table version",
    "feature",
    "row order",
    "seed",
    "experiment",
    "training",
]
State = Literal["same", "differs", "not compared"]


@dataclass(frozen=True)
class Finding:
    """What comparing one link gave.

    Attributes
    ----------
    said
        One sentence: what differs and by how much, or what was compared.
    figures
        The same as numbers and names, for scripts.
    """

    link: Link
    state: State
    said: str
    figures: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON values."""
        return {
            "link": self.link,
            "state": self.state,
            "said": self.said,
            "figures": dict(self.figures),
        }


def first_differing(findings: Iterable[Finding]) -> Finding | None:
    """Return the first link that differs, in the order of the findings; None if none does."""
    return next((finding for finding in findings if finding.state == "differs"), None)
