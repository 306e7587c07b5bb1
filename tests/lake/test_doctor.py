from __future__ import annotations

import json
import os
import shutil

import polars as pl
import pytest
from deltalake import DeltaTable, TableFeatures, write_deltalake

from sololakehouse.errors import RunError
from sololakehouse.lake.doctor import SMALL_FILES, Finding, diagnose
from sololakehouse.lake.leases import Holder, add_lease, lease_inputs
from sololakehouse.lake.lock import project_lock
from sololakehouse.lake.optimize import optimize
from sololakehouse.lake.restore import restore
from sololakehouse.lake.retention import set_retention
from sololakehouse.lake.vacuum import vacuum
from tests.lake.keeping import MONTHS_LATER, TABLE, Shop


@pytest.fixture
def shop(tmp_path) -> Shop:
    shop = Shop(tmp_path)
    shop.versions(3)
    return shop


def found(shop: Shop, check: str) -> list[Finding]:
    findings = diagnose(shop.lake)
    assert {finding.check for finding in findings} <= {check}, findings
    return findings


def only(shop: Shop, check: str) -> Finding:
    (finding,) = found(shop, check)
    return finding


def test_a_healthy_lake_has_no_finding(shop):
    add_lease(shop.writer(), f"{TABLE}@v1", "report")
    assert diagnose(shop.lake) == []


def test_retention_that_differs_is_found_and_set_without_changing_data(shop):
    shop.set_retention("365d")
    finding = only(shop, "retention")
    assert finding.severity == "warning"
    assert "is interval 36500 days instead of interval 365 days" in finding.what
    before = shop.lake.read(TABLE)
    assert set_retention(shop.writer()) == [TABLE]
    after = shop.lake.read(TABLE)
    assert after.properties["delta.logRetentionDuration"] == "interval 365 days"
    assert after.table_version.content == before.table_version.content
    assert after.record.fingerprint == before.record.fingerprint
    assert diagnose(shop.lake) == []
    assert set_retention(shop.writer()) == []
    assert shop.lake.read(TABLE).version == after.version


def test_a_retention_that_changed_is_one_finding_for_all_tables(shop):
    for name in ("gold.a", "gold.b", "gold.c"):
        shop.versions(1, name)
    shop.set_retention("365d")
    finding = only(shop, "retention")
    assert finding.table is None
    assert finding.what == (
        "4 tables do not have the retention '365d' of lakehouse.yml: gold.a, gold.b, gold.c and 1 "
        "more."
    )
    assert finding.tables == ("gold.a", "gold.b", "gold.c", TABLE)
    assert set_retention(shop.writer()) == list(finding.tables)
    assert diagnose(shop.lake) == []


def test_a_table_of_another_writer_gets_the_retention_of_the_project(shop):
    path = shop.lake.path("silver.other")
    path.mkdir(parents=True)
    write_deltalake(path, pl.DataFrame({"id": [1]}).to_arrow())
    assert "delta.enableExpiredLogCleanup is not set" in only(shop, "retention").what
    set_retention(shop.writer())
    assert diagnose(shop.lake) == []
    assert shop.ids(1, "silver.other") == [1]


def test_a_table_that_cannot_be_read_keeps_no_other_from_its_retention(shop):
    shop.versions(1, "gold.a")
    shop.versions(1, "silver.z")
    broken = shop.lake.path(TABLE) / "_delta_log" / f"{2:020}.json"
    broken.write_text("{")
    shop.set_retention("365d")
    assert set_retention(shop.writer()) == ["gold.a", "silver.z"]
    assert only(shop, "log").table == TABLE


def test_a_feature_that_readers_must_know_is_an_error_with_advice_that_fits(shop):
    unknown_feature(shop, minReaderVersion=3, readerFeatures=["superNew"])
    finding = only(shop, "log")
    assert finding.severity == "error"
    assert "superNew, which cannot be read here. Let the program that wrote" in finding.what
    assert "file" not in finding.advice


