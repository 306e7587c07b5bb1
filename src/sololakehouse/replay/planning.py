"""What a replay has to run: which tables are clipped, which feel it, and which are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sololakehouse.config.knowledge import Knowledge
from sololakehouse.engine import SYSTEM_PREFIX
from sololakehouse.errors import NotFoundError, RunError, UsageError, shortened
from sololakehouse.features.tables import feature_tables
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines.graph import Graph, Node
from sololakehouse.pipelines.plan import Step
from sololakehouse.pipelines.run import prepare
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.replay.dating import check_declarations, sources_of
from sololakehouse.replay.training_sets import ReplayedSet, training_sets_of


@dataclass(frozen=True)
class ReplayPlan:
    """What is clipped, computed and compared, and what cannot be.

    Attributes
    ----------
    clipped
        The sources that become known over time, with their declarations.
    computed
        The tables of the pipeline that are computed again, in their order.
    reads
        For each table of the pipeline, the tables that it reads, through views as well.
    feature_tables
        Feature tables that are replayed, with their contracts.
    uncovered
        Why a feature table or training set cannot be vouched for in full, by its name.
    moment
        The moment of the run that the tables were computed with; None if none asks for it.
    """

    clipped: Mapping[str, Knowledge]
    computed: tuple[str, ...]
    reads: Mapping[str, tuple[str, ...]]
    feature_tables: Mapping[str, FeatureContract]
    training_sets: tuple[ReplayedSet, ...]
    uncovered: Mapping[str, str]
    moment: datetime | None
    spec: Path | None = None

    def before(self, targets: Iterable[str]) -> frozenset[str]:
        """Return the computed tables that lead to some tables, these included."""
        found: set[str] = set()
        waiting = [name for name in targets if name in self.reads]
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting += [read for read in self.reads[name] if read in self.reads]
        return frozenset(found & set(self.computed))

    def after(self, sources: Iterable[str]) -> frozenset[str]:
        """Return the computed tables that some tables lead to."""
        return frozenset(_downstream(sources, self.reads) & set(self.computed))

    def sources_of(self, targets: Iterable[str]) -> frozenset[str]:
        """Return the clipped sources that lead to some tables, directly or not."""
        names = set(targets)
        for name in reversed(list(self.reads)):
            if name in names:
                names |= set(self.reads[name])
        return frozenset(names & set(self.clipped))

    @property
    def felt(self) -> frozenset[str]:
        """The tables that hold less, or something else, at a cutoff."""
        return frozenset({*self.clipped, *self.computed})

    @property
    def tables_of_dating(self) -> frozenset[str]:
        """The computed tables that declarations read, to tell when something was known."""
        read = {table for knowledge in self.clipped.values() for table in sources_of(knowledge)}
        return self.before(read)


def plan_replay(
    lake: Lakehouse, select: Sequence[str] = (), spec: Path | None = None
) -> ReplayPlan:
    """Plan a replay; nothing is computed.

    Parameters
    ----------
    select
        Feature tables and training sets by name or pattern; empty: all of them.

    Raises
    ------
    NotFoundError
        A pattern fits no feature table and no training set, or a declaration names what is not
        there.
    UsageError
        There is nothing to replay.
    RunError
        A table is not up to date: what it holds is not what the pipeline gives.
    """
    with prepare(lake, spec=spec) as pipeline:
        steps = {step.name: step for step in pipeline.steps}
    graph = Graph(tuple(step.node for step in steps.values()))
    tables = {
        node.name: tuple(graph.tables_read(node))
        for node in graph.nodes
        if not (node.is_view or node.is_sink)
    }
    check_declarations(lake, tables)
    contracts = {
        name: contract for name in tables if (contract := _contract(steps[name].node)) is not None
    }
    sets = training_sets_of(lake)
    chosen, chosen_sets = _chosen(lake, contracts, sets, select)
    targets = {*chosen, *(table for one in chosen_sets for table in one.tables)}
    needed = _upstream(targets, tables)
    refuse_stale(steps, needed)
    declared = lake.project.settings.known_at
    clipped = {
        name: knowledge
        for name, knowledge in declared.items()
        if name in needed and not knowledge.is_static
    }
    computed = tuple(name for name in tables if name in needed & _downstream(clipped, tables))
    return ReplayPlan(
        clipped,
        computed,
        tables,
        chosen,
        tuple(chosen_sets),
        _uncovered(lake, tables, chosen, chosen_sets),
        _moment(lake, computed),
        spec,
    )


def _contract(node: Node) -> FeatureContract | None:
    return FeatureContract.from_properties(node.declaration.properties)


def _chosen(
    lake: Lakehouse,
    contracts: Mapping[str, FeatureContract],
    sets: Sequence[ReplayedSet],
    select: Sequence[str],
) -> tuple[dict[str, FeatureContract], list[ReplayedSet]]:
    others = {
        name: contract
        for name in feature_tables(lake)
        if name not in contracts and (contract := lake.read(name).contract)
    }
    known = {**contracts, **others}
    names = [*known, *(one.name for one in sets)]
    for pattern in select:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise NotFoundError.of("feature table or training set", pattern, names)
    if not names:
        raise UsageError(
            "There is nothing to replay: the pipeline has no feature table (a table with the "
            "property 'feature.keys'), and lakehouse.yml names no experiment."
        )

    def wanted(name: str) -> bool:
        return not select or any(fnmatchcase(name, pattern) for pattern in select)

    chosen_sets = [one for one in sets if wanted(one.name)]
    looked_up = {table for one in chosen_sets for table in one.feature_tables}
    chosen = {n: contract for n, contract in known.items() if wanted(n) or n in looked_up}
    return chosen, chosen_sets


def _upstream(targets: Iterable[str], tables: Mapping[str, tuple[str, ...]]) -> set[str]:
    found: set[str] = set()
    waiting = list(targets)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += tables.get(name, ())
    return found


def _downstream(clipped: Iterable[str], tables: Mapping[str, tuple[str, ...]]) -> set[str]:
    found = set(clipped)
    for name, reads in tables.items():
        if found & set(reads):
            found.add(name)
    return found


def refuse_stale(steps: Mapping[str, Step], needed: Iterable[str]) -> None:
    """Refuse tables that do not hold what the pipeline would give now.

    Raises
    ------
    RunError
        Names them, with the reasons.
    """
    stale = {n: steps[n].reason for n in sorted(needed) if n in steps and steps[n].state == "run"}
    if stale:
        listed = shortened([f"{name} ({reason})" for name, reason in stale.items()], limit=4)
        raise RunError(
            f"Replay compares with what the tables hold, and these are not up to date: {listed}. "
            "Bring them up to date with 'slh run' first."
        )


def _uncovered(
    lake: Lakehouse,
    tables: Mapping[str, tuple[str, ...]],
    chosen: Iterable[str],
    sets: Iterable[ReplayedSet],
) -> dict[str, str]:
    """Say of which targets some source does not declare when it was known."""
    declared = set(lake.project.settings.known_at)
    found: dict[str, str] = {}
    targets = {name: {name} for name in chosen}
    targets |= {one.name: set(one.tables) for one in sets}
    for name, roots in targets.items():
        reached = _upstream(roots, tables)
        outside = sorted(
            table
            for table in reached
            if table not in tables and table not in declared and not table.startswith(SYSTEM_PREFIX)
        )
        if outside:
            found[name] = (
                f"lakehouse.yml does not say under 'known_at' when {shortened(outside)} "
                f"{'was' if len(outside) == 1 else 'were'} known"
            )
    return found


def _moment(lake: Lakehouse, computed: Sequence[str]) -> datetime | None:
    records = (lake.read(name).record for name in computed)
    moments: set[Any] = {r.details[AS_OF] for r in records if r and AS_OF in r.details}
    if len(moments) > 1:
        raise RunError(
            f"The tables were computed with different moments of the run: "
            f"{', '.join(sorted(moments))}. Compute them anew with 'slh run --full-refresh-all'."
        )
    return datetime.fromisoformat(moments.pop()) if moments else None


def scratch_steps(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Return steps that compute all rows, and check nothing: clipped data may look otherwise.

    Rows that an expectation drops are dropped all the same, and are kept nowhere.
    """
    return tuple(_unchecked(step) for step in steps)


def _unchecked(step: Step) -> Step:
    declaration = step.node.declaration
    kept = {n: v for n, v in declaration.properties.items() if n == "pipelines.deterministic"}
    unchecked = tuple(replace(one, expectations=()) for one in declaration.branches)
    plain = replace(declaration, expectations=(), properties=kept, branches=unchecked)
    node = replace(step.node, declaration=plain, marks=None)
    return replace(step, node=node, anew=step.state == "run", redefinition=None)


def with_columns(step: Step, columns: Sequence[str]) -> Step:
    """Return the step whose table has more columns, computed from its rows as they are stored."""
    if not columns:
        return step
    frame: Any = step.node.frame
    wider = frame.selectExpr("*", *columns)
    return replace(step, node=replace(step.node, frame=wider))
