from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from deltalake import DeltaTable, Transaction, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.lake.catalog import ARCHIVED_COMMITS
from sololakehouse.lake.leases import Holder, active_leases, add_lease, drop_leases, lease_inputs
from sololakehouse.lake.log import read_log
from sololakehouse.lake.vacuum import plan_vacuum, vacuum
from sololakehouse.provenance import Change
from tests.lake.keeping import MONTHS_LATER, TABLE, Shop, rows_of


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path, "30d")


def replaced_at(shop: Shop, version: int) -> datetime:
    return read_log(shop.lake.path(TABLE), TABLE).replaced_at[version]


def test_forever_removes_no_version(tmp_path):
    shop = Shop(tmp_path)
    shop.versions(4)
    before = shop.files(), shop.log_names()
    assert vacuum(shop.writer(), now=MONTHS_LATER).bytes == 0
    assert (shop.files(), shop.log_names()) == before


def test_old_versions_go_with_their_data_and_log_and_the_newest_stays(shop):
    shop.versions(4)
    result = vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    (plan,) = result.tables
    assert (len(plan.old_files), plan.readable) == (3, [4])
    assert len(shop.files()) == 1
    assert [name for name in shop.log_names() if name.endswith(".json")] == [f"{4:020}.json"]
    assert shop.ids(4) == [4, 5, 6]
    assert shop.lake.read(TABLE).record.fingerprint == f"{TABLE} [4, 5, 6]"


def test_a_version_is_kept_until_it_was_replaced_longer_ago_than_retention(shop):
    shop.versions(3)
    limit = replaced_at(shop, 2) + timedelta(days=30)
    assert plan_vacuum(shop.lake, [TABLE], now=limit).tables[0].kept == (2, 3)
    later = limit + timedelta(microseconds=1)
    assert plan_vacuum(shop.lake, [TABLE], now=later).tables[0].kept == (3,)


def test_leased_versions_stay_with_data_and_log(shop):
    shop.versions(6)
    add_lease(shop.writer(), f"{TABLE}@v3", "report")
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert (shop.ids(3), shop.ids(6)) == ([3, 4, 5], [6, 7, 8])
    assert shop.log_names()[0].startswith(f"{3:020}.")
    assert read_log(shop.lake.path(TABLE), TABLE).readable() == [3, 6]
    assert shop.lake.read(TABLE, 3).record.fingerprint == f"{TABLE} [3, 4, 5]"


def test_other_readers_read_what_is_kept(shop):
    shop.versions(6)
    add_lease(shop.writer(), f"{TABLE}@v3", "report")
    vacuum(shop.writer(), now=MONTHS_LATER)
    path = str(shop.lake.path(TABLE))
    for version, first in ((3, 3), (6, 6)):
        with_polars = pl.read_delta(path, version=version)
        with_deltalake = DeltaTable(path, version=version).to_pyarrow_table()
        assert with_polars["id"].min() == first
        assert with_deltalake.column("id").to_pylist() == [first, first + 1, first + 2]
    assert DeltaTable(path).version() == 6


def test_the_table_can_be_written_after_a_vacuum_and_vacuumed_again(shop):
    shop.versions(3)
    vacuum(shop.writer(), now=MONTHS_LATER)
    shop.write([9], mode="append")
    shop.write([1])
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert shop.ids(5) == [1]
    assert vacuum(shop.writer(), now=MONTHS_LATER).bytes == 0


def test_a_dropped_lease_frees_its_version(shop):
    shop.versions(4)
    add_lease(shop.writer(), f"{TABLE}@v2", "report")
    vacuum(shop.writer(), now=MONTHS_LATER)
    drop_leases(shop.writer(), f"{TABLE}@v2")
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert read_log(shop.lake.path(TABLE), TABLE).readable() == [4]
    assert len(shop.files()) == 1


def test_a_lease_of_an_earlier_table_of_the_name_keeps_nothing(shop):
    shop.versions(3)
    add_lease(shop.writer(), f"{TABLE}@v1", "report")
    shutil.rmtree(shop.lake.path(TABLE))
    shop.versions(3)
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert read_log(shop.lake.path(TABLE), TABLE).readable() == [3]


