"""Feature tables whose definition a run would change: found in the plan, refused or noted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from sololakehouse.errors import NotFoundError, RedefinitionError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.definition import (
    Definition,
    DefinitionDiff,
    last_definition,
    next_name,
    redefined,
)
from sololakehouse.pipelines.definition import definition_of
from sololakehouse.pipelines.plan import Step, step_fingerprint, stream_offsets
from sololakehouse.provenance import fingerprint

Users = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Redefining:
    """Who counts on definitions, and which of them a run may change all the same.

    Attributes
    ----------
    users
        Gives the tables that models in staging or production use, with the names of these models.
        It is called only if the definition of a table has changed.
    tables
        Feature tables that may get another definition.
    reason
        Why they may; kept in their commits.
    """

    users: Callable[[], Users] = dict
    tables: tuple[str, ...] = ()
    reason: str | None = None


@dataclass(frozen=True)
class Redefinition:
    """How a run would change the definition of a feature table.

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
    """

    table: str
    place: str
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


def with_redefinitions(
    steps: Sequence[Step], lake: Lakehouse, redefining: Redefining
) -> tuple[Step, ...]:
    """Note in each step whether it would change the definition of a feature table that is there.

    Raises
    ------
    NotFoundError
        A table that may be redefined is no feature table of the pipeline.
    """
    _refuse_unknown(redefining.tables, steps)
    asked = replace(redefining, users=cache(redefining.users))
    return tuple(replace(step, redefinition=_redefinition(step, lake, asked)) for step in steps)


def refuse_redefinitions(steps: Sequence[Step]) -> None:
    """Refuse to run steps that would change a definition which somebody counts on.

    Raises
    ------
    RedefinitionError
        Says for each table who uses it, what would change, and the two ways on.
    """
    found = [step.redefinition for step in steps if step.redefinition]
    refused = [redefinition for redefinition in found if redefinition.is_refused]
    if refused:
        said = ["\n".join(_said(redefinition)) for redefinition in refused]
        raise RedefinitionError("\n\n".join([*said, "Nothing was run."]))


def _redefinition(step: Step, lake: Lakehouse, redefining: Redefining) -> Redefinition | None:
    newest = lake.newest(step.name) if step.state == "run" and not step.node.is_sink else None
    before = newest.contract if newest else None
    if newest is None or before is None or _is_as_before(step, newest):
        return None
    old, new = last_definition(newest), definition_of(step)
    if old and old.fingerprint == new.fingerprint:
        return None
    types = {column.name: column.type for column in newest.fields}
    return Redefinition(
        table=step.name,
        place=str(step.node.declaration.place),
        version=newest.version,
        old=old,
        new=new,
        identity=before.identity_change(types, _declared(step), new.columns),
        users=tuple(redefining.users().get(step.name, ())),
        reason=redefining.reason if step.name in redefining.tables else None,
    )


def _refuse_unknown(tables: Sequence[str], steps: Sequence[Step]) -> None:
    known = [step.name for step in steps if _declared(step)] if tables else []
    for table in tables:
        if table not in known:
            raise NotFoundError.of("feature table", table, known, "--redefine")


def _declared(step: Step) -> FeatureContract | None:
    return FeatureContract.from_properties(step.node.declaration.properties)


def _is_as_before(step: Step, newest: Snapshot) -> bool:
    """Whether the fingerprint tells that only the versions of the inputs can have changed."""
    record = newest.record
    if record is None:
        return False
    mark = step_fingerprint(step.node, {source.table: source for source in record.inputs})
    if step.node.is_stream:
        mark = fingerprint(mark, stream_offsets(newest))
    types = {column.name: column.type for column in newest.fields}
    return mark == record.fingerprint and types == step.node.column_types()


def _said(found: Redefinition) -> Iterator[str]:
    whom = f", and {_listed(found.users)} it" if found.users else ""
    yield f"{found.table} ({found.place}) would get another definition{whom}."
    if found.identity:
        yield f"  Its rows would be told apart otherwise: {found.identity}."
    yield from (f"  {line}" for line in _difference(found))
    yield (
        "  Two ways on: define it under another name beside this one, as "
        f"{next_name(found.table)}, for the next model; or change it for all who read it with "
        f"slh run --redefine {found.table} --reason '...'."
    )


def _difference(found: Redefinition) -> Iterator[str]:
    diff = found.diff
    if diff is None or found.old is None:
        yield "An older release made it, which did not keep its text: no difference can be shown."
        return
    yield from (f"column {change}" for change in diff.columns)
    if diff.text:
        yield f"--- {found.old.short} (v{found.version})"
        yield f"+++ {found.new.short} (now)"
        yield from diff.text
    elif not diff.columns:
        yield (
            "Its text is as it was. Something that the query takes from elsewhere has changed: a "
            "setting in spark-pipeline.yml, a library, or the release of PySpark or SoloLakehouse."
        )


def _listed(users: Sequence[str]) -> str:
    *most, last = users
    return f"{', '.join(most)} and {last} use" if most else f"{last} uses"
