"""Holding a join to the rules, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sololakehouse.conformance.contestants import Contestant
from sololakehouse.conformance.drawing import batches
from sololakehouse.conformance.judging import Difference, differences, shrunk
from sololakehouse.conformance.traps import TRAPS, Trap


@dataclass(frozen=True)
class TrapResult:
    """How a join did in one trap.

    Attributes
    ----------
    cases, failed
        Number of cases, and of those that it answered otherwise; 0 if it was not asked.
    supported
        Whether the join supports what the trap needs.
    example
        The first case that differs, without what it takes not to differ; None if none did.
    """

    trap: str
    rule: str
    cases: int
    failed: int
    supported: bool = True
    example: Difference | None = None

    @property
    def verdict(self) -> str:
        """`holds`, `differs` or `not supported`."""
        if not self.supported:
            return "not supported"
        return "differs" if self.failed else "holds"

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "trap": self.trap,
            "rule": self.rule,
            "verdict": self.verdict,
            "cases": self.cases,
            "passed": self.cases - self.failed,
            "failed": self.failed,
            "example": self.example and self.example.as_dict(),
        }


@dataclass(frozen=True)
class ConformanceReport:
    """How a join did in all traps."""

    contestant: str
    seed: int
    results: tuple[TrapResult, ...]

    @property
    def cases(self) -> int:
        """Number of cases."""
        return sum(result.cases for result in self.results)

    @property
    def failed(self) -> int:
        """Number of cases that were answered otherwise."""
        return sum(result.failed for result in self.results)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "contestant": self.contestant,
            "seed": self.seed,
            "cases": self.cases,
            "failed": self.failed,
            "traps": [result.as_dict() for result in self.results],
        }


def check_join(
    contestant: Contestant,
    cases: int = 2000,
    seed: int = 1,
    traps: Sequence[Trap] = TRAPS,
    begin: Callable[[str], None] = lambda _: None,
) -> ConformanceReport:
    """Hold a join to the point-in-time rules.

    Parameters
    ----------
    cases
        Least number of cases; each trap gets as many as every other.
    seed
        The same seed gives the same cases.
    traps
        Those to try.
    begin
        Is told the name of each trap before its cases are joined.
    """
    supported = [trap for trap in traps if not trap.needs & contestant.lacks]
    share = -(-cases // max(len(supported), 1))
    results = []
    for trap in traps:
        if trap not in supported:
            results.append(TrapResult(trap.name, trap.rule, 0, 0, supported=False))
            continue
        begin(trap.name)
        results.append(_result(contestant, trap, share, seed))
    return ConformanceReport(contestant.name, seed, tuple(results))


def _result(contestant: Contestant, trap: Trap, cases: int, seed: int) -> TrapResult:
    found = [
        difference
        for batch in batches(trap, contestant.lacks, cases, seed)
        for difference in differences(contestant, batch, trap)
    ]
    example = shrunk(contestant, found[0], trap) if found else None
    return TrapResult(trap.name, trap.rule, cases, len(found), example=example)
