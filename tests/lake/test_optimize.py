from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.config import ScoringJob
from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.inference.batch import score
from sololakehouse.lake import optimize as module
from sololakehouse.lake.commit import TRAINING_SET
from sololakehouse.lake.leases import Holder, active_leases, lease_inputs
from sololakehouse.lake.optimize import optimize
from sololakehouse.lake.vacuum import vacuum
from sololakehouse.monitoring import evaluate_job
from sololakehouse.provenance import Change, content_manifest
from tests.lake.keeping import MONTHS_LATER, TABLE, Shop, rows_of


@pytest.fixture
def shop(tmp_path) -> Shop:
    shop = Shop(tmp_path)
    for n in range(6):
        shop.write([n, 10 - n], mode="append")
    return shop


def test_small_files_are_put_together_with_the_same_content_and_order(shop):
    before = shop.lake.read(TABLE)
    result = optimize(shop.writer(), TABLE)
    after = shop.lake.read(TABLE)
    assert (result.changed, result.files_before, result.files_after) == (True, 6, 1)
    assert after.to_polars().equals(before.to_polars())
    assert content_manifest(after.scan()) == before.record.manifest == result.manifest
    assert after.version == before.version + 1
    assert shop.ids(before.version) == shop.ids(after.version)


def test_the_record_is_that_of_the_rows_by_another_operation(shop):
    before = shop.lake.read(TABLE)
    after = optimize(shop.writer(), TABLE).snapshot
    assert after.record.operation == "OPTIMIZE"
    assert after.record.fingerprint == before.record.fingerprint
    assert after.record.inputs == before.record.inputs
    assert after.record.rows_written == 12
    assert after.record.details["arranged"] == {"zorder": [], "operation": "TEST"}
    assert after.data_version == before.version
    assert after.table_version.content == before.table_version.content
    assert after.table_version.version == after.version


def test_again_there_is_nothing_to_do(shop):
    version = optimize(shop.writer(), TABLE).snapshot.version
    again = optimize(shop.writer(), TABLE)
    assert (again.changed, again.snapshot.version) == (False, version)
    assert shop.lake.read(TABLE).version == version
    assert len(shop.files()) == 7


def test_zorder_orders_rows_once_and_says_the_same_content(shop):
    before = shop.lake.read(TABLE)
    result = optimize(shop.writer(), TABLE, ["id"])
    assert result.changed
    assert result.snapshot.to_polars()["id"].is_sorted()
    assert content_manifest(result.snapshot.scan()) == before.record.manifest
    assert not optimize(shop.writer(), TABLE, ["id"]).changed
    assert optimize(shop.writer(), TABLE, ["name"]).changed
    assert result.snapshot.data_version == before.version
    assert shop.lake.read(TABLE).data_version == before.version


def test_data_after_a_zorder_is_worth_another_one(shop):
    optimize(shop.writer(), TABLE, ["id"])
    shop.write([3], mode="append")
    assert optimize(shop.writer(), TABLE, ["id"]).changed


def test_files_are_split_at_the_size_that_is_asked_for(shop):
    shop.write(range(20_000))
    result = optimize(shop.writer(), TABLE, ["id"], target_bytes=20_000)
    assert result.files_after > 1
    assert sorted(result.snapshot.to_polars()["id"]) == list(range(20_000))


def test_the_statistics_of_the_new_files_hide_no_row(shop):
    moment = datetime(2026, 1, 1, 0, 0, 0, 123456, tzinfo=UTC)
    for n in range(3):
        frame = pl.DataFrame(
            {"at": [moment + timedelta(days=n)], "x": [float("nan")], "y": [1.0]}
        ).with_columns(pl.col("at").dt.cast_time_unit("us"))
        shop.writer().write_frame("silver.m", frame, Change("T", str(n)), mode="append")
    optimize(shop.writer(), "silver.m")
    last = pl.col("at") >= moment + timedelta(days=2)
    assert shop.lake.read("silver.m").scan().filter(last).collect().height == 1
    adds = DeltaTable(shop.lake.path("silver.m")).get_add_actions(flatten=True)
    assert adds.column("max.x").to_pylist() == adds.column("min.x").to_pylist() == [None]
    assert adds.column("max.at").to_pylist()[0] >= moment + timedelta(days=2)


def test_a_training_set_keeps_its_order(shop):
    for n in (5, 3, 4):
        change = Change(TRAINING_SET, str(n))
        shop.writer().write_frame("training.t", rows_of([n]), change, mode="append")
    before = shop.lake.read("training.t").to_polars()
    with pytest.raises(UsageError, match=r"training\.t is a training set: its rows are in order"):
        optimize(shop.writer(), "training.t", ["id"])
    assert optimize(shop.writer(), "training.t").snapshot.to_polars().equals(before)


def test_an_unknown_column_has_candidates(shop):
    with pytest.raises(NotFoundError, match=r"silver\.t: No column 'nam'\. Did you mean 'name'\?"):
        optimize(shop.writer(), TABLE, ["nam"])


def test_another_content_is_never_committed(shop, monkeypatch):
    before = shop.lake.read(TABLE)
    real = module._rearranged

    def loses_a_row(copy, table, zorder, target_bytes):
        removed = real(copy, table, zorder, target_bytes)
        DeltaTable(copy).delete("id = 3")
        return removed

    monkeypatch.setattr(module, "_rearranged", loses_a_row)
    with pytest.raises(RunError, match=r"silver\.t was not changed: .* 11 rows .* 12 with"):
        optimize(shop.writer(), TABLE)
    assert shop.lake.read(TABLE).version == before.version
    assert len(shop.files()) == 6
    assert not list((shop.lake.project.warehouse / "_staging").iterdir())


