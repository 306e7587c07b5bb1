from __future__ import annotations

import re

import yaml

from sololakehouse.diagrams import Arrow, Box, Diagram
from sololakehouse.diagrams.mermaid import mermaid
from tests.diagrams.drawn import COLOURS, on_any_diagram

NODE = re.compile(r'^  (n\d+)\["([^"]*)"\]:::(is_\w+)$')
LINK = re.compile(r'^  (n\d+) (-->|-\.->)(?:\|"([^"]*)"\|)? (n\d+)$')
REST = re.compile(r"^  (classDef is_\w+ fill:#\w{6},stroke:#1e1e1e,color:#1e1e1e|style n\d+ .*)$")


def unescaped(text: str) -> str:
    return re.sub(r"#(\d+);", lambda match: chr(int(match[1])), text)


@on_any_diagram
def test_every_line_is_one_that_mermaid_knows_and_says_what_the_diagram_says(diagram):
    _, front, body = mermaid(diagram).split("---\n", 2)
    printable = "".join(one if one.isprintable() else " " for one in diagram.title)
    assert yaml.safe_load(front)["title"] == printable
    first, *lines = body.split("\n")[:-1]
    assert first == "flowchart LR"
    nodes = [match for line in lines if (match := NODE.match(line))]
    links = [match for line in lines if (match := LINK.match(line))]
    assert len(nodes) + len(links) == sum(1 for line in lines if not REST.match(line))
    names = {box.id: match[1] for box, match in zip(diagram.boxes, nodes, strict=True)}
    for box, match in zip(diagram.boxes, nodes, strict=True):
        lines_shown = tuple(map(unescaped, match[2].split("<br>")))
        assert lines_shown == (box.lines if box.lines != ("",) else (" ",))
        assert match[3] == f"is_{box.kind}"
    assert [(m[1], m[2] == "-.->", m[3] or "", m[4]) for m in links] == [
        (names[arrow.start], arrow.dashed, arrow.label, names[arrow.end])
        for arrow in diagram.arrows
    ]


def test_a_diagram_in_full():
    boxes = (Box("a", ('say "a"', "<b>"), "one"), Box("end", ("end",), "two", marked=True))
    arrows = (Arrow("a", "end", "restored", dashed=True),)
    assert mermaid(Diagram("Title", boxes, arrows, COLOURS)) == (
        '---\ntitle: "Title"\nconfig:\n  flowchart:\n    wrappingWidth: 600\n---\n'
        "flowchart LR\n"
        '  n0["say #34;a#34;<br>#60;b#62;"]:::is_one\n'
        '  n1["end"]:::is_two\n'
        '  n0 -.->|"restored"| n1\n'
        "  classDef is_one fill:#ffd8a8,stroke:#1e1e1e,color:#1e1e1e\n"
        "  classDef is_two fill:#b2f2bb,stroke:#1e1e1e,color:#1e1e1e\n"
        "  style n1 stroke-width:3px\n"
    )
