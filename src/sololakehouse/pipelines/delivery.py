"""Delivering new rows to a sink, once: complete them, place them, then note how far it got.

The rows of a batch are complete in a folder of the warehouse before the first one goes out. A run
that is ended in between leaves the folder, and the next run delivers the same files again: a file
replaces itself, a Delta table knows the transaction, the console prints them once more.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sololakehouse.engine import Engine
from sololakehouse.errors import RewrittenError
from sololakehouse.lake import LakeWriter, Snapshot, Transaction
from sololakehouse.lake.commit import flush
from sololakehouse.lake.failures import disk_errors
from sololakehouse.lake.outside import append_outside
from sololakehouse.pipelines.branches import stage
from sololakehouse.pipelines.checks import check
from sololakehouse.pipelines.compute import step_details, step_inputs
from sololakehouse.pipelines.plan import STREAMS, Step, step_fingerprint, unread_since
from sololakehouse.pipelines.sinks import SINKS, Batch, Sink, SinkProgress
from sololakehouse.provenance import (
    Change,
    ExpectationResult,
    TableVersion,
    content_manifest,
    fingerprint,
)

OPERATION = "SINK"
_ABOUT = "batch.json"
_ROWS_SHOWN = 20


def deliver(
    step: Step, sink: Sink, engine: Engine, writer: LakeWriter
) -> Sequence[ExpectationResult]:
    """Finish a delivery that was interrupted, then deliver what the streams have gained.

    Raises
    ------
    RewrittenError
        A source did more than grow since it was read.
    RunError
        The sink does not take the rows.
    """
    progress = SinkProgress.of(writer.lake, step.name)
    if progress.is_interrupted:
        _finish(progress, sink, engine, writer)
        progress = SinkProgress.of(writer.lake, step.name)
    before = {} if step.anew else progress.offsets
    sources = {table: writer.lake.read(table) for table in step.node.streams.values()}
    unread = _unread(step, before, sources)
    if not any(unread.values()):
        return ()
    for alias, table in step.node.streams.items():
        engine.stream(alias, table, unread[alias])
    offsets = {**before} | {
        alias: sources[table].table_version.model_dump(exclude={"data_version"})
        for alias, table in step.node.streams.items()
    }
    batch, change = _completed(step, sink, engine, writer, progress, offsets)
    _send(progress.pending, batch, sink, engine, writer, change)
    return change.expectations


def _unread(
    step: Step, before: Mapping[str, Mapping[str, Any]], sources: Mapping[str, Snapshot]
) -> dict[str, list[Path]]:
    try:
        return unread_since(before, step.node.streams, sources)
    except RewrittenError as error:
        raise RewrittenError(
            f"{step.name} cannot go on where it was: {error}. Deliver all rows again with "
            f"'slh run --full-refresh {step.name}'; what was delivered stays there."
        ) from error


def _completed(
    step: Step,
    sink: Sink,
    engine: Engine,
    writer: LakeWriter,
    progress: SinkProgress,
    offsets: Mapping[str, Mapping[str, Any]],
) -> tuple[Batch, Change]:
    """Compute what the streams have gained, and make it the pending batch."""
    inputs = step_inputs(step, writer)
    with writer.staging() as staged:
        branches = stage(
            engine, step.node.frame, step.node.marks, step.node.declaration.branches, staged
        )
        expectations = check(step, engine, staged, branches, writer.run.started_at)
        batch = Batch(
            sink=step.name,
            identity=progress.identity,
            batch=progress.batch + 1,
            format=sink.format,
            path=str(sink.path) if sink.path else None,
            rows=_rows(staged),
            streams=offsets,
            run_id=writer.run.run_id,
        )
        change = Change(
            operation=OPERATION,
            fingerprint=fingerprint(step_fingerprint(step.node, inputs), offsets),
            inputs=tuple(inputs.values()),
            expectations=expectations,
            details=step_details(step) | {"sink": step.name},
            engine=engine.name,
        )
        _complete(staged, sink, engine, batch, change, progress.pending)
    return batch, change


def _rows(staged: Path) -> int:
    import pyarrow.parquet as pq

    return sum(pq.read_metadata(file).num_rows for file in staged.glob("*.parquet"))


def _complete(
    staged: Path, sink: Sink, engine: Engine, batch: Batch, change: Change, pending: Path
) -> None:
    """Write the batch's files as they will be, and make them the pending batch in one step."""
    complete = staged / "complete"
    complete.mkdir()
    for index, file in enumerate(_written(staged, sink, engine) if batch.rows else ()):
        file.rename(complete / f"{index:03}{sink.suffix}")
    about = {
        "batch": asdict(batch),
        "fingerprint": change.fingerprint,
        "inputs": [source.model_dump() for source in change.inputs],
        "expectations": [found.model_dump() for found in change.expectations],
        "details": change.details,
    }
    (complete / _ABOUT).write_text(json.dumps(about), "utf-8")
    pending.parent.mkdir(exist_ok=True)
    flush(*complete.iterdir(), complete)
    complete.rename(pending)
    flush(pending.parent)


