"""Computing a materialized view anew only where its rows can have changed.

The result is that of computing all rows. It takes one source that has grown, everything else
being as it was at the last commit, and one of two reasons:

- the query is row by row in that source: its new rows give the table's new rows;
- the definition declares how far back its rows look (`TimeBound`): rows before the first new
  one stay, the others are computed again from what they can see.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine, quoted
from sololakehouse.errors import RewrittenError, RunError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.appended import appended_files
from sololakehouse.pipelines.plan import Step, step_fingerprint
from sololakehouse.pipelines.rowwise import is_rowwise
from sololakehouse.pipelines.substitution import substituted
from sololakehouse.pipelines.time_bound import TimeBound
from sololakehouse.provenance import TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl
    from pyspark.sql.connect.dataframe import DataFrame

    from sololakehouse.pipelines.graph import Node


@dataclass(frozen=True)
class Increment:
    """The rows of a table that a run computes instead of all.

    Attributes
    ----------
    names
        For names in the query, the views with the rows to compute from.
    since
        The version of the grown source that the table was computed from.
    timestamp, first
        Rows of the table whose `timestamp` is not before `first` are replaced; None: rows are
        only added.
    """

    source: str
    since: int
    names: Mapping[str, str] = field(default_factory=dict)
    timestamp: str | None = None
    first: date | datetime | None = None

    def rows(self, frame: Any) -> DataFrame:
        """Return the rows to compute, of the Spark DataFrame that gives all."""
        part: Any = substituted(frame, self.names)
        return part.where(self.condition) if self.condition else part  # type: ignore[no-any-return]

    @property
    def condition(self) -> str | None:
        """What holds for the rows that are computed, in Spark SQL; a NULL is let through."""
        if self.timestamp is None or self.first is None:
            return None
        return f"coalesce(`{self.timestamp}` >= {moment_literal(self.first)}, true)"

    @property
    def replaced(self) -> pl.Expr | None:
        """Which rows of the table make room for them."""
        import polars as pl

        return None if self.timestamp is None else pl.col(self.timestamp) >= self.first

    @property
    def details(self) -> dict[str, Any]:
        """What the commit's record says of it."""
        said = {"source": self.source, "since": self.since}
        return said | ({"from": self.first.isoformat()} if self.first else {})


def increment(
    step: Step, inputs: Mapping[str, TableVersion], lake: Lakehouse, engine: Engine
) -> Increment | None:
    """Return what is to be computed if that is less than everything, and None if it is not.

    Parameters
    ----------
    inputs
        The versions that the step reads now.
    """
    before = lake.newest(step.name)
    if before is None or step.anew or not step.node.declaration.deterministic:
        return None
    since = _grown(step, inputs, before)
    if since is None or not _has_same_columns(step, before):
        return None
    source = lake.read(since.table)
    try:
        files = appended_files(source, since.version)
    except (RewrittenError, RunError):
        return None
    bound = step.node.declaration.time_bound
    if is_rowwise(step.node, source.name, step.views):
        return _new_rows(step, since, files, engine)
    if bound is not None and bound.source == source.name and not step.node.declaration.quarantine:
        lookback = bound.lookback_of(before.properties, step.node.definition)
        if lookback is not None:
            return _later_rows(step, since, bound, lookback, files, engine)
    return None


def rows_over(step: Step, source: str, rows: Any, engine: Engine) -> DataFrame:
    """Return the step's rows as if one of its tables held only some rows."""
    alias = _alias(step, source)
    engine.view(alias, rows)
    return substituted(step.node.frame, _substitutes(step, source, alias, engine))


def _grown(step: Step, inputs: Mapping[str, TableVersion], before: Snapshot) -> TableVersion | None:
    """Return the older version of the one input that differs, if nothing else does."""
    record = before.record
    if record is None or record.restored_version is not None:
        return None
    old = {source.table: source for source in record.inputs}
    if old.keys() != inputs.keys():
        return None
    moved = [name for name in inputs if inputs[name].content != old[name].content]
    if len(moved) != 1 or record.fingerprint != step_fingerprint(step.node, old):
        return None
    since = old[moved[0]]
    return since if since.table_id == inputs[since.table].table_id else None


def _has_same_columns(step: Step, before: Snapshot) -> bool:
    """Whether the query gives the columns that the table has: its source may have gained some."""
    return step.node.column_types() == {column.name: column.type for column in before.fields}


def _new_rows(step: Step, since: TableVersion, files: list[Path], engine: Engine) -> Increment:
    alias = _alias(step, since.table)
    engine.stream(alias, since.table, files)
    names = _substitutes(step, since.table, alias, engine)
    return Increment(since.table, since.version, names)


def _later_rows(
    step: Step,
    since: TableVersion,
    bound: TimeBound,
    lookback: timedelta,
    files: list[Path],
    engine: Engine,
) -> Increment | None:
    import polars as pl

    column = bound.source_timestamp
    first = pl.scan_parquet(files).select(pl.col(column).min()).collect().item() if files else None
    if first is None:
        return None
    alias = _alias(step, bound.source)
    seen = engine.session.table(quoted(bound.source)).where(
        f"`{column}` >= {moment_literal(first - lookback)}"
    )
    engine.view(alias, seen)
    names = _substitutes(step, bound.source, alias, engine)
    return Increment(bound.source, since.version, names, bound.timestamp, first)


def _substitutes(step: Step, source: str, alias: str, engine: Engine) -> dict[str, str]:
    """Make the step's temporary views over the source again, and return what the names become."""
    aliases = {source: alias}
    for view in step.views.values():
        names = _written(view, aliases)
        if names:
            aliases[view.name] = _alias(step, view.name)
            engine.view(aliases[view.name], substituted(view.frame, names))
    return _written(step.node, aliases)


def _written(node: Node, aliases: Mapping[str, str]) -> dict[str, str]:
    return {name: aliases[table] for name, table in node.names.items() if table in aliases}


def _alias(step: Step, name: str) -> str:
    return f"__part_{name.replace('.', '_')}_{fingerprint(step.name, name)[:8]}"


def moment_literal(moment: date | datetime) -> str:
    """Write a moment or a date for Spark SQL."""
    kind = "TIMESTAMP" if isinstance(moment, datetime) else "DATE"
    return f"{kind} '{moment.isoformat()}'"
