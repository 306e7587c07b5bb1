"""Vacuum: remove the data files and log entries that no kept version needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable
from deltalake.exceptions import DeltaError

from sololakehouse.errors import RunError
from sololakehouse.lake.archive import archive_commits
from sololakehouse.lake.catalog import ARCHIVED_COMMITS, Lakehouse
from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.failures import disk_errors, one_line
from sololakehouse.lake.leases import Lease, active_leases, all_leases, leased_versions
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.log import LogFile, TableLog, read_log
from sololakehouse.lake.staging import dead_folders, remove_dead_folders
from sololakehouse.lake.vacuumed import record_vacuumed

# How long a file of another program may wait for its commit; ours are committed under the lock.
FOREIGN_AGE = timedelta(days=7)
_OURS = re.compile(r"^part-\d{8}T\d{6}-[0-9a-f]{8}-[0-9a-f]{12}\.parquet$")


@dataclass(frozen=True)
class DataFile:
    """A Parquet file in a table's folder; `path` is relative to it."""

    path: str
    bytes: int
    modified_at: datetime


@dataclass(frozen=True)
class TableState:
    """What a table's folder holds: its log, and the Parquet files that are there."""

    table: str
    table_id: str
    log: TableLog
    files: tuple[DataFile, ...]

    def orphans(self, now: datetime) -> list[DataFile]:
        """Return the files that no version names and nobody is about to commit."""
        known = self.log.known_files
        return [
            file
            for file in self.files
            if file.path not in known and (_is_ours(file) or now - file.modified_at > FOREIGN_AGE)
        ]


