"""A diagram is shown in the colours of the theme.

A page only names `diagrams/NAME.svg`, which is the light one; the dark one is `NAME-dark.svg`.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

_LOGGER = logging.getLogger(__name__)


class DarkDiagrams(SphinxTransform):
    """Put the dark diagram beside each light one; the theme's classes hide one of them."""

    default_priority = 300

    def apply(self, **_: Any) -> None:
        """Go through the images of a page."""
        for image in list(self.document.findall(nodes.image)):
            path = PurePosixPath(image["uri"])
            if path.parent.name == "diagrams" and path.suffix == ".svg":
                self._add_dark(image, path)

    def _add_dark(self, image: nodes.image, path: PurePosixPath) -> None:
        uri = str(path.with_name(f"{path.stem}-dark.svg"))
        _, file = self.env.relfn2path(uri, self.env.docname)
        if not Path(file).exists():
            _LOGGER.warning("%s has no dark form: %s", path, uri, location=image, type="diagrams")
            return
        dark = image.deepcopy()
        dark["uri"] = uri
        dark["classes"] = [*image["classes"], "only-dark"]
        image["classes"] = [*image["classes"], "only-light"]
        image.parent.insert(image.parent.index(image) + 1, dark)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the transform."""
    app.add_transform(DarkDiagrams)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
