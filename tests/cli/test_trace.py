"""`slh trace` and `slh impact` as a person calls them."""

from __future__ import annotations

import json

import pytest

from sololakehouse.cli.lineage import tree_text
from sololakehouse.lineage.trace import trace

DRAWN = """\
CREATE MATERIALIZED VIEW silver.drawn
TBLPROPERTIES ('pipelines.deterministic' = 'false')
AS SELECT id, rand() AS lot FROM bronze.sales;
CREATE MATERIALIZED VIEW gold.winners AS SELECT id FROM silver.drawn WHERE lot >= 0;
CREATE MATERIALIZED VIEW gold.shops AS SELECT DISTINCT shop FROM bronze.sales;
CREATE MATERIALIZED VIEW gold.both AS SELECT w.id, d.lot FROM gold.winners w JOIN silver.drawn d
ON w.id = d.id;
"""


@pytest.fixture
def drawn(sales):
    sales.write("transformations/drawn.sql", DRAWN)
    sales.run()
    return sales


@pytest.fixture
def bare(sales):
    """Give a project with a bronze table and nothing built on it."""
    return sales


def test_steps_that_may_differ_each_time_are_marked_and_summed_up(drawn, slh):
    said = slh("trace", "gold.both", folder=drawn.folder)
    marked = [line for line in said.out.splitlines() if "not deterministic" in line]
    assert ["silver.drawn@v1" in line for line in marked] == [True]
    assert "Not deterministic: silver.drawn@v1. Computed again, they may differ." in said.out


def test_json_says_it_for_each_step_and_for_all(drawn, slh):
    found = json.loads(slh("trace", "gold.winners", "--json", folder=drawn.folder).out)
    assert found["not deterministic"] == ["silver.drawn@v1"]
    nodes = {node["id"]: node for node in found["nodes"]}
    assert nodes["gold.winners@v1"]["notes"] == []
    assert nodes["silver.drawn@v1"]["notes"] == ["not deterministic"]
    assert nodes["silver.drawn@v1"]["record"]["details"]["deterministic"] is False


def test_a_table_without_such_a_step_says_nothing_of_it(drawn, slh):
    assert "deterministic" not in slh("trace", "gold.shops", folder=drawn.folder).out.lower()
    found = json.loads(slh("trace", "gold.shops", "--json", folder=drawn.folder).out)
    assert found["not deterministic"] == []


def test_each_format_is_printed(bare, slh):
    def printed(wanted: str) -> str:
        return slh("trace", "bronze.sales", "--format", wanted, folder=bare.folder).out

    assert "landing/2026-01.csv" in printed("tree")
    assert json.loads(printed("json"))["roots"] == ["bronze.sales@v1"]
    assert "flowchart LR" in printed("mermaid")
    assert json.loads(printed("excalidraw"))["type"] == "excalidraw"
    assert printed("svg").endswith("</svg>\n")
    (event,) = map(json.loads, printed("openlineage").splitlines())
    assert event["eventType"] == "COMPLETE"


SUFFIXES = {
    "t.json": '{\n  "asked": "bronze.sales"',
    "t.mmd": "---\ntitle: ",
    "t.excalidraw": '{\n "type": "excalidraw"',
    "t.svg": '<svg xmlns="http://www.w3.org/2000/svg"',
    "t.jsonl": '{"eventType": "COMPLETE"',
    "t.txt": "made from",
}


@pytest.mark.parametrize("name", SUFFIXES)
def test_a_file_s_suffix_says_its_format(bare, slh, name):
    said = slh("trace", "bronze.sales", "--output", name, folder=bare.folder)
    assert (said.out, said.err) == ("", f"2 nodes in {name}\n")
    assert (bare.folder / name).read_text().startswith(SUFFIXES[name])


