from __future__ import annotations

import shutil

import pytest
from deltalake import DeltaTable, write_deltalake

from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.lake.leases import add_lease
from sololakehouse.lake.optimize import optimize
from sololakehouse.lake.restore import restore
from sololakehouse.lake.vacuum import vacuum
from sololakehouse.lineage import origin
from sololakehouse.lineage.events import lineage_events
from sololakehouse.lineage.graph import FileNode, TableNode
from sololakehouse.pipelines.compute import INCREMENT
from sololakehouse.pipelines.plan import STREAMS
from tests.lake.keeping import MONTHS_LATER, rows_of

FILE = "landing/1.csv#" + "a" * 64


def foreign(lake, table: str, mode: str = "append") -> int:
    write_deltalake(lake.lake.path(table), rows_of([9]).to_arrow(), mode=mode)
    return lake.lake.read(table).version


def test_a_table_is_traced_to_the_landing_files(lake):
    bronze = lake.ingest("bronze.t", "landing/1.csv")
    silver = lake.commit("silver.t", bronze)
    lake.commit("gold.t", silver)
    graph = lake.trace("gold.t")
    assert graph.roots == ("gold.t@v1",)
    assert set(graph.nodes) == {"gold.t@v1", "silver.t@v1", "bronze.t@v1", FILE}
    file = graph.nodes[FILE]
    assert isinstance(file, FileNode)
    assert (file.path, file.sha256, file.rows) == ("landing/1.csv", "a" * 64, 1)


def test_a_node_has_version_time_rows_code_revision_and_fingerprint(lake):
    made = lake.commit("gold.t", rows=range(3))
    node = lake.trace("gold.t").nodes["gold.t@v1"]
    assert isinstance(node, TableNode)
    assert (node.version, node.rows, node.what) == (1, 3, "materialized view")
    assert node.at == made.commit.timestamp
    assert node.code_revision == made.record.code_revision
    assert node.fingerprint == made.record.fingerprint
    assert node.table_id == made.table_id
    assert node.notes == ()


def test_what_several_tables_were_made_from_is_one_node(lake):
    bronze = lake.ingest("bronze.t", "landing/1.csv")
    one, two = lake.commit("silver.one", bronze), lake.commit("silver.two", bronze)
    lake.commit("gold.t", one, two)
    graph = lake.trace("gold.t")
    assert len(graph.nodes) == 5
    assert [edge.made for edge in graph.built["bronze.t@v1"]] == ["silver.one@v1", "silver.two@v1"]


def test_a_diamond_of_ten_storeys_is_read_once_per_table(lake):
    below = lake.commit("gold.t0")
    for storey in range(1, 11):
        sides = [lake.commit(f"silver.s{storey}{side}", below) for side in "ab"]
        below = lake.commit(f"gold.t{storey}", *sides)
    assert len(lake.trace("gold.t10").nodes) == 31


def test_a_version_and_a_moment_are_traced_as_they_were_made(lake):
    first = lake.commit("silver.t")
    old = lake.commit("gold.t", first)
    lake.commit("gold.t", lake.commit("silver.t", rows=[2]))
    assert "silver.t@v1" in lake.trace("gold.t@v1").nodes
    moment = old.commit.timestamp.isoformat()
    assert set(lake.trace(f"gold.t@{moment}").nodes) == {"gold.t@v1", "silver.t@v1"}
    assert set(lake.trace("gold.t").nodes) == {"gold.t@v2", "silver.t@v2"}


def test_a_table_that_grows_holds_the_files_of_all_its_commits(lake, sources):
    lake.ingest("bronze.t", "landing/1.csv")
    lake.ingest("bronze.t", "landing/2.csv", content="b")
    graph = lake.trace("bronze.t")
    assert set(sources(graph, "bronze.t@v2").values()) == {"landing file"}
    assert len(graph.nodes) == 3
    assert len(lake.trace("bronze.t@v1").nodes) == 2


def test_a_file_that_replaced_another_stands_alone(lake):
    lake.ingest("bronze.t", "landing/1.csv")
    lake.ingest("bronze.t", "landing/1.csv", action="replace", content="b")
    files = [n.sha256[0] for n in lake.trace("bronze.t").nodes.values() if n.kind != "table"]
    assert files == ["b"]
    lake.ingest("bronze.t", "landing/1.csv", action="append", content="c")
    files = [n.sha256[0] for n in lake.trace("bronze.t").nodes.values() if n.kind != "table"]
    assert files == ["b", "c"]


