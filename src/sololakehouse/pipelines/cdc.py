"""Applying change data to a table: which rows are new, what they change, one commit of it.

Beside a table `schema.name` stands `schema.name__cdc_state`: the newest sequence of each key,
deleted keys included, or, for a history, all events. It is committed first, and the table's commit
names the version that belongs to it, so a run that dies between the two leaves the table and its
memory as they were.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.errors import ChangeDataError, RunError, SoloLakehouseError
from sololakehouse.lake import LakeWriter, Snapshot
from sololakehouse.lake.restore import restore
from sololakehouse.pipelines.branches import StagedBranch
from sololakehouse.pipelines.change_flow import DELETED, SEQUENCE, ChangeFlow
from sololakehouse.pipelines.changes import Outcome, history_rows, newest_rows, row_text
from sololakehouse.pipelines.checks import check, checked_rows
from sololakehouse.pipelines.plan import CDC, Step, change_parameters, stream_offsets
from sololakehouse.provenance import Change, ExpectationResult, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

STATE_OPERATION = "AUTO CDC STATE"
BUCKET_ROWS = 1_000_000
_EXAMPLES = 3


def state_name(table: str) -> str:
    """Return the name of the table that remembers sequences and deleted keys of another."""
    return f"{table}__cdc_state"


def apply_changes(
    step: Step,
    engine: Engine,
    writer: LakeWriter,
    before: Snapshot | None,
    change: Change,
) -> tuple[Snapshot, Sequence[ExpectationResult]]:
    """Apply the new events of the step's source to its table, and commit both table and memory.

    Parameters
    ----------
    before
        The table that the events change; None if it begins without rows.
    change
        What the commit says besides expectations and the memory's version; the engine's session
        knows the new events under the name that stands for the source.

    Raises
    ------
    ChangeDataError
        Keys or sequences are NULL, or different events have the same key and sequence.
    RunError
        The flow was declared otherwise when the table was made.
    """
    flow = _flow_of(step)
    memory_before = _memory(step, writer, before)
    before = before if memory_before else None
    table = _Target(step, flow, before, memory_before)
    with writer.staging() as staged:
        events, memory, rows = (staged / name for name in ("events", "memory", "rows"))
        for folder in (events, memory, rows):
            folder.mkdir()
        engine.write_parquet(flow.events(engine.session), events)
        replaced = table.apply(events, memory, rows)
        expectations = table.check(engine, rows, replaced, writer.run.started_at)
        kept = _commit_memory(step, writer, table, memory, replaced, change)
        parameters = {"parameters": step.node.parameters, "state": kept.model_dump()}
        snapshot = writer.commit(
            step.name,
            rows,
            replace(change, expectations=expectations, details={**change.details, CDC: parameters}),
            mode="append" if before else "overwrite",
            properties=step.node.declaration.properties,
            description=step.node.declaration.comment,
            removes=_among(replaced) if table.removes(replaced) else None,
            features=checked_rows(step, rows, before),
        )
    return snapshot, expectations


def refuse_other_flow(step: Step, before: Snapshot | None) -> None:
    """Refuse to go on with a table whose flow was of another kind, or had other parameters.

    Raises
    ------
    RunError
        Asks for a full refresh.
    """
    if before is None or not stream_offsets(before):
        return
    now, made = step.node.parameters, change_parameters(before)
    if now == made:
        return
    said = "was filled by flows that append, and now by change data"
    if made is not None:
        said = "was filled by change data, and its flow now appends rows"
    if now is not None and made is not None:
        said = (
            "was made with other parameters of create_auto_cdc_flow (keys, sequence_by, "
            "apply_as_deletes, columns or SCD type)"
        )
    raise RunError(
        f"{step.name} {said}. Compute it again from all rows with 'slh run --full-refresh "
        f"{step.name}'. The table is as it was."
    )


@dataclass
class _Target:
    """A table under change: what it holds, and what is remembered of its keys."""

    step: Step
    flow: ChangeFlow
    before: Snapshot | None
    memory: Snapshot | None
    columns: list[str] = field(init=False)
    keys: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.columns = self.flow.columns(self.step.node.frame.columns)
        self.keys = self.flow.key_names(self.columns)

    def apply(self, events: Path, memory: Path, rows: Path) -> pl.DataFrame:
        """Write what the events add to the memory and to the table; return the replaced keys."""
        import polars as pl

        _refuse_null(events, self.keys, self.step.name)
        replaced = []
        for number, some in enumerate(_buckets(events, self.keys)):
            outcome = self._outcome(some)
            name = f"part-{number:05d}.parquet"
            outcome.memory.write_parquet(memory / name, compression="zstd")
            outcome.rows.write_parquet(rows / name, compression="zstd")
            replaced.append(outcome.replaced)
        return pl.concat(replaced)

    def removes(self, replaced: pl.DataFrame) -> bool:
        """Whether the table may hold rows of these keys."""
        return self.before is not None and self.before.rows > 0 and not replaced.is_empty()

    def check(
        self, engine: Engine, rows: Path, replaced: pl.DataFrame, moment: datetime
    ) -> list[ExpectationResult]:
        """Hold the new rows, and the table as it will be, to what is expected of them."""
        expected = self.step.node.declaration.branches[0].expectations
        staged = StagedBranch(expected, tuple(sorted(rows.glob("*.parquet"))))
        stays = self.before.scan().filter(~_among(replaced)) if self.before else None
        return check(self.step, engine, rows, [staged], moment, stays)

    def _outcome(self, events: pl.DataFrame) -> Outcome:
        keys = events.select(self.keys).unique()
        known = _rows_of(self.memory, keys)
        if self.flow.scd_type == 2:
            old = events.clear() if known is None else known
            tracked = self.flow.tracked(self.columns)
            return history_rows(events, old, self.keys, tracked, self.step.name)
        stored = _rows_of(self.before, keys)
        return newest_rows(
            events,
            events.clear().select(*self.keys, SEQUENCE, DELETED) if known is None else known,
            events.clear().drop(SEQUENCE, DELETED) if stored is None else stored,
            self.keys,
            self.step.name,
        )


def _flow_of(step: Step) -> ChangeFlow:
    flow = step.node.declaration.changes
    if flow is None:
        raise RunError(f"{step.name} has no flow of change data.")
    return flow


def _cdc_details(before: Snapshot | None) -> Mapping[str, Any]:
    record = before.record if before else None
    return record.details.get(CDC, {}) if record else {}


def _memory(step: Step, writer: LakeWriter, before: Snapshot | None) -> Snapshot | None:
    """Return the memory that belongs to a version of the table; None if it begins anew."""
    known = _cdc_details(before)
    if not known:
        return None
    wanted = TableVersion(**known["state"])
    newest = writer.lake.newest(wanted.table)
    try:
        if newest is not None and newest.table_version.content == wanted.content:
            return newest
        return restore(writer, wanted.table, wanted.version)
    except SoloLakehouseError as error:
        raise RunError(
            f"{step.name} cannot go on where it was, because {wanted}, which remembers its "
            f"sequences and deleted keys, is not there any more: {error} Compute it again from all "
            f"events with 'slh run --full-refresh {step.name}'. The table is as it was."
        ) from error


def _commit_memory(
    step: Step,
    writer: LakeWriter,
    table: _Target,
    memory: Path,
    replaced: pl.DataFrame,
    change: Change,
) -> TableVersion:
    forgotten = table.memory is not None and table.flow.scd_type == 1 and not replaced.is_empty()
    return writer.commit(
        state_name(step.name),
        memory,
        Change(
            operation=STATE_OPERATION,
            fingerprint=fingerprint(STATE_OPERATION, change.fingerprint),
            inputs=change.inputs,
            details={CDC: {"table": step.name}},
        ),
        mode="append" if table.memory else "overwrite",
        removes=_among(replaced) if forgotten else None,
    ).table_version


def _among(keys: pl.DataFrame) -> pl.Expr:
    """Whether a row has one of some keys."""
    import polars as pl

    whole = pl.struct(keys.columns)
    return whole.is_in(keys.select(whole.alias("key")).to_series().implode())


def _rows_of(table: Snapshot | None, keys: pl.DataFrame) -> pl.DataFrame | None:
    if table is None:
        return None
    return table.scan().filter(_among(keys)).collect(engine="streaming")


def _buckets(events: Path, keys: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Give the events in parts that fit into memory; all events of a key are in one part."""
    import polars as pl

    scan = pl.scan_parquet(events / "*.parquet")
    scan = scan.with_columns(pl.col(DELETED).cast(pl.Boolean).fill_null(False))
    count = math.ceil(scan.select(pl.len()).collect().item() / BUCKET_ROWS)
    if count < 2:
        yield scan.collect()
        return
    bucket = pl.struct(keys).hash(seed=0) % count
    for number in range(count):
        yield scan.filter(bucket == number).collect(engine="streaming")


