"""Diagrams of any shape, for Hypothesis."""

from __future__ import annotations

from itertools import pairwise
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.diagrams import Arrow, Box, Diagram
from sololakehouse.diagrams.diagram import Figure

COLOURS = {"one": "#ffd8a8", "two": "#b2f2bb"}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=8)


@st.composite
def diagrams(draw, shapes=("box",)) -> Diagram:
    """Draw figures with some lines of text, and arrows that lead from earlier to later ones."""
    count = draw(st.integers(1, 9))
    boxes = tuple(
        Box(
            f"b{number}",
            tuple(draw(st.lists(TEXT, min_size=1, max_size=2))),
            draw(st.sampled_from(sorted(COLOURS))),
            draw(st.none() | st.integers(0, 3)),
            draw(st.booleans()),
            draw(st.sampled_from(shapes)),
            len(shapes) > 1 and draw(st.booleans()),
        )
        for number in range(count)
    )
    pairs = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))
    ends = [pair for pair in draw(st.lists(pairs, max_size=14, unique=True)) if pair[0] < pair[1]]
    arrows = tuple(
        Arrow(f"b{start}", f"b{end}", draw(st.sampled_from(["", "restored"])), draw(st.booleans()))
        for start, end in ends
    )
    return Diagram(draw(TEXT), boxes, arrows, COLOURS)


def chain(*names: str, colours: str = "one") -> Diagram:
    boxes = tuple(Box(name, (name,), colours) for name in names)
    arrows = tuple(Arrow(start, end) for start, end in pairwise(names))
    return Diagram("chain", boxes, arrows, COLOURS)


def on_any_diagram(test):
    """Run a test on diagrams of many boxes and arrows."""
    return settings(max_examples=25, deadline=None)(given(diagram=diagrams())(test))


def on_any_figures(test):
    """Run a test on diagrams whose boxes have all shapes, plain or hatched."""
    return settings(max_examples=25, deadline=None)(given(diagram=diagrams(get_args(Figure)))(test))