def test_rows_appended_from_older_inputs_are_still_made_from_them(lake, sources):
    one = lake.commit("inference.t")
    lake.commit("monitoring.e", one, operation="EVALUATION", mode="append")
    two = lake.commit("inference.t", rows=[2])
    lake.commit("monitoring.e", two, operation="EVALUATION", mode="append")
    assert sources(lake.trace("monitoring.e"), "monitoring.e@v2") == {
        "inference.t@v2": "input",
        "inference.t@v1": "earlier input",
    }


def test_a_stream_is_one_input_and_a_table_joined_to_it_several(lake, sources):
    streamed = lake.commit("bronze.t")
    joined = lake.commit("silver.names")
    identity = {"table": "bronze.t", "table_id": streamed.table_id}
    for rows in ([2], [3]):
        details = {"streams": {"a": {**identity, "version": streamed.version}}}
        lake.commit(
            "silver.t",
            streamed,
            joined,
            operation="STREAMING TABLE",
            mode="append",
            rows=rows,
            **details,
        )
        streamed = lake.commit("bronze.t", rows=rows, mode="append")
        joined = lake.commit("silver.names", rows=rows)
    assert sources(lake.trace("silver.t"), "silver.t@v2") == {
        "bronze.t@v2": "input",
        "silver.names@v2": "input",
        "silver.names@v1": "earlier input",
    }


def test_an_increment_says_of_itself_what_all_rows_were_made_from(lake, sources):
    lake.commit("silver.t", lake.commit("bronze.t"))
    grown = lake.commit("bronze.t", rows=[2], mode="append")
    lake.commit("silver.t", grown, rows=[2], mode="append", increment={"source": "bronze.t"})
    assert sources(lake.trace("silver.t"), "silver.t@v2") == {"bronze.t@v2": "input"}


def test_a_restored_version_leads_to_the_one_it_came_from(lake, sources):
    lake.commit("gold.t", lake.commit("silver.t"))
    lake.commit("gold.t", lake.commit("silver.u"), rows=[2, 3])
    restore(lake.writer(), "gold.t", 1)
    graph = lake.trace("gold.t")
    assert sources(graph, "gold.t@v3") == {"gold.t@v1": "restored"}
    assert set(graph.nodes) == {"gold.t@v3", "gold.t@v1", "silver.t@v1"}
    assert graph.nodes["gold.t@v3"].what == "restore"


def test_a_restore_of_another_writer_does_so_too(lake, sources):
    lake.ingest("bronze.t", "landing/1.csv")
    lake.ingest("bronze.t", "landing/2.csv", content="b")
    DeltaTable(lake.lake.path("bronze.t")).restore(1)
    graph = lake.trace("bronze.t")
    assert sources(graph, "bronze.t@v3") == {"bronze.t@v1": "restored"}
    assert sum(node.kind == "landing file" for node in graph.nodes.values()) == 1
    assert graph.nodes["bronze.t@v3"].notes == ()


def test_a_restore_of_the_empty_table_is_no_unknown_commit(lake):
    lake.commit("gold.t")
    DeltaTable(lake.lake.path("gold.t")).restore(0)
    graph = lake.trace("gold.t")
    assert graph.nodes["gold.t@v2"].notes == ()
    assert set(graph.nodes) == {"gold.t@v2", "gold.t@v0"}


def test_the_words_of_records_are_those_of_the_pipelines():
    assert (origin.INCREMENT, origin.STREAMS) == (INCREMENT, STREAMS)


def test_labels_that_came_as_a_frame_are_told(lake):
    lake.commit("training.t", operation="TRAINING SET", recipe={"labels": None})
    (node,) = lake.trace("training.t").nodes.values()
    assert node.notes == ("its labels came as a frame, from no table",)


def test_files_taken_after_a_restore_follow_those_of_the_restored_version(lake, sources):
    for name in "ab":
        lake.ingest("bronze.t", f"landing/{name}.csv", content=name)
    restore(lake.writer(), "bronze.t", 1)
    lake.ingest("bronze.t", "landing/c.csv", content="c")
    graph = lake.trace("bronze.t")
    files = {node.title for node in graph.nodes.values() if node.kind == "landing file"}
    assert files == {"landing/a.csv", "landing/c.csv"}
    assert sources(graph, "bronze.t@v4") == {
        f"landing/c.csv#{'c' * 64}": "landing file",
        "bronze.t@v1": "restored",
    }


