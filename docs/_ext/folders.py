"""What makes a site of pages that are also read in the repository.

A folder whose `README.md` lists its pages gets a table of contents; that of the home page leaves
out what is not there. Links to Markdown outside of `docs/` lead to a copy of the file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

PAGES_OF = {"adr/README": "0*", "benchmarks/README": "20*"}
HOME = "index"
TO_LEARN_FROM = (
    *("start", "concepts/index", "course/index", "guides/index", "databricks/index"),
    "how_it_works/index",
)
_LINK = re.compile(r"\]\((\.\./[^)#\s]+\.md)")


def complete_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add a hidden table of contents to the first page of a folder, and check that of the home."""
    if docname in PAGES_OF:
        options = ":hidden:\n:glob:\n:titlesonly:\n"
        source[0] += f"\n```{{toctree}}\n{options}\n{PAGES_OF[docname]}\n```\n"
    if docname == HOME:
        missing = set(TO_LEARN_FROM) - app.env.found_docs
        source[0] = "\n".join(line for line in source[0].split("\n") if line not in missing)


def link_to_copies(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to Markdown outside of the documentation be links to files, which are copied."""
    page = Path(app.env.doc2path(docname))
    root = Path(app.srcdir)

    def linked(found: re.Match[str]) -> str:
        target = (page.parent / found[1]).resolve()
        outside = target.is_file() and not target.is_relative_to(root)
        return f"](path:{found[1]}" if outside else found[0]

    source[0] = _LINK.sub(linked, source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the events, and Mermaid as text that is shown as it is."""
    app.connect("source-read", complete_contents)
    app.connect("source-read", link_to_copies)
    app.add_lexer("mermaid", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
