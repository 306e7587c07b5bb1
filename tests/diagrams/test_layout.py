from __future__ import annotations

from itertools import combinations, pairwise

from sololakehouse.diagrams import Arrow, Box, Diagram
from sololakehouse.diagrams.layout import Layout, Place, lay_out
from tests.diagrams.drawn import COLOURS, chain, on_any_diagram


def size(box: Box) -> tuple[float, float]:
    return 20.0 + 10 * max(map(len, box.lines)), 20.0 * len(box.lines)


def places(layout: Layout) -> dict[str, Place]:
    return {place.box.id: place for place in layout.places}


def overlap(one: Place, other: Place) -> bool:
    beside = one.x + one.width <= other.x or other.x + other.width <= one.x
    above = one.y + one.height <= other.y or other.y + other.height <= one.y
    return not (beside or above)


def inside(place: Place, x: float, y: float) -> bool:
    return place.x < x < place.x + place.width and place.y < y < place.y + place.height


@on_any_diagram
def test_boxes_never_overlap_and_none_is_lost(diagram):
    layout = lay_out(diagram, size)
    assert [place.box for place in layout.places] == list(diagram.boxes)
    assert not any(overlap(one, other) for one, other in combinations(layout.places, 2))
    assert min(place.x for place in layout.places) >= 0
    assert min(place.y for place in layout.places) >= -1e-6


@on_any_diagram
def test_every_arrow_leads_to_the_right_from_box_to_box(diagram):
    layout = lay_out(diagram, size)
    known = places(layout)
    assert [route.arrow for route in layout.routes] == list(diagram.arrows)
    for route in layout.routes:
        start, end = known[route.arrow.start], known[route.arrow.end]
        assert route.points[0] == (start.x + start.width, start.y + start.height / 2)
        assert route.points[-1] == (end.x, end.y + end.height / 2)
        assert all(left[0] <= right[0] for left, right in pairwise(route.points))


@on_any_diagram
def test_no_arrow_crosses_a_box(diagram):
    layout = lay_out(diagram, size)
    for route in layout.routes:
        for (left, top), (right, bottom) in pairwise(route.points):
            for step in range(1, 20):
                x, y = left + (right - left) * step / 20, top + (bottom - top) * step / 20
                assert not any(inside(place, x, y) for place in layout.places)


def test_a_long_arrow_goes_around_what_is_between():
    short = chain("a", "b", "c")
    diagram = Diagram("", short.boxes, (*short.arrows, Arrow("a", "c")), COLOURS)
    layout = lay_out(diagram, size)
    between, route = places(layout)["b"], layout.routes[-1]
    assert len(route.points) == 4
    assert route.points[1][0] == between.x
    assert not between.y <= route.points[1][1] <= between.y + between.height


@on_any_diagram
def test_the_same_diagram_is_laid_out_the_same(diagram):
    assert lay_out(diagram, size) == lay_out(diagram, size)


def test_boxes_stand_right_of_all_that_lead_to_them():
    known = places(lay_out(chain("a", "b", "c"), size))
    assert known["a"].x + known["a"].width < known["b"].x
    assert known["b"].x + known["b"].width < known["c"].x
    assert known["a"].y == known["b"].y == known["c"].y == 0


def test_boxes_of_a_rank_stand_in_one_column():
    boxes = (
        Box("file", ("file",), "one", 0),
        Box("bronze", ("bronze",), "one", 1),
        Box("alone", ("alone",), "one", 1),
        Box("silver", ("silver",), "one", 2),
    )
    arrows = (Arrow("file", "bronze"), Arrow("alone", "silver"))
    known = places(lay_out(Diagram("", boxes, arrows, COLOURS), lambda _: (50.0, 20.0)))
    assert known["bronze"].x == known["alone"].x < known["silver"].x


def test_a_rank_does_not_hide_what_leads_to_a_box():
    boxes = (Box("late", ("late",), "one", 5), Box("early", ("early",), "one", 1))
    arrows = (Arrow("late", "early"),)
    known = places(lay_out(Diagram("", boxes, arrows, COLOURS), size))
    assert known["late"].x < known["early"].x


def test_an_order_without_crossings_is_found():
    names = [f"{side}{number}" for side in "lr" for number in range(4)]
    boxes = tuple(Box(name, (name,), "one") for name in names)
    arrows = tuple(Arrow(f"l{number}", f"r{3 - number}") for number in range(4))
    known = places(lay_out(Diagram("", boxes, arrows, COLOURS), size))
    for number in range(4):
        assert known[f"l{number}"].y == known[f"r{3 - number}"].y


def test_nothing_is_laid_out_of_nothing():
    assert lay_out(Diagram("", (), (), COLOURS), size) == Layout((), ())
