"""Draws all descriptions in this folder again: NAME.svg, NAME-dark.svg and NAME.excalidraw.

`make diagrams` calls it. Only what differs is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from sololakehouse.diagrams.compose import compose
from sololakehouse.diagrams.description import read_description
from sololakehouse.diagrams.excalidraw import excalidraw
from sololakehouse.diagrams.svg import svg

FOLDER = Path(__file__).parent


def drawn(description: Path) -> Iterator[tuple[Path, str]]:
    """Give the files that a description makes, with their contents."""
    scene = compose(read_description(description))
    name = description.stem
    yield description.with_name(f"{name}.svg"), svg(scene)
    yield description.with_name(f"{name}-dark.svg"), svg(scene, dark=True)
    yield description.with_name(f"{name}.excalidraw"), excalidraw(scene)


def main() -> None:
    """Write what differs."""
    for description in sorted(FOLDER.glob("*.yml")):
        for path, content in drawn(description):
            if not path.exists() or path.read_text("utf-8") != content:
                path.write_text(content, "utf-8")
                click.echo(path.relative_to(FOLDER.parent.parent))


if __name__ == "__main__":
    main()
