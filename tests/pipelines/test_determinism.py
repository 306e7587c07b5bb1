"""How rows are spread over threads and files, and in which order, changes no content."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sololakehouse.lake import Lakehouse, LakeWriter, Snapshot
from sololakehouse.pipelines.columns import INGESTED_AT
from sololakehouse.provenance import Change, Run
from tests.reference import SLH, Demo, fresh_copy

FILES = 5
EXPLAIN = """
from sololakehouse.engine import Engine
with Engine.start() as engine:
    engine.session.sql("SELECT id % 9 AS k, count(*) FROM range(99) GROUP BY 1").explain()
"""
COMPUTED = ("silver", "gold", "features")


def as_it_is(source: Snapshot, writer: LakeWriter) -> None:
    shutil.copytree(source.path, writer.lake.path(source.name))


def shuffled_over_files(source: Snapshot, writer: LakeWriter) -> None:
    rows = source.to_polars().sample(fraction=1, shuffle=True, seed=7)
    with writer.staging() as folder:
        for number in range(FILES):
            part = rows.gather_every(FILES, number)
            part.write_parquet(folder / f"part-{number}.parquet", row_group_size=10_000)
        change = Change("INGEST", "shuffled", left_out=(INGESTED_AT,))
        writer.commit(source.name, folder, change)


def limited(threads: int) -> dict[str, str]:
    return os.environ | {
        "SAIL_EXECUTION__DEFAULT_PARALLELISM": str(threads),
        "TOKIO_WORKER_THREADS": str(threads),
        "POLARS_MAX_THREADS": str(threads),
    }


def computed(demo: Demo, folder: Path, bronze, threads: int) -> Lakehouse:
    """Compute the reference pipeline from the demo's bronze tables in a new project."""
    lake = Lakehouse.open(fresh_copy(folder))
    writer = LakeWriter(lake, Run.start(folder, "embedded"))
    for name in demo.lake.table_names():
        if name.startswith("bronze."):
            bronze(demo.lake.read(name), writer)
    done = subprocess.run(
        [SLH, "run"],
        cwd=folder,
        env=limited(threads),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return lake


def contents(lake: Lakehouse) -> dict[str, str]:
    records = {name: lake.read(name).record for name in lake.table_names()}
    return {
        name: record.manifest.digest
        for name, record in records.items()
        if record and name.split(".")[0] in COMPUTED
    }


@pytest.mark.parametrize(("bronze", "threads"), [(as_it_is, 1), (shuffled_over_files, 2)])
def test_each_table_of_the_reference_pipeline_has_the_same_content(demo, tmp_path, bronze, threads):
    lake = computed(demo, tmp_path / "nyc_flights", bronze, threads)
    found = contents(lake)
    assert len(found) == 14
    assert found == contents(demo.lake)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_engine_keeps_to_the_limit(tmp_path, threads):
    script = tmp_path / "explain.py"
    script.write_text(EXPLAIN, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env=limited(threads),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ("Hash([k@0], 2)" in done.stdout) == (threads == 2)
    assert "AggregateExec" in done.stdout