def _refuse_null(events: Path, keys: Sequence[str], table: str) -> None:
    import polars as pl

    scan = pl.scan_parquet(events / "*.parquet")
    kind: Any = scan.collect_schema()[SEQUENCE]
    for name in keys:
        _refuse(scan, pl.col(name).is_null(), f"the key {name!r} is", table)
    sequence = pl.col(SEQUENCE)
    parts = (
        [sequence.struct.field(f.name) for f in kind.fields] if kind == pl.Struct else [sequence]
    )
    unknown = pl.any_horizontal(part.is_null() for part in (sequence, *parts))
    _refuse(scan, unknown, "'sequence_by' is", table)


def _refuse(scan: pl.LazyFrame, wrong: pl.Expr, what: str, table: str) -> None:
    import polars as pl

    bad = scan.filter(wrong)
    rows = bad.select(pl.len()).collect().item()
    if not rows:
        return
    shown = bad.drop(DELETED).head(_EXAMPLES).collect()
    examples = "\n".join(f"  {row_text(row)}" for row in shown.iter_rows(named=True))
    raise ChangeDataError(
        f"{table}: {what} NULL in {rows:,} events, so nobody can say what they change. Leave them "
        f"out in a streaming table before. The table is as it was. Examples:\n{examples}"
    )
