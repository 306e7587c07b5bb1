from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any

from sololakehouse.diagrams import Diagram
from sololakehouse.diagrams.excalidraw import excalidraw
from sololakehouse.diagrams.flow import drawing
from sololakehouse.diagrams.scene import element_id
from tests.diagrams.drawn import chain, on_any_diagram

EVERY = {
    *("id", "type", "x", "y", "width", "height", "angle", "strokeColor", "backgroundColor"),
    *("fillStyle", "strokeWidth", "strokeStyle", "roughness", "opacity", "groupIds", "frameId"),
    *("roundness", "seed", "version", "versionNonce", "isDeleted", "boundElements", "updated"),
    *("link", "locked"),
}
OF_TEXT = {
    *("text", "originalText", "fontSize", "fontFamily", "textAlign", "verticalAlign"),
    *("containerId", "lineHeight", "autoResize"),
}
OF_ARROWS = {
    *("points", "lastCommittedPoint", "startBinding", "endBinding", "startArrowhead"),
    *("endArrowhead", "elbowed"),
}
KEYS = {"rectangle": EVERY, "text": EVERY | OF_TEXT, "arrow": EVERY | OF_ARROWS}


def elements(diagram: Diagram) -> dict[str, dict[str, Any]]:
    found = json.loads(excalidraw(drawing(diagram)))["elements"]
    named = {element["id"]: element for element in found}
    assert len(named) == len(found)
    return named


def of_type(found: dict[str, dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [element for element in found.values() if element["type"] == kind]


@on_any_diagram
def test_the_file_has_what_excalidraw_s_schema_asks_for(diagram):
    written = json.loads(excalidraw(drawing(diagram)))
    assert written.keys() == {"type", "version", "source", "elements", "appState", "files"}
    assert (written["type"], written["version"], written["files"]) == ("excalidraw", 2, {})
    for element in written["elements"]:
        assert element.keys() == KEYS[element["type"]]
        assert re.fullmatch(r"[a-z]+(-[0-9a-f]{12})?", element["id"])
        assert 0 <= element["seed"] < 2**31
        assert element["roughness"] == 1


@on_any_diagram
def test_every_arrow_is_bound_to_two_boxes_that_know_it(diagram):
    found = elements(diagram)
    arrows = of_type(found, "arrow")
    assert len(arrows) == len(diagram.arrows)
    for element, arrow in zip(arrows, diagram.arrows, strict=True):
        for side, box in (("startBinding", arrow.start), ("endBinding", arrow.end)):
            bound = found[element[side]["elementId"]]
            assert (bound["type"], bound["id"]) == ("rectangle", element_id("box", box))
            assert {"id": element["id"], "type": "arrow"} in bound["boundElements"]
        assert element["strokeStyle"] == ("dashed" if arrow.dashed else "solid")
        assert element["points"][0] == [0, 0]


@on_any_diagram
def test_all_that_is_bound_is_bound_from_both_sides(diagram):
    found = elements(diagram)
    for element in found.values():
        for bound in element["boundElements"]:
            other = found[bound["id"]]
            assert other["type"] == bound["type"]
            ends = [other.get(side) or {} for side in ("startBinding", "endBinding")]
            known = {other.get("containerId"), *(end.get("elementId") for end in ends)}
            assert element["id"] in known
        if element.get("containerId"):
            container = found[element["containerId"]]
            assert {"id": element["id"], "type": "text"} in container["boundElements"]


@on_any_diagram
def test_texts_stand_inside_their_boxes_and_boxes_apart(diagram):
    found = elements(diagram)
    boxes = of_type(found, "rectangle")
    assert [box["backgroundColor"] for box in boxes] == [
        diagram.colours[box.kind] for box in diagram.boxes
    ]
    for box, drawn in zip(boxes, diagram.boxes, strict=True):
        texts = [found[element_id("text", drawn.id)]]
        if len(drawn.lines) > 1:
            texts.append(found[element_id("text", drawn.id, "details")])
        assert [text["text"] for text in texts] == [text["originalText"] for text in texts]
        assert "\n".join(text["text"] for text in texts) == "\n".join(drawn.lines)
        if len(texts) == 1:
            assert texts[0]["containerId"] == box["id"]
        else:
            assert {tuple(one["groupIds"]) for one in (box, *texts)} == {(box["groupIds"][0],)}
        for text in texts:
            assert box["x"] < text["x"]
            assert text["x"] + text["width"] < box["x"] + box["width"]
            assert box["y"] < text["y"]
            assert text["y"] + text["height"] < box["y"] + box["height"]
    for one, other in combinations(boxes, 2):
        beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        above = one["y"] + one["height"] <= other["y"] or other["y"] + other["height"] <= one["y"]
        assert beside or above


@on_any_diagram
def test_the_same_diagram_gives_the_same_file(diagram):
    assert excalidraw(drawing(diagram)) == excalidraw(drawing(diagram))


def test_arrows_keep_a_gap_to_their_boxes():
    found = elements(chain("a", "b"))
    (arrow,) = of_type(found, "arrow")
    start, end = found[element_id("box", "a")], found[element_id("box", "b")]
    gap = arrow["startBinding"]["gap"]
    assert arrow["x"] == start["x"] + start["width"] + gap
    assert arrow["x"] + arrow["points"][-1][0] == end["x"] - gap
    assert arrow["width"] == arrow["points"][-1][0]


def test_wide_letters_get_wide_boxes():
    wide, narrow = (of_type(elements(chain(name)), "rectangle")[0] for name in ("mmmm", "iiii"))
    assert wide["width"] > narrow["width"]


def test_the_title_stands_above_all_boxes():
    found = elements(chain("a", "b"))
    title = found[element_id("words", "title")]
    assert title["text"] == "chain"
    assert title["y"] + title["height"] < min(box["y"] for box in of_type(found, "rectangle"))
