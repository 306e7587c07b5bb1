"""Doctor: what is wrong, or soon will be, with the tables of a lakehouse."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlparse

from deltalake import DeltaTable

from sololakehouse.errors import RunError, SoloLakehouseError, shortened
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.failures import one_line
from sololakehouse.lake.leases import LEASES, Lease, active_leases, made_from, ranges
from sololakehouse.lake.lock import is_at_work
from sololakehouse.lake.protocol import (
    RENAMED,
    listed_features,
    unknown_rules,
)
from sololakehouse.lake.resumable import left_work
from sololakehouse.lake.retention import differing
from sololakehouse.lake.staging import dead_folders
from sololakehouse.lake.table import Snapshot
from sololakehouse.lake.table_form import retention_properties
from sololakehouse.lake.vacuum import FOREIGN_AGE, TableState, table_state
from sololakehouse.provenance import TableVersion

Severity = Literal["error", "warning", "info"]
# A table is worth an optimize when it has this many files that are smaller than this.
SMALL_FILES = 20
SMALL_BYTES = 16 * 2**20
_SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """One thing to look at; `table` is None for what concerns the whole lakehouse.

    `error`: rows or versions that somebody counts on cannot be read. `warning`: a promise of the
    project is not kept yet, or space is wasted. `info`: worth knowing.

    Attributes
    ----------
    tables
        All tables that it is about, if there are several.
    """

    table: str | None
    severity: Severity
    check: str
    what: str
    advice: str
    tables: tuple[str, ...] = ()


def diagnose(lake: Lakehouse, *, now: datetime | None = None) -> list[Finding]:
    """Check all tables; nothing is changed.

    Parameters
    ----------
    now
        The moment from which retention is counted back, with a time zone; default: now.

    Returns
    -------
    The findings, table by table; none if all is well.
    """
    moment = now or datetime.now(UTC)
    busy = is_at_work(lake.project.warehouse)
    findings: list[Finding] = []
    snapshots: list[Snapshot] = []
    states: dict[str, TableState] = {}
    for table in lake.table_names():
        try:
            snapshot, states[table] = lake.read(table), table_state(lake, table)
        except SoloLakehouseError as error:
            findings.append(_unreadable(table, error))
            continue
        snapshots.append(snapshot)
        findings += _of_table(snapshot, states[table], moment, busy=busy)
    findings += _retention(lake, snapshots)
    findings += _of_lost_logs(lake)
    findings += _of_leases(lake, states)
    return findings + list(_of_staging(lake)) + list(_of_unfinished(lake))


def _of_table(
    snapshot: Snapshot, state: TableState, now: datetime, *, busy: bool
) -> Iterator[Finding]:
    yield from _damaged_files(snapshot, state)
    yield from _orphans(state, now, busy=busy)
    yield from _small_files(snapshot)
    yield from _features(snapshot)
    yield from _contract(snapshot)


def _unreadable(table: str, error: SoloLakehouseError) -> Finding:
    advice = "Until it can be read, nothing else of this table is checked."
    return Finding(table, "error", "log", _sentence(error), advice)


def _damaged_files(snapshot: Snapshot, state: TableState) -> Iterator[Finding]:
    try:
        snapshot.verify()
    except RunError as error:
        advice = "Put the file back from a backup, or restore an older version of the table."
        yield Finding(snapshot.name, "error", "data files", _sentence(error), advice)
        return
    for file in _files(snapshot):
        how = _footer_damage(file)
        if how:
            yield Finding(
                snapshot.name,
                "error",
                "data files",
                f"The data file {file} is no readable Parquet file: {how}.",
                "Put the file back from a backup, or restore an older version of the table.",
            )
    lost = sorted(set(state.log.versions) - set(state.log.readable()))
    if lost:
        yield Finding(
            snapshot.name,
            "info",
            "versions",
            f"The data files of the versions {ranges(lost)} are gone.",
            "This is what 'slh vacuum' does to versions that nobody leases.",
        )


def _retention(lake: Lakehouse, snapshots: Iterable[Snapshot]) -> Iterator[Finding]:
    """Say once which tables have another retention: a change in lakehouse.yml concerns them all."""
    settings = lake.project.settings
    wanted = retention_properties(settings.retention_days)
    writable = (one for one in snapshots if not unknown_rules(DeltaTable(one.path)))
    found = {one.name: said for one in writable if (said := differing(one, wanted))}
    if not found:
        return
    names = tuple(found)
    if len(names) == 1:
        ((table, keys),) = found.items()
        has = lake.read(table).properties
        how = ", ".join(
            f"{key} is {has.get(key, 'not set')} instead of {value}" for key, value in keys.items()
        )
        what = f"Its properties do not say the project's retention: {how}."
    else:
        what = (
            f"{len(names)} tables do not have the retention {settings.retention!r} of "
            f"lakehouse.yml: {shortened(names, _SHOWN)}."
        )
    yield Finding(
        names[0] if len(names) == 1 else None,
        "warning",
        "retention",
        what,
        "Set it with 'slh doctor --fix'.",
        names,
    )


def _orphans(state: TableState, now: datetime, *, busy: bool) -> Iterator[Finding]:
    """Name files of no version; new ones may be about to be committed by a command at work."""
    least = FOREIGN_AGE if busy else timedelta(0)
    orphans = [file for file in state.orphans(now) if now - file.modified_at >= least]
    if orphans:
        size = sum(file.bytes for file in orphans)
        names = shortened([file.path for file in orphans], _SHOWN)
        yield Finding(
            state.table,
            "warning",
            "orphan files",
            f"{len(orphans)} files with {size:,} bytes are part of no version: {names}.",
            f"Remove them with 'slh vacuum {state.table}'.",
        )


def _small_files(snapshot: Snapshot) -> Iterator[Finding]:
    sizes = [file.stat().st_size for file in _files(snapshot) if file.is_file()]
    small = [size for size in sizes if size < SMALL_BYTES]
    if len(small) >= SMALL_FILES:
        yield Finding(
            snapshot.name,
            "info",
            "small files",
            f"{len(small)} of its {len(sizes)} files are smaller than {SMALL_BYTES:,} bytes.",
            f"Put them together with 'slh optimize {snapshot.name}'.",
        )


def _features(snapshot: Snapshot) -> Iterator[Finding]:
    delta = DeltaTable(snapshot.path)
    protocol, unknown = delta.protocol(), unknown_rules(delta)
    if unknown:
        yield Finding(
            snapshot.name,
            "warning",
            "protocol",
            f"It uses {listed_features(unknown)}, with which it cannot be written here.",
            "Write it with the program that made it, or write to another table.",
        )
        return
    features = set(protocol.reader_features or ()) | set(protocol.writer_features or ())
    if protocol.min_reader_version == 2:
        features.add(RENAMED)
    if features:
        yield Finding(
            snapshot.name,
            "info",
            "protocol",
            f"It uses the Delta features {', '.join(sorted(features))}, which not every reader "
            "and writer has.",
            "Check the programs that read it, or write a copy without them.",
        )


def _contract(snapshot: Snapshot) -> Iterator[Finding]:
    """Hold rows of another program to a feature table's contract; ours were when written."""
    try:
        if snapshot.contract is not None and snapshot.is_foreign:
            snapshot.contract.check(snapshot.scan(), snapshot.name)
    except SoloLakehouseError as error:
        yield Finding(
            snapshot.name,
            "error",
            "feature contract",
            f"Another program wrote to it. {_sentence(error)}",
            "Correct its rows or properties, or restore an older version: lookups in it fail.",
        )


