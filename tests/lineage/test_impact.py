from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.errors import NotFoundError
from sololakehouse.lake.restore import restore
from sololakehouse.lineage.impact import Impact, impact
from sololakehouse.pipelines.sinks import SINKS, Batch
from sololakehouse.provenance import Change
from tests.lineage.conftest import Lake


def impact_on(lake: Lake, reference: str) -> Impact:
    return impact(lake.lake, reference)


def built(found: Impact) -> set[str]:
    return {node.title for node in found.built}


def test_all_that_is_built_on_a_table_is_found(lake):
    bronze = lake.commit("bronze.t")
    silver = lake.commit("silver.t", bronze)
    lake.commit("gold.t", silver)
    lake.commit("gold.other", lake.commit("silver.other"))
    found = impact_on(lake, "bronze.t")
    assert found.lineage.roots == ("bronze.t@v1",)
    assert built(found) == {"silver.t@v1", "gold.t@v1"}
    assert found.stale == frozenset()
    assert found.reads["gold.t@v1"] == ("bronze.t@v1",)
    assert built(impact_on(lake, "silver.t")) == {"gold.t@v1"}


def test_what_read_an_older_version_is_stale_also_through_others(lake):
    old = lake.commit("bronze.t")
    lake.commit("gold.t", lake.commit("silver.old", old))
    lake.commit("silver.new", lake.commit("bronze.t", rows=[2]))
    found = impact_on(lake, "bronze.t")
    assert found.lineage.roots == ("bronze.t@v2", "bronze.t@v1")
    assert found.stale == {"silver.old@v1", "gold.t@v1"}
    assert found.reads["gold.t@v1"] == ("bronze.t@v1",)
    assert found.lineage.nodes["gold.t@v1"].notes == ("stale: bronze.t@v2 is newer",)
    assert found.lineage.nodes["silver.new@v1"].notes == ()


def test_what_read_two_versions_of_a_table_is_stale(lake):
    one = lake.commit("silver.one", lake.commit("bronze.t"))
    two = lake.commit("silver.two", lake.commit("bronze.t", rows=[2]))
    lake.commit("gold.t", one, two)
    found = impact_on(lake, "bronze.t")
    assert found.reads["gold.t@v1"] == ("bronze.t@v2", "bronze.t@v1")
    assert "gold.t@v1" in found.stale


def test_one_version_has_what_read_that_version(lake):
    lake.commit("silver.old", lake.commit("bronze.t"))
    lake.commit("silver.new", lake.commit("bronze.t", rows=[2]))
    assert built(impact_on(lake, "bronze.t@v1")) == {"silver.old@v1"}
    assert built(impact_on(lake, "bronze.t@v2")) == {"silver.new@v1"}
    found = impact_on(lake, "bronze.t@v0")
    assert (found.lineage.roots, found.built) == (("bronze.t@v0",), [])
    assert found.summary == "Nothing is built on bronze.t@v0."


def test_tables_are_looked_at_as_they_are_now(lake):
    lake.commit("silver.t", lake.commit("bronze.t"))
    lake.commit("silver.t", lake.commit("bronze.t", rows=[2]))
    assert built(impact_on(lake, "bronze.t")) == {"silver.t@v2"}
    assert built(impact_on(lake, "bronze.t@v1")) == set()


def test_a_version_in_between_that_was_replaced_is_shown_and_told(lake):
    silver = lake.commit("silver.t", lake.commit("bronze.t"))
    lake.commit("gold.t", silver)
    lake.commit("silver.t", rows=[2])
    found = impact_on(lake, "bronze.t")
    assert built(found) == {"silver.t@v1", "gold.t@v1"}
    assert found.lineage.nodes["silver.t@v1"].notes == ("v2 took its place",)


def test_older_rows_beside_newer_ones_are_not_stale(lake):
    for rows in ([1], [2]):
        read = lake.commit("inference.t", rows=rows)
        lake.commit("monitoring.e", read, operation="EVALUATION", mode="append")
    found = impact_on(lake, "inference.t")
    assert found.reads["monitoring.e@v2"] == ("inference.t@v2",)
    assert found.stale == frozenset()
    assert built(impact_on(lake, "inference.t@v1")) == {"monitoring.e@v2"}
    assert found.lineage.roots == ("inference.t@v2", "inference.t@v1")


def test_rows_that_only_an_earlier_commit_made_count_if_there_are_no_others(lake):
    for name in ("inference.a", "inference.b"):
        read = lake.commit(name)
        lake.commit("monitoring.e", read, operation="EVALUATION", mode="append")
    lake.commit("inference.a", rows=[2])
    found = impact_on(lake, "inference.a")
    assert found.reads["monitoring.e@v2"] == ("inference.a@v1",)
    assert found.stale == {"monitoring.e@v2"}


