"""A process that reads `silver.log` until it is stopped: `python -m tests.faults.reader FOLDER`.

A file `stop` in the folder stops it; then it prints how often it read, and fails if a version was
not whole or an older one came after a newer one.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sololakehouse.lake import Lakehouse, Snapshot
from tests.faults.appender import ROWS


def check(snapshot: Snapshot) -> None:
    found = snapshot.to_polars()
    assert found.height == snapshot.rows, f"{snapshot}: {found.height} rows, not {snapshot.rows}"
    sizes = found.group_by("process", "append").len()["len"].unique().to_list()
    assert sizes in ([], [ROWS]), f"{snapshot} has a part of an append: {sizes}"


def main(folder: Path) -> None:
    reads, newest = 0, -1
    lake = Lakehouse.open(folder)
    while not (folder / "stop").exists():
        snapshot = lake.newest("silver.log")
        if snapshot is None:
            continue
        assert snapshot.version >= newest, f"{snapshot} came after v{newest}"
        check(snapshot)
        reads, newest = reads + 1, snapshot.version
    print(reads)  # noqa: T201


if __name__ == "__main__":
    main(Path(sys.argv[1]))
