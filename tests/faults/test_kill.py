"""`kill -9` at any moment: the next run finishes the work, and nobody saw half of it."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sololakehouse.cli import slh as commands
from sololakehouse.lake.staging import dead_folders
from tests.faults.shop import Shop, check_every_table, orphans, watched

SEED = 20261123


def kill_after(process, seconds: float) -> bool:
    """Kill a process after a delay; whether it was still alive."""
    time.sleep(seconds)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return alive


def kill_when(process, seen: Callable[[], bool], seconds: float) -> bool:
    """Kill a process a little after something can be seen; whether it was still alive."""
    while process.poll() is None and not seen():
        pass
    return kill_after(process, seconds)


def duration(shop: Shop, command: str) -> float:
    began = time.perf_counter()
    process = shop.start(command)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return time.perf_counter() - began


def appears(folder: Path, pattern: str) -> Callable[[], bool]:
    """Give a function that tells whether a file or folder of that pattern is new or changed."""

    def found() -> set[tuple[Path, int]]:
        while True:
            # A folder may go away while it is looked into.
            with suppress(FileNotFoundError):
                return {(path, modified(path)) for path in folder.glob(pattern)}

    before = found()
    return lambda: not found() <= before


def modified(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


MOMENTS = {
    "the lock is taken": "_locks/project.json",
    "a staging folder is there": "_staging/*",
    "a file is staged": "_staging/*/*.parquet",
    "a file is moved": "*/*/part-*.parquet",
    "a log entry is written": "*/*/_delta_log/*.json",
}


def finish(shop: Shop, slh, *names: str) -> None:
    for name in names:
        said = slh(name, folder=shop.folder)
        assert said.code == 0, said.err


def next_work(shop: Shop, slh, command: str) -> None:
    shop.deliver()
    if command == "run":
        finish(shop, slh, "ingest")


def killed(shop: Shop, command: str, index: int, seconds: float, moments: random.Random) -> bool:
    """Start a command and kill it: a little after what it wrote, or by the clock, in turns."""
    if index % 2:
        return kill_after(shop.start(command), moments.uniform(0, seconds))
    seen = appears(shop.warehouse, moments.choice(list(MOMENTS.values())))
    return kill_when(shop.start(command), seen, moments.uniform(0, 0.03))


@pytest.mark.parametrize("command", ["ingest", "run"])
def test_killed_at_random_moments_it_is_finished_by_the_next_run(
    shop, slh, command, figure, request, tmp_path_factory
):
    kills = max(1, request.config.getoption("--faults-kills") // 2)
    moments = random.Random(SEED)
    next_work(shop, slh, command)
    seconds = duration(shop, command)
    alive = unfinished = 0
    with watched(shop.lake) as reads:
        for index in range(kills):
            next_work(shop, slh, command)
            before = shop.project.versions()
            alive += killed(shop, command, index, seconds, moments)
            check_every_table(shop.lake)
            unfinished += shop.project.versions() == before
            finish(shop, slh, *(["ingest"] if command == "ingest" else ["ingest", "run"]))
            shop.check_bronze() if command == "ingest" else shop.check_all()
    finish(shop, slh, "run")
    shop.check_all()
    assert dead_folders(shop.warehouse) == []
    assert shop.manifests() == undisturbed(shop, slh, tmp_path_factory.mktemp("other"))
    left = orphans(shop.lake)
    figure(
        f"slh {command}: {kills} kills, {alive} of them before its end, {unfinished} before its "
        f"first commit; {reads[0]} reads of all tables meanwhile; {len(left)} orphan files; "
        f"{seconds:.2f} s undisturbed"
    )


def undisturbed(shop: Shop, slh, folder: Path) -> dict[str, str]:
    """Do all of a shop's work again elsewhere, in one go."""
    other = Shop(type(shop.project)(folder))
    for name in ("lakehouse.yml", "spark-pipeline.yml", *Shop.PIPELINE):
        other.project.write(name, (shop.folder / name).read_text())
    for _ in range(shop.files):
        other.deliver()
    finish(other, slh, "ingest", "run")
    return other.manifests()


@pytest.mark.faults
@pytest.mark.parametrize("command", ["ingest", "run"])
@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_right_when(shop, slh, moment, command):
    shop.deliver()
    if command == "run":
        finish(shop, slh, "ingest")
    kill_when(shop.start(command), appears(shop.warehouse, MOMENTS[moment]), 0)
    check_every_table(shop.lake)
    finish(shop, slh, "ingest", "run")
    shop.check_all()
    assert list((shop.warehouse / "_staging").iterdir()) == []


@pytest.mark.parametrize(
    "moment", ["a file is staged", pytest.param("a file is moved", marks=pytest.mark.faults)]
)
def test_stopped_with_ctrl_c_it_takes_its_files_back(shop, slh, moment):
    shop.deliver()
    finish(shop, slh, "ingest")
    seen = appears(shop.warehouse, MOMENTS[moment])
    process = shop.start("run")
    while process.poll() is None and not seen():
        pass
    process.send_signal(signal.SIGINT)
    try:
        _, said = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert said.strip().startswith("Stopped. Every table is as its last commit left it.")
    check_every_table(shop.lake)
    assert orphans(shop.lake) == set()
    assert list((shop.warehouse / "_staging").iterdir()) == []
    finish(shop, slh, "run")
    shop.check_all()


@pytest.mark.faults
def test_what_a_kill_leaves_behind_is_named_by_no_version(shop, slh):
    shop.deliver()
    finish(shop, slh, "ingest", "run")
    shop.deliver()
    seen = appears(shop.warehouse / "bronze", "sales/part-*.parquet")
    process = shop.start("ingest")
    while process.poll() is None and not seen():
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(orphans(shop.lake)) <= 1
    finish(shop, slh, "ingest")
    shop.check_bronze()


@pytest.mark.skipif("vacuum" not in commands.commands, reason="there is no slh vacuum yet")
def test_orphans_are_reported_and_removed_by_vacuum(shop, slh):
    shop.deliver()
    finish(shop, slh, "ingest", "run")
    orphan = shop.lake.path("bronze.sales") / "part-of-a-killed-run-000000000000.parquet"
    source = next(shop.lake.path("bronze.sales").glob("*.parquet"))
    orphan.write_bytes(source.read_bytes())
    long_ago = time.time() - 400 * 86400
    os.utime(orphan, (long_ago, long_ago))
    assert orphans(shop.lake) == {orphan}
    said = slh("vacuum", "--dry-run", "--json", folder=shop.folder)
    assert said.code == 0, said.err
    (plan,) = [row for row in json.loads(said.out)["tables"] if row["table"] == "bronze.sales"]
    assert plan["orphans"] == [orphan.name]
    assert orphan.name in slh("doctor", folder=shop.folder).out
    finish(shop, slh, "vacuum")
    assert orphans(shop.lake) == set()
    shop.check_all()