def test_versions_that_only_arranged_files_are_the_node_of_their_rows(lake):
    for name in "ab":
        lake.ingest("bronze.t", f"landing/{name}.csv", content=name)
    before = lake.commit("silver.before", lake.lake.read("bronze.t"))
    optimize(lake.writer(), "bronze.t")
    after = lake.commit("silver.after", lake.lake.read("bronze.t"))
    lake.commit("gold.t", after, before)
    graph = lake.trace("gold.t")
    node = graph.nodes["bronze.t@v2"]
    assert [edge.made for edge in graph.built[node.id]] == ["silver.after@v1", "silver.before@v1"]
    assert "bronze.t@v3" not in graph.nodes
    assert (node.title, node.what) == ("bronze.t@v3", "ingest")
    assert node.notes == ("the rows of v2, arranged anew",)
    assert lake.trace("bronze.t").roots == ("bronze.t@v2",)


def test_an_optimize_of_another_writer_is_seen_through(lake):
    for name in "ab":
        lake.ingest("bronze.t", f"landing/{name}.csv", content=name)
    DeltaTable(lake.lake.path("bronze.t")).optimize.compact()
    node = lake.trace("bronze.t").nodes["bronze.t@v2"]
    assert (node.title, node.rows) == ("bronze.t@v3", 2)


def test_a_commit_of_another_writer_is_named(lake, sources):
    lake.ingest("bronze.t", "landing/1.csv")
    foreign(lake, "bronze.t")
    lake.ingest("bronze.t", "landing/2.csv", content="b")
    graph = lake.trace("bronze.t")
    node = graph.nodes["bronze.t@v3"]
    assert node.notes == ("v2 was written by another writer, without a record",)
    assert len(sources(graph, "bronze.t@v3")) == 2


def test_rows_that_another_writer_replaced_were_made_from_nothing_known(lake, sources):
    lake.commit("gold.t", lake.commit("silver.t"))
    foreign(lake, "gold.t", "overwrite")
    graph = lake.trace("gold.t")
    node = graph.nodes["gold.t@v2"]
    assert sources(graph, "gold.t@v2") == {}
    assert (node.what, node.rows, node.record) == ("write", None, None)
    assert node.notes == ("v2 was written by another writer, without a record",)


def test_columns_and_properties_that_others_add_hide_nothing(lake, sources):
    silver = lake.commit("silver.t")
    lake.commit("gold.t", silver)
    alter = DeltaTable(lake.lake.path("gold.t")).alter
    alter.set_table_properties({"owner": "solo"}, raise_if_not_exists=False)
    graph = lake.trace("gold.t")
    assert sources(graph, "gold.t@v2") == {"silver.t@v1": "input"}
    node = graph.nodes["gold.t@v2"]
    assert (node.what, node.notes) == ("materialized view", ())


def test_an_empty_table_has_no_sources(lake):
    lake.commit("gold.t")
    graph = lake.trace("gold.t@v0")
    assert graph.nodes["gold.t@v0"].what == "create table"
    assert not graph.edges


def test_a_version_of_a_table_that_was_dropped_is_not_one_of_the_table_made_anew(lake):
    old = lake.commit("silver.t", lake.commit("bronze.old"))
    lake.commit("gold.t", old)
    shutil.rmtree(lake.lake.path("silver.t"))
    lake.commit("silver.t", lake.commit("bronze.new"))
    graph = lake.trace("gold.t")
    dropped = graph.nodes[f"silver.t@v1 of {old.table_id[:8]}"]
    assert dropped.notes == ("the table was dropped since",)
    assert set(graph.nodes) == {"gold.t@v1", dropped.id}


def test_what_the_archive_knows_of_a_dropped_table_is_told(month_old):
    old = month_old.commit("silver.t", month_old.commit("bronze.t"))
    month_old.commit("gold.t", old)
    for rows in ([2], [3]):
        month_old.commit("silver.t", rows=rows)
    vacuum(month_old.writer(), ["silver.t"], now=MONTHS_LATER)
    shutil.rmtree(month_old.lake.path("silver.t"))
    graph = month_old.trace("gold.t")
    node = graph.nodes[f"silver.t@v1 of {old.table_id[:8]}"]
    assert (node.notes, node.rows) == (("the table was dropped since",), 1)
    assert "bronze.t@v1" in graph.nodes


def test_a_table_replaced_in_place_is_told_from_the_one_before(lake, sources):
    old = lake.commit("silver.t", lake.commit("bronze.t"))
    schema = DeltaTable(lake.lake.path("silver.t")).schema()
    DeltaTable.create(lake.lake.path("silver.t"), schema, mode="overwrite")
    new = lake.lake.read("silver.t")
    assert new.table_id != old.table_id
    lake.commit("gold.old", old)
    lake.commit("gold.new", new)
    assert sources(lake.trace("gold.old"), "gold.old@v1") == {"silver.t@v1": "input"}
    assert sources(lake.trace("gold.new"), "gold.new@v1") == {"silver.t@v2": "input"}


