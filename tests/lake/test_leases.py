from __future__ import annotations

import polars as pl
import pytest

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.lake.leases import (
    LEASES,
    Holder,
    active_leases,
    add_lease,
    all_leases,
    drop_leases,
    lease_inputs,
    needed_versions,
)
from sololakehouse.lake.vacuum import vacuum
from tests.lake.keeping import MONTHS_LATER, TABLE, Shop
from tests.rain import make_project


@pytest.fixture
def shop(tmp_path) -> Shop:
    shop = Shop(tmp_path, "1d")
    shop.versions(3)
    return shop


def test_a_lease_says_who_holds_which_version_and_why(shop):
    lease, new = add_lease(shop.writer(), f"{TABLE}@v2", "the annual report")
    assert new
    assert (lease.reference, lease.holder_kind, lease.why) == (
        f"{TABLE}@v2",
        "person",
        "the annual report",
    )
    assert lease.table_id == shop.lake.read(TABLE).table_id
    assert active_leases(shop.lake) == [lease]


def test_the_same_lease_again_commits_nothing(shop):
    first, _ = add_lease(shop.writer(), f"{TABLE}@v2", "report")
    version = shop.lake.read(LEASES).version
    again, new = add_lease(shop.writer(), f"{TABLE}@v2", "another reason")
    assert (again, new) == (first, False)
    assert shop.lake.read(LEASES).version == version


def test_a_dropped_lease_stays_in_the_history_and_can_be_taken_again(shop):
    add_lease(shop.writer(), f"{TABLE}@v2", "report")
    (dropped,) = drop_leases(shop.writer(), f"{TABLE}@v2")
    assert active_leases(shop.lake) == []
    assert all_leases(shop.lake) == [dropped]
    assert dropped.released_at is not None
    again, new = add_lease(shop.writer(), f"{TABLE}@v2", "after all")
    assert new
    assert active_leases(shop.lake) == [again]


def test_a_version_that_does_not_exist_is_refused_with_those_that_do(shop):
    with pytest.raises(NotFoundError, match=r"no version 9 that can be read.*: 0 to 3\."):
        add_lease(shop.writer(), f"{TABLE}@v9", "report")


def test_a_version_that_was_removed_is_refused_with_those_that_are_left(shop):
    add_lease(shop.writer(), f"{TABLE}@v1", "report")
    vacuum(shop.writer(), [TABLE], now=MONTHS_LATER)
    with pytest.raises(NotFoundError, match=r"no version 2 that can be read.*: 1, 3\."):
        add_lease(shop.writer(), f"{TABLE}@v2", "report")


@pytest.mark.parametrize(
    ("reference", "why", "said"),
    [
        (TABLE, "report", r"which version of silver\.t to lease, as in silver\.t@v1"),
        (f"{TABLE}@v1", " ", "Say why"),
        ("system.leases@v1", "report", "holds the leases"),
    ],
)
def test_what_cannot_be_leased(shop, reference, why, said):
    with pytest.raises(UsageError, match=said):
        add_lease(shop.writer(), reference, why)


def test_an_unknown_lease_has_candidates(shop):
    add_lease(shop.writer(), f"{TABLE}@v2", "report")
    with pytest.raises(NotFoundError, match=r"Did you mean 'silver\.t@v2'\?"):
        drop_leases(shop.writer(), f"{TABLE}@v3")


def test_inputs_are_leased_down_to_bronze(shop):
    bronze = shop.write([1], "bronze.t")
    shop.write([2], "bronze.t")
    silver = shop.write([1], "silver.from_bronze", inputs=[bronze.table_version])
    gold = shop.write([1], "gold.t", inputs=[silver.table_version])
    needed = needed_versions(shop.lake, gold.table_version)
    assert {str(v) for v in needed} == {"bronze.t@v1", "silver.from_bronze@v1", "gold.t@v1"}
    lease_inputs(shop.writer(), Holder("model", "m@1"), gold.table_version, "Building m again.")
    assert {lease.reference for lease in active_leases(shop.lake)} == {str(v) for v in needed}


