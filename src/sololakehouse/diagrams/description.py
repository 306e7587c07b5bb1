"""Diagrams as a person writes them: YAML that says what stands where, and what leads to what."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, ValidationError, model_validator

from sololakehouse.config.settings import Settings
from sololakehouse.config.yaml_file import read_mapping
from sololakehouse.diagrams.arrows import Joint, Side
from sololakehouse.diagrams.diagram import Figure
from sololakehouse.diagrams.palette import Colour
from sololakehouse.errors import ConfigError, suggestion

_FIGURES: tuple[str, ...] = get_args(Figure)
_ARROW = re.compile(r"\s+(<?--?>)\s+")


def _lines(text: Any) -> Any:
    """Take a text of several lines, or a number, as lines."""
    return tuple(str(text).strip("\n").split("\n")) if isinstance(text, str | int | float) else text


Lines = Annotated[tuple[str, ...], BeforeValidator(_lines)]
Cell = Annotated[str, BeforeValidator(lambda value: "" if value is None else str(value))]


class Box(Settings):
    """A figure with text: `box`, `cylinder`, `file`, `person` or `ellipse`.

    The first line is its title. Arrows call it by `id`, or else by that line.
    """

    box: Lines
    id: str = ""
    shape: Figure = "box"
    colour: Colour = "white"
    marked: bool = False
    hatched: bool = False

    @property
    def name(self) -> str:
        """What arrows call it."""
        return self.id or self.box[0]


class Words(Settings):
    """Text without anything around it."""

    text: Lines
    large: bool = False
    colour: Colour = "white"


class Note(Settings):
    """A sticky note."""

    note: Lines
    id: str = ""

    @property
    def name(self) -> str:
        """What arrows call it."""
        return self.id or self.note[0]


def _some(value: Any) -> Any:
    if isinstance(value, list | tuple) and not value:
        raise ValueError("there is nothing in it")
    return value


Some = BeforeValidator(_some)


class Row(Settings):
    """Things beside one another, from left to right; `gap` in pixels."""

    row: Annotated[tuple[Item, ...], Some]
    gap: float | None = None
    align: Literal["start", "middle", "end"] = "middle"


class Column(Settings):
    """Things under one another, from top to bottom; `gap` in pixels."""

    column: Annotated[tuple[Item, ...], Some]
    gap: float | None = None
    align: Literal["start", "middle", "end"] = "middle"


class Frame(Settings):
    """A frame with a caption around things under one another; arrows may lead to it."""

    frame: str
    items: Annotated[tuple[Item, ...], Some]
    id: str = ""
    colour: Colour = "gray"
    dashed: bool = False
    gap: float | None = None
    align: Literal["start", "middle", "end"] = "middle"

    @property
    def name(self) -> str:
        """What arrows call it."""
        return self.id or self.frame


class Flow(Settings):
    """Boxes that the arrows between them put in layers."""

    flow: Annotated[tuple[Annotated[Box, BeforeValidator(lambda value: _item(value))], ...], Some]
    direction: Literal["down", "right"] = "down"


class Cells(Settings):
    """A row of a table, with more than its cells."""

    cells: tuple[Cell, ...]
    id: str = ""
    colour: Colour = "white"
    crossed: bool = False


class Table(Settings):
    """A small table; `table` is its header."""

    table: Annotated[tuple[Cell, ...], Some]
    rows: tuple[Annotated[Cells, BeforeValidator(lambda value: _cells(value))], ...]
    id: str = ""
    caption: str = ""

    @property
    def name(self) -> str:
        """What arrows call it."""
        return self.id or self.caption or ", ".join(self.table)

    @model_validator(mode="after")
    def _rows_are_as_wide_as_the_header(self) -> Table:
        for number, row in enumerate(self.rows, 1):
            if len(row.cells) != len(self.table):
                raise ValueError(
                    f"row {number} has {len(row.cells)} cells, and the header {len(self.table)}: "
                    f"{', '.join(self.table)}"
                )
        return self


class Event(Settings):
    """Something at a moment of a time line."""

    at: Cell
    text: Lines
    id: str = ""
    colour: Colour = "white"
    crossed: bool = False
    cut: bool = False
    marked: bool = False

    @property
    def name(self) -> str:
        """What arrows and bands call it."""
        return self.id or self.text[0]


class Band(Settings):
    """A stretch of a time line, from one event to another, both included."""

    first: str = Field(alias="from")
    last: str = Field(alias="to")
    text: str
    colour: Colour = "gray"


class Timeline(Settings):
    """Events from the earliest to the latest, from top to bottom; distances are not to scale."""

    timeline: Annotated[tuple[Event, ...], Some]
    bands: tuple[Band, ...] = ()
    id: str = "timeline"

    @model_validator(mode="after")
    def _bands_lie_between_events(self) -> Timeline:
        names = [event.name for event in self.timeline]
        for band in self.bands:
            for end in (band.first, band.last):
                if end not in names:
                    raise ValueError(f"no event {end!r}. {suggestion(end, names, 'event')}")
        return self


def _arrow(value: Any) -> Any:
    """Take `a -> b`, and `{a -> b: label}`, as an arrow."""
    if isinstance(value, str):
        return {"arrow": value}
    if isinstance(value, dict) and len(value) == 1:
        ((ends, label),) = value.items()
        if ends != "arrow":
            return {"arrow": ends, "label": label}
    return value


class Arrows(Settings):
    """`a -> b`, or several as in `a -> b -> c`; `-->` is dashed, `<->` has two heads."""

    arrow: str
    label: Lines = ()
    around: Side | None = None
    across: bool = False
    colour: Colour = "white"

    @model_validator(mode="after")
    def _has_ends(self) -> Arrows:
        if len(_ARROW.split(self.arrow)) < 3:
            raise ValueError(f"{self.arrow!r} is no arrow. Write 'a -> b', 'a --> b' or 'a <-> b'")
        for joint in self.joints():
            if joint.start == joint.end:
                raise ValueError(f"{self.arrow!r} leads from {joint.start!r} to itself")
        return self

    def joints(self) -> Iterator[Joint]:
        """Give each arrow from one thing to the next."""
        parts = _ARROW.split(self.arrow.strip())
        for start, pen, end in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
            dashed, both = "--" in pen, pen.startswith("<")
            yield Joint(start, end, self.label, dashed, both, self.around, self.colour, self.across)


class Description(Settings):
    """A whole diagram.

    Attributes
    ----------
    alt
        A sentence that says what it shows to who cannot see it.
    draw
        What stands under one another.
    """

    title: str
    alt: str
    draw: Annotated[tuple[Item, ...], Some]
    arrows: tuple[Annotated[Arrows, BeforeValidator(_arrow)], ...] = ()
    gap: float | None = None

    @model_validator(mode="after")
    def _alt_is_a_sentence(self) -> Description:
        if not self.alt.strip().endswith("."):
            raise ValueError("'alt' must be a whole sentence that says what the diagram shows")
        return self


def _item(value: Any) -> Any:
    """Take a text as a box, and `{cylinder: ...}` and its like as a box of that shape."""
    if isinstance(value, str):
        return {"box": value}
    if isinstance(value, dict) and "box" not in value:
        shapes = [shape for shape in _FIGURES if shape in value]
        if len(shapes) == 1:
            rest = {key: one for key, one in value.items() if key != shapes[0]}
            return {"box": value[shapes[0]], "shape": shapes[0], **rest}
    return value


def _cells(value: Any) -> Any:
    return {"cells": value} if isinstance(value, list) else value


_MODELS: dict[str, type[Settings]] = {
    "box": Box,
    "text": Words,
    "note": Note,
    "row": Row,
    "column": Column,
    "frame": Frame,
    "flow": Flow,
    "table": Table,
    "timeline": Timeline,
}
_KINDS = (*_FIGURES, *(kind for kind in _MODELS if kind not in _FIGURES))


def _kind(value: Any) -> str | None:
    for kind, model in _MODELS.items():
        if isinstance(value, model) or (isinstance(value, dict) and kind in value):
            return kind
    return None


Item = Annotated[
    Annotated[Box, Tag("box")]
    | Annotated[Words, Tag("text")]
    | Annotated[Note, Tag("note")]
    | Annotated[Row, Tag("row")]
    | Annotated[Column, Tag("column")]
    | Annotated[Frame, Tag("frame")]
    | Annotated[Flow, Tag("flow")]
    | Annotated[Table, Tag("table")]
    | Annotated[Timeline, Tag("timeline")],
    Discriminator(
        _kind,
        custom_error_type="no_item",
        custom_error_message=f"this is nothing that can be drawn. Write one of {', '.join(_KINDS)}",
    ),
    BeforeValidator(_item),
]
for _model in (Row, Column, Frame, Description):
    _model.model_rebuild()


def read_description(path: Path) -> Description:
    """Read the description of a diagram.

    Raises
    ------
    ConfigError
        The file cannot be read, is no YAML, or says what is unknown: with the place and the
        candidates.
    """
    content = read_mapping(path)
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        mistakes = "; ".join(_mistake(detail) for detail in error.errors())
        raise ConfigError(f"{path}: {mistakes}") from error


def _mistake(detail: Any) -> str:
    *parents, last = detail["loc"] or ("",)
    place = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return f"unknown key {place!r}. {suggestion(str(last), _known_at(parents), 'key')}"
    if detail["type"] == "no_item":
        keys = [str(key) for key in detail["input"]] if isinstance(detail["input"], dict) else []
        meant = suggestion(keys[0], _KINDS, "kind") if keys else ""
        return f"{place}: {detail['msg']}. {meant}".rstrip()
    return f"{place}: {detail['msg'].removeprefix('Value error, ')}"


def _known_at(parents: list[str | int]) -> list[str]:
    """Return the keys that the innermost thing of a place may have."""
    inner: dict[str, type[Settings]] = {
        **_MODELS,
        "arrows": Arrows,
        "bands": Band,
        "rows": Cells,
    }
    model: type[Settings] = Description
    for index, parent in enumerate(parents):
        if isinstance(parent, str) and parent in inner:
            model = inner[parent]
        if parent in ("flow", "timeline") and isinstance([*parents, ""][index + 1], int):
            model = Box if parent == "flow" else Event
    names = [field.alias or name for name, field in model.model_fields.items()]
    return [name for name in names if name != "shape"]
