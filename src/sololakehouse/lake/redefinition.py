"""A feature table that would get another definition: who is concerned, and how it differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sololakehouse.lake.definition import Definition, DefinitionDiff, next_name, redefined


@dataclass(frozen=True)
class Redefinition:
    """How the definition of a feature table would change.

    Attributes
    ----------
    old
        The definition that the table has; None if an older release made it, which kept none.
    version
        The Delta version that has it.
    identity
        How its keys and times would differ, in words; None if they would not.
    users
        The models in staging and production that use the table.
    reason
        Why it may change; None if nobody said so.
    place
        Where the new definition stands; empty if it stands in no file.
    how
        What a person writes to change it all the same.
    """

    table: str
    place: str
    how: str
    version: int
    old: Definition | None
    new: Definition
    identity: str | None
    users: tuple[str, ...]
    reason: str | None

    @property
    def is_refused(self) -> bool:
        """Whether somebody would have to say why."""
        return self.reason is None and bool(self.users or self.identity)

    @property
    def details(self) -> dict[str, Any]:
        """What the table's commit keeps of it."""
        return redefined(self.reason, self.old) if self.reason else {}

    @property
    def diff(self) -> DefinitionDiff | None:
        """The difference in words and as a unified diff; None without an old definition."""
        return DefinitionDiff.of(self.old, self.new) if self.old else None

    @property
    def refusal(self) -> str:
        """What is said where nobody said why: who uses it, the difference, and the two ways on."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        where = f" ({self.place})" if self.place else ""
        whom = f", and {_listed(self.users)} it" if self.users else ""
        yield f"{self.table}{where} would get another definition{whom}."
        if self.identity:
            yield f"  Its rows would be told apart otherwise: {self.identity}."
        yield from (f"  {line}" for line in self._difference())
        yield "  Two ways on:"
        yield f"    - define it beside this one, as {next_name(self.table)}, for the next model;"
        yield f"    - change it for all who read it: {self.how}."

    def _difference(self) -> Sequence[str]:
        if self.old is None or self.diff is None:
            return ["An older release made it, which kept no text: no difference can be shown."]
        return self.diff.lines(f"{self.old.short} (v{self.version})", f"{self.new.short} (now)")

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-like values."""
        return {
            "version": self.version,
            "old": self.old.short if self.old else None,
            "new": self.new.short,
            "identity": self.identity,
            "users": list(self.users),
            "refused": self.is_refused,
            "reason": self.reason,
            "diff": asdict(self.diff) if self.diff else None,
        }


def _listed(users: Sequence[str]) -> str:
    *most, last = users
    return f"{', '.join(most)} and {last} use" if most else f"{last} uses"
