"""`slh diagram` as a person calls it."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import pytest

PLAN = "title: Plan\nalt: Sales become totals.\ndraw: [sales, totals]\narrows: [sales -> totals]\n"
BEGINNINGS = {"t.svg": "<svg ", "t.excalidraw": '{\n "type"', "t.mmd": "---\n", "t.json": '{\n  "t'}


@pytest.mark.parametrize("name", BEGINNINGS)
def test_a_file_s_ending_says_its_format(sales, slh, name):
    said = slh("diagram", "--output", name, folder=sales.folder)
    assert (said.code, said.out, said.err) == (0, "", f"Drawn in {name}\n")
    text = (sales.folder / name).read_text()
    assert text.startswith(BEGINNINGS[name])
    assert "bronze.sales" in text


def test_an_ending_that_is_none_is_refused_with_those_that_are(sales, slh):
    said = slh("diagram", "-o", "t.png", folder=sales.folder)
    assert said.code == 2
    assert "t.png: No ending '.png'." in said.err
    assert "Endings: .excalidraw, .json, .mermaid, .mmd, .svg." in said.err
    assert not (sales.folder / "t.png").exists()


def test_the_terminal_gets_mermaid_or_json(sales, slh):
    assert "flowchart LR" in slh("diagram", folder=sales.folder).out
    found = json.loads(slh("diagram", "--json", folder=sales.folder).out)
    assert found["arrows"] == [{"from": "landing files of bronze.sales", "to": "bronze.sales"}]


def test_a_file_that_exists_is_replaced_only_by_force(sales, slh):
    sales.write("t.svg", "mine")
    said = slh("diagram", "-o", "t.svg", folder=sales.folder)
    assert said.code == 2
    assert "t.svg exists. Choose another name, or add --force to replace it." in said.err
    assert slh("diagram", "-o", "t.svg", "--force", folder=sales.folder).code == 0
    ElementTree.parse(sales.folder / "t.svg")


def test_a_selection_that_fits_nothing_is_a_mistake(sales, slh):
    said = slh("diagram", "--select", "bronze.sale", folder=sales.folder)
    assert said.code == 2
    assert "Did you mean 'bronze.sales'?" in said.err


def test_a_description_is_drawn_without_a_project(tmp_path, slh):
    (tmp_path / "plan.yml").write_text(PLAN)
    light = slh("diagram", "plan.yml", folder=tmp_path).out
    assert ElementTree.fromstring(light)[1].text == "Sales become totals."
    assert slh("diagram", "plan.yml", "-o", "d.svg", "--dark", folder=tmp_path).code == 0
    assert (tmp_path / "d.svg").read_text() != light
    assert slh("diagram", "plan.yml", "-o", "plan.excalidraw", folder=tmp_path).code == 0
    assert json.loads((tmp_path / "plan.excalidraw").read_text())["type"] == "excalidraw"


REFUSED = {
    "--dark -o t.mmd": "--dark is for SVG",
    "--steps 1": "--steps counts from what is selected: name it with --select.",
    "plan.yml --select a": "plan.yml says all that is drawn; --select is for the project.",
    "plan.yml --json": "A description is drawn as svg or excalidraw, not as json.",
    "nothing.yml": "nothing.yml cannot be read: No such file or directory.",
    "--json --format svg": "--json and --format svg are two formats. Choose one.",
}


@pytest.mark.parametrize("asked", REFUSED)
def test_what_does_not_go_together_is_said(tmp_path, slh, asked):
    (tmp_path / "plan.yml").write_text(PLAN)
    said = slh("diagram", *asked.split(), folder=tmp_path)
    assert said.code == 2
    assert REFUSED[asked] in said.err


def test_trace_draws_by_hand_as_well(sales, slh):
    assert slh("trace", "bronze.sales", "-o", "t.svg", folder=sales.folder).code == 0
    root = ElementTree.parse(sales.folder / "t.svg").getroot()
    assert root[0].text == "What bronze.sales was made from"
