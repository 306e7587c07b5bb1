"""Ingestion: landing files into bronze tables, each file once, with where each row came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sololakehouse.config.source import Source
from sololakehouse.errors import IngestError, RunError
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot, Transaction
from sololakehouse.pipelines.ahead import ahead
from sololakehouse.pipelines.columns import INGESTED_AT, RESCUED, SOURCE_FILE
from sololakehouse.pipelines.csv_file import CsvFile
from sololakehouse.pipelines.ingested import INGEST, TakenFile, ingested_files
from sololakehouse.pipelines.json_file import JsonFile
from sololakehouse.pipelines.landing import (
    Batch,
    LandingFile,
    Malformed,
    check_unchanged,
    find,
    identify,
)
from sololakehouse.pipelines.parquet_file import ParquetFile
from sololakehouse.pipelines.quarantine import Rejected, is_own, quarantine, quarantine_of
from sololakehouse.pipelines.schema_policy import Contract, contract_of
from sololakehouse.pipelines.staging import Located, Parts, bronze_schema, quarantine_schema
from sololakehouse.provenance import Change, Manifest, content_manifest, fingerprint

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

ROUNDS = 10
EXAMPLES = 3


@dataclass(frozen=True)
class Progress:
    """How far an ingestion of one source is: rows and bytes of all its new files."""

    source: str
    file: str
    rows: int
    bytes: int
    total_bytes: int


@dataclass(frozen=True)
class IngestResult:
    """What an ingestion did with one source.

    `rows` counts the rows that it added to `table`, `quarantined` the malformed records, which are
    in the table `quarantine` (None if there are none).
    """

    source: str
    table: str
    new_files: tuple[LandingFile, ...]
    known_files: int
    rows: int
    snapshot: Snapshot
    quarantined: int = 0
    quarantine: str | None = None


@dataclass
class _Taking:
    """A file on its way in: what it holds and where its staged files are."""

    file: LandingFile
    action: str
    accepted: int = 0
    quarantined: int = 0
    first: list[Malformed] = field(default_factory=list)
    parts: tuple[Path, ...] = ()
    manifest: Manifest | None = None

    @property
    def rows(self) -> int:
        return self.accepted + self.quarantined

    def add(self, batch: Batch, manifest: Manifest) -> None:
        self.manifest = self.manifest + manifest if self.manifest else manifest
        self.accepted += batch.rows.num_rows
        self.quarantined += len(batch.malformed)
        self.first += batch.malformed[: EXAMPLES - len(self.first)]

    def about(self) -> dict[str, Any]:
        return {
            "sha256": self.file.sha256,
            "bytes": self.file.bytes,
            "rows": self.rows,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "action": self.action,
        }


def ingest(
    lake: Lakehouse,
    writer: LakeWriter,
    name: str,
    on_progress: Callable[[Progress], None] | None = None,
) -> IngestResult:
    """Take the new landing files of a source into its bronze table, in one commit.

    A file with the path and content of one that is in the table already is left alone. Each row
    gets `_source_file`, `_source_line` (where its record begins, from 1; NULL for Parquet),
    `_ingested_at` (UTC, the start of the run) and `_source_sha256`. Malformed records go to the
    table's quarantine, which is committed first. The commit carries the Delta transaction
    `ingest/<source>` with the number of the batch, so that a batch that another process, or this
    one before it died, has committed is not committed again.

    Raises
    ------
    IngestError
        There is no file, a file changed since it was taken, a file does not fit the source, or too
        many of its records are malformed. Nothing is committed.
    """
    for _ in range(ROUNDS):
        done = _Ingestion(lake, writer, name, on_progress).round()
        if done is not None:
            return done
    raise RunError(
        f"Other processes ingest source {name!r} all the time. Nothing was ingested; ingest again."
    )


class _Ingestion:
    def __init__(
        self,
        lake: Lakehouse,
        writer: LakeWriter,
        name: str,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._lake, self._writer, self._name = lake, writer, name
        self._folder = lake.project.folder
        self._source: Source = lake.project.settings.sources[name]
        self._on_progress = on_progress

    def round(self) -> IngestResult | None:
        """Take what is new; None if another process has committed meanwhile."""
        source = self._source
        paths = find(self._folder, self._name, source)
        table = self._lake.newest(source.table)
        taken = ingested_files(self._lake, table)
        files = [identify(self._folder, path) for path in paths]
        actions = [(file, _action(file, taken.get(file.path), source)) for file in files]
        new = [_Taking(file, action) for file, action in actions if action]
        if table is not None and not new:
            return IngestResult(self._name, source.table, (), len(files), 0, table)
        with self._writer.staging() as staged:
            contract = self._contract(table, new)
            rows, rejects = staged / "rows", staged / "rejects"
            rows.mkdir()
            rejects.mkdir()
            schema = self._schema(contract, table)
            for index, one in enumerate(new):
                self._stage(one, contract, schema, index, rows, rejects, new)
            done = self._commit(table, new, contract, rows)
        if done is None:
            return None
        quarantined = sum(one.quarantined for one in new)
        return IngestResult(
            self._name,
            source.table,
            tuple(one.file for one in new),
            len(files) - len(new),
            sum(one.accepted for one in new),
            done,
            quarantined,
            quarantine_of(source.table) if quarantined else None,
        )

    def _reader(self, file: LandingFile) -> CsvFile | JsonFile | ParquetFile:
        path, source = self._folder / file.path, self._source
        if source.format == "json":
            return JsonFile(path, file.path)
        if source.format == "parquet":
            return ParquetFile(path, file.path)
        names = None if source.options.header else tuple(source.columns or ())
        return CsvFile(path, file.path, source.options, names)

    def _contract(self, table: Snapshot | None, new: list[_Taking]) -> Contract:
        import pyarrow as pa

        stored = table.arrow_schema if table is not None else None
        contract = contract_of(self._name, self._source, stored)
        for one in new:
            reader = self._reader(one.file)
            if contract is None:
                fields = reader.new_fields(None)
                contract = Contract(pa.schema(fields), self._source.schema_policy)
            elif contract.policy == "evolve":
                contract = contract.extended(reader.new_fields(contract))
            reader.check(contract)
        if contract is None or not len(contract.columns):
            raise IngestError(
                f"The files of source {self._name!r} have no columns. Declare 'schema' in "
                "lakehouse.yml. Nothing was ingested."
            )
        return contract

    def _schema(self, contract: Contract, table: Snapshot | None) -> pa.Schema:
        stored = table.columns if table is not None else {}
        rescued = contract.policy == "rescue" or RESCUED in stored
        return bronze_schema(contract.columns, rescued=rescued)

    def _stage(
        self,
        one: _Taking,
        contract: Contract,
        schema: pa.Schema,
        index: int,
        rows: Path,
        rejects: Path,
        new: list[_Taking],
    ) -> None:
        moment = self._writer.run.started_at
        located = Located(one.file, moment, schema)
        rejected = Located(one.file, moment, quarantine_schema())
        stem = f"part-{index:05d}"
        accepted = Parts(rows, stem, schema)
        malformed = Parts(rejects, stem, quarantine_schema())
        with closing(accepted), closing(malformed):
            accepted.begin()
            for batch, taken, manifest in self._batches(one, contract, located, new):
                one.add(batch, manifest)
                if taken.num_rows:
                    accepted.write(taken)
                if batch.malformed:
                    malformed.write(rejected.malformed(batch))
        one.parts = tuple(malformed.paths)
        check_unchanged(self._folder, one.file)
        self._check_share(one)

    def _batches(
        self, one: _Taking, contract: Contract, located: Located, new: list[_Taking]
    ) -> Iterator[tuple[Batch, pa.Table, Manifest]]:
        total = sum(each.file.bytes for each in new)
        before = sum(each.file.bytes for each in new[: new.index(one)])
        batches = self._reader(one.file).batches(contract)
        for batch, taken, manifest in ahead(_with_manifest(batches, located)):
            yield batch, taken, manifest
            if self._on_progress:
                rows = sum(each.rows for each in new)
                read = before + min(batch.position, one.file.bytes)
                self._on_progress(Progress(self._name, one.file.path, rows, read, total))

    def _check_share(self, one: _Taking) -> None:
        limit = self._source.max_quarantined
        if not one.quarantined or one.quarantined <= limit * one.rows:
            return
        first, *others = (f"{one.file.path}:{found.line}: {found.reason}." for found in one.first)
        more = "".join(f" {other}" for other in others)
        raise IngestError(
            f"{first}{more} {one.quarantined:,} of {one.rows:,} rows are malformed, and "
            f"max_quarantined allows {limit:.2%}. Correct the file, name the value under "
            "options.null_value, declare another type or a greater max_quarantined in "
            "lakehouse.yml. Nothing was ingested."
        )

    def _commit(
        self, table: Snapshot | None, new: list[_Taking], contract: Contract, staged: Path
    ) -> Snapshot | None:
        source = self._source
        settings = fingerprint(
            source.format, source.options.model_dump(), str(contract.columns), contract.policy
        )
        rejected = [Rejected(one.file, one.quarantined, one.parts, settings) for one in new]
        quarantine(self._writer, self._name, source.table, rejected)
        transaction_id = f"ingest/{self._name}"
        number = ((table and table.transaction_version(transaction_id)) or 0) + 1
        print_ = fingerprint([(one.file.path, one.file.sha256) for one in new])
        change = Change(
            operation=INGEST,
            fingerprint=print_,
            details={
                "source": self._name,
                "batch": number,
                "files": {one.file.path: one.about() for one in new},
            },
            left_out=(INGESTED_AT,),
        )
        done = self._writer.commit(
            source.table,
            staged,
            change,
            mode="append",
            transaction=Transaction(transaction_id, number),
            evolve=contract.policy != "strict",
            manifest=_sum([one.manifest for one in new]),
            removes=_rows_of([one for one in new if one.action == "replace"]),
        )
        return done if is_own(done, self._writer, print_) else None


def _with_manifest(
    batches: Iterator[Batch], located: Located
) -> Iterator[tuple[Batch, pa.Table, Manifest]]:
    import polars as pl

    for batch in batches:
        taken = located.accepted(batch)
        frame = cast("pl.DataFrame", pl.from_arrow(taken, rechunk=False))
        yield batch, taken, content_manifest(frame, (INGESTED_AT,))


def _sum(manifests: list[Manifest | None]) -> Manifest | None:
    known = [manifest for manifest in manifests if manifest is not None]
    return reduce(Manifest.__add__, known) if known else None


def _action(file: LandingFile, taken: list[TakenFile] | None, source: Source) -> str | None:
    """Return what a file is: `new`, `append`, `replace`, or None if its content is known."""
    if not taken:
        return "new"
    known = [one.sha256 for one in taken]
    if file.sha256 == known[-1] or (source.on_change != "replace" and file.sha256 in known):
        return None
    if source.on_change == "error":
        raise IngestError(
            f"{file.path} changed since it was taken into {source.table} (SHA-256 "
            f"{known[-1][:12]}, now {file.sha256[:12]}). Deliver the new content under a new "
            "name, put the old file back, or set the source's 'on_change' to append or replace."
        )
    return source.on_change


def _rows_of(replaced: list[_Taking]) -> pl.Expr | None:
    import polars as pl

    if not replaced:
        return None
    return pl.col(SOURCE_FILE).is_in([one.file.path for one in replaced])
