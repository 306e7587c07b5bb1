"""Diagrams as Mermaid flowcharts, which GitHub and most documentation tools draw."""

from __future__ import annotations

import json
import re

from sololakehouse.diagrams.diagram import Arrow, Diagram

_INK = "#1e1e1e"
# Lines of a box are broken here, not by Mermaid.
_CONFIG = ("config:", "  flowchart:", "    wrappingWidth: 600")
_SPECIAL = frozenset('#&"<>`')


def mermaid(diagram: Diagram) -> str:
    """Write a diagram as a flowchart from left to right."""
    names = {box.id: f"n{index}" for index, box in enumerate(diagram.boxes)}
    title = "".join(one if one.isprintable() else " " for one in diagram.title)
    front = ["---", f"title: {json.dumps(title, ensure_ascii=False)}", *_CONFIG, "---"]
    lines = [*front, "flowchart LR"]
    for box in diagram.boxes:
        text = "<br>".join(map(_escaped, box.lines)) or " "
        lines.append(f'  {names[box.id]}["{text}"]:::{_class(box.kind)}')
    lines += [f"  {_link(arrow, names)}" for arrow in diagram.arrows]
    for kind in dict.fromkeys(box.kind for box in diagram.boxes):
        fill = diagram.colours[kind]
        lines.append(f"  classDef {_class(kind)} fill:{fill},stroke:{_INK},color:{_INK}")
    marked = [names[box.id] for box in diagram.boxes if box.marked]
    lines += [f"  style {name} stroke-width:3px" for name in marked]
    return "\n".join(lines) + "\n"


def _link(arrow: Arrow, names: dict[str, str]) -> str:
    line = "-.->" if arrow.dashed else "-->"
    label = f'|"{_escaped(arrow.label)}"|' if arrow.label else ""
    return f"{names[arrow.start]} {line}{label} {names[arrow.end]}"


def _class(kind: str) -> str:
    return "is_" + re.sub(r"\W", "_", kind)


def _escaped(text: str) -> str:
    """Write text so that Mermaid shows it as it is.

    Examples
    --------
    >>> _escaped('a "b" <c>')
    'a #34;b#34; #60;c#62;'
    """
    return "".join(
        one if one.isprintable() and one not in _SPECIAL else f"#{ord(one)};" for one in text
    )
