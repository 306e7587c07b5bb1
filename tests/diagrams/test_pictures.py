"""Both writers draw the same, and the files of docs/diagrams are what their descriptions give."""

from __future__ import annotations

from itertools import combinations
from math import dist

import pytest
from docs.diagrams.generate import drawn
from docs.diagrams.terminal import PICTURES

from sololakehouse.diagrams.flow import drawing
from sololakehouse.diagrams.scene import Line, Scene, Shape, Text, extent
from tests.diagrams.drawn import on_any_figures
from tests.diagrams.pictures import (
    FOLDER,
    NAMES,
    SVG,
    around,
    in_excalidraw,
    in_svg,
    scene_of,
    strokes,
)

EXPECTED = {
    *("lakehouse", "warehouse", "medallion", "time_travel", "fingerprint", "feature_ts"),
    *("offline_store", "point_in_time", "replay", "versions", "experiments", "stages"),
    *("batch_inference", "drift", "serving", "lineage", "keeping", "architecture", "rooms"),
}
NEAR = 4
"""Pixels by which a hand strays."""
WIDEST = 580
"""Of it 16 pixels are 10 on a screen of 360."""


@pytest.fixture(scope="module", params=NAMES)
def scene(request) -> Scene:
    return scene_of(request.param)


def assert_the_same(scene: Scene) -> None:
    there, here = in_excalidraw(scene), in_svg(scene)
    assert list(there) == list(here) == [element.id for element in scene.elements]
    for name, element in there.items():
        kind = element["type"]
        if kind == "text":
            lines = [one.text or "" for one in here[name].iter(f"{SVG}text")]
            assert "\n".join(lines) == "".join(
                one if one.isprintable() or one == "\n" else " " for one in element["text"]
            )
            (x, y), (width, height) = (
                (element["x"], element["y"]),
                (
                    element["width"],
                    element["height"],
                ),
            )
            for one in here[name].iter(f"{SVG}text"):
                assert x - 0.1 <= float(one.attrib["x"]) <= x + width + 0.1
                assert y <= float(one.attrib["y"]) <= y + height
        elif element["strokeColor"] != "transparent":
            hatched = (element["fillStyle"], element["backgroundColor"] != "transparent")
            stroke = strokes(here[name])[hatched == ("hachure", True)]
            x, y = element["x"], element["y"]
            if "points" in element:
                for left, top in element["points"]:
                    assert min(dist((x + left, y + top), point) for point in stroke) <= NEAR
            else:
                box = x, y, x + element["width"], y + element["height"]
                for ours, theirs in zip(around(stroke), box, strict=True):
                    assert abs(ours - theirs) <= NEAR, (name, kind)


@on_any_figures
def test_svg_and_excalidraw_hold_the_same_at_the_same_places(diagram):
    assert_the_same(drawing(diagram))


def test_svg_and_excalidraw_of_each_description_are_the_same(scene):
    assert_the_same(scene)


def test_all_diagrams_that_pages_refer_to_are_there():
    assert set(NAMES) >= EXPECTED


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_what_their_descriptions_give(name):
    for path, content in drawn(FOLDER / f"{name}.yml"):
        assert path.read_text("utf-8") == content, f"{path.name}: run 'make diagrams'"


def test_no_file_is_left_of_a_description_that_is_gone():
    found = {path.name for path in FOLDER.iterdir() if path.suffix in (".svg", ".excalidraw")}
    made = {f"{name}{end}" for name in NAMES for end in (".svg", "-dark.svg", ".excalidraw")}
    assert found - set(PICTURES) == made


def test_a_phone_shows_it_large_enough(scene):
    left, _, right, _ = scene.bounds
    sizes = [element.size for element in scene.elements if isinstance(element, Text)]
    assert right - left <= WIDEST
    assert min(sizes) >= 16


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    beside = one[2] <= other[0] or other[2] <= one[0]
    return not (beside or one[3] <= other[1] or other[3] <= one[1])


def test_no_text_lies_on_another(scene):
    texts = [element for element in scene.elements if isinstance(element, Text)]
    for one, other in combinations(texts, 2):
        assert not overlap(extent(one), extent(other)), (one.lines, other.lines)


def test_no_arrow_leads_through_text_that_is_not_its_own(scene):
    texts = [element for element in scene.elements if isinstance(element, Text)]
    groups = in_svg(scene)
    for arrow in scene.elements:
        if not isinstance(arrow, Line) or arrow.start is None:
            continue
        stroke = strokes(groups[arrow.id])[0]
        for text in texts:
            left, top, right, bottom = extent(text)
            touched = [(x, y) for x, y in stroke if left < x < right and top < y < bottom]
            assert not touched or text.container == arrow.id, (arrow.points, text.lines)


def test_text_stays_within_its_box(scene):
    shapes = {e.id: e for e in scene.elements if isinstance(e, Shape)}
    for text in scene.elements:
        if isinstance(text, Text) and text.container in shapes:
            left, top, right, bottom = extent(shapes[text.container])
            inner = extent(text)
            assert left < inner[0]
            assert inner[2] < right
            assert top < inner[1]
            assert inner[3] < bottom


def test_it_says_one_thing_with_few_boxes(scene):
    boxes = [e for e in scene.elements if isinstance(e, Shape) and e.name]
    assert len(boxes) <= 16


def test_a_sentence_says_what_it_shows(scene):
    assert scene.alt.endswith(".")
    assert len(scene.alt.split()) >= 8