def test_a_file_that_exists_is_replaced_only_by_force(bare, slh):
    bare.write("t.mmd", "mine")
    said = slh("trace", "bronze.sales", "-o", "t.mmd", folder=bare.folder)
    assert said.code == 2
    assert "t.mmd exists. Choose another name, or add --force to replace it." in said.err
    assert (bare.folder / "t.mmd").read_text() == "mine"
    assert slh("impact", "bronze.sales", "-o", "t.mmd", "--force", folder=bare.folder).code == 0
    assert "flowchart LR" in (bare.folder / "t.mmd").read_text()
    assert not list(bare.folder.glob(".t.mmd*"))


WIDTHS = {200: ["kind", "fingerprint"], 80: ["fingerprint"], 60: []}


@pytest.mark.parametrize("room", WIDTHS)
def test_a_narrow_terminal_gets_fewer_columns(bare, room):
    header, root, file = tree_text(trace(bare.lake, "bronze.sales"), room).splitlines()
    assert [name for name in ("kind", "fingerprint") if name in header] == WIDTHS[room]
    assert root.startswith("bronze.sales@v1")
    assert len(root) <= room
    assert len(file) <= room


def test_notes_stand_behind_the_lines_and_need_no_room(drawn):
    text = tree_text(trace(drawn.lake, "gold.winners"), 60)
    assert [line.endswith("Z  not deterministic") for line in text.splitlines()] == [
        *(False, False, True, False, False)
    ]


def test_impact_goes_up_and_sums_up(drawn, slh):
    said = slh("impact", "bronze.sales", folder=drawn.folder)
    lines = said.out.splitlines()
    assert [line.partition("@v1")[0] for line in lines[1:7]] == [
        "bronze.sales",
        "├─ gold.shops",
        "└─ silver.drawn",
        "   ├─ gold.both",
        "   └─ gold.winners",
        "      └─ gold.both",
    ]
    assert lines[-1] == "Built on bronze.sales: 4 tables."


def test_impact_in_json_says_what_is_stale(drawn, slh):
    drawn.write("landing/2026-02.csv", "id,shop,sold_at,amount\n9,west,NA,1\n")
    drawn.ingest()
    found = json.loads(slh("impact", "bronze.sales", "--json", folder=drawn.folder).out)
    assert found["roots"] == ["bronze.sales@v2", "bronze.sales@v1"]
    assert "gold.shops@v1" in found["stale"]
    assert found["reads"]["gold.shops@v1"] == ["bronze.sales@v1"]
    said = slh("impact", "bronze.sales", folder=drawn.folder).out
    assert "stale: bronze.sales@v2 is newer" in said
    assert said.endswith("Built on bronze.sales: 4 tables. Stale: 4 of 4.\n")


def test_impact_names_damaged_tables_at_the_end_with_exit_code_1(drawn, slh):
    entry = drawn.lake.path("gold.shops") / "_delta_log" / f"{1:020}.json"
    entry.write_text(entry.read_text()[:100])
    said = slh("impact", "bronze.sales", folder=drawn.folder)
    assert said.code == 1
    assert "silver.drawn@v1" in said.out
    assert said.err.startswith(f"Error: gold.shops: the log entry {entry} is cut short")


MISTAKES = {
    "nothing of this name": (["bronze.sale"], "Did you mean 'bronze.sales'?"),
    "no such version": (["bronze.sales@v9"], "bronze.sales has no version 9"),
    "a moment without a zone": (["bronze.sales@2026-01-01T00:00:00"], "has no time zone"),
    "two formats": (["bronze.sales", "--json", "--format", "mermaid"], "are two formats"),
    "a format that is none": (["bronze.sales", "--format", "png"], "'png' is not one of 'tree'"),
    "no folder": (["bronze.sales", "-o", "x/t.mmd"], "There is no folder"),
    "a folder": (["bronze.sales", "-o", "landing"], "landing is a folder. Name a file in it."),
}


@pytest.mark.parametrize("command", ["trace", "impact"])
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_and_exit_code_2(bare, slh, command, mistake):
    arguments, message = MISTAKES[mistake]
    said = slh(command, *arguments, folder=bare.folder)
    assert said.code == 2
    assert message in said.err
    assert "Traceback" not in said.err