def _of_lost_logs(lake: Lakehouse) -> Iterator[Finding]:
    for table in lake.without_log():
        yield Finding(
            table,
            "error",
            "log",
            f"{lake.path(table)} holds data files, but no log entry says which rows are in it.",
            "Put its _delta_log back from a backup. If there never was a table, remove the folder.",
        )


def _of_leases(lake: Lakehouse, states: dict[str, TableState]) -> Iterator[Finding]:
    try:
        leases = active_leases(lake)
    except SoloLakehouseError:
        yield Finding(
            LEASES,
            "error",
            "leases",
            "The leases cannot be read, so nobody knows whether all that they keep is there.",
            "Put the log of this table right first: until then nothing is leased or vacuumed.",
        )
        return
    readable = {name: set(state.log.readable()) for name, state in states.items()}
    held: dict[str, set[tuple[str, int]]] = {}
    for lease in leases:
        held.setdefault(lease.holder, set()).add((lease.table_id, lease.version))
        state = states.get(lease.table)
        there = state is not None and state.table_id == lease.table_id
        if not there or not _intact(lake, lease, readable[lease.table]):
            yield _broken(lease)
    for holder, missing in _unleased_inputs(lake, leases, held).items():
        yield Finding(
            missing[0].table,
            "warning",
            "leases",
            f"{holder} was made from {shortened([str(version) for version in missing])}, which it "
            "does not lease: the version was gone already.",
            "It can be built again from the versions that it leases, but not from the beginning.",
        )