@dataclass(frozen=True)
class TablePlan:
    """What a vacuum keeps and removes of one table.

    Attributes
    ----------
    kept
        The versions of which nothing is removed, ascending.
    old_files
        Files of versions that are not kept.
    orphans
        Files of no version: what a killed process, or another program, left.
    log_files
        Log entries and checkpoints from before the oldest kept version.
    """

    state: TableState
    kept: tuple[int, ...]
    old_files: tuple[DataFile, ...]
    orphans: tuple[DataFile, ...]
    log_files: tuple[LogFile, ...]

    @property
    def readable(self) -> list[int]:
        """The kept versions whose data files are all there, ascending."""
        readable = set(self.state.log.readable())
        return [version for version in self.kept if version in readable]

    @property
    def lost(self) -> list[int]:
        """The versions that can be read now and not any more afterwards, ascending."""
        log, gone = self.state.log, {file.path for file in self.old_files}
        first = min(self.kept) if self.log_files else 0
        return [
            version
            for version in log.readable()
            if version < first or gone & log.files_of([version])
        ]

    @property
    def bytes(self) -> int:
        """Bytes of everything that is removed."""
        data = sum(file.bytes for file in (*self.old_files, *self.orphans))
        return data + sum(_size(file.path) for file in self.log_files)

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to remove."""
        return not (self.old_files or self.orphans or self.log_files)


@dataclass(frozen=True)
class HolderShare:
    """What would come free, and break, without some leases.

    Attributes
    ----------
    bytes
        What a vacuum would remove in addition.
    unbuildable
        Models and training sets that could not be built again.
    """

    holder: str
    leases: int
    bytes: int
    unbuildable: tuple[str, ...]


@dataclass(frozen=True)
class VacuumResult:
    """What a vacuum removed, or would remove.

    Attributes
    ----------
    tables
        One plan for each table, by name.
    staging
        Folders of dead processes.
    shares
        For each holder what only its leases keep; of a dry run alone.
    without
        The same for the leases that the dry run leaves out; None if it leaves out none.
    """

    tables: tuple[TablePlan, ...]
    staging: tuple[Path, ...]
    shares: tuple[HolderShare, ...] = ()
    without: HolderShare | None = None

    @property
    def bytes(self) -> int:
        """Bytes of all tables together."""
        return sum(plan.bytes for plan in self.tables)


@dataclass(frozen=True)
class _Rules:
    """What decides which versions are kept."""

    retention_days: int | None
    leases: Sequence[Lease]
    now: datetime

    def kept(self, table_id: str, log: TableLog) -> tuple[int, ...]:
        leased = leased_versions(self.leases, table_id)
        return tuple(v for v in log.versions if v in leased or self._retained(v, log))

    def _retained(self, version: int, log: TableLog) -> bool:
        if self.retention_days is None or version == log.newest:
            return True
        replaced = log.replaced_at.get(version)
        return replaced is None or self.now - replaced <= timedelta(days=self.retention_days)


def vacuum(
    writer: LakeWriter, tables: Sequence[str] = (), *, now: datetime | None = None
) -> VacuumResult:
    """Remove what no kept version of the tables needs, data files and log entries.

    Kept are the newest version, the versions that were replaced no longer ago than the project's
    retention (to the microsecond; `forever`: all), and the leased ones. Files of ours that no
    version names are removed at once, those of other programs when they are older than 7 days;
    what is no Parquet file stays. Log entries are removed up to the oldest kept version, after
    their commit records are in `system.archived_commits`.

    It can be killed at any moment: what is removed first is never needed by a kept version.

    Parameters
    ----------
    tables
        Default: all tables.
    now
        The moment from which retention is counted back, with a time zone; default: now.

    Raises
    ------
    NotFoundError
        There is no such table.
    RunError
        A table's log is damaged, or a file cannot be removed.
    """
    lake = writer.lake
    names = _names(lake, tables)
    plans = [_vacuum_table(writer, name, now or datetime.now(UTC)) for name in names]
    with disk_errors(lake.project.warehouse):
        staging = () if tables else tuple(remove_dead_folders(lake.project.warehouse))
    return VacuumResult(tuple(plans), staging)


def plan_vacuum(
    lake: Lakehouse,
    tables: Sequence[str] = (),
    *,
    without: Sequence[Lease] = (),
    now: datetime | None = None,
) -> VacuumResult:
    """Tell what a vacuum would remove, and what each holder's leases keep; nothing is changed.

    Parameters
    ----------
    without
        Leases that are taken to be dropped.

    Raises
    ------
    NotFoundError
        There is no such table.
    RunError
        A table's log is damaged.
    """
    states = [table_state(lake, name) for name in _names(lake, tables)]
    moment, days = now or datetime.now(UTC), lake.project.settings.retention_days
    history = all_leases(lake)
    active = [lease for lease in history if lease.released_at is None]
    question = _Question(states, history, days, moment)
    kept = [lease for lease in active if lease not in without]
    staging = () if tables else tuple(dead_folders(lake.project.warehouse))
    return VacuumResult(
        tuple(question.plans(kept)),
        staging,
        question.shares(active),
        question.share("these leases", active, without) if without else None,
    )


def table_state(lake: Lakehouse, table: str) -> TableState:
    """Read the log and the folder of a table.

    Raises
    ------
    RunError
        The log is damaged.
    """
    snapshot = lake.read(table)
    log = read_log(snapshot.path, table)
    return TableState(table, snapshot.table_id, log, tuple(_data_files(snapshot.path)))


@dataclass(frozen=True)
class _Question:
    """The states of some tables, asked under one set of leases or another."""

    states: Sequence[TableState]
    history: Sequence[Lease]
    retention_days: int | None
    now: datetime

    def plans(self, leases: Sequence[Lease]) -> list[TablePlan]:
        rules = _Rules(self.retention_days, leases, self.now)
        return [_planned(state, rules) for state in self.states]

    def shares(self, active: Sequence[Lease]) -> tuple[HolderShare, ...]:
        holders: dict[tuple[str, str], list[Lease]] = {}
        for lease in active:
            holders.setdefault((lease.holder_kind, lease.holder), []).append(lease)
        return tuple(self.share(name, active, mine) for (_, name), mine in holders.items())

    def share(self, name: str, active: Sequence[Lease], dropped: Sequence[Lease]) -> HolderShare:
        ids = {lease.lease_id for lease in dropped}
        before = self.plans(active)
        after = self.plans([lease for lease in active if lease.lease_id not in ids])
        lost = {
            (plan.state.table_id, version)
            for plan, then in zip(before, after, strict=True)
            for version in set(plan.kept) - set(then.kept)
        }
        needing = {
            lease.holder
            for lease in self.history
            if lease.holder_kind != "person" and (lease.table_id, lease.version) in lost
        }
        freed = sum(plan.bytes for plan in after) - sum(plan.bytes for plan in before)
        return HolderShare(name, len(dropped), freed, tuple(sorted(needing)))


def _names(lake: Lakehouse, tables: Sequence[str]) -> list[str]:
    for name in tables:
        lake.read(name)
    return list(dict.fromkeys(tables)) or lake.table_names()


def _data_files(folder: Path) -> Iterable[DataFile]:
    for path in sorted(folder.rglob("*.parquet")):
        inside = path.relative_to(folder)
        if any(part.startswith(("_", ".")) for part in inside.parts) or not path.is_file():
            continue
        about = path.stat()
        modified = datetime.fromtimestamp(about.st_mtime, UTC)
        yield DataFile(inside.as_posix(), about.st_size, modified)


def _is_ours(file: DataFile) -> bool:
    return _OURS.match(file.path) is not None


def _planned(state: TableState, rules: _Rules) -> TablePlan:
    log = state.log
    kept = rules.kept(state.table_id, log)
    needed = log.files_of(kept)
    old = [file for file in state.files if file.path in log.known_files - needed]
    orphans = state.orphans(rules.now)
    forever = rules.retention_days is None or state.table == ARCHIVED_COMMITS
    before = 0 if forever else min(kept)
    entries = [file for file in log.files if file.version < before]
    return TablePlan(state, kept, tuple(old), tuple(orphans), tuple(entries))


def _vacuum_table(writer: LakeWriter, table: str, now: datetime) -> TablePlan:
    lake = writer.lake
    with table_lock(lake.project.warehouse, table), disk_errors(lake.path(table)):
        days = lake.project.settings.retention_days
        plan = _planned(table_state(lake, table), _Rules(days, active_leases(lake), now))
        if plan.log_files:
            _archive(writer, plan)
            _checkpoint(plan)
        record_vacuumed(writer, table, plan.state.table_id, plan.lost)
        folder = lake.path(table)
        for file in (*plan.orphans, *plan.old_files):
            (folder / file.path).unlink(missing_ok=True)
        for entry in plan.log_files:
            entry.path.unlink(missing_ok=True)
    return plan


def _archive(writer: LakeWriter, plan: TablePlan) -> None:
    state = plan.state
    gone = {file.version for file in plan.log_files}
    entries = [entry for entry in state.log.entries if entry.version in gone]
    archive_commits(writer, state.table, state.table_id, entries)


def _checkpoint(plan: TablePlan) -> None:
    """Make the oldest kept version loadable without the entries before it."""
    log, oldest = plan.state.log, plan.kept[0]
    try:
        if oldest not in log.checkpoints:
            DeltaTable(log.folder, version=oldest).create_checkpoint()
        if log.newest not in log.checkpoints:
            DeltaTable(log.folder).create_checkpoint()
    except DeltaError as error:
        raise RunError(
            f"{plan.state.table}: no checkpoint could be written: {one_line(error)}. The log is "
            "as it was."
        ) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
