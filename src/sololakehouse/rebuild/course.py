"""The course of a rebuild: from a model's record to a verdict, link by link."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import UsageError
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.leases import needed_versions
from sololakehouse.lake.row_history import TableCommits
from sololakehouse.lineage.registered import Trained, trained_models
from sololakehouse.models.evidence import DATA
from sololakehouse.models.refit import TRAINING_SET_FILE
from sololakehouse.models.registry import LOGGED, ModelVersion, resolve
from sololakehouse.provenance import CommitRecord, TableVersion
from sololakehouse.rebuild.checkout import Checkout, checkout
from sololakehouse.rebuild.code import code_finding
from sololakehouse.rebuild.environment import environment_finding
from sololakehouse.rebuild.links import Finding, first_differing
from sololakehouse.rebuild.raw import Below, RawRun, training_set_of
from sololakehouse.rebuild.scratch import reading_lake
from sololakehouse.rebuild.tables import Versions, checked_versions, lost_version
from sololakehouse.rebuild.training import (
    Comparison,
    Verdict,
    compare,
    experiment_finding,
    train_again,
)
from sololakehouse.rebuild.training_set import build, compared

if TYPE_CHECKING:
    import polars as pl

Begin = Callable[[str], None]
_STEPS = 5


@dataclass(frozen=True)
class Rebuilt:
    """What came of building a model again.

    Attributes
    ----------
    findings
        One for each link, from the environment to the training, as far as it went.
    comparison
        None if a version that it needs is lost, so that nothing could be trained.
    """

    model: ModelVersion
    from_raw: bool
    findings: tuple[Finding, ...]
    comparison: Comparison | None

    @property
    def verdict(self) -> Verdict:
        """`bit-identical`, `metric-identical` or `diverged`."""
        return self.comparison.verdict if self.comparison else "diverged"

    @property
    def first(self) -> Finding | None:
        """The first link that differs, whether or not it changed the model."""
        return first_differing(self.findings)

    @property
    def said(self) -> str:
        """The verdict in a sentence or two."""
        outcome = f" {self.comparison.said}" if self.comparison else ""
        if self.first is None or self.first.link == "training":
            return f"{self.model}: {self.verdict}.{outcome}"
        since = "although" if self.verdict == "bit-identical" else "and"
        return f"{self.model}: {self.verdict}, {since} a link differs: {self.first.link}.{outcome}"

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "model": self.model.name,
            "version": self.model.version,
            "verdict": self.verdict,
            "first_link": self.first.link if self.first else None,
            "from_raw": self.from_raw,
            "links": [finding.as_json() for finding in self.findings],
            "outcome": self.comparison.as_json() if self.comparison else None,
        }


def steps_of(*, from_raw: bool) -> int:
    """Return how many steps a rebuild has."""
    return _STEPS + (2 if from_raw else 0)


def rebuild(
    lake: Lakehouse,
    reference: str,
    *,
    from_raw: bool = False,
    on_step: Begin | None = None,
) -> Rebuilt:
    """Build a registered model again from its record alone, and compare it link by link.

    The definitions are those of the recorded revision, the tables are read at the recorded
    versions, and all that is made lies in a folder of its own, which is removed. The project and
    its tables are only read.

    Parameters
    ----------
    reference
        `NAME@production`, `NAME@staging` or `NAME@3`.
    from_raw
        Run the pipeline from the landing files first, and use the tables that it gives.
    on_step
        Called with a few words when a step begins.

    Raises
    ------
    NotFoundError, UsageError
        There is no such model, or nobody recorded how it was trained.
    RunError
        Training again failed.
    """
    version = resolve(lake, reference)
    _refuse_unrecorded(version)
    trained = next(one for one in trained_models(lake) if one.model.is_as(version))
    with TemporaryDirectory(prefix="slh-rebuild-") as folder:
        course = _Course(lake, trained, Path(folder), on_step or (lambda _: None))
        findings, comparison = course.from_raw() if from_raw else course.from_tables()
    return Rebuilt(version, from_raw, tuple(findings), comparison)


def _refuse_unrecorded(version: ModelVersion) -> None:
    if version.role == LOGGED:
        raise UsageError(
            f"{version} was fitted by a person and logged with log_model: nothing says how, so it "
            "cannot be built again. Its training set can: 'slh explain "
            f"{version.training_set}@v{version.training_set_version} --row 0'."
        )
    if "config" not in version.record:
        raise UsageError(
            f"{version} was trained before runs kept what training again needs. Train it again "
            "with 'slh train FILE --force'."
        )


@dataclass(frozen=True)
class _Course:
    lake: Lakehouse
    trained: Trained
    folder: Path
    begin: Begin

    @property
    def version(self) -> ModelVersion:
        return self.trained.model

    def from_tables(self) -> tuple[list[Finding], Comparison | None]:
        """Build the training set from the recorded versions, and train on it."""
        self.begin("checking table versions")
        versions = checked_versions(self.lake, self._read_versions(), self._recorded_tables())
        if versions.lost:
            return [versions.finding], None
        self.begin("checking out the code")
        taken = self._checkout()
        reading = reading_lake(self.lake, taken.folder, self.folder / "warehouse")
        saved = self.lake.read(self.version.training_set, self.version.training_set_version)
        code = code_finding(reading, taken, self._records(), saved)
        self.begin("building the training set")
        rows = build(reading, str(saved.table_version), self.folder / TRAINING_SET_FILE)
        again = compared(saved, rows, self._recorded_order())
        settings = experiment_finding(self.lake, self.version)
        findings = [code, versions.finding, again.feature, again.order, settings]
        return self._train(findings, again.rows, taken)

    def from_raw(self) -> tuple[list[Finding], Comparison | None]:
        """Build everything from the landing files, and train on what comes out."""
        lost = lost_version(self.lake, self.trained.training_set)
        if lost:
            return [Versions(lost=lost).finding], None
        self.begin("checking the landing files")
        taken = self._checkout()
        needed = [one for one in self._needed() if one != self.trained.training_set]
        below = Below.of(needed, self._records_of(needed))
        lost = next(filter(None, (lost_version(self.lake, one) for one in below.sources)), "")
        if lost:
            return [Versions(lost=lost).finding], None
        raw_run = RawRun(self.lake, below, taken, self.folder)
        if raw_run.landing.state == "differs":
            return [raw_run.landing], None
        self.begin("checking out the code")
        reading = reading_lake(self.lake, taken.folder, self.folder / "warehouse")
        saved = self.lake.read(self.version.training_set, self.version.training_set_version)
        code = code_finding(reading, taken, self._records(), saved)
        raw = raw_run.run(self.begin)
        self.begin("building the training set")
        rows = training_set_of(raw, saved, self.folder / TRAINING_SET_FILE)
        again = compared(saved, rows, self._recorded_order())
        settings = experiment_finding(self.lake, self.version)
        tables = raw_run.finding(raw)
        findings = [raw_run.landing, code, tables, again.feature, again.order, settings]
        return self._train(findings, again.rows, taken)

    def _train(
        self, findings: list[Finding], rows: pl.LazyFrame, taken: Checkout
    ) -> tuple[list[Finding], Comparison]:
        self.begin("training again")
        again = train_again(self.version, rows, self.folder / "training", taken.folder)
        self.begin("comparing the models")
        comparison = compare(self.lake, self.version, again)
        here = again.record["environment"]
        environment = environment_finding(self.version.record.get("environment"), here)
        same = comparison.verdict == "bit-identical"
        finding = Finding("training", "same" if same else "differs", comparison.said)
        return [environment, *findings, finding], comparison

    def _checkout(self) -> Checkout:
        commit = self.trained.commit
        revision = commit.record.code_revision if commit and commit.record else None
        return checkout(self.lake.project.folder, revision, self.folder / "project")

    def _read_versions(self) -> list[TableVersion]:
        """Return the training set's version and those that it was made from, once each."""
        root = self.trained.training_set
        record = self._record_of(root)
        return [root, *(record.inputs if record else ())]

    def _record_of(self, wanted: TableVersion) -> CommitRecord | None:
        commits = TableCommits(self.lake, wanted.table, wanted.table_id or None)
        entry = commits.commit(commits.rows_version(wanted.version))
        return entry.record if entry else None

    def _records(self) -> dict[str, CommitRecord]:
        return {one.table: record for one, record in self._records_of(self._needed()).items()}

    def _records_of(self, wanted: Sequence[TableVersion]) -> dict[TableVersion, CommitRecord]:
        found = ((one, self._record_of(one)) for one in wanted)
        return {one: record for one, record in found if record is not None}

    def _needed(self) -> Sequence[TableVersion]:
        return needed_versions(self.lake, self.trained.training_set)

    def _recorded_tables(self) -> dict[str, Any]:
        return dict(self.version.record.get(DATA, {}).get("tables", {}))

    def _recorded_order(self) -> str | None:
        order: str | None = self.version.record.get(DATA, {}).get("row_order")
        return order
