"""Several processes at one table, and several commands at one project."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.cli import slh as commands
from sololakehouse.provenance import content_manifest
from tests.faults.appender import ROWS
from tests.faults.shop import Shop, orphans

PROCESSES = 4
ROOT = Path(__file__).parents[2]
HOLD = """\
import sys, time
from pathlib import Path
from sololakehouse.lake.lock import project_lock
with project_lock(Path(sys.argv[1]), "slh ingest"):
    print("held", flush=True)
    time.sleep(600)
"""


def start(module: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out.strip()


def append_all(folder: Path, count: int, how: list[str]) -> int:
    """Let processes append side by side while another one reads; returns its number of reads."""
    reader = start("reader", folder)
    writers = [start("appender", folder, number, count, kind) for number, kind in enumerate(how)]
    try:
        said = [(writer.communicate()[1], writer.returncode) for writer in writers]
    finally:
        (folder / "stop").touch()
        reads = ended(reader)
    assert [code for _, code in said] == [0] * len(how), said
    return int(reads)


def check_log(project, count: int) -> None:
    found = project.lake.read("silver.log").to_polars()
    assert found.height == PROCESSES * count * ROWS
    assert found.unique().height == found.height
    assert orphans(project.lake) == set()
    assert list((project.folder / "warehouse" / "_staging").iterdir()) == []


def test_appends_of_several_processes_are_all_there(project, figure, request):
    count = request.config.getoption("--faults-appends")
    began = time.perf_counter()
    reads = append_all(project.folder, count, ["ours"] * PROCESSES)
    seconds = time.perf_counter() - began
    snapshot = project.lake.read("silver.log")
    assert snapshot.version == PROCESSES * count
    check_log(project, count)
    manifest = None
    for version in range(1, snapshot.version + 1):
        found = project.lake.read("silver.log", version)
        manifest = content_manifest(found.scan())
        assert found.record.manifest == manifest
    assert manifest.rows == PROCESSES * count * ROWS
    figure(
        f"{PROCESSES} processes x {count} appends: {snapshot.version} commits in {seconds:.1f} s, "
        f"{manifest.rows:,} rows, {reads} reads meanwhile without an error"
    )


def test_appends_beside_a_writer_that_knows_no_lock_are_all_there(project, figure, request):
    count = request.config.getoption("--faults-appends")
    began = time.perf_counter()
    reads = append_all(project.folder, count, ["foreign", *["ours"] * (PROCESSES - 1)])
    seconds = time.perf_counter() - began
    check_log(project, count)
    history = project.lake.read("silver.log").history()
    ours = [entry for entry in history if entry.record]
    assert len(ours) == (PROCESSES - 1) * count
    for entry in ours:
        found = project.lake.read("silver.log", entry.version)
        assert entry.record.manifest == content_manifest(found.scan())
    figure(
        f"one of {PROCESSES} processes is a foreign writer: {len(history) - 1} commits after the "
        f"first in {seconds:.1f} s, {reads} reads meanwhile without an error"
    )


@contextmanager
def held(shop: Shop) -> Iterator[subprocess.Popen[str]]:
    """Let another process hold the project's lock."""
    command = [sys.executable, "-c", HOLD, str(shop.warehouse)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def ready(shop, slh) -> Shop:
    """Give a shop whose tables are there, with one more landing file."""
    shop.deliver()
    assert slh("ingest", folder=shop.folder).code == 0
    assert slh("run", folder=shop.folder).code == 0
    shop.deliver()
    return shop


WRITING = {
    "ingest": [],
    "run": [],
    "train": ["experiment.yml"],
    "promote": ["m", "--to", "staging"],
    "score": ["m@1", "--input", "bronze.sales", "--output", "inference.x"],
    "demo": [],
    "vacuum": [],
    "optimize": ["bronze.sales"],
    "restore": ["bronze.sales", "--to", "1"],
}
READING = {
    "tables": [],
    "history": ["bronze.sales"],
    "query": ["SELECT count(*) AS n FROM gold.totals"],
    "trace": ["gold.top"],
    "run": ["--dry-run"],
}


def test_a_command_that_writes_stops_while_another_one_is_at_work(ready, slh):
    before = ready.project.versions()
    with held(ready) as holder:
        for name in WRITING.keys() & commands.commands.keys():
            said = slh(name, *WRITING[name], folder=ready.folder)
            assert (said.code, said.out) == (1, ""), name
            assert f"Error: 'slh ingest' (process {holder.pid}, since " in said.err, name
            assert f"Start 'slh {name}' again when it is done. Nothing was done." in said.err
    assert ready.project.versions() == before


def test_a_command_that_reads_waits_for_nobody(ready, slh):
    with held(ready):
        for name, arguments in READING.items():
            said = slh(name, *arguments, folder=ready.folder)
            assert said.code == 0, said.err


def test_a_killed_command_leaves_no_lock_behind(ready, slh):
    with held(ready) as holder:
        assert slh("ingest", folder=ready.folder).code == 1
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert slh("ingest", folder=ready.folder).code == 0
    ready.check_bronze()


def test_two_runs_at_once_do_the_work_once(ready, slh):
    assert slh("ingest", folder=ready.folder).code == 0
    runs = [ready.start("run"), ready.start("run")]
    said = [process.communicate() for process in runs]
    codes = sorted(process.returncode for process in runs)
    assert codes in ([0, 0], [0, 1]), said
    errors = "".join(err for _, err in said)
    assert codes == [0, 0] or "'slh run' (process " in errors
    assert "Traceback" not in errors
    ready.check_all()
    assert ready.project.versions()["gold.top"] == 2


def test_the_lock_can_be_taken_again_by_what_a_command_calls(tmp_path):
    from sololakehouse.lake.lock import project_lock

    with project_lock(tmp_path, "slh demo"):
        with project_lock(tmp_path, "slh ingest"):
            pass
        assert '"slh demo"' in (tmp_path / "_locks" / "project.json").read_text()
        busy = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path)], capture_output=True, text=True, check=False
        )
    assert "BusyError: 'slh demo' (process " in busy.stderr
    with project_lock(tmp_path, "slh run"):
        pass


def test_two_programs_create_the_same_table(project, monkeypatch):
    """The other program comes between the look whether the table is there and its creation."""
    from deltalake import DeltaTable, Schema

    from sololakehouse.lake.table_form import TableForm
    from sololakehouse.provenance import Change

    frame = pl.DataFrame({"id": [1]})
    path = project.lake.path("silver.t")
    create = TableForm._created

    def late(*arguments):
        path.mkdir(parents=True)
        DeltaTable.create(path, Schema.from_arrow(frame.to_arrow().schema))
        return create(*arguments)

    monkeypatch.setattr(TableForm, "_created", late)
    snapshot = project.writer().write_frame("silver.t", frame, Change("TEST", "f"))
    assert (snapshot.version, snapshot.to_polars()["id"].to_list()) == (1, [1])