def test_vacuumed_versions_are_told(month_old):
    first = month_old.commit("silver.t")
    month_old.commit("gold.t", first)
    for rows in ([2], [3]):
        month_old.commit("silver.t", rows=rows)
    assert month_old.trace("gold.t").nodes["silver.t@v1"].notes == ()
    vacuum(month_old.writer(), ["silver.t"], now=MONTHS_LATER)
    node = month_old.trace("gold.t").nodes["silver.t@v1"]
    assert node.notes == ("its rows were vacuumed",)
    assert month_old.trace("silver.t").nodes["silver.t@v3"].notes == ()


def test_commits_whose_log_was_cleaned_up_are_read_from_the_archive(month_old, sources):
    bronze = month_old.ingest("bronze.t", "landing/1.csv")
    month_old.commit("silver.t", month_old.commit("bronze.before"))
    silver = month_old.commit("silver.t", bronze)
    month_old.commit("gold.t", silver)
    for rows in ([2], [3]):
        month_old.commit("silver.t", rows=rows)
    vacuum(month_old.writer(), ["silver.t"], now=MONTHS_LATER)
    assert month_old.log_names("silver.t")[0] > f"{2:020}"
    graph = month_old.trace("gold.t")
    assert sources(graph, "silver.t@v2") == {"bronze.t@v1": "input"}
    assert graph.nodes["silver.t@v2"].fingerprint == silver.record.fingerprint
    assert set(month_old.trace("silver.t@v2").nodes) == {"silver.t@v2", "bronze.t@v1", FILE}


def test_a_table_that_grows_keeps_its_files_when_its_log_was_cleaned_up(month_old):
    for name in "abc":
        month_old.ingest("bronze.t", f"landing/{name}.csv", content=name)
    vacuum(month_old.writer(), ["bronze.t"], now=MONTHS_LATER)
    assert not any(name.startswith(f"{1:020}") for name in month_old.log_names("bronze.t"))
    graph = month_old.trace("bronze.t")
    assert sum(node.kind == "landing file" for node in graph.nodes.values()) == 3
    assert graph.nodes["bronze.t@v3"].notes == ()


def test_archived_commits_that_changed_no_row_hide_nothing(month_old):
    for name in "ab":
        month_old.ingest("bronze.t", f"landing/{name}.csv", content=name)
    alter = DeltaTable(month_old.lake.path("bronze.t")).alter
    alter.set_table_properties({"owner": "solo"}, raise_if_not_exists=False)
    optimize(month_old.writer(), "bronze.t")
    for name in "cd":
        month_old.ingest("bronze.t", f"landing/{name}.csv", content=name)
    vacuum(month_old.writer(), ["bronze.t"], now=MONTHS_LATER)
    graph = month_old.trace("bronze.t")
    assert sum(node.kind == "landing file" for node in graph.nodes.values()) == 4
    assert graph.nodes["bronze.t@v6"].notes == ()


def test_commits_that_nobody_kept_are_told(month_old):
    for name in "abc":
        month_old.ingest("bronze.t", f"landing/{name}.csv", content=name)
    vacuum(month_old.writer(), ["bronze.t"], now=MONTHS_LATER)
    shutil.rmtree(month_old.lake.path("system.archived_commits"))
    node = month_old.trace("bronze.t").nodes["bronze.t@v3"]
    told = "commits before v3 are not known: their log entries were cleaned up"
    assert node.notes == (told,)


def test_a_version_that_nobody_kept_is_told(month_old):
    month_old.commit("gold.t", month_old.commit("silver.t"))
    month_old.commit("silver.t", rows=[2])
    vacuum(month_old.writer(), ["silver.t"], now=MONTHS_LATER)
    shutil.rmtree(month_old.lake.path("system.archived_commits"))
    node = month_old.trace("gold.t").nodes["silver.t@v1"]
    assert node.notes == (
        "its log entry was cleaned up, and not archived",
        "its rows were vacuumed",
    )
    with pytest.raises(NotFoundError, match="has no version 1 any more: its log entries were"):
        month_old.trace("silver.t@v1")


def test_rows_that_were_arranged_before_a_vacuum_are_not_lost(month_old):
    for name in "ab":
        month_old.ingest("bronze.t", f"landing/{name}.csv", content=name)
    optimize(month_old.writer(), "bronze.t")
    month_old.commit("silver.t", month_old.lake.read("bronze.t"))
    add_lease(month_old.writer(), "bronze.t@v3", "figures")
    month_old.ingest("bronze.t", "landing/c.csv", content="c")
    vacuum(month_old.writer(), ["bronze.t"], now=MONTHS_LATER)
    node = month_old.trace("silver.t").nodes["bronze.t@v2"]
    assert (node.title, node.notes) == ("bronze.t@v3", ("the rows of v2, arranged anew",))