def _intact(lake: Lakehouse, lease: Lease, readable: set[int]) -> bool:
    if lease.version not in readable:
        return False
    try:
        lake.read(lease.table, lease.version).verify()
    except SoloLakehouseError:
        return False
    return True


def _broken(lease: Lease) -> Finding:
    return Finding(
        lease.table,
        "error",
        "leases",
        f"{lease.holder} leases {lease.reference}, which cannot be read any more.",
        f"Bring its files back from a backup, or give up with 'slh lease drop {lease.lease_id}'.",
    )


def _unleased_inputs(
    lake: Lakehouse, leases: Iterable[Lease], held: dict[str, set[tuple[str, int]]]
) -> dict[str, list[TableVersion]]:
    inputs: dict[tuple[str, int], Sequence[TableVersion]] = {}
    missing: dict[str, dict[TableVersion, None]] = {}
    for lease in leases:
        if lease.holder_kind == "person":
            continue
        key = (lease.table_id, lease.version)
        if key not in inputs:
            version = TableVersion(
                table=lease.table, version=lease.version, table_id=lease.table_id
            )
            inputs[key] = made_from(lake, version)
        for source in inputs[key]:
            if (source.table_id, source.version) not in held[lease.holder]:
                missing.setdefault(lease.holder, {})[source] = None
    return {holder: list(versions) for holder, versions in missing.items()}


def _of_staging(lake: Lakehouse) -> Iterator[Finding]:
    folders = dead_folders(lake.project.warehouse)
    if folders:
        yield Finding(
            None,
            "warning",
            "staging",
            f"{len(folders)} staging folders are left of processes that were killed: "
            f"{shortened([str(folder) for folder in folders], _SHOWN)}.",
            "Remove them with 'slh vacuum'.",
        )


def _of_unfinished(lake: Lakehouse) -> Iterator[Finding]:
    for left in left_work(lake.project.warehouse):
        yield Finding(
            left.table,
            "warning",
            "unfinished",
            f"A scoring was killed and left {left.rows:,} scored rows and {left.bytes:,} bytes in "
            f"{left.folder}.",
            f"The same 'slh score' into {left.table} goes on from there, and another one removes "
            "them; so may you.",
        )


def _files(snapshot: Snapshot) -> Iterator[Path]:
    for uri in snapshot.file_uris():
        parsed = urlparse(uri)
        yield Path(unquote(parsed.path)) if parsed.scheme else Path(uri)


def _footer_damage(file: Path) -> str | None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        pq.read_metadata(file)
    except (OSError, pa.ArrowException) as error:
        return one_line(error)
    return None


def _sentence(error: SoloLakehouseError) -> str:
    return str(error)