def unknown_feature(shop: Shop, **more: object) -> None:
    """Commit, as a newer program would, that writers must know a feature."""
    path = shop.lake.path(TABLE)
    entry = path / "_delta_log" / f"{shop.lake.read(TABLE).version + 1:020}.json"
    protocol = {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": ["superNew"]}
    protocol |= more
    actions = [{"commitInfo": {"timestamp": 1790000000000}}, {"protocol": protocol}]
    entry.write_text("\n".join(map(json.dumps, actions)))


def test_a_feature_that_writers_must_know_is_named_and_nothing_is_written(shop):
    unknown_feature(shop)
    shop.set_retention("365d")
    finding = only(shop, "protocol")
    assert finding.severity == "warning"
    assert "the Delta feature superNew, with which it cannot be written here" in finding.what
    version = shop.lake.read(TABLE).version
    assert set_retention(shop.writer()) == []
    for work in (lambda: restore(shop.writer(), TABLE, 1), lambda: optimize(shop.writer(), TABLE)):
        with pytest.raises(RunError, match="superNew, with which it cannot be written here"):
            work()
    assert shop.lake.read(TABLE).version == version


def test_data_files_without_a_log_are_an_error_and_no_table(shop):
    shop.versions(1, "gold.a")
    shutil.rmtree(shop.lake.path(TABLE) / "_delta_log")
    finding = only(shop, "log")
    assert (finding.table, finding.severity) == (TABLE, "error")
    assert "no log entry says which rows are in it" in finding.what
    with pytest.raises(RunError, match=r"Put its _delta_log back from a backup"):
        shop.lake.read(TABLE)
    assert shop.lake.table_names() == ["gold.a"]


def test_leases_that_cannot_be_read_hide_no_other_finding(shop):
    add_lease(shop.writer(), f"{TABLE}@v1", "report")
    (shop.lake.path("system.leases") / "_delta_log" / f"{1:020}.json").write_text("{")
    newest_file(shop).unlink()
    found = {(finding.table, finding.check) for finding in diagnose(shop.lake)}
    assert found == {
        (TABLE, "data files"),
        ("system.leases", "log"),
        ("system.leases", "leases"),
    }


def test_files_that_a_command_at_work_may_commit_are_no_orphans(shop):
    name = "part-20260101T000000-0a1b2c3d-0a1b2c3d4e5f.parquet"
    (shop.lake.path(TABLE) / name).write_bytes(b"about to be committed")
    with project_lock(shop.lake.project.warehouse, "slh run"):
        assert diagnose(shop.lake) == []
    assert only(shop, "orphan files").table == TABLE


def test_orphans_are_found_with_their_names(shop):
    name = "part-20260101T000000-0a1b2c3d-0a1b2c3d4e5f.parquet"
    (shop.lake.path(TABLE) / name).write_bytes(b"orphan")
    finding = only(shop, "orphan files")
    assert name in finding.what
    assert f"slh vacuum {TABLE}" in finding.advice
    vacuum(shop.writer())
    assert diagnose(shop.lake) == []


def newest_file(shop: Shop):
    (uri,) = shop.lake.read(TABLE).file_uris()
    return shop.lake.path(TABLE) / os.path.basename(uri)  # noqa: PTH119


@pytest.mark.parametrize("damage", ["cut short", "missing", "overwritten"])
def test_a_damaged_data_file_is_an_error_that_names_it(shop, damage):
    file = newest_file(shop)
    content = file.read_bytes()
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(content[:-9] if damage == "cut short" else b"\0" * len(content))
    finding = only(shop, "data files")
    assert finding.severity == "error"
    assert file.name in finding.what


def test_a_broken_log_entry_is_an_error_that_names_it(shop):
    shop.versions(1, "gold.t")
    entry = shop.lake.path(TABLE) / "_delta_log" / f"{2:020}.json"
    entry.write_text(entry.read_text()[:60])
    finding = only(shop, "log")
    assert (finding.table, finding.severity) == (TABLE, "error")
    assert entry.name in finding.what


def test_a_lease_whose_version_is_gone_is_an_error(shop):
    add_lease(shop.writer(), f"{TABLE}@v1", "report")
    (uri,) = shop.lake.read(TABLE, 1).file_uris()
    (shop.lake.path(TABLE) / os.path.basename(uri)).unlink()  # noqa: PTH119
    findings = diagnose(shop.lake)
    (error,) = [finding for finding in findings if finding.severity == "error"]
    assert f"leases {TABLE}@v1, which cannot be read any more" in error.what
    assert [finding.check for finding in findings if finding is not error] == ["versions"]


def test_a_lease_of_a_dropped_table_is_an_error(shop):
    add_lease(shop.writer(), f"{TABLE}@v1", "report")
    shutil.rmtree(shop.lake.path(TABLE))
    assert only(shop, "leases").severity == "error"


def test_a_model_whose_first_inputs_are_gone_is_a_warning(shop):
    shop.set_retention("1d")
    set_retention(shop.writer())
    bronze = shop.versions(2, "bronze.t")[0]
    silver = shop.write([1], "silver.s", inputs=[bronze.table_version])
    vacuum(shop.writer(), now=MONTHS_LATER)
    lease_inputs(shop.writer(), Holder("model", "m@1"), silver.table_version, "m.")
    findings = [one for one in diagnose(shop.lake) if one.check == "leases"]
    assert [(one.table, one.severity) for one in findings] == [("bronze.t", "warning")]
    assert "m@1 was made from bronze.t@v1" in findings[0].what


def test_many_small_files_are_worth_an_optimize(shop):
    for n in range(SMALL_FILES):
        shop.write([n], mode="append")
    finding = only(shop, "small files")
    assert finding.severity == "info"
    assert f"slh optimize {TABLE}" in finding.advice


def test_features_that_other_readers_lack_are_named(shop):
    path = shop.lake.path("silver.features")
    path.mkdir(parents=True)
    write_deltalake(path, pl.DataFrame({"id": [1]}).to_arrow())
    set_retention(shop.writer())
    feature = TableFeatures.DeletionVectors
    DeltaTable(path).alter.add_feature(feature, allow_protocol_versions_increase=True)
    assert "deletionVectors" in only(shop, "protocol").what


def test_left_over_staging_folders_are_found(shop):
    (shop.lake.project.warehouse / "_staging" / "dead").mkdir(parents=True)
    finding = only(shop, "staging")
    assert (finding.table, finding.severity) == (None, "warning")
