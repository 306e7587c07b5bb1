"""Every page of the documentation does what it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.docs.execution import execute
from tests.docs.pages import DOCS, check_content, read_page, unexecuted_blocks
from tests.docs.projects import make_folder, shared_files
from tests.reference import Demo

FOLDERS = ("concepts", "guides", "databricks", "course", "how_it_works")
GUIDES = sorted(
    [DOCS / "start.md", *(page for one in FOLDERS for page in (DOCS / one).glob("**/*.md"))]
)
# They take half a minute each, for steps that other tests take as well.
LONG = {DOCS / "start.md", DOCS / "guides/own_data.md", DOCS / "guides/upgrading.md"}
MANUAL = sorted(set(DOCS.glob("*.md")) - set(GUIDES))


def executed(page: Path) -> bool:
    """Whether a page of the manual asks to be executed."""
    return unexecuted_blocks(page)[0] is not None


def name_of(page: Path) -> str:
    return str(page.relative_to(DOCS))


def guide(page: Path) -> object:
    marks = [pytest.mark.docs_suite] if page in LONG else []
    return pytest.param(page, marks=marks, id=name_of(page))


def check_page(path: Path, parent: Path, request: pytest.FixtureRequest) -> None:
    """Execute a page in its project and compare what it shows."""

    def reference() -> Path:
        demo: Demo = request.getfixturevalue("demo")
        return demo.folder

    page = read_page(path)
    if not page.blocks:
        return
    shared = shared_files(reference()) if page.project == "nyc_flights" else {}
    parent.mkdir()
    folder = make_folder(page, parent, reference)
    wrong = [str(step) for step in execute(page, folder) if not step.is_right]
    if wrong:
        hint = f"python -m tests.docs.refresh {page.name} writes what is printed."
        pytest.fail("\n\n".join([*wrong, hint]), pytrace=False)
    if shared:
        assert shared_files(reference()) == shared, "the page changed files of tables in place"
    shutil.rmtree(parent)


@pytest.mark.parametrize("path", [guide(page) for page in [*GUIDES, *filter(executed, MANUAL)]])
def test_a_page_does_what_it_shows(path, tmp_path, request):
    check_page(path, tmp_path / "page", request)


@pytest.mark.parametrize("path", [page for page in MANUAL if not executed(page)], ids=name_of)
def test_what_a_page_of_the_manual_shows_can_be_read(path):
    for block in unexecuted_blocks(path)[1]:
        check_content(path, block)
