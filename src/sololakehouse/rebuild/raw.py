"""From the landing files up: the pipeline of a revision in a lakehouse of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import UsageError, shortened
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.saved import open_labels
from sololakehouse.features.training_set import TrainingSet
from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.lake.contract import PREFIX
from sololakehouse.lake.reference import parse_moment
from sololakehouse.pipelines.ingest import ingest
from sololakehouse.pipelines.ingested import INGEST
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Change, CommitRecord, Run, TableVersion
from sololakehouse.rebuild.checkout import Checkout
from sololakehouse.rebuild.code import DEFINITION, recorded_moments
from sololakehouse.rebuild.frames import column_differences
from sololakehouse.rebuild.landing import landing_finding, lay_out, linked_copy, taken_files
from sololakehouse.rebuild.links import Finding
from sololakehouse.rebuild.scratch import empty_lake
from sololakehouse.rebuild.tables import differing_columns, lost_version
from sololakehouse.rebuild.training_set import written

if TYPE_CHECKING:
    import polars as pl

COPY = "COPY"
_SHOWN = 3
_NO_INPUTS = ("system.", "training.")


@dataclass(frozen=True)
class Below:
    """The table versions below a training set, one of each table, those without inputs first.

    Attributes
    ----------
    records
        Their commit records, by table.
    older
        Versions of tables that are needed in a newer version as well.
    """

    versions: tuple[TableVersion, ...]
    records: Mapping[str, CommitRecord]
    older: tuple[TableVersion, ...]

    @classmethod
    def of(
        cls, needed: Sequence[TableVersion], records: Mapping[TableVersion, CommitRecord]
    ) -> Below:
        """Choose the newest version of each table, and order them so that inputs come first."""
        newest: dict[str, TableVersion] = {}
        for one in sorted(needed, key=lambda version: version.version):
            newest[one.table] = one
        contents = {one.content for one in newest.values()}
        older = [one for one in needed if one.content not in contents]
        by_name = {name: records[one] for name, one in newest.items() if one in records}
        depth = _Depth(by_name)
        ordered = sorted(newest.values(), key=lambda one: (depth.of(one.table), one.table))
        return cls(tuple(ordered), by_name, tuple(older))

    def made_by(self, test: Callable[[CommitRecord], bool]) -> list[TableVersion]:
        """Return the versions whose record passes a test."""
        return [v for v in self.versions if v.table in self.records and test(self.records[v.table])]

    @property
    def ingested(self) -> list[TableVersion]:
        """The bronze tables."""
        return self.made_by(lambda record: record.content_operation == INGEST)

    @property
    def declared(self) -> list[TableVersion]:
        """The tables of the pipeline."""
        return self.made_by(lambda record: DEFINITION in record.details)

    @property
    def sources(self) -> list[TableVersion]:
        """The tables that the pipeline does not make."""
        return [*self.ingested, *self.others]

    @property
    def others(self) -> list[TableVersion]:
        """The tables that were written by a person or another program: no file leads to them."""
        known = {one.table for one in (*self.ingested, *self.declared)}
        return [one for one in self.versions if one.table not in known]


class _Depth:
    def __init__(self, records: Mapping[str, CommitRecord]) -> None:
        self._records = records
        self._known: dict[str, int] = {}

    def of(self, table: str) -> int:
        if table not in self._known:
            self._known[table] = 0
            record = self._records.get(table)
            inputs = [one.table for one in record.inputs] if record else []
            self._known[table] = 1 + max(map(self.of, inputs), default=0)
        return self._known[table]


class RawRun:
    """One run of everything below a model, from the landing files."""

    def __init__(self, lake: Lakehouse, below: Below, taken: Checkout, folder: Path) -> None:
        self._lake = lake
        self._below = below
        self._project = lake.project.folder
        self._files = taken_files(lake, [lake.read(v.table, v.version) for v in below.ingested])
        self.landing = landing_finding(self._project, self._files)
        self._taken = taken
        self._folder = folder

    def run(self, begin: Callable[[str], None]) -> Lakehouse:
        """Ingest the files and run the pipeline; return the lakehouse with what came out.

        Raises
        ------
        SoloLakehouseError
            A file cannot be ingested or a step cannot be computed.
        """
        import polars as pl

        raw = empty_lake(self._lake, self._definitions(), self._folder / "raw")
        writer = LakeWriter(raw, Run.start(self._project, self._lake.project.settings.engine_name))
        begin("ingesting the landing files")
        for version in self._below.others:
            table = self._lake.read(version.table, version.version)
            self._put(writer, table, table.to_polars())
        for table in self._beside_the_lineage():
            self._put(writer, table, pl.DataFrame(schema=table.schema))
        wanted = {version.table for version in self._below.ingested}
        for name, source in raw.project.settings.sources.items():
            if source.table in wanted:
                ingest(raw, writer, name)
        begin("running the pipeline")
        declared = tuple(version.table for version in self._below.declared)
        if declared:
            moments = recorded_moments(self._below.records.values())
            as_of = parse_moment(moments[-1]) if moments else None
            with prepare(raw, Selection(refresh=declared), as_of=as_of) as pipeline:
                execute(pipeline, writer)
        return raw

    def _definitions(self) -> Path:
        folder = self._taken.folder
        if self._taken.revision is None:
            settings = self._lake.project.settings
            without = [settings.warehouse, settings.mlflow.artifacts]
            folder = self._folder / "project"
            linked_copy(self._project, without, folder)
        patterns = [source.path for source in self._lake.project.settings.sources.values()]
        lay_out(self._project, self._files, patterns, folder)
        return folder

    def _beside_the_lineage(self) -> list[Snapshot]:
        """Return the tables that the pipeline may name, and nothing below the model comes from.

        The queries that read them are planned but not run: their columns are enough.
        """
        below = {version.table for version in self._below.versions}
        names = [name for name in self._lake.table_names() if name not in below]
        return [self._lake.read(name) for name in names if not name.startswith(_NO_INPUTS)]

    def _put(self, writer: LakeWriter, table: Snapshot, rows: pl.DataFrame) -> None:
        properties = {n: value for n, value in table.properties.items() if n.startswith(PREFIX)}
        change = Change(COPY, str(table.table_version))
        writer.write_frame(table.name, rows, change, properties=properties)

    def finding(self, raw: Lakehouse) -> Finding:
        """Compare what every table holds with what was committed, those without inputs first."""
        differing: list[str] = []
        figures: dict[str, Any] = {}
        compared = [*self._below.ingested, *self._below.declared]
        compared = [version for version in self._below.versions if version in compared]
        for version in compared:
            found = self._differs(raw, version)
            if found:
                differing.append(found[0])
                figures[str(version)] = found[1]
        beside = self._beside()
        if differing:
            more = len(differing) - _SHOWN
            rest = f" {more} more tables differ." if more > 0 else ""
            said = " ".join(differing[:_SHOWN]) + rest + beside
            return Finding("table version", "differs", said, figures)
        said = f"{len(compared)} tables made from the files hold what was committed.{beside}"
        return Finding("table version", "same", said)

    def _beside(self) -> str:
        copied = [str(version) for version in self._below.others]
        older = [str(version) for version in self._below.older]
        said = (
            f" Taken as they are, since no file leads to them: {shortened(copied)}."
            if copied
            else ""
        )
        return said + (
            f" Not compared: {shortened(older)}, older than what else was read." if older else ""
        )

    def _differs(self, raw: Lakehouse, version: TableVersion) -> tuple[str, Any] | None:
        recorded = self._below.records[version.table].manifest
        made = raw.newest(version.table)
        if made is None or made.record is None:
            return f"{version} is not made any more.", {"made": False}
        now = made.record.manifest
        if not recorded.is_current or now == recorded:
            return None
        columns = differing_columns(recorded, now)
        rows = (
            "" if now.rows == recorded.rows else f"{now.rows:,} rows instead of {recorded.rows:,}; "
        )
        figures = {"columns": columns, "rows": now.rows, "committed_rows": recorded.rows}
        return f"{version}: {rows}{self._counted(version, made, columns)}.", figures

    def _counted(self, version: TableVersion, made: Snapshot, columns: Sequence[str]) -> str:
        if lost_version(self._lake, version):
            return f"{shortened(columns, _SHOWN)} (it was vacuumed, so rows cannot be counted)"
        was, now = self._lake.read(version.table, version.version).to_polars(), made.to_polars()
        both = [name for name in columns if name in was.columns and name in now.columns]
        order = [name for name in was.columns if name in now.columns and name not in columns]
        order = [name for name in order if not was.schema[name].is_nested()]
        was, now = (
            frame.sort(order, maintain_order=True) if order else frame for frame in (was, now)
        )
        found = column_differences(was.lazy(), now.lazy(), both, order)
        return shortened([str(one) for one in found] or list(columns), _SHOWN) or "rows differ"


def training_set_of(raw: Lakehouse, saved: Snapshot, file: Path) -> pl.LazyFrame:
    """Build the training set of a saved version's recipe from other tables, into a Parquet file.

    Raises
    ------
    UsageError
        Its labels came as a frame, which no landing file holds.
    """
    record = saved.record
    recipe = TrainingSetSpec.model_validate(record.details["recipe"] if record else {})
    if recipe.labels is None:
        raise UsageError(
            f"The labels of {saved.name} came as a frame, and no landing file leads to them. "
            "Leave --from-raw out."
        )
    labels = open_labels(raw, recipe.labels, zone=recipe.time_zone)
    return written(TrainingSet.create(raw, recipe, labels), file)