def test_a_version_that_only_a_restore_needed_is_no_root(lake):
    lake.commit("bronze.t")
    lake.commit("bronze.t", rows=[2])
    restore(lake.writer(), "bronze.t", 1)
    lake.commit("silver.t", lake.lake.read("bronze.t"))
    assert impact_on(lake, "bronze.t").lineage.roots == ("bronze.t@v3",)


def test_a_restored_table_has_one_root_for_each_version_that_is_read(lake):
    lake.commit("silver.t", lake.commit("bronze.t"))
    lake.commit("bronze.t", rows=[2])
    restore(lake.writer(), "bronze.t", 1)
    found = impact_on(lake, "bronze.t")
    assert found.lineage.roots == ("bronze.t@v3", "bronze.t@v1")
    assert found.stale == {"silver.t@v1"}
    assert {edge.made for edge in found.lineage.edges} == {"silver.t@v1"}
    assert built(impact_on(lake, "bronze.t@v1")) == {"silver.t@v1", "bronze.t@v3"}


def test_all_that_a_run_made_is_looked_up_from(lake):
    writer = lake.writer()
    lake.commit("silver.before")
    lake.writer = lambda: writer
    bronze = lake.commit("bronze.t")
    silver = lake.commit("silver.t", bronze)
    lake.commit("silver.alone")
    del lake.writer
    lake.commit("gold.t", silver)
    found = impact_on(lake, writer.run.run_id)
    assert found.lineage.roots == ("bronze.t@v1", "silver.alone@v1")
    assert built(found) == {"silver.t@v1", "gold.t@v1"}
    assert found.stale == frozenset()


def deliver(lake: Lake, sink: str, source, path: str | None) -> None:
    batch = Batch(sink, "i", 0, "parquet", path, 1, {}, "r", datetime.now(UTC))
    change = Change("SINK", sink, [source.table_version], details={"sink": sink})
    lake.writer().write_frame(SINKS, batch.frame(), change, mode="append")


def test_sinks_are_built_on_what_they_were_given(lake):
    bronze = lake.commit("bronze.t")
    deliver(lake, "out", bronze, "/data/out")
    deliver(lake, "screen", lake.commit("silver.t", bronze), None)
    deliver(lake, "other", lake.commit("bronze.other"), "/data/other")
    found = impact_on(lake, "bronze.t")
    assert built(found) == {"silver.t@v1", "sink out", "sink screen"}
    out = found.lineage.nodes["sink out"]
    assert (out.path, out.rows, out.what) == ("/data/out", 1, "sink")
    assert found.lineage.nodes["sink screen"].path is None
    assert found.summary == "Built on bronze.t: 1 table, 2 sinks."


def test_a_damaged_table_does_not_hide_the_others(lake):
    bronze = lake.commit("bronze.t")
    lake.commit("silver.a", bronze)
    lake.commit("silver.b", bronze)
    entry = lake.lake.path("silver.a") / "_delta_log" / f"{1:020}.json"
    entry.write_text(entry.read_text()[:100])
    found = impact_on(lake, "bronze.t")
    assert built(found) == {"silver.b@v1"}
    assert [str(entry) in said for said in found.damaged] == [True]


def test_the_system_s_own_tables_are_not_shown(lake):
    lake.commit("gold.t", lake.commit("system.x"))
    lake.commit("system.y", lake.lake.read("gold.t"))
    assert built(impact_on(lake, "gold.t")) == set()


def test_what_is_not_there_is_told(lake):
    lake.commit("gold.t")
    with pytest.raises(NotFoundError, match=r"Did you mean 'gold\.t'"):
        impact_on(lake, "gold.x")


COMMITS = st.lists(
    st.tuples(st.integers(0, 4), st.sets(st.integers(0, 30), max_size=3)), min_size=2, max_size=9
)


@settings(max_examples=12, deadline=None)
@given(commits=COMMITS)
def test_the_graph_is_that_of_a_plain_walk_over_the_commits(tmp_path_factory, commits):
    """Tables t0 to t4 are overwritten, each time from some of the commits before."""
    lake = Lake(tmp_path_factory.mktemp("walk"))
    made: list = []
    parents: dict[str, set[str]] = {}
    for table, chosen in commits:
        inputs = [made[number] for number in chosen if number < len(made)]
        snapshot = lake.commit(f"gold.t{table}", *inputs, rows=[len(made)])
        parents[str(snapshot.table_version)] = {str(one.table_version) for one in inputs}
        made.append(snapshot)

    def ancestors(version: str) -> set[str]:
        return {version}.union(*(ancestors(parent) for parent in parents[version]))

    newest = {snapshot.name: str(snapshot.table_version) for snapshot in made}
    for version in parents:
        assert set(lake.trace(version).nodes) == ancestors(version)
        reached = {one for top in newest.values() for one in ancestors(top)}
        above = {one for one in reached if version in ancestors(one)} - {version}
        assert built(impact_on(lake, version)) == above
