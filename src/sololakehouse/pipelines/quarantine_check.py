"""Whether the quarantines hold what the ingestions say that they put there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from sololakehouse.errors import SoloLakehouseError, shortened
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.doctor import Finding
from sololakehouse.pipelines.columns import SOURCE_FILE, SOURCE_SHA256
from sololakehouse.pipelines.ingested import ingested_files
from sololakehouse.pipelines.quarantine import quarantine_of

CHECK = "quarantine"


def check_quarantines(lake: Lakehouse) -> list[Finding]:
    """Hold the quarantine of each source's table to the files that the table has taken.

    Compared is the number of malformed records of each content of each file. Tables that cannot be
    read are left to `diagnose`.

    Returns
    -------
    The findings, table by table; none if all is well.
    """
    tables = sorted({source.table for source in lake.project.settings.sources.values()})
    findings: list[Finding] = []
    for table in tables:
        try:
            findings += _compared(lake, table)
        except SoloLakehouseError:
            continue
    return findings


def _compared(lake: Lakehouse, table: str) -> Iterator[Finding]:
    name = quarantine_of(table)
    bronze, quarantine = lake.newest(table), lake.newest(name)
    said, held = _said(lake, bronze), _held(quarantine)
    untaken = {file: rows for file, rows in held.items() if file not in said}
    if untaken:
        yield Finding(
            name,
            "info",
            CHECK,
            f"It holds {sum(untaken.values()):,} records of files that {table} has not taken: "
            f"{_names(untaken)}.",
            "An ingestion was killed, or the table was restored: 'slh ingest' takes the files.",
        )
    # The records of commits before the number was noted say nothing.
    differing = {
        file: (rows, held[file])
        for file, rows in said.items()
        if rows is not None and held[file] != rows
    }
    if differing:
        file, (rows, there) = next(iter(differing.items()))
        yield Finding(
            name,
            "warning",
            CHECK,
            f"It does not hold what {table} put aside, of {len(differing)} files: of {file[0]} "
            f"{rows:,} malformed records were put aside, and {there:,} are there.",
            f"Look at 'slh history {name}' for who changed it, and restore an older version.",
        )


def _said(lake: Lakehouse, bronze: Snapshot | None) -> dict[tuple[str, str], int | None]:
    return {
        (file.path, file.sha256): file.about.get("quarantined")
        for contents in ingested_files(lake, bronze).values()
        for file in contents
    }


def _held(quarantine: Snapshot | None) -> Counter[tuple[str, str]]:
    if quarantine is None:
        return Counter()
    files = quarantine.scan().group_by(SOURCE_FILE, SOURCE_SHA256).len()
    return Counter({(path, sha): rows for path, sha, rows in files.collect().sort("*").rows()})


def _names(files: dict[tuple[str, str], int]) -> str:
    return shortened(sorted({path for path, _ in files}))
