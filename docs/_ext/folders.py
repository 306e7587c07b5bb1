"""Tables of contents that the pages themselves do not have.

A folder whose `README.md` lists its pages, for people who read the repository, gets one on the
site. That of the home page leaves out what is not there.
"""

from __future__ import annotations

from typing import Any

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

PAGES_OF = {"adr/README": "0*", "benchmarks/README": "20*"}
HOME = "index"
TO_LEARN_FROM = (
    *("start", "concepts/index", "course/index", "guides/index", "databricks/index"),
    "how_it_works/index",
)


def complete_contents(app: Sphinx, docname: str, source: list[str]) -> None:
    """Add a hidden table of contents to the first page of a folder, and check that of the home."""
    if docname in PAGES_OF:
        options = ":hidden:\n:glob:\n:titlesonly:\n"
        source[0] += f"\n```{{toctree}}\n{options}\n{PAGES_OF[docname]}\n```\n"
    if docname == HOME:
        missing = set(TO_LEARN_FROM) - app.env.found_docs
        source[0] = "\n".join(line for line in source[0].split("\n") if line not in missing)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the event, and Mermaid as text that is shown as it is."""
    app.connect("source-read", complete_contents)
    app.add_lexer("mermaid", TextLexer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
