"""Lesson 1: a delivery that overwrites a month with nonsense, and the way back."""

from __future__ import annotations

import csv
import hashlib
import io
from typing import TYPE_CHECKING

from sololakehouse.lake.history import HistoryEntry, file_hashes
from sololakehouse.lessons.lesson import Check, Files, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.work import BRONZE, SILVER, Work, versions_read

if TYPE_CHECKING:
    from sololakehouse.lake import Snapshot

_MONTHS = "gold.months"
_GOOD = "landing/flights/flights_2013-10.csv"
_BROKEN = "delivery/flights_2013-10.csv"
_BUILT = (SILVER, _MONTHS)


def _with_a_broken_delivery(files: Files) -> Files:
    """Add October as an export spoiled it: every flight lands on the minute."""
    rows = list(csv.DictReader(io.StringIO(files[_GOOD])))
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"arrived_at": row["scheduled_arrival"]} for row in rows)
    return files | {_BROKEN: text.getvalue()}


def _breaking(work: Work) -> HistoryEntry:
    """Return the newest commit that took the broken file."""
    sha256 = hashlib.sha256(work.original[_BROKEN].encode()).hexdigest()
    for entry in work.history(BRONZE, "slh ingest"):
        if entry.record and sha256 in file_hashes(entry.record).values():
            return entry
    raise NotYetError(
        f"the commits of {BRONZE}",
        "The broken October was not taken yet.",
        f"Deliver it over the good one: cp {_BROKEN} {_GOOD} && slh ingest.",
    )


def _broken(work: Work) -> Finding:
    version = _breaking(work).version
    return Finding(f"the commits of {BRONZE}", f"Version {version} took the broken October.")


def _spread(work: Work) -> Finding:
    broken = _breaking(work).version
    for entry in work.history(_MONTHS):
        for made_from in _bronze_of(work, entry):
            if made_from == broken:
                return Finding(
                    f"the commits of {_MONTHS}",
                    f"Version {entry.version} was computed from the broken {BRONZE}@v{broken}.",
                )
    raise NotYetError(
        f"the commits of {_MONTHS}",
        f"No version was computed from {BRONZE}@v{broken}.",
        "Run the pipeline over the broken month, and look at what it did: slh run && slh show "
        f"{_MONTHS}. (Did you restore before? Then begin again.)",
    )


def _bronze_of(work: Work, entry: HistoryEntry) -> list[int]:
    """Return the versions of bronze from which a commit of a gold table came, through silver."""
    silver = versions_read(entry.record, SILVER)
    records = [work.lake.read(SILVER, version).record for version in silver]
    return [version for record in records for version in versions_read(record, BRONZE)]


def _restored(work: Work) -> Finding:
    broken = _breaking(work).version
    later = [entry for entry in work.history(BRONZE) if entry.version > broken]
    place = f"the commits of {BRONZE}"
    if not later:
        raise NotYetError(
            place,
            f"Version {broken}, the broken one, is the newest.",
            f"Find the last good version, and bring it back: slh history {BRONZE}, slh restore.",
        )
    restore = next((entry for entry in later if entry.restored is not None), None)
    if restore is None or restore.restored is None:
        raise NotYetError(
            place,
            f"Version {later[0].version} is a new delivery and no restore. It was right because "
            "you had the old file; when a provider overwrites it, nobody has.",
            f"Bring the version from before v{broken} back: slh restore {BRONZE} --to "
            f"{broken - 1}.",
        )
    if restore.restored >= broken:
        raise NotYetError(
            place,
            f"Version {restore.version} brought back v{restore.restored}, which holds the broken "
            "month.",
            f"slh diff {BRONZE} {broken - 1} {broken} shows which of them is good.",
        )
    return Finding(place, f"Version {restore.version} brought back v{restore.restored}.")


def _for_good(work: Work) -> Finding:
    _restored(work)
    again = [path for path, sha256 in work.landed().items() if work.taken().get(path) != sha256]
    if again:
        raise NotYetError(
            "landing/",
            f"{', '.join(again)} is not what {BRONZE} was made of: the next slh ingest would take "
            "it again.",
            f"Move it out of the way: mv {again[0]} delivery/taken_back.csv.",
        )
    return Finding("landing/", "The next slh ingest has nothing to take.")


def _whole(work: Work) -> Finding:
    good = work.lake.read(BRONZE, _breaking(work).version - 1)
    bronze = work.table(BRONZE)
    if _digest(bronze) != _digest(good):
        raise NotYetError(
            BRONZE,
            f"Its rows are not those of v{good.version}.",
            f"slh diff {BRONZE} {good.version} {bronze.version}",
        )
    source = bronze
    for name in _BUILT:
        table = work.table(name)
        read = versions_read(table.record, source.name)
        if source.version not in read:
            raise NotYetError(
                name,
                f"It was computed from {source.name}@v{read[0] if read else '?'}, and "
                f"{source.name} is at v{source.version}.",
                "slh run",
            )
        source = table
    return Finding(f"{', '.join(_BUILT)}", "They are computed from the version that is back.")


def _digest(table: Snapshot) -> str | None:
    return table.record.manifest.digest if table.record else None


def _before_and_after(work: Work) -> Seen:
    history = work.lake.history(_MONTHS)
    broken = _breaking(work).version
    spoiled = next(one for one in history if broken in _bronze_of(work, one)).version
    earlier = [one.version for one in history if one.version < spoiled and one.record]
    moments = {"broken": spoiled, "now": history[0].version}
    if earlier:
        moments = {"before": max(earlier)} | moments
    return Seen(
        "October in gold.months, at three versions of the same table. Nothing was lost on the way.",
        ["", "version", "month", "flights", "late_share", "mean_arrival_delay"],
        [
            {"": when, "version": version}
            | work.lake.read(_MONTHS, version).to_polars().filter(month="2013-10").to_dicts()[0]
            for when, version in moments.items()
        ],
    )


TIME_TRAVEL = Lesson(
    number=1,
    slug="time_travel",
    title="Break a pipeline and restore it by time travel",
    ends_in="the same month at three versions of a table",
    layers=("flights", "silver"),
    landed=("2013-09", "2013-10", "2013-11"),
    changed=_with_a_broken_delivery,
    checks=(
        Check(
            "A broken delivery has taken the place of October",
            _broken,
            "A source with 'on_change: replace' takes a file of the same path and other content in "
            f"place of the old rows. Ingest and run the good months first (slh ingest && slh run); "
            f"then cp {_BROKEN} {_GOOD} and slh ingest again.",
        ),
        Check(
            "The damage has reached gold",
            _spread,
            f"slh run computes what its inputs changed. Then compare: slh show {_MONTHS} and "
            f"slh show {_MONTHS}@v1.",
        ),
        Check(
            "Bronze is back by a restore",
            _restored,
            "Every version of a table stays readable. slh restore makes a new version with the "
            "rows of an old one, so the mistake stays in the history. slh history says which "
            "version was the last good one: the one before the commit that took October again.",
        ),
        Check(
            "It stays that way",
            _for_good,
            "A restore forgets which files came later, so that they can be delivered anew. The "
            "broken file still lies in landing/. Move it away, or the next slh ingest takes it "
            "again.",
        ),
        Check(
            "Silver and gold are those from before",
            _whole,
            "slh run sees that bronze has another version, and computes what reads it.",
        ),
    ),
    seen=_before_and_after,
)