def test_the_records_of_removed_log_entries_are_archived_once(shop):
    shop.versions(4)
    table_id = shop.lake.read(TABLE).table_id
    before = {entry.version: entry for entry in shop.lake.read(TABLE).history()}
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    archived = shop.lake.archived_commits(TABLE, table_id)
    assert [entry.version for entry in archived] == [3, 2, 1, 0]
    for entry in archived:
        was = before[entry.version]
        assert (entry.timestamp, entry.record) == (was.timestamp, was.record)
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    assert shop.lake.read(ARCHIVED_COMMITS).rows == 4


def test_the_archive_keeps_its_own_log(shop):
    shop.versions(3)
    vacuum(shop.writer(), now=MONTHS_LATER)
    shop.versions(2)
    vacuum(shop.writer(), now=MONTHS_LATER)
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert shop.log_names(ARCHIVED_COMMITS)[0] == f"{0:020}.json"
    assert set(shop.lake.read(ARCHIVED_COMMITS).to_polars()["version"]) >= {0, 1, 2, 3, 4}


def test_transactions_outlive_the_clean_up_of_the_log(shop):
    taken = Transaction("ingest/sales", 3)
    writer = shop.writer()
    with writer.staging() as folder:
        rows_of([1]).write_parquet(folder / "a.parquet")
        writer.commit(TABLE, folder, Change("T", "1"), mode="append", transaction=taken)
    shop.write([2], mode="append")
    shop.write([3], mode="append")
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert shop.lake.read(TABLE).has_transaction(taken)
    assert shop.ids(3) == [1, 2, 3]


def test_orphans_of_ours_go_at_once_and_those_of_others_after_a_week(shop):
    shop.versions(1)
    folder = shop.lake.path(TABLE)
    ours = folder / "part-20260101T000000-0a1b2c3d-0a1b2c3d4e5f.parquet"
    young, old = folder / "part-00000-young.parquet", folder / "part-00000-old.parquet"
    readme, hidden = folder / "README", folder / "_change_data" / "x.parquet"
    hidden.parent.mkdir()
    for file in (ours, young, old, readme, hidden):
        file.write_bytes(b"orphan")
    week = time.time() - 7 * 86400
    os.utime(old, (week - 60, week - 60))
    os.utime(young, (week + 60, week + 60))
    os.utime(readme, (0, 0))
    os.utime(hidden, (0, 0))
    (plan,) = vacuum(shop.writer(), [TABLE]).tables
    assert {file.path for file in plan.orphans} == {ours.name, old.name}
    assert [f.exists() for f in (ours, young, old, readme, hidden)] == [
        False,
        True,
        False,
        True,
        True,
    ]
    assert shop.ids(1) == [1, 2, 3]


def test_left_over_staging_folders_go(shop):
    shop.versions(1)
    left = shop.lake.project.warehouse / "_staging" / "dead"
    left.mkdir(parents=True)
    (left / "part-0.parquet").write_bytes(b"half")
    assert plan_vacuum(shop.lake).staging == (left,)
    assert vacuum(shop.writer()).staging == (left,)
    assert not left.exists()


def test_a_dry_run_changes_nothing_and_says_what_a_vacuum_then_does(shop):
    shop.versions(4)
    before = shop.files(), shop.log_names()
    planned = plan_vacuum(shop.lake, [TABLE], now=MONTHS_LATER)
    assert (shop.files(), shop.log_names()) == before
    assert not shop.lake.exists(ARCHIVED_COMMITS)
    done = vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    assert planned.bytes == done.bytes > 0
    assert planned.tables[0].old_files == done.tables[0].old_files


def test_a_dry_run_says_which_models_need_which_leases(shop):
    bronze = shop.versions(4, "bronze.t")
    gold = shop.write([1], "gold.t", inputs=[bronze[1].table_version])
    lease_inputs(shop.writer(), Holder("model", "rain@1"), gold.table_version, "rain.")
    add_lease(shop.writer(), "bronze.t@v1", "mine")
    result = plan_vacuum(shop.lake, now=MONTHS_LATER)
    shares = {share.holder: share for share in result.shares}
    assert shares["rain@1"].unbuildable == ("rain@1",)
    person = next(share for name, share in shares.items() if name != "rain@1")
    assert (person.leases, person.unbuildable) == (1, ())
    assert person.bytes > 0
    without = [held for held in active_leases(shop.lake) if held.reference == "bronze.t@v2"]
    asked = plan_vacuum(shop.lake, without=without, now=MONTHS_LATER)
    assert asked.without.unbuildable == ("rain@1",)
    assert asked.bytes > result.bytes


