"""Batch inference: score the rows of a table, a query or a file with a registered model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial, reduce
from itertools import islice
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config import ScoringJob
from sololakehouse.config.engine import EMBEDDED
from sololakehouse.errors import BusyError, UsageError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.requests import FeatureRequest
from sololakehouse.inference.increment import NewRows, new_rows
from sololakehouse.inference.on_server import can_compute, write_predictions
from sololakehouse.inference.predictor import Predictor, feature_versions
from sololakehouse.inference.scoring_input import (
    InputPlace,
    ScoringInput,
    TableInput,
    needed_types,
)
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot, Transaction
from sololakehouse.lake.memory import Memory
from sololakehouse.lake.resumable import ResumableWork, resumable_work
from sololakehouse.lake.row_groups import write_row_groups
from sololakehouse.models.registry import ModelVersion, resolve
from sololakehouse.pipelines.ahead import ahead
from sololakehouse.pipelines.quarantine import is_own
from sololakehouse.provenance import Change, Manifest, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

OPERATION = "BATCH INFERENCE"
MOMENT_COLUMNS = ("scored_at",)
ADDED_COLUMNS = (
    *("probability", "prediction", "model_name", "model_version", "feature_versions"),
    *MOMENT_COLUMNS,
)
CHUNK_ROWS = 1_000_000
_ROWS_FILE = "input.arrow"
OnRows = Callable[[int, int], None]


@dataclass(frozen=True)
class ScoreResult:
    """What a batch inference did: the output at its version, and whether it was up to date.

    Attributes
    ----------
    scored
        Rows that were scored for this version, those that an interrupted call had scored included.
    kept
        Rows of the version before that stayed, because nothing that decides them changed.
    resumed
        Of the scored rows those that an interrupted call had scored.
    """

    model: ModelVersion
    snapshot: Snapshot
    up_to_date: bool
    scored: int = 0
    kept: int = 0
    resumed: int = 0


def score(
    lake: Lakehouse,
    writer: LakeWriter,
    job: ScoringJob,
    *,
    as_of: datetime | None = None,
    on_rows: OnRows | None = None,
    chunk_rows: int = CHUNK_ROWS,
) -> ScoreResult:
    """Score the job's input into its output table, which then holds exactly these rows.

    The output has the input's columns in the order of the input's rows, with `job.features` the
    looked-up values that the model was given, `probability` (of a classifier of two classes),
    `prediction`, `model_name`, `model_version`, `feature_versions` (JSON: table to Delta version)
    and `scored_at` (UTC, when the command began that scored the row).

    With a server as the engine, it looks the features up and its workers predict, unless the model
    has functions or the rows bring features: the rows are in no order then, and what a killed call
    had scored is scored again.

    If model version, input, input versions and feature versions are those of an output that is
    there, nothing is done. If the input is a table that has only grown, and no row that was scored
    can see a row that a feature table has gained, only the new rows are scored, and added to the
    stored ones; the commit's details say how many were kept, or why none. The commit carries the
    Delta transaction `score/<model>`. What a killed call had scored is not scored again.

    Parameters
    ----------
    as_of
        Read input and feature tables as they were at this moment, which has a time zone. The
        model is the one that is in the stage now.
    on_rows
        Called with the rows that are scored, and how many there are in all.
    chunk_rows
        About how many rows are scored before they are put down where a killed process leaves them.

    Raises
    ------
    NotFoundError
        The model, its alias, an input table or a file does not exist, or not at that moment.
    UsageError
        The input is neither a table, a query nor a file, has a column that is added, or the output
        holds something else than predictions.
    FeatureLookupError, FeatureFunctionError, FunctionFailedError
        The rows lack what a feature needs, or a function failed on one of them.
    EngineError
        The server's Python lacks a library of the model, or the server failed.
    BusyError
        Another process scores into the same table.
    """
    version = resolve(lake, job.model)
    spec = TrainingSetSpec.model_validate(version.recipe)
    source = InputPlace(lake, job.input, as_of).open(needed_types(lake, version, spec))
    before = lake.newest(job.output)
    _refuse_output(job.output, before, source)
    features = feature_versions(lake, spec, as_of)
    inputs = (*source.versions, *features)

    zone = lake.project.settings.time_zone

    def mark_of(versions: Sequence[TableVersion], zone: str | None) -> str:
        return _fingerprint(version, job, source.identity, versions, zone)

    # The same input has times without a zone always or never: predictions that were made without
    # one need none.
    def is_of(stored: Snapshot, versions: Sequence[TableVersion]) -> bool:
        marks = (mark_of(versions, zone), mark_of(versions, None))
        return stored.record is not None and stored.record.fingerprint in marks

    if before is not None and is_of(before, inputs):
        return ScoreResult(version, before, up_to_date=True)
    scoring = _Scoring(lake, writer, job, version, spec, inputs, features, on_rows, chunk_rows)
    base = before.table_version.content if before else None
    work = fingerprint(mark_of(inputs, zone), base)
    with resumable_work(lake.project.warehouse, job.output, work, "slh score") as place:
        return scoring.scored(place, source, before, mark_of, is_of)


@dataclass
class _Scoring:
    """One batch inference whose inputs are pinned."""

    lake: Lakehouse
    writer: LakeWriter
    job: ScoringJob
    version: ModelVersion
    spec: TrainingSetSpec
    inputs: Sequence[TableVersion]
    features: Sequence[TableVersion]
    on_rows: OnRows | None
    chunk_rows: int

    def scored(
        self,
        place: ResumableWork,
        source: ScoringInput,
        before: Snapshot | None,
        mark_of: Callable[[Sequence[TableVersion], str | None], str],
        is_of: Callable[[Snapshot, Sequence[TableVersion]], bool],
    ) -> ScoreResult:
        new, why_not = self._new_rows(source, before, is_of)
        taken = new or source
        table = taken.snapshot if self._has_server and isinstance(taken, TableInput) else None
        rows = table.scan() if table else _written(place, taken)
        schema = rows.collect_schema()
        _refuse_columns(schema, self.job)
        request = FeatureRequest.plan(self.lake, schema, self.spec, self.features)
        details = {
            "model": self.version.name,
            "model_version": self.version.version,
            "mlflow_run_id": self.version.mlflow_run_id,
            "input": self.job.input,
            "input_identity": source.identity,
            "input_columns": list(schema),
            "feature_columns": self._stored_features(schema),
            "computed": {"kept": new.kept} if new else {"in full": why_not},
        }
        mark = mark_of(self.inputs, request.time_zone)
        change = Change(OPERATION, mark, self.inputs, details=details, left_out=MOMENT_COLUMNS)
        commit = partial(self._committed, before=before, appends=new is not None)
        resumed = 0
        if self._has_server and can_compute(request):
            snapshot = self._scored_on_server(table or rows, request, change, commit)
        else:
            rows = _written(place, taken)
            earlier = [chunk.manifest for chunk in place.chunks]
            resumed = sum(manifest.rows for manifest in earlier)
            manifests = [*earlier, *self._chunks(place, rows, request, len(earlier), resumed)]
            snapshot = commit(place.rows_folder, change, reduce(add, manifests))
        return ScoreResult(
            self.version,
            snapshot,
            up_to_date=False,
            scored=snapshot.record.rows_written if snapshot.record else 0,
            kept=new.kept if new else 0,
            resumed=resumed,
        )

    @property
    def _has_server(self) -> bool:
        return self.lake.project.settings.engine != EMBEDDED

    def _scored_on_server(
        self,
        rows: Snapshot | pl.LazyFrame,
        request: FeatureRequest,
        change: Change,
        commit: Callable[..., Snapshot],
    ) -> Snapshot:
        import polars as pl

        if isinstance(rows, Snapshot):
            total = rows.rows
        else:
            total = int(rows.select(pl.len()).collect().item())
        told = self.on_rows or (lambda *_: None)
        told(0, total)
        with self.writer.staging() as folder:
            engine = write_predictions(
                self.lake,
                rows,
                request,
                self.version,
                self._left_out(request),
                self._constants(request),
                folder,
            )
            told(total, total)
            return commit(folder, replace(change, engine=engine), None)

    def _new_rows(
        self,
        source: ScoringInput,
        before: Snapshot | None,
        is_of: Callable[[Snapshot, Sequence[TableVersion]], bool],
    ) -> tuple[NewRows | None, str]:
        if not isinstance(source, TableInput):
            return new_rows(self.lake, before, source, None, is_of)
        schema = source.snapshot.schema
        request = FeatureRequest.plan(self.lake, schema, self.spec, self.features)
        return new_rows(self.lake, before, source, request, is_of)

    def _chunks(
        self,
        place: ResumableWork,
        rows: pl.LazyFrame,
        request: FeatureRequest,
        number: int,
        done: int,
    ) -> Iterator[Manifest]:
        """Score the rows that are left; at least one chunk is there in the end."""
        import polars as pl

        total = int(rows.select(pl.len()).collect().item())
        if number and done == total:
            return
        memory = Memory.of(self.lake.project.settings.memory_limit)
        left = rows.slice(done)
        if request.given_types:
            left = left.map_batches(request.given, streamable=True, schema=_given(rows, request))
        found = request.find(left, memory, place.beside)
        predictor = Predictor(self.lake, self.version, self.spec)
        ranges = (self._output_rows(some, request, predictor) for some in found.ranges())
        ranges_of_a_chunk = max(1, self.chunk_rows // found.at_once)
        count = max(1, -(-found.rows // found.at_once))
        waiting = iter(ahead(ranges))
        for first in range(0, count, ranges_of_a_chunk):
            chunk = islice(waiting, min(ranges_of_a_chunk, count - first))
            write = partial(write_row_groups, frames=chunk, left_out=MOMENT_COLUMNS)
            written = place.add(number, write)
            number += 1
            done += written.manifest.rows
            if self.on_rows:
                self.on_rows(done, total)
            yield written.manifest

    def _output_rows(
        self, found: pl.DataFrame, request: FeatureRequest, predictor: Predictor
    ) -> pl.DataFrame:
        import polars as pl

        found = request.computed(found)
        outputs = predictor.outputs(found)
        rows = found.drop(self._left_out(request)).hstack(outputs)
        return rows.with_columns(
            pl.lit(value).alias(name) for name, value in self._constants(request).items()
        ).cast({"model_version": pl.Int32, "scored_at": pl.Datetime("us", "UTC")})

    def _left_out(self, request: FeatureRequest) -> set[str]:
        """Return the features that were found, and are not kept."""
        looked_up = [name for plan in request.lookups for name in plan.outputs.values()]
        made = [*looked_up, *(plan.output for plan in request.functions)]
        return set(made) - set(self._stored_features(()))

    def _constants(self, request: FeatureRequest) -> dict[str, Any]:
        """Return what all rows have in common."""
        used = {source.table: source.version for source in request.versions}
        return {
            "model_name": self.version.name,
            "model_version": self.version.version,
            "feature_versions": json.dumps(used, sort_keys=True),
            "scored_at": self.writer.run.started_at,
        }

    def _stored_features(self, given: Mapping[str, Any] | tuple[()]) -> list[str]:
        """Return the columns of features that the output has beside those of the input."""
        if not self.job.features:
            return []
        return [name for name in self.version.feature_columns if name not in given]

    def _committed(
        self,
        folder: Path,
        change: Change,
        manifest: Manifest | None,
        *,
        before: Snapshot | None,
        appends: bool,
    ) -> Snapshot:
        transaction_id = f"score/{self.version.name}"
        number = ((before and before.transaction_version(transaction_id)) or 0) + 1
        done = self.writer.commit(
            self.job.output,
            folder,
            change,
            mode="append" if appends else "overwrite",
            transaction=Transaction(transaction_id, number),
            manifest=manifest,
        )
        if not is_own(done, self.writer, change.fingerprint):
            raise BusyError(
                f"Another process scored into {self.job.output} meanwhile. Score again. The table "
                "is as the other process left it."
            )
        return done


def _written(place: ResumableWork, taken: ScoringInput | NewRows) -> pl.LazyFrame:
    """Return the rows from a file, where any of them can be read first."""
    import polars as pl

    return pl.scan_ipc(place.once(_ROWS_FILE, taken.write))


def _given(rows: pl.LazyFrame, request: FeatureRequest) -> dict[str, pl.DataType]:
    return {**rows.collect_schema(), **request.given_types}


def _refuse_output(output: str, before: Snapshot | None, source: ScoringInput) -> None:
    if output in {version.table for version in source.versions}:
        raise UsageError(f"{output} is the input, and cannot be the output. Name another table.")
    made = before.record.content_operation if before and before.record else None
    if before is not None and made != OPERATION:
        raise UsageError(
            f"{output} holds no predictions: {(made or 'another program').lower()} made it. Name "
            "another table for the output, such as inference.scored."
        )


def _refuse_columns(schema: pl.Schema, job: ScoringJob) -> None:
    taken = [name for name in ADDED_COLUMNS if name in schema]
    if taken:
        raise UsageError(
            f"{job.input} has a column {taken[0]!r}, which is the name of what scoring adds. Leave "
            "it out, or rename it."
        )


def _fingerprint(
    version: ModelVersion,
    job: ScoringJob,
    identity: str,
    inputs: Sequence[TableVersion],
    zone: str | None,
) -> str:
    return fingerprint(
        (version.name, version.version, version.fingerprint),
        identity,
        job.features,
        [(table.table, *table.content) for table in inputs],
        *([zone] if zone else []),
    )