def test_a_version_of_a_table_made_anew_is_not_leased(shop):
    import shutil

    bronze = shop.write([1], "bronze.t")
    gold = shop.write([1], "gold.t", inputs=[bronze.table_version])
    shutil.rmtree(bronze.path)
    shop.write([7], "bronze.t")
    lease_inputs(shop.writer(), Holder("model", "m@1"), gold.table_version, "Building m again.")
    assert [lease.reference for lease in active_leases(shop.lake)] == ["gold.t@v1"]


def test_a_holder_is_not_leased_again_what_a_person_dropped(shop):
    gold = shop.write([1], "gold.t")
    holder = Holder("model", "m@1")
    lease_inputs(shop.writer(), holder, gold.table_version, "Building m again.")
    drop_leases(shop.writer(), "m@1")
    assert lease_inputs(shop.writer(), holder, gold.table_version, "Building m again.") == ()
    assert active_leases(shop.lake) == []


def test_the_lease_of_a_model_is_not_dropped_by_the_version(shop):
    gold = shop.write([1], "gold.t")
    (lease,) = lease_inputs(shop.writer(), Holder("model", "m@1"), gold.table_version, "m.")
    with pytest.raises(UsageError, match=rf"leased by m@1\. .*{lease.lease_id}.*drop m@1'"):
        drop_leases(shop.writer(), "gold.t@v1")
    add_lease(shop.writer(), "gold.t@v1", "me too")
    assert [d.holder_kind for d in drop_leases(shop.writer(), "gold.t@v1")] == ["person"]
    assert [d.holder for d in drop_leases(shop.writer(), lease.lease_id)] == ["m@1"]


def test_a_registered_model_leases_its_training_set_and_the_inputs(trained):
    project, outcome = trained
    by_holder: dict[str, set[str]] = {}
    for lease in active_leases(project.lake):
        assert lease.holder_kind == "model"
        by_holder.setdefault(lease.holder, set()).add(lease.reference)
    needed = {"training.rain@v1", "gold.labels@v1", "features.sky@v1"}
    assert by_holder == {f"rain@{run.version}": needed for run in outcome.runs}


def test_training_again_repairs_a_missing_lease_and_then_commits_nothing(tmp_path, trained):
    import shutil

    source, _ = trained
    folder = tmp_path / "copy"
    shutil.copytree(source.folder, folder)
    project = type(source)(folder)
    shutil.rmtree(project.lake.path(LEASES))
    assert project.train().up_to_date
    assert len(active_leases(project.lake)) == 6
    version = project.lake.read(LEASES).version
    project.train()
    assert project.lake.read(LEASES).version == version


def test_a_saved_training_set_leases_itself_and_its_inputs_once(tmp_path):
    project = make_project(tmp_path)
    client = FeatureEngineeringClient(project.lake)

    def save() -> None:
        client.create_training_set(
            df="gold.labels",
            feature_lookups=[
                FeatureLookup(
                    table_name="features.sky", lookup_key="place", timestamp_lookup_key="at"
                )
            ],
            label="wet",
        ).save("kept")

    save()
    leases = active_leases(project.lake)
    assert {(x.holder_kind, x.holder) for x in leases} == {("training_set", "training.kept@v1")}
    assert {x.reference for x in leases} == {
        "training.kept@v1",
        "gold.labels@v1",
        "features.sky@v1",
    }
    save()
    assert active_leases(project.lake) == leases
    assert project.lake.read(LEASES).version == 1


def test_leases_can_be_asked_for_with_any_reader(shop):
    add_lease(shop.writer(), f"{TABLE}@v2", "report")
    frame = pl.read_delta(str(shop.lake.path(LEASES)))
    assert frame.select("table", "version", "holder_kind", "why").rows() == [
        (TABLE, 2, "person", "report")
    ]