def test_a_model_is_not_in_danger_while_another_lease_keeps_the_version(shop):
    bronze = shop.versions(4, "bronze.t")
    lease_inputs(shop.writer(), Holder("model", "a@1"), bronze[1].table_version, "a.")
    lease_inputs(shop.writer(), Holder("model", "b@1"), bronze[1].table_version, "b.")
    shares = plan_vacuum(shop.lake, now=MONTHS_LATER).shares
    assert [(share.bytes, share.unbuildable) for share in shares] == [(0, ()), (0, ())]
    both = plan_vacuum(shop.lake, without=active_leases(shop.lake), now=MONTHS_LATER)
    assert both.without.unbuildable == ("a@1", "b@1")


def test_deltalake_itself_would_remove_the_same_files(shop):
    shop.versions(6)
    add_lease(shop.writer(), f"{TABLE}@v2", "report")
    (plan,) = plan_vacuum(shop.lake, [TABLE], now=MONTHS_LATER).tables
    theirs = DeltaTable(shop.lake.path(TABLE)).vacuum(
        retention_hours=0,
        dry_run=True,
        enforce_retention_duration=False,
        full=True,
        keep_versions=list(plan.kept),
    )
    assert {file.path for file in plan.old_files} == set(theirs)


def test_partitions_of_other_writers_keep_their_files(shop):
    path = shop.lake.path("silver.parts")
    path.mkdir(parents=True)
    for n in range(3):
        frame = pl.DataFrame({"id": [n, n], "shop": ["up town", "a/b=c"]})
        write_deltalake(path, frame.to_arrow(), mode="overwrite", partition_by=["shop"])
    vacuum(shop.writer(), ["silver.parts"], now=MONTHS_LATER)
    assert len(list(path.glob("shop=*/*.parquet"))) == 2
    assert DeltaTable(path).to_pyarrow_table().column("id").to_pylist() == [2, 2]
    shop.lake.read("silver.parts").verify()


def test_a_damaged_log_stops_the_vacuum_before_anything_is_removed(shop):
    shop.versions(3)
    entry = shop.lake.path(TABLE) / "_delta_log" / f"{2:020}.json"
    entry.write_text(entry.read_text()[:50])
    before = shop.files()
    with pytest.raises(RunError, match=r"00002\.json"):
        vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    assert shop.files() == before


def test_an_unknown_table_is_refused_before_anything_is_removed(shop):
    shop.versions(2)
    with pytest.raises(NotFoundError, match=r"silver\.x"):
        vacuum(shop.writer(), [TABLE, "silver.x"], now=MONTHS_LATER)
    assert shop.ids(1) == [1, 2, 3]


def test_retention_at_creation_keeps_deltalake_from_removing_replaced_files(tmp_path):
    """A month old version stays readable although another program vacuums with its defaults."""
    for retention, removed in (("forever", 0), ("7d", 1)):
        folder = tmp_path / retention
        folder.mkdir()
        shop = Shop(folder, retention)
        shop.versions(2)
        path = shop.lake.path(TABLE)
        _make_old(path, timedelta(days=30))
        assert len(DeltaTable(path).vacuum(dry_run=True)) == removed
        assert pl.read_delta(str(path), version=1).height == 3
        assert DeltaTable(path, version=1).to_pyarrow_table().num_rows == 3


def _make_old(path: Path, age: timedelta) -> None:
    """Let the commits of a table have happened some time ago."""
    before = int(age.total_seconds() * 1000)
    for entry in (path / "_delta_log").glob("*.json"):
        actions = [json.loads(line) for line in entry.read_text().splitlines()]
        for action in actions:
            for about in action.values():
                for key in ("timestamp", "deletionTimestamp", "modificationTime"):
                    if key in about:
                        about[key] -= before
        entry.write_text("\n".join(json.dumps(action) for action in actions) + "\n")


def test_real_old_versions_go_by_the_moments_in_the_log(shop):
    shop.versions(2)
    _make_old(shop.lake.path(TABLE), timedelta(days=31))
    shop.write([7])
    vacuum(shop.writer(), [TABLE])
    assert read_log(shop.lake.path(TABLE), TABLE).readable() == [2, 3]


