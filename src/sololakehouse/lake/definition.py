"""What a feature table is by definition, as its commits keep it: code and policy, not data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import unified_diff
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict

from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.history import HistoryEntry, content_history
from sololakehouse.lake.table import Snapshot
from sololakehouse.provenance import CommitRecord, fingerprint

_DEFINITION = "feature_definition"
_REDEFINED = "redefined"
_NUMBERED = re.compile(r"^(.+)_v(\d+)$")
_SHORT = 8


class Definition(BaseModel):
    """Code and policy of a feature table.

    Attributes
    ----------
    fingerprint
        Hash of the query and the views it reads, expectations, properties, and columns. Comments,
        layout, the versions of the inputs and the moment of the run do not count.
    query
        The text of the query and of the views that it reads, without comments; empty for a table
        that is written to.
    expectations
        Each with its action and its condition.
    columns
        Column names with Spark SQL's types.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    fingerprint: str
    query: str = ""
    expectations: tuple[str, ...] = ()
    properties: Mapping[str, str] = {}
    columns: Mapping[str, str]

    @property
    def short(self) -> str:
        """The beginning of the fingerprint, as it is shown."""
        return self.fingerprint[:_SHORT]

    @property
    def details(self) -> dict[str, Any]:
        """What a commit's details keep of it."""
        return {_DEFINITION: self.model_dump(mode="json")}

    @property
    def lines(self) -> list[str]:
        """The definition as lines of text; the columns are left out."""
        parts = {
            "query": self.query.splitlines(),
            "expectations": self.expectations,
            "properties": [f"{name} = {value}" for name, value in sorted(self.properties.items())],
        }
        written = [(name, *(f"  {line}" for line in part)) for name, part in parts.items() if part]
        return [line for part in written for line in part]

    @classmethod
    def of_written(cls, contract: FeatureContract, columns: Mapping[str, str]) -> Definition:
        """Return the definition of a table that no query computes: its contract and its columns."""
        declared = contract.properties
        mark = fingerprint(declared, dict(columns))
        return cls(fingerprint=mark, properties=declared, columns=columns)

    @classmethod
    def kept(cls, record: CommitRecord | None) -> Definition | None:
        """Return the definition that a commit keeps of its version; None if it has none."""
        found = record.details.get(_DEFINITION) if record else None
        return None if found is None else cls.model_validate(found)


@dataclass(frozen=True)
class DefinitionDiff:
    """How one definition differs from another.

    Attributes
    ----------
    columns
        Columns that were added, removed or got another type, in words.
    text
        The lines of a unified diff of query, expectations and properties, without its header.
    """

    columns: tuple[str, ...]
    text: tuple[str, ...]

    @classmethod
    def of(cls, old: Definition, new: Definition) -> DefinitionDiff:
        """Compare two definitions.

        Examples
        --------
        >>> old = Definition(fingerprint="1", query="SELECT a", columns={"a": "int", "b": "int"})
        >>> new = Definition(fingerprint="2", query="SELECT c", columns={"a": "bigint", "c": "int"})
        >>> found = DefinitionDiff.of(old, new)
        >>> found.columns
        ('a was int and is bigint', 'b int is gone', 'c int is new')
        >>> print("\\n".join(found.text))
        @@ -1,2 +1,2 @@
         query
        -  SELECT a
        +  SELECT c
        """
        header, text = 2, list(unified_diff(old.lines, new.lines, lineterm=""))
        return cls(tuple(_column_changes(old.columns, new.columns)), tuple(text[header:]))

    def lines(self, old: str, new: str) -> list[str]:
        """Write the difference of two definitions, given what to call them."""
        said = [f"column {change}" for change in self.columns]
        if self.text:
            return [*said, f"--- {old}", f"+++ {new}", *self.text]
        return said or [
            "Its text is as it was. Something that the query takes from elsewhere has changed: a "
            "setting in spark-pipeline.yml, a library, or the release of PySpark or SoloLakehouse."
        ]


@dataclass(frozen=True)
class DefinitionVersion:
    """A definition with the versions of the table that have it, one after the other.

    Attributes
    ----------
    versions
        Delta versions, oldest first; commits that another program made are not among them.
    since
        When the first of them was committed, in UTC.
    user
        Who ran it.
    reason
        Why a definition that models used was changed; None if nobody had to say.
    """

    definition: Definition
    versions: tuple[int, ...]
    since: datetime
    user: str | None
    reason: str | None


def definition_versions(history: Iterable[HistoryEntry]) -> list[DefinitionVersion]:
    """Return which versions of a table have which definition, newest first.

    Parameters
    ----------
    history
        Commits of the table, newest first.
    """
    entries = reversed(list(history))
    kept = [(entry, found) for entry in entries if (found := Definition.kept(entry.record))]
    runs = [list(run) for _, run in groupby(kept, key=lambda pair: pair[1].fingerprint)]
    return [
        DefinitionVersion(
            definition=definition,
            versions=tuple(entry.version for entry, _ in run),
            since=first.timestamp,
            user=first.record.user if first.record else None,
            reason=redefinition_reason(first),
        )
        for run in reversed(runs)
        for first, definition in run[:1]
    ]


def last_definition(snapshot: Snapshot) -> Definition | None:
    """Return the definition that a table has, also if another program has written since."""
    known = Definition.kept(snapshot.record)
    if known is not None or snapshot.record is not None:
        return known
    records = (entry.record for entry in content_history(snapshot.history()))
    return next((found for record in records if (found := Definition.kept(record))), None)


def next_name(table: str) -> str:
    """Return the name for another definition beside a table.

    Examples
    --------
    >>> next_name("features.origin_weather"), next_name("features.origin_weather_v2")
    ('features.origin_weather_v2', 'features.origin_weather_v3')
    """
    found = _NUMBERED.match(table)
    return f"{found[1]}_v{int(found[2]) + 1}" if found else f"{table}_v2"


def redefined(reason: str, old: Definition | None) -> dict[str, Any]:
    """Return what a commit keeps of a changed definition; who and when is in every commit."""
    return {_REDEFINED: {"reason": reason, "before": old.short if old else None}}


def redefinition_reason(entry: HistoryEntry) -> str | None:
    """Return why a commit was allowed to change a definition; None if it did not have to be."""
    record = entry.record
    if record is None or entry.restored is not None or record.data_version is not None:
        return None
    redefined = record.details.get(_REDEFINED)
    return str(redefined["reason"]) if redefined else None


def _column_changes(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    for name, kind in old.items():
        if name not in new:
            yield f"{name} {kind} is gone"
        elif new[name] != kind:
            yield f"{name} was {kind} and is {new[name]}"
    for name, kind in new.items():
        if name not in old:
            yield f"{name} {kind} is new"
