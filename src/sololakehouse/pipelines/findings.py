"""What came out of checking one expectation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sololakehouse.provenance import ExpectationResult

EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """A result, with the sentence and the examples that an error would show.

    `examples` looks for them when they are wanted.
    """

    result: ExpectationResult
    sentence: str
    examples: Callable[[], Sequence[str]]

    @property
    def fails(self) -> bool:
        """Whether the table must not be committed."""
        return self.result.action == "fail" and not self.result.passed

    def told(self, margin: str) -> Iterator[str]:
        """Give the lines of an error: the sentence, then the examples."""
        yield f"{margin}{self.sentence}"
        yield from (f"{margin}  {example}" for example in self.examples())


def no_examples() -> Sequence[str]:
    """Return none: there is no row that shows it."""
    return ()
