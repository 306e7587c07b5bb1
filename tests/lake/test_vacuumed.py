"""Versions that a vacuum removed are named, with the moment and the run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.lake.leases import add_lease
from sololakehouse.lake.vacuum import vacuum
from sololakehouse.lake.vacuumed import VACUUMED, vacuumed_version
from tests.lake.keeping import MONTHS_LATER, TABLE, Shop


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path, "30d")


def noted(shop: Shop) -> list[tuple[str, int]]:
    rows = shop.lake.read(VACUUMED).to_polars().sort("table", "version")
    return list(zip(rows["table"], rows["version"], strict=True))


def test_each_version_that_could_be_read_is_noted_once(shop):
    shop.versions(3)
    add_lease(shop.writer(), f"{TABLE}@v2", "report")
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    assert noted(shop) == [(TABLE, 0), (TABLE, 1)]
    shop.write([9])
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    assert noted(shop) == [(TABLE, 0), (TABLE, 1), (TABLE, 3)]


def test_a_version_whose_files_all_live_on_is_not_noted(shop):
    add_lease(shop.writer(), f"{shop.write([1]).name}@v0", "keeps the log")
    shop.write([2], mode="append")
    shop.write([3], mode="append")
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    assert not shop.lake.exists(VACUUMED)
    assert shop.ids(1) == [1]


def test_forever_notes_nothing(tmp_path):
    shop = Shop(tmp_path)
    shop.versions(3)
    vacuum(shop.writer(), now=MONTHS_LATER)
    assert not shop.lake.exists(VACUUMED)


def test_reading_it_says_since_when_and_by_which_run(shop):
    shop.versions(4)
    add_lease(shop.writer(), f"{TABLE}@v1", "keeps the log")
    writer = shop.writer()
    began = datetime.now(UTC)
    vacuum(writer, [TABLE], now=MONTHS_LATER)
    table_id = shop.lake.read(TABLE).table_id
    known = vacuumed_version(shop.lake.project.warehouse, table_id, 3)
    assert known is not None
    assert began <= known.at <= datetime.now(UTC)
    moment = known.at.strftime("%Y-%m-%dT%H:%M:%SZ")
    with pytest.raises(RunError) as refused:
        shop.lake.read(TABLE, 3).to_polars()
    assert str(refused.value) == (
        f"{TABLE}@v3 cannot be read since {moment}: 'slh vacuum' removed its files (run "
        f"{writer.run.run_id})."
    )


def test_a_version_whose_log_entry_went_as_well_says_the_same(shop):
    shop.versions(3)
    writer = shop.writer()
    vacuum(writer, [TABLE], now=MONTHS_LATER)
    with pytest.raises(NotFoundError) as refused:
        shop.lake.read(TABLE, 1)
    assert str(refused.value).startswith(f"{TABLE}@v1 cannot be read since 20")
    assert str(refused.value).endswith(
        f"(run {writer.run.run_id}). {TABLE} has no version 1 any more: its log entries were "
        "cleaned up. Its versions are 3 to 3."
    )


def test_a_file_that_somebody_else_removed_is_told_as_before(shop):
    shop.versions(3)
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    (file,) = shop.files()
    (shop.lake.path(TABLE) / file).unlink()
    with pytest.raises(RunError, match="is missing"):
        shop.lake.read(TABLE).to_polars()


def test_vacuuming_what_is_noted_notes_nothing_of_itself(shop):
    shop.versions(3)
    for _ in range(3):
        vacuum(shop.writer(), now=MONTHS_LATER)
    assert {table for table, _ in noted(shop)} == {TABLE}
