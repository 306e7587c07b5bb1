"""Feature tables whose definition a run would change: found in the plan, refused or noted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from sololakehouse.errors import NotFoundError, RedefinitionError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.definition import last_definition
from sololakehouse.lake.redefinition import Redefinition
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
    refused = [s.redefinition for s in steps if s.redefinition and s.redefinition.is_refused]
    if refused:
        said = [redefinition.refusal for redefinition in refused]
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
        how=f"slh run --redefine {step.name} --reason '...'",
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
