"""Leases: table versions that `slh vacuum` must keep, for whom and why.

`system.leases` is append-only: a row says that a lease was added, or, with `released_at` set, that
it was released. The last row of a `lease_id` counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import NotFoundError, RunError, UsageError, shortened
from sololakehouse.lake.catalog import Lakehouse
from sololakehouse.lake.commit import LakeWriter
from sololakehouse.lake.lock import table_lock
from sololakehouse.lake.log import read_log
from sololakehouse.lake.reference import split_reference
from sololakehouse.provenance import Change, TableVersion, fingerprint

if TYPE_CHECKING:
    import polars as pl

LEASES = "system.leases"
OPERATION = "LEASE"
HolderKind = Literal["person", "model", "training_set"]
_ID_DIGITS = 12


@dataclass(frozen=True)
class Holder:
    """Who needs a version: a person by name, a model as `rain@1`, a training set as `T@v1`."""

    kind: HolderKind
    name: str


@dataclass(frozen=True)
class Lease:
    """One leased version; moments are in UTC, `released_at` is None while the lease holds."""

    lease_id: str
    table: str
    table_id: str
    version: int
    holder_kind: HolderKind
    holder: str
    why: str
    user: str
    added_at: datetime
    released_at: datetime | None = None

    @property
    def reference(self) -> str:
        """The leased version as `schema.table@v3`."""
        return f"{self.table}@v{self.version}"


def all_leases(lake: Lakehouse) -> list[Lease]:
    """Return every lease there ever was in its last state, oldest first."""
    stored = lake.newest(LEASES)
    if stored is None:
        return []
    leases: dict[str, Lease] = {}
    rows = [Lease(**row) for row in stored.to_polars().to_dicts()]
    for lease in sorted(rows, key=_moment):
        leases[lease.lease_id] = lease
    return sorted(leases.values(), key=lambda lease: (lease.added_at, lease.table, lease.lease_id))


def active_leases(lake: Lakehouse) -> list[Lease]:
    """Return the leases that hold now, oldest first."""
    return [lease for lease in all_leases(lake) if lease.released_at is None]


def add_lease(writer: LakeWriter, reference: str, why: str) -> tuple[Lease, bool]:
    """Lease `schema.table@v3` for the person who runs this.

    Returns
    -------
    The lease, and whether it is new: a person has one lease of a version.

    Raises
    ------
    UsageError
        The reference names no version, or there is no reason.
    NotFoundError
        The version does not exist or cannot be read any more: says which can.
    """
    table, version = split_reference(reference, writer.lake.project.settings.time_zone)
    if version is None:
        raise UsageError(f"Say which version of {table} to lease, as in {table}@v1.")
    if not why.strip():
        raise UsageError("Say why the version is needed, with --why.")
    if table == LEASES:
        raise UsageError(f"{LEASES} cannot be leased: it holds the leases.")
    lake = writer.lake
    if isinstance(version, datetime):
        version = lake.read(table, timestamp=version).version
    wanted = TableVersion(table=table, version=version, table_id=lake.read(table).table_id)
    holder = Holder("person", writer.run.user)
    with table_lock(lake.project.warehouse, table):
        readable = read_log(lake.path(table), table).readable()
        if version not in readable:
            raise NotFoundError(
                f"{table} has no version {version} that can be read. Versions that can: "
                f"{ranges(readable)}."
            )
        lease = _new(writer, [wanted], holder, why)[0]
        known = {active.lease_id: active for active in active_leases(lake)}
        if lease.lease_id in known:
            return known[lease.lease_id], False
        _append(writer, [lease])
    return lease, True


def lease_inputs(
    writer: LakeWriter, holder: Holder, root: TableVersion, why: str
) -> Sequence[Lease]:
    """Lease a version and everything that it was made from, once for each holder.

    Nothing is done if the holder has, or had, a lease of the version: a person may have dropped it.
    What cannot be read any more is left out; `slh doctor` reports it.

    Returns
    -------
    The new leases.
    """
    lake = writer.lake
    known = _lease_id(root, holder)
    if any(old.lease_id == known for old in all_leases(lake)):
        return ()
    needed = needed_versions(lake, root)
    with ExitStack() as locks:
        for table in sorted({version.table for version in needed}):
            locks.enter_context(table_lock(lake.project.warehouse, table))
        readable = _readable(lake, needed)
        leases = _new(writer, [version for version in needed if version in readable], holder, why)
        _append(writer, leases)
    return leases


def drop_leases(writer: LakeWriter, reference: str) -> list[Lease]:
    """Release a lease by its identifier, a holder's leases, or a person's leases of `T@v7`.

    Raises
    ------
    NotFoundError
        No lease that holds is meant: says which there are.
    UsageError
        Only models or training sets hold the version: says which.
    """
    found = matching_leases(active_leases(writer.lake), reference)
    if not any(reference in (lease.lease_id, lease.holder) for lease in found):
        found = _of_persons(found, reference)
    moment = datetime.now(UTC)
    released = [replace(lease, released_at=moment) for lease in found]
    _append(writer, released)
    return released


def _of_persons(leases: Sequence[Lease], reference: str) -> list[Lease]:
    persons = [lease for lease in leases if lease.holder_kind == "person"]
    if not persons:
        holders = sorted({lease.holder for lease in leases})
        raise UsageError(
            f"{reference} is leased by {shortened(holders)}. Drop one lease by its identifier "
            f"({shortened([lease.lease_id for lease in leases])}), or all leases of a holder with "
            f"'slh lease drop {holders[0]}'."
        )
    return persons


def matching_leases(leases: Sequence[Lease], reference: str) -> list[Lease]:
    """Return the leases with this identifier, holder or `schema.table@v3`.

    Raises
    ------
    NotFoundError
        There is none.
    """
    for attribute in ("lease_id", "holder", "reference"):
        found = [lease for lease in leases if getattr(lease, attribute) == reference]
        if found:
            return found
    names = {lease.holder for lease in leases} | {lease.reference for lease in leases}
    raise NotFoundError.of("lease", reference, names)


def needed_versions(lake: Lakehouse, root: TableVersion) -> list[TableVersion]:
    """Return a version and all that it was made from, down to bronze, from the commit records.

    A version that cannot be read any more is in the list; what it was made from is not known.
    """
    found: dict[tuple[str, str, int], TableVersion] = {}
    waiting = [root]
    while waiting:
        version = waiting.pop()
        key = (version.table, version.table_id, version.version)
        if key not in found:
            found[key] = version
            waiting += made_from(lake, version)
    return list(found.values())


def made_from(lake: Lakehouse, version: TableVersion) -> Sequence[TableVersion]:
    """Return the inputs that a version's commit record names; none if it cannot be read."""
    try:
        snapshot = lake.read(version.table, version.version)
    except (NotFoundError, RunError):
        return ()
    if snapshot.table_id != version.table_id or snapshot.record is None:
        return ()
    return snapshot.record.inputs