def _written(staged: Path, sink: Sink, engine: Engine) -> list[Path]:
    if sink.format in ("console", "delta") or (sink.format == "parquet" and not sink.options):
        return sorted(staged.glob("*.parquet"))
    converted = staged / "converted"
    rows = engine.session.read.parquet(str(staged))
    rows.write.format(sink.format).options(**sink.options).mode("append").save(str(converted))
    return sorted(file for file in converted.iterdir() if file.name.endswith(sink.suffix))


def _finish(progress: SinkProgress, sink: Sink, engine: Engine, writer: LakeWriter) -> None:
    about = json.loads((progress.pending / _ABOUT).read_text("utf-8"))
    batch = Batch(**about.pop("batch"))
    if batch.batch <= progress.batch:
        shutil.rmtree(progress.pending)
        return
    begun = replace(sink, format=batch.format, path=Path(batch.path) if batch.path else None)
    change = Change(
        operation=OPERATION,
        fingerprint=about["fingerprint"],
        inputs=[TableVersion(**source) for source in about["inputs"]],
        expectations=[ExpectationResult(**found) for found in about["expectations"]],
        details=about["details"],
        engine=engine.name,
    )
    _send(progress.pending, batch, begun, engine, writer, change)


def _send(
    pending: Path,
    batch: Batch,
    sink: Sink,
    engine: Engine,
    writer: LakeWriter,
    change: Change,
) -> None:
    files = sorted(file for file in pending.iterdir() if file.name != _ABOUT)
    if files:
        _out(files, batch, sink, engine, writer, change)
    noted = replace(batch, delivered_at=datetime.now(UTC))
    details = change.details | {"batch": batch.batch, STREAMS: dict(batch.streams)}
    row = replace(change, details=details, left_out=("delivered_at", "run_id"))
    writer.write_frame(SINKS, noted.frame(), row, mode="append")
    shutil.rmtree(pending)


def _out(
    files: list[Path],
    batch: Batch,
    sink: Sink,
    engine: Engine,
    writer: LakeWriter,
    change: Change,
) -> None:
    if sink.path is None:
        _print(files, batch, sink, engine)
    elif sink.format == "delta":
        import polars as pl

        manifest = content_manifest(pl.scan_parquet(files))
        record = writer.record(change, batch.rows, manifest)
        append_outside(sink.path, files, record, Transaction(batch.identity, batch.batch))
    else:
        _place(files, f"part-{batch.batch:05}-{batch.identity}", sink.path)


def _print(files: Sequence[Path], batch: Batch, sink: Sink, engine: Engine) -> None:
    """Print as Apache Spark's console sink does, to standard error: standard output may be JSON."""
    rows: Any = engine.session.read.parquet(*map(str, files))
    truncate = sink.options.get("truncate", "true").lower()
    limit = int(sink.options.get("numRows", _ROWS_SHOWN))
    width: bool | int = int(truncate) if truncate.isdigit() else truncate == "true"
    line = "-" * 43
    text = rows._show_string(limit, width, False)
    sys.stderr.write(f"{line}\nBatch: {batch.batch} of {batch.sink}\n{line}\n{text}\n")


def _place(files: Sequence[Path], prefix: str, folder: Path) -> None:
    """Put files into a folder: each appears there in full, and twice the same is the same."""
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            final = folder / f"{prefix}-{file.name}"
            hidden = folder / f".{final.name}.tmp"
            shutil.copyfile(file, hidden)
            flush(hidden)
            hidden.replace(final)
        flush(folder)