def test_a_table_of_another_writer_is_put_together_too(shop):
    path = shop.lake.path("silver.other")
    path.mkdir(parents=True)
    for n in range(3):
        write_deltalake(path, pl.DataFrame({"id": [n]}).to_arrow(), mode="append")
    result = optimize(shop.writer(), "silver.other")
    assert (result.changed, result.manifest.rows, result.snapshot.data_version) == (True, 3, 2)


def test_the_optimize_of_another_program_is_no_change_of_the_data(shop):
    before = shop.lake.read(TABLE)
    DeltaTable(shop.lake.path(TABLE)).optimize.compact()
    after = shop.lake.read(TABLE)
    assert after.version == before.version + 1
    assert after.table_version.content == before.table_version.content
    assert after.record == before.record


def test_a_write_of_another_program_is_a_change_of_the_data(shop):
    before = shop.lake.read(TABLE)
    write_deltalake(shop.lake.path(TABLE), before.to_arrow().slice(0, 1), mode="append")
    after = shop.lake.read(TABLE)
    assert after.record is None
    assert after.table_version.content != before.table_version.content


def test_what_is_leased_is_the_version_that_was_read(shop):
    shop.set_retention("1d")
    arranged = optimize(shop.writer(), TABLE).snapshot
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    gold = shop.write([1], "gold.t", inputs=[arranged.table_version])
    lease_inputs(shop.writer(), Holder("model", "m@1"), gold.table_version, "m.")
    references = {lease.reference for lease in active_leases(shop.lake)}
    assert references == {"gold.t@v1", f"{TABLE}@v{arranged.version}"}
    assert len(shop.files()) == 1


def test_links_do_not_make_the_table_share_its_files(shop):
    optimize(shop.writer(), TABLE)
    folder = shop.lake.path(TABLE)
    assert {(folder / name).stat().st_nlink for name in shop.files()} == {1}


QUERY = "CREATE MATERIALIZED VIEW shops AS SELECT shop, count(*) AS n FROM bronze.sales GROUP BY 1"


def test_a_run_is_up_to_date_after_an_optimize(make_project):
    from tests.conftest import SALES

    project = make_project(
        **{"landing/1.csv": SALES, "transformations/shops.sql": QUERY.replace("\n", " ")}
    )
    project.ingest()
    project.write("landing/2.csv", SALES.replace("1,north", "9,north"))
    project.ingest()
    project.run()
    before = project.versions()
    assert optimize(project.writer(), "bronze.sales").changed
    assert optimize(project.writer(), "silver.shops", ["shop"]).changed
    assert project.plan() == {"silver.shops": "up to date"}
    assert not project.ingest().new_files
    project.run()
    assert project.versions() == {name: version + 1 for name, version in before.items()}
    project.write("landing/3.csv", SALES)
    project.ingest()
    assert project.plan() == {"silver.shops": "run"}


def test_training_scoring_and_evaluation_are_up_to_date_after_an_optimize(tmp_path, trained):
    source, _ = trained
    shutil.copytree(source.folder, tmp_path / "copy")
    project = type(source)(tmp_path / "copy")
    job = ScoringJob(
        model="rain@staging",
        input="gold.labels",
        output="inference.rain",
        labels="gold.labels",
        keys=("id",),
    )
    score(project.lake, project.writer(), job)
    months = evaluate_job(project.lake, project.writer(), job).periods
    for table in ("gold.labels", "features.sky", "inference.rain"):
        assert optimize(project.writer(), table, ["place"]).changed
    assert project.train().up_to_date
    assert project.lake.read("training.rain").version == 1
    assert score(project.lake, project.writer(), job).up_to_date
    again = evaluate_job(project.lake, project.writer(), job)
    assert (again.up_to_date, again.periods) == (True, months)


@pytest.mark.parametrize("text", ["\x85", "\u2028", "a\x1cb", "\r", "\n"])
def test_text_that_python_takes_for_the_end_of_a_line_is_read(shop, text):
    for _ in range(2):
        frame = pl.DataFrame({"s": [text]})
        shop.writer().write_frame("silver.text", frame, Change("T", "t"), mode="append")
    assert optimize(shop.writer(), "silver.text").changed
    after = shop.lake.read("silver.text")
    assert after.to_polars()["s"].to_list() == [text, text]
    assert after.record.operation == "OPTIMIZE"


VALUES = st.fixed_dictionaries(
    {
        "i": st.none() | st.integers(-(2**63), 2**63 - 1),
        "f": st.none() | st.floats(),
        "s": st.none() | st.text(alphabet=st.characters(codec="utf-8"), max_size=3),
        "l": st.none() | st.lists(st.none() | st.integers(-5, 5), max_size=2),
    }
)
TYPES = {"i": pl.Int64, "f": pl.Float64, "s": pl.String, "l": pl.List(pl.Int64)}


@settings(max_examples=12, deadline=None)
@given(st.lists(st.lists(VALUES, min_size=1, max_size=3), min_size=2, max_size=4), st.booleans())
def test_any_rows_are_the_same_afterwards(tmp_path_factory, commits, zorder):
    shop = Shop(tmp_path_factory.mktemp("any"))
    for rows in commits:
        frame = pl.DataFrame(rows, schema=TYPES)
        shop.writer().write_frame(TABLE, frame, Change("T", "t"), mode="append")
    before = shop.lake.read(TABLE)
    result = optimize(shop.writer(), TABLE, ["i", "s"] if zorder else [])
    assert result.changed
    assert content_manifest(result.snapshot.scan()) == before.record.manifest