def leased_versions(leases: Iterable[Lease], table_id: str) -> set[int]:
    """Return the leased versions of the table with this identifier."""
    return {lease.version for lease in leases if lease.table_id == table_id}


def ranges(versions: Sequence[int]) -> str:
    """Write ascending versions in a few words.

    Examples
    --------
    >>> ranges([0, 1, 2, 5, 7, 8]), ranges([])
    ('0 to 2, 5, 7 to 8', 'none')
    """
    runs: list[list[int]] = []
    for version in versions:
        if runs and runs[-1][1] == version - 1:
            runs[-1][1] = version
        else:
            runs.append([version, version])
    written = [str(first) if first == last else f"{first} to {last}" for first, last in runs]
    return shortened(written) or "none"


def _moment(lease: Lease) -> tuple[datetime, bool]:
    return lease.released_at or lease.added_at, lease.released_at is not None


def _lease_id(version: TableVersion, holder: Holder) -> str:
    parts = (version.table, version.table_id, version.version, holder.kind, holder.name)
    return fingerprint(*parts)[:_ID_DIGITS]


def _new(
    writer: LakeWriter, versions: Iterable[TableVersion], holder: Holder, why: str
) -> list[Lease]:
    moment = datetime.now(UTC)
    return [
        Lease(
            lease_id=_lease_id(version, holder),
            table=version.table,
            table_id=version.table_id,
            version=version.version,
            holder_kind=holder.kind,
            holder=holder.name,
            why=why,
            user=writer.run.user,
            added_at=moment,
        )
        for version in versions
    ]


def _readable(lake: Lakehouse, versions: Iterable[TableVersion]) -> set[TableVersion]:
    by_table: dict[str, list[TableVersion]] = {}
    for version in versions:
        by_table.setdefault(version.table, []).append(version)
    found: set[TableVersion] = set()
    for table, wanted in by_table.items():
        newest = lake.newest(table)
        readable = set(read_log(newest.path, table).readable()) if newest else set()
        table_id = newest.table_id if newest else None
        found |= {v for v in wanted if v.table_id == table_id and v.version in readable}
    return found


def _append(writer: LakeWriter, leases: Sequence[Lease]) -> None:
    if not leases:
        return
    mark = fingerprint(OPERATION, [(lease.lease_id, _moment(lease)) for lease in leases])
    moments = ("lease_id", "table_id", "user", "added_at", "released_at")
    change = Change(OPERATION, mark, left_out=moments)
    writer.write_frame(LEASES, _frame([asdict(lease) for lease in leases]), change, mode="append")


def _frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    import polars as pl

    moment = pl.Datetime("us", "UTC")
    types = {"version": pl.Int64(), "added_at": moment, "released_at": moment}
    schema = {name: types.get(name, pl.String()) for name in Lease.__dataclass_fields__}
    return pl.DataFrame(rows, schema=schema)
