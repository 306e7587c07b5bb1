"""A project whose right content is known in advance, and readers of it that trust nothing."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from sololakehouse.errors import NotFoundError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.provenance import content_manifest
from tests.conftest import ProjectFolder

ROWS = 40
SHOPS = ("north", "south", "east", "west")


class Shop:
    """Sales in `bronze.sales`, and three tables that a run makes of them."""

    CONFIG = """\
name: shop
sources:
  sales:
    path: landing/*.csv
    table: bronze.sales
    schema: {id: bigint, shop: string, amount: bigint}
"""
    PIPELINE: ClassVar = {
        "transformations/silver.sql": "CREATE MATERIALIZED VIEW silver.sales AS "
        "SELECT id, shop, amount FROM bronze.sales",
        "transformations/gold.sql": "CREATE MATERIALIZED VIEW gold.totals AS "
        "SELECT shop, count(*) AS sales, sum(amount) AS amount FROM silver.sales GROUP BY shop",
        "transformations/top.sql": "CREATE MATERIALIZED VIEW gold.top AS "
        "SELECT shop FROM gold.totals ORDER BY amount DESC LIMIT 1",
    }
    TABLES = ("bronze.sales", "silver.sales", "gold.totals", "gold.top")

    def __init__(self, project: ProjectFolder) -> None:
        self.project = project
        self.files = 0

    @property
    def folder(self) -> Path:
        return self.project.folder

    @property
    def warehouse(self) -> Path:
        return self.folder / "warehouse"

    @property
    def lake(self) -> Lakehouse:
        return self.project.lake

    def deliver(self) -> None:
        """Put down one more landing file of `ROWS` rows."""
        first = self.files * ROWS
        lines = [f"{i},{SHOPS[i % 4]},{i % 7}" for i in range(first, first + ROWS)]
        self.files += 1
        name = f"landing/{self.files:04}.csv"
        self.project.write(name, "\n".join(["id,shop,amount", *lines, ""]))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `slh` as a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "sololakehouse", *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def check_bronze(self) -> None:
        """All delivered rows are in bronze, each once."""
        ids = self.lake.read("bronze.sales").to_polars()["id"].sort().to_list()
        assert ids == list(range(self.files * ROWS))

    def check_all(self) -> None:
        """All tables hold what was delivered."""
        self.check_bronze()
        rows = self.files * ROWS
        assert self.lake.read("silver.sales").to_polars()["id"].sort().to_list() == [*range(rows)]
        totals = self.lake.read("gold.totals").to_polars().sort("shop").rows()
        assert totals == [
            (shop, rows // 4, sum(i % 7 for i in range(rows) if SHOPS[i % 4] == shop))
            for shop in sorted(SHOPS)
        ]

    def manifests(self) -> dict[str, str]:
        records = {name: self.lake.read(name).record for name in self.TABLES}
        return {name: record.manifest.digest for name, record in records.items() if record}


def check_whole(snapshot: Snapshot) -> None:
    """Every row that the version's commit wrote is there, and no other one."""
    record = snapshot.record
    if record is None:
        assert snapshot.rows == 0, f"{snapshot} has rows and no record"
    else:
        found = content_manifest(snapshot.scan(), record.manifest.left_out)
        assert found == record.manifest, f"{snapshot} is not what its commit wrote"


def check_every_table(lake: Lakehouse) -> None:
    for name in lake.table_names():
        check_whole(lake.read(name))


def orphans(lake: Lakehouse) -> set[Path]:
    """Return the Parquet files in the tables' folders that no version names."""
    return {file for name in lake.table_names() for file in _orphans_of(lake, name)}


def _orphans_of(lake: Lakehouse, name: str) -> set[Path]:
    named = {
        Path(uri)
        for version in range(lake.read(name).version + 1)
        for uri in lake.read(name, version).file_uris()
    }
    return set(lake.path(name).glob("*.parquet")) - named


@contextmanager
def watched(lake: Lakehouse) -> Iterator[list[int]]:
    """Read every table over and over while something else happens; yields the count of reads.

    Raises
    ------
    AssertionError
        A version was not whole.
    """
    done = threading.Event()
    reads = [0]
    failures: list[BaseException] = []

    def read() -> None:
        while not done.is_set() and not failures:
            try:
                check_every_table(lake)
                reads[0] += 1
            except NotFoundError:
                continue
            except BaseException as error:  # noqa: BLE001  (a panic of a reader counts too)
                failures.append(error)
            done.wait(0.05)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield reads
    finally:
        done.set()
        reader.join()
    if failures:
        raise failures[0]
