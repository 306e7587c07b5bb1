"""The picture of a project: a box for each thing, whatever its versions."""

from __future__ import annotations

import shutil

import pytest

from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.lineage.overview import Overview, overview


@pytest.fixture
def shop(lake):
    """Give a lake where bronze was read in its first version by silver, and silver by two."""
    bronze = lake.ingest("bronze.sales", "landing/sales/1.csv")
    silver = lake.commit("silver.sales", bronze, rows=range(3))
    lake.commit("gold.totals", silver)
    lake.commit("features.shops", silver)
    lake.ingest("bronze.sales", "landing/sales/2.csv", content="b")
    return lake


def arrows(found: Overview) -> set[tuple[str, str]]:
    return {(arrow.start, arrow.end) for arrow in found.diagram.arrows}


def names(found: Overview) -> set[str]:
    return {box.id for box in found.diagram.boxes}


def test_each_table_is_one_box_whatever_its_versions(shop):
    found = overview(shop.lake)
    boxes = {box.id: box for box in found.diagram.boxes}
    assert set(boxes) == {
        *("landing files of bronze.sales", "bronze.sales", "silver.sales"),
        *("gold.totals", "features.shops"),
    }
    assert boxes["silver.sales"].lines == ("silver.sales", "materialized view, 3 rows")
    assert boxes["landing files of bronze.sales"].lines == ("landing/sales/", "2 files")
    assert boxes["silver.sales"].shape == "cylinder"
    assert boxes["landing files of bronze.sales"].shape == "file"


def test_arrows_lead_from_what_something_was_made_from(shop):
    assert arrows(overview(shop.lake)) == {
        ("landing files of bronze.sales", "bronze.sales"),
        ("bronze.sales", "silver.sales"),
        ("silver.sales", "gold.totals"),
        ("silver.sales", "features.shops"),
    }


def test_only_the_newest_version_says_what_a_table_is_made_from(shop):
    other = shop.commit("bronze.prices")
    shop.commit("gold.report", shop.lake.read("gold.totals"))
    shop.commit("gold.totals", other)
    found = arrows(overview(shop.lake))
    assert ("bronze.prices", "gold.totals") in found
    assert ("gold.totals", "gold.report") in found
    assert ("silver.sales", "gold.totals") not in found


def test_a_landing_file_that_was_replaced_is_not_counted(shop):
    shop.ingest("bronze.sales", "landing/sales/2.csv", action="replace", content="c")
    files = next(b for b in overview(shop.lake).diagram.boxes if b.kind == "landing file")
    assert files.lines == ("landing/sales/", "2 files")


def test_a_table_that_was_made_anew_is_the_one_that_there_is(shop):
    for _ in range(3):
        shop.commit("silver.extra")
    old = shop.lake.read("silver.extra")
    shop.commit("gold.more", old)
    shutil.rmtree(shop.folder / "warehouse" / "silver" / "extra")
    shop.commit("silver.extra", rows=range(7))
    boxes = {box.id: box for box in overview(shop.lake).diagram.boxes}
    assert boxes["silver.extra"].lines == ("silver.extra", "materialized view, 7 rows")


def test_selected_are_marked_with_all_around_them(shop):
    shop.commit("bronze.alone")
    found = overview(shop.lake, ["features.*"])
    assert [box.id for box in found.diagram.boxes if box.marked] == ["features.shops"]
    assert names(found) == {
        *("landing files of bronze.sales", "bronze.sales", "silver.sales", "features.shops"),
    }


def test_steps_say_how_far(shop):
    assert names(overview(shop.lake, ["silver.sales"], 0)) == {"silver.sales"}
    assert names(overview(shop.lake, ["silver.sales"], 1)) == {
        *("bronze.sales", "silver.sales", "gold.totals", "features.shops"),
    }


def test_two_tables_that_read_one_another_in_turn_are_drawn(lake):
    first = lake.commit("silver.a")
    second = lake.commit("silver.b", first)
    lake.commit("silver.a", second)
    found = overview(lake.lake)
    assert names(found) == {"silver.a", "silver.b"}
    assert len(found.diagram.arrows) == 1


def test_a_pattern_that_fits_nothing_names_the_nearest(shop):
    with pytest.raises(NotFoundError) as said:
        overview(shop.lake, ["feature.shops"])
    assert str(said.value) == (
        "No table, model or sink 'feature.shops'. Did you mean 'features.shops'? "
        "Tables: bronze.sales, features.shops, gold.totals, silver.sales."
    )


def test_an_empty_lake_says_what_to_do(lake):
    with pytest.raises(RunError, match=r"nothing to draw yet\. Run 'slh ingest' and 'slh run'"):
        overview(lake.lake)


def test_json_says_what_the_picture_shows(shop):
    said = overview(shop.lake, ["gold.totals"], 1).as_json()
    assert {"name": "gold.totals", "kind": "gold", "selected": True} in [
        {key: box[key] for key in ("name", "kind", "selected")} for box in said["boxes"]
    ]
    assert said["arrows"] == [{"from": "silver.sales", "to": "gold.totals"}]
