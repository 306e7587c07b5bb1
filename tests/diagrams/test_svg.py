"""SVG in the hand-drawn manner: whole by itself, for everybody, the same each time."""

from __future__ import annotations

import base64
import io
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from docs.diagrams import terminal
from fontTools.ttLib import TTFont

from sololakehouse.diagrams.flow import drawing
from sololakehouse.diagrams.font import font_part, text_size
from sololakehouse.diagrams.palette import FILLS, darkened
from sololakehouse.diagrams.sketch import Hand
from sololakehouse.diagrams.svg import svg
from tests.diagrams.drawn import on_any_diagram
from tests.diagrams.pictures import SVG, composed

FONT = re.compile(r"url\(data:font/ttf;base64,([^)]*)\)")
SQUARE = [(0.0, 0.0), (90.0, 0.0), (90.0, 60.0), (0.0, 60.0)]


@on_any_diagram
def test_it_is_xml_and_says_what_it_shows(diagram):
    root = ElementTree.fromstring(svg(drawing(diagram)))
    assert root.attrib["role"] == "img"
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    count = len(diagram.boxes)
    assert root[1].text.endswith(f": {count} boxes, joined by {len(diagram.arrows)} arrows.")


def test_nothing_is_loaded_from_anywhere():
    written = svg(composed(draw=["a", {"note": "b"}], arrows=["a -> b"]))
    without_font = FONT.sub("", written).replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert not re.search(r"https?:|url\((?!#)|href|<script|@import", without_font)


def test_the_font_has_the_letters_of_the_picture_and_no_others():
    written = svg(composed(title="Äa1", draw=["bc"]))
    font = TTFont(io.BytesIO(base64.b64decode(FONT.search(written)[1])))
    assert set(map(chr, font.getBestCmap())) - {"\r", " ", "\xa0", "\0"} == set("Äa1bc")
    assert "SIL" in str(font["name"].getDebugName(14)) or "OFL" in font["name"].getDebugName(14)


def test_the_same_font_part_in_another_process():
    asked = "from sololakehouse.diagrams.font import font_part; print(font_part(['hello']))"
    other = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == font_part(["hello"])


def test_a_dark_picture_differs_in_colours_alone():
    scene = composed(draw=[{"box": "a", "colour": "blue"}, "b"], arrows=["a -> b"])
    light, dark = svg(scene), svg(scene, dark=True)
    assert light != dark
    for name, colour in {**FILLS, "ink": "#1e1e1e"}.items():
        assert name == "white" or darkened(colour) not in light
    colours = re.compile(r"#[0-9a-f]{6}")
    assert colours.sub("", light) == colours.sub("", dark)
    assert {darkened(one) for one in colours.findall(light)} == set(colours.findall(dark))


@pytest.mark.parametrize("colour", [*FILLS.values(), "#1e1e1e"])
def test_text_can_be_read_on_dark_paper(colour):
    assert contrast(darkened("#1e1e1e"), darkened(colour)) >= 4.5 or colour == "#1e1e1e"
    assert contrast("#1e1e1e", colour) >= 4.5 or colour == "#1e1e1e"


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2.2."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


def test_control_characters_and_markup_are_written_as_text():
    written = svg(composed(draw=[{"box": "a <b> & \x07c", "id": "a"}]))
    texts = [text.text for text in ElementTree.fromstring(written).iter(f"{SVG}text")]
    assert texts == ["A title", "a <b> &  c"]


def test_text_is_as_wide_as_the_font_says():
    assert text_size(["mm"], 20)[0] == 2 * text_size(["m"], 20)[0] > text_size(["ii"], 20)[0]
    assert text_size(["語"], 20) == (20, 25)
    assert text_size([], 20) == (0, 0)


def test_the_same_seed_draws_the_same_and_another_does_not():
    def drawn(seed: int) -> list[str]:
        hand = Hand(seed)
        return [hand.rectangle(0, 0, 90, 60, 9), hand.ellipse(0, 0, 90, 60), hand.hatching(SQUARE)]

    assert drawn(1) == drawn(1)
    assert all(one != other for one, other in zip(drawn(1), drawn(2), strict=True))


def test_hatching_stays_inside_and_fills():
    numbers = list(map(float, re.findall(r"-?\d+\.?\d*", Hand(1).hatching(SQUARE))))
    xs, ys = numbers[::2], numbers[1::2]
    assert -3 <= min(xs) < 10
    assert 80 < max(xs) <= 93
    assert -3 <= min(ys) < 10
    assert 50 < max(ys) <= 63


LINES = [
    "Landing",
    "  27 files (0.3 s)",
    "",
    "table  rows",
    "a      1",
    "",
    "Done in 2.0 s.",
    "",
    "More",
]


@pytest.mark.parametrize("theme", terminal.PICTURES.values(), ids=terminal.PICTURES)
def test_the_terminal_s_picture_shows_the_steps_and_says_what_is_left_out(theme):
    shown = terminal.shown(LINES)
    assert shown[:2] == LINES[:2]
    assert shown[3].startswith("... 3 more lines")
    assert shown[-1] == "Done in 2.0 s."
    root = ElementTree.fromstring(terminal.picture(shown, theme))
    text = "\n".join(one.text or "" for one in root.iter(f"{SVG}text")).replace("\xa0", " ")
    assert "slh demo examples/nyc_flights" in text
    assert "27 files" in text


@pytest.mark.parametrize("name", terminal.PICTURES)
def test_the_recorded_picture_loads_nothing_either(name):
    written = (terminal.HERE / name).read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?:|url\((?!#)|<script", written)
    assert "<desc>" in written