KILLED = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.lake.vacuum import vacuum
from sololakehouse.provenance import Run
folder = Path(sys.argv[1])
writer = LakeWriter(Lakehouse.open(folder), Run.start(folder, "embedded"))
print("go", flush=True)
sys.stdin.readline()
vacuum(writer, now=datetime.now(UTC) + timedelta(days=100))
"""


MOMENTS = {
    "records are archived": lambda shop: shop.lake.exists(ARCHIVED_COMMITS),
    "data files go": lambda shop: len(shop.files()) < 39,
    "log entries go": lambda shop: f"{0:020}.json" not in shop.log_names(),
}


def test_a_vacuum_that_is_killed_leaves_every_kept_version_and_is_finished_by_the_next(shop):
    for n in range(1, 40):
        shop.write([n])
    add_lease(shop.writer(), f"{TABLE}@v25", "report")
    for reached in MOMENTS.values():
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(shop.folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout.readline() == "go\n"
        process.stdin.write("\n")
        process.stdin.flush()
        while process.poll() is None and not reached(shop):
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert (shop.ids(25), shop.ids(39)) == ([25], [39])
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert read_log(shop.lake.path(TABLE), TABLE).readable() == [25, 39]
    assert (len(shop.files()), shop.log_names()[0][:20]) == (2, f"{25:020}")
    table_id = shop.lake.read(TABLE).table_id
    archived = [entry.version for entry in shop.lake.archived_commits(TABLE, table_id)]
    assert archived == list(range(24, -1, -1))


def test_a_vacuum_stopped_after_any_log_file_leaves_what_is_kept(shop):
    """Whatever the moment of a crash, the log entries that are left are a usable rest."""
    shop.versions(5)
    add_lease(shop.writer(), f"{TABLE}@v3", "report")
    path = shop.lake.path(TABLE)
    DeltaTable(path, version=1).create_checkpoint()
    planned = plan_vacuum(shop.lake, [TABLE], now=MONTHS_LATER).tables[0].log_files
    vacuum_order = [file.path for file in planned]
    DeltaTable(path, version=3).create_checkpoint()
    DeltaTable(path).create_checkpoint()
    for file in vacuum_order:
        file.unlink()
        assert (shop.ids(3), shop.ids(5)) == ([3, 4, 5], [5, 6, 7])
        assert {3, 5} <= set(read_log(path, TABLE).readable())


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 99)),
        st.tuples(st.just("overwrite"), st.integers(0, 99)),
        st.tuples(st.just("lease"), st.integers(0, 12)),
        st.tuples(st.just("drop"), st.integers(0, 12)),
        st.tuples(st.just("vacuum"), st.integers(0, 12)),
    ),
    min_size=4,
    max_size=12,
)


@settings(max_examples=10, deadline=None)
@given(ACTIONS)
def test_after_any_vacuum_all_that_is_promised_reads_as_before(actions):
    with TemporaryDirectory() as folder:
        shop = Shop(Path(folder), "30d")
        shop.write([0])
        expected = {1: [0]}
        leased: set[int] = set()
        promised = {1}
        for action, value in [*actions, ("vacuum", 99)]:
            newest = max(expected)
            if action in ("append", "overwrite"):
                shop.write([value], mode=action)
                before = expected[newest] if action == "append" else []
                expected[newest + 1] = sorted([*before, value])
                promised.add(newest + 1)
            elif action == "lease" and value in promised:
                add_lease(shop.writer(), f"{TABLE}@v{value}", "a property")
                leased.add(value)
            elif action == "drop" and value in leased:
                drop_leases(shop.writer(), f"{TABLE}@v{value}")
                leased.remove(value)
            elif action == "vacuum":
                oldest = min(value, newest)
                moment, kept = MONTHS_LATER, {newest}
                replaced = read_log(shop.lake.path(TABLE), TABLE).replaced_at.get(oldest)
                if replaced is not None:
                    moment = replaced + timedelta(days=30)
                    kept = {v for v in promised if v >= oldest}
                vacuum(shop.writer(), [TABLE], now=moment)
                promised &= kept | leased | {newest}
            for version in promised:
                assert shop.ids(version) == expected[version]
