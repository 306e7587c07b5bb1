"""Descriptions: what they may say, and what is said of mistakes."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import get_args

import pytest

from sololakehouse.diagrams.compose import compose
from sololakehouse.diagrams.description import (
    Band,
    Box,
    Cells,
    Column,
    Description,
    Event,
    Flow,
    Frame,
    Note,
    Row,
    Table,
    Timeline,
    Words,
    read_description,
)
from sololakehouse.diagrams.diagram import Figure
from sololakehouse.diagrams.palette import FILLS
from sololakehouse.diagrams.scene import Line, Shape, Text, element_id
from sololakehouse.errors import ConfigError, NotFoundError
from tests.diagrams.pictures import FOLDER, composed

HEAD = "title: Sales\nalt: Shows sales.\n"


def mistake(tmp_path, text: str) -> str:
    path = tmp_path / "plan.yml"
    path.write_text(text)
    with pytest.raises(ConfigError) as said:
        compose(read_description(path))
    return str(said.value).replace(str(path), "plan.yml")


def shape(scene, name: str) -> Shape:
    (found,) = (e for e in scene.elements if isinstance(e, Shape) and e.name == name)
    return found


def lines(scene) -> list[tuple[str, ...]]:
    return [e.lines for e in scene.elements if isinstance(e, Text)]


def joined(scene) -> list[tuple[str, str]]:
    return [(e.start, e.end) for e in scene.elements if isinstance(e, Line) and e.start]


def test_a_text_alone_is_a_box():
    scene = composed(draw=["sales"])
    assert lines(scene) == [("A title",), ("sales",)]
    assert shape(scene, "sales").kind == "rectangle"


def test_things_of_a_column_stand_under_one_another_and_of_a_row_beside():
    scene = composed(draw=[{"row": ["a", "b"]}, "c"])
    a, b, c = (shape(scene, name) for name in "abc")
    assert a.y == b.y
    assert a.x + a.width < b.x
    assert a.y + a.height < c.y


def test_an_arrow_between_neighbours_gets_room_for_its_label():
    def gap(*arrows) -> float:
        scene = composed(draw=["a", "b"], arrows=list(arrows))
        return shape(scene, "b").y - shape(scene, "a").y

    assert gap() < gap("a -> b") < gap({"a -> b": "takes"}) < gap({"a -> b": "takes\nall"})


def test_a_frame_holds_what_is_in_it():
    scene = composed(draw=[{"frame": "one run", "items": ["a", "b"]}])
    outer = shape(scene, "one run")
    for name in "ab":
        inner = shape(scene, name)
        assert outer.x < inner.x
        assert inner.y + inner.height < outer.y + outer.height
    assert ("one run",) in lines(scene)


def test_a_flow_puts_boxes_in_layers_and_draws_its_arrows_once():
    flow = {"flow": ["a", "b", {"cylinder": "c"}]}
    scene = composed(draw=[flow, "d"], arrows=["a -> b -> c", "c -> d"])
    tops = [shape(scene, name).y for name in "abcd"]
    assert tops == sorted(tops)
    boxes = [element_id("box", name) for name in "abcd"]
    assert sorted(joined(scene)) == sorted(pairwise(boxes))


def test_arrows_are_dashed_and_have_two_heads_as_written():
    scene = composed(draw=["a", "b", "c"], arrows=["a --> b", "b <-> c"])
    first, second = (e for e in scene.elements if isinstance(e, Line) and e.start)
    assert (first.dashed, first.start_head, first.end_head) == (True, False, True)
    assert (second.dashed, second.start_head, second.end_head) == (False, True, True)


@pytest.mark.parametrize("side", ["left", "right"])
def test_an_arrow_led_around_keeps_clear_of_all_that_is_between(side):
    wide = "something very wide that stands between"
    scene = composed(draw=["a", wide, "b"], arrows=[{"arrow": "a -> b", "around": side}])
    (arrow,) = (e for e in scene.elements if isinstance(e, Line) and e.start)
    box, middle = shape(scene, wide), arrow.points[len(arrow.points) // 2]
    assert middle[0] < box.x if side == "left" else middle[0] > box.x + box.width


def test_an_arrow_across_leaves_at_the_side():
    described = {"draw": [{"row": [{"column": ["a", "b"]}, "c"], "align": "start", "gap": 80}]}
    for across in (False, True):
        scene = composed(**described, arrows=[{"arrow": "b -> c", "across": across}])
        (arrow,) = (e for e in scene.elements if isinstance(e, Line) and e.start)
        b = shape(scene, "b")
        assert (arrow.points[0][0] > b.x + b.width) == across


def test_a_table_has_its_cells_and_rows_that_arrows_may_call():
    rows = [["JFK", 1], {"cells": ["LGA", None], "id": "lga", "crossed": True}]
    scene = composed(
        draw=[{"table": ["origin", "flights"], "rows": rows, "caption": "gold.day"}, "b"],
        arrows=["lga -> b", "gold.day -> b"],
    )
    cells = [line[0] for line in lines(scene)]
    assert cells == ["A title", "gold.day", "origin", "flights", "JFK", "1", "LGA", "", "b"]
    assert shape(scene, "lga").y > shape(scene, "gold.day").y


def test_a_time_line_has_its_events_from_top_to_bottom():
    events = [{"at": "12:00", "text": "old"}, {"at": "13:00", "text": "new\nchosen", "cut": True}]
    bands = [{"from": "old", "to": "new", "text": "window"}]
    scene = composed(draw=[{"timeline": events, "bands": bands}])
    assert shape(scene, "old").y + shape(scene, "old").height < shape(scene, "new").y
    assert {("12:00",), ("13:00",), ("old",), ("new",), ("chosen",), ("window",)} <= {*lines(scene)}


def test_a_title_stands_above_the_middle_of_everything():
    scene = composed(draw=["a", "b"], arrows=[{"arrow": "a -> b", "around": "right"}])
    title = next(e for e in scene.elements if isinstance(e, Text))
    left, _, right, _ = scene.bounds
    assert abs(title.x + title.width / 2 - (left + right) / 2) < 1


def test_an_unknown_key_is_said_with_those_that_there_are(tmp_path):
    assert mistake(tmp_path, HEAD + "draw: [{box: a, color: red}]") == (
        "plan.yml: unknown key 'draw.0.box.color'. Did you mean 'colour'? "
        "Keys: box, colour, hatched, id, marked."
    )


def test_an_unknown_key_is_said_wherever_it_stands(tmp_path):
    flow = "draw: [{row: [{flow: [{box: a, size: 3}]}]}]"
    assert "Keys: box, colour, hatched, id, marked." in mistake(tmp_path, HEAD + flow)
    event = "draw: [{timeline: [{at: 1, text: a, lane: 2}]}]"
    assert "Keys: at, colour, crossed, cut, id, marked, text." in mistake(tmp_path, HEAD + event)
    band = "draw: [{timeline: [{at: 1, text: a}], bands: [{from: a, to: a, text: b, till: c}]}]"
    assert "Keys: colour, from, text, to." in mistake(tmp_path, HEAD + band)
    arrow = "draw: [a]\narrows: [{arrow: a -> b, lable: x}]"
    assert "Did you mean 'label'?" in mistake(tmp_path, HEAD + arrow)
    assert "Did you mean 'title'?" in mistake(tmp_path, HEAD + "tilte: x\ndraw: [a]")


def test_what_cannot_be_drawn_is_said_with_what_can(tmp_path):
    said = mistake(tmp_path, HEAD + "draw: [{cilinder: a}]")
    assert said.startswith("plan.yml: draw.0: this is nothing that can be drawn. Write one of box,")
    assert "Did you mean 'cylinder'?" in said


MISTAKES = {
    "draw: [{box: a, colour: blau}]": "draw.0.box.colour: Input should be 'white', 'gray'",
    "draw: [a]\narrows: [a to b]": "'a to b' is no arrow. Write 'a -> b', 'a --> b' or 'a <-> b'",
    "draw: [a]\narrows: [a -> a]": "'a -> a' leads from 'a' to itself",
    "draw: [{table: [a, b], rows: [[1]]}]": "row 1 has 1 cells, and the header 2: a, b",
    "draw: [a, a]": "Sales: 2 things are called 'a'. Give each an 'id' of its own.",
    "draw: [{flow: [a, b]}]\narrows: [a -> b -> a]": "The arrows of a flow lead in a circle: ",
    "draw: []": "draw: there is nothing in it",
    "draw: [{timeline: [{at: 1, text: a}], bands: [{from: a, to: b, text: c}]}]": (
        "no event 'b'. Events: a."
    ),
}


@pytest.mark.parametrize("text", MISTAKES)
def test_mistakes_are_said_in_a_sentence(tmp_path, text):
    assert MISTAKES[text] in mistake(tmp_path, HEAD + text)


def test_the_alternative_text_is_a_sentence(tmp_path):
    said = mistake(tmp_path, "title: a\nalt: sales\ndraw: [a]")
    assert "'alt' must be a whole sentence that says what the diagram shows" in said


def test_an_arrow_to_nothing_names_the_nearest():
    with pytest.raises(NotFoundError, match=r"A title: arrows: No thing 'slaes'\. Did you mean"):
        composed(draw=["sales", "b"], arrows=["b -> slaes"])


PAGE = (FOLDER.parent / "diagrams.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=["first", "second"])
def test_the_examples_of_the_manual_can_be_drawn(tmp_path, text):
    (tmp_path / "plan.yml").write_text(text)
    assert len(compose(read_description(tmp_path / "plan.yml")).elements) > 5


def test_the_picture_of_the_manual_is_that_of_its_example():
    assert EXAMPLES[0] == (FOLDER / "example.yml").read_text()


def test_the_manual_names_every_key_and_colour():
    models = (Box, Words, Note, Row, Column, Frame, Flow, Table, Cells, Event, Band, Timeline)
    keys = {field.alias or name for m in models for name, field in m.model_fields.items()}
    keys |= {"arrow", "label", "around", "across", *FILLS, *get_args(Figure)}
    assert {key for key in keys - {"shape"} if not re.search(rf"\b{key}\b", PAGE)} == set()


def test_a_description_is_frozen():
    described = Description.model_validate({"title": "a", "alt": "A.", "draw": ["a"]})
    assert Description.model_validate(described.model_dump(by_alias=True)) == described