def test_files_that_a_version_does_not_need_are_not_missed(month_old):
    for number in (1, 2):
        month_old.commit("bronze.t", operation="INGEST", mode="append", rows=[number])
    DeltaTable(month_old.lake.path("bronze.t")).delete("id = 1")
    month_old.commit("silver.t", month_old.lake.read("bronze.t"))
    for version in ("bronze.t@v0", "bronze.t@v3"):
        add_lease(month_old.writer(), version, "figures")
    month_old.commit("bronze.t", operation="INGEST", mode="append", rows=[4])
    vacuum(month_old.writer(), ["bronze.t"], now=MONTHS_LATER)
    assert len(month_old.files("bronze.t")) == 2
    (note,) = month_old.trace("silver.t").nodes["bronze.t@v3"].notes
    assert note == "v3 was written by another writer, without a record"


def test_a_damaged_log_further_down_is_a_note_and_at_the_root_an_error(lake):
    lake.commit("gold.t", lake.commit("silver.t"))
    entry = lake.lake.path("silver.t") / "_delta_log" / f"{1:020}.json"
    entry.write_text(entry.read_text()[:100])
    (note,) = lake.trace("gold.t").nodes["silver.t@v1"].notes
    assert note.startswith(f"silver.t: the log entry {entry} is cut short")
    with pytest.raises(RunError, match="is cut short"):
        lake.trace("silver.t")


def test_damage_of_a_table_s_first_entry_stops_nothing_above_it(lake):
    lake.commit("gold.t", lake.commit("silver.t"))
    entry = lake.lake.path("silver.t") / "_delta_log" / f"{0:020}.json"
    entry.write_text(entry.read_text()[:-100])
    graph = lake.trace("gold.t")
    assert graph.nodes["silver.t@v1"].rows == 1
    assert lineage_events(lake.lake, graph)[-1]["job"]["name"] == "materialized_view.gold.t"


REFERENCES = {
    "gold.x": "No table, model or run 'gold.x'. Did you mean 'gold.t'? Tables: gold.t.",
    "gold.t@v9": "gold.t has no version 9. Its versions are 0 to 1.",
    "gold.t@2026-01-01T00:00:00": "has no time zone",
    "gold.t@2020-01-01T00:00:00Z": "gold.t has no version at 2020-01-01T00:00:00Z or before.",
    "gold.t@": "'gold.t@' is no table.",
    "late@production": "No table, model or run 'late@production'. Tables: gold.t.",
    "20260101T000000-00000000": "No table, model or run '20260101T000000-00000000'.",
    "": "No table, model or run ''.",
}


@pytest.mark.parametrize("reference", REFERENCES)
def test_what_is_not_there_is_told_with_what_is(lake, reference):
    lake.commit("gold.t")
    with pytest.raises(UsageError) as error:
        lake.trace(reference)
    assert REFERENCES[reference] in str(error.value)


def test_a_run_is_traced_from_what_nothing_else_in_it_was_made_of(lake):
    writer = lake.writer()
    lake.writer = lambda: writer
    silver = lake.commit("silver.t")
    lake.commit("gold.a", silver)
    lake.commit("gold.a", silver, rows=[2])
    lake.commit("gold.b", silver)
    graph = lake.trace(writer.run.run_id)
    assert graph.roots == ("gold.a@v2", "gold.b@v1")
    assert set(graph.nodes) == {"gold.a@v2", "gold.b@v1", "silver.t@v1"}


def test_a_run_whose_log_entries_were_cleaned_up_is_found(month_old):
    month_old.commit("silver.t")
    run_id = month_old.lake.read("silver.t").record.run_id
    for rows in ([2], [3]):
        month_old.commit("silver.t", rows=rows)
    vacuum(month_old.writer(), ["silver.t"], now=MONTHS_LATER)
    assert month_old.trace(run_id).roots == ("silver.t@v1",)


def test_nothing_of_the_data_is_read(lake):
    lake.commit("gold.t", lake.commit("silver.t"))
    for table in ("gold.t", "silver.t"):
        for file in lake.lake.path(table).glob("*.parquet"):
            file.unlink()
    assert [node.notes for node in lake.trace("gold.t").nodes.values()] == [(), ()]
    with pytest.raises(RunError, match="is missing"):
        lake.lake.read("gold.t").to_polars()
