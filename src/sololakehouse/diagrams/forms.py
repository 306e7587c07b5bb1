"""A diagram of boxes and arrows in each of its forms."""

from __future__ import annotations

from typing import Literal

from sololakehouse.diagrams.diagram import Diagram

Form = Literal["mermaid", "excalidraw", "svg"]
SUFFIXES: dict[str, Form] = {
    ".excalidraw": "excalidraw",
    ".svg": "svg",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
}


def drawn(diagram: Diagram, form: str, *, dark: bool = False) -> str:
    """Write a diagram in a form, one of those of `SUFFIXES`; `dark` is for SVG."""
    if form == "mermaid":
        from sololakehouse.diagrams.mermaid import mermaid

        return mermaid(diagram)
    from sololakehouse.diagrams.excalidraw import excalidraw
    from sololakehouse.diagrams.flow import drawing
    from sololakehouse.diagrams.svg import svg

    return svg(drawing(diagram), dark=dark) if form == "svg" else excalidraw(drawing(diagram))
