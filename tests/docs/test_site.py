"""The site: it builds without a warning, no link is broken, and a browser shows it well."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest

from sololakehouse.cli import slh
from tests.docs.browser import CHROMIUM, Tab, browser, served
from tests.docs.pages import DOCS

FEW = ("index", "configuration", "pipelines", "reference/cli", "reference/api_lake", "start")
WIDTHS = (1440, 390)
THEMES = ("light", "dark")
_LOADED_TAGS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
LOOK = (Path(__file__).parent / "look.js").read_text("utf-8")


@dataclass
class Html(HTMLParser):
    """What a page of the site links to and loads, and the places that it has."""

    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)
    places: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.places |= {found[name] for name in ("id", "name") if name in found}
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in _LOADED_TAGS and _LOADED_TAGS[tag] in found:
            self.loaded.append(found[_LOADED_TAGS[tag]])


def read_html(file: Path) -> Html:
    page = Html()
    page.feed(file.read_text("utf-8"))
    return page


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Build the whole site as `make docs` does."""
    folder = tmp_path_factory.mktemp("site")
    asked = [
        *("-b", "html", "-n", "-W", "--keep-going"),
        "-d",
        folder / "read",
        DOCS,
        folder / "html",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *map(str, asked)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def html(site) -> dict[Path, Html]:
    return {file: read_html(file) for file in sorted(site.rglob("*.html"))}


def test_every_page_of_the_documentation_is_on_the_site(site):
    left_out = {DOCS / "README.md"}
    for page in set(DOCS.rglob("*.md")) - left_out:
        if not page.is_relative_to(DOCS / "_build"):
            assert (site / page.relative_to(DOCS).with_suffix(".html")).exists(), page


def test_no_link_leads_nowhere(site, html):
    broken = [
        f"{file.relative_to(site)}: {link}"
        for file, page in html.items()
        for link in page.links
        if not leads_somewhere(link, file, html)
    ]
    assert broken == []


def leads_somewhere(link: str, file: Path, html: dict[Path, Html]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return True
    target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
    if target not in html:
        return target.is_file()
    return not parts.fragment or unquote(parts.fragment) in html[target].places


def test_nothing_is_loaded_from_elsewhere(site, html):
    loaded = [
        (file.name, one) for file, page in html.items() for one in page.loaded if is_elsewhere(one)
    ]
    styles = [
        (file.name, one)
        for file in site.rglob("*.css")
        for one in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")\s]+)", file.read_text("utf-8"))
        if is_elsewhere(one)
    ]
    assert loaded + styles == []


def is_elsewhere(address: str) -> bool:
    return address.startswith(("http:", "https:", "//"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('<a href="none.html">x</a>', ["none.html"]),
        ('<a href="#there">x</a>', ["#there"]),
        ('<a href="page.html#here">x</a><p id="here">', []),
    ],
)
def test_a_broken_link_is_found(tmp_path, text, wrong):
    file = tmp_path / "page.html"
    file.write_text(text)
    page = read_html(file)
    assert [one for one in page.links if not leads_somewhere(one, file, {file: page})] == wrong


def commands(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, (*path, name))


def test_every_command_is_described_with_its_options_and_an_example(site):
    file = site / "reference" / "cli.html"
    text, places = file.read_text("utf-8"), read_html(file).places
    for path, command in commands(slh, ("slh",)):
        place = "-".join(path)
        assert place in places, f"{place} is not described"
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden and option.name != "help":
                name = f"cmdoption-{place}{option.opts[0]}".replace("--", "-").replace("_", "_")
                assert any(one.startswith(name[:-1]) for one in places), f"{place} {option.opts}"
        assert re.search(r"Examples?:", command.help or ""), f"{place} has no example"
    assert '<span class="gp">$ </span>slh<span class="w"> </span>init' in text


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium; 'make chromium' installs it as root")
    with browser() as one:
        yield one


def test_a_browser_shows_the_pages_well(site, html, tab, request):
    pages = [file.relative_to(site).as_posix() for file in html]
    if not request.config.getoption("--docs-every-page"):
        pages = [one for one in pages if one.removesuffix(".html") in FEW]
    assert len(pages) >= 5
    with served(site) as address:
        found = [
            f"{page} at {width} pixels, {theme}: {mistake}"
            for page in pages
            for width in WIDTHS
            for theme in THEMES
            for mistake in looked_at(tab, f"{address}/{page}", width, theme)
        ]
    assert found == []


def test_the_search_finds_pages_in_the_browser(site, tab):
    with served(site) as address:
        tab.show(f"{address}/search.html?q=quarantine", width=1440, theme="light")
        links = "[...document.querySelectorAll('#search-results li a')].map(one => one.pathname)"
        until = time.monotonic() + 20
        while not (found := tab.run(links)) and time.monotonic() < until:
            time.sleep(0.1)
    assert "/ingestion.html" in found


def looked_at(tab: Tab, address: str, width: int, theme: str) -> list[str]:
    """Show a page and say what is wrong with how it looks."""
    tab.show(address, width=width, theme=theme)
    mistakes = [*tab.run(LOOK), *(f"console: {error}" for error in tab.errors)]
    origin = "/".join(address.split("/")[:3])
    elsewhere = [one for one in tab.requested if not one.startswith((origin, "data:"))]
    return mistakes + [f"loads {one}" for one in elsewhere]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("<p>fine</p>", ""),
        ("<p style='width: 3000px'>wide</p>", "wider than the window by"),
        ("<p style='font-size: 11px'>small</p>", "11px: small"),
        ("<p style='color: #999'>pale</p>", "contrast 2.8: pale"),
        ("<img src='none.png' alt='x'>", "not loaded: "),
        ("<script>console.error('oh')</script>", "console: ['oh']"),
        ("<script>undefined.x</script>", "TypeError"),
        ("<script src='http://127.0.0.1:9/x.js'></script>", "loads http://127.0.0.1:9/x.js"),
        (
            "<script>document.title = matchMedia('(prefers-color-scheme: dark)').matches</script>",
            "",
        ),
    ],
)
def test_what_looks_wrong_is_found(tab, tmp_path, body, said):
    page = tmp_path / "page.html"
    icon = "<link rel='icon' href='data:,'>"
    viewport = "<meta name='viewport' content='width=device-width'>"
    page.write_text(f"<!doctype html><html><head>{icon}{viewport}</head><body>{body}</body></html>")
    with served(tmp_path) as address:
        found = looked_at(tab, f"{address}/page.html", 390, "dark")
    if said:
        assert said in "\n".join(found)
    else:
        assert found == []
    if "title" in body:
        assert tab.run("document.title") == "true"
