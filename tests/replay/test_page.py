"""The report as a page and the command: what a person and a script get."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from click.testing import CliRunner

from sololakehouse.cli import slh
from sololakehouse.errors import StepError, UsageError
from sololakehouse.features.certificates import REPLAYS
from sololakehouse.replay.page import page
from sololakehouse.replay.splits import SetFinding
from tests.replay.taxi import CLEAN, LABELS, Taxi
from tests.replay.test_replay import LEAD
from tests.replay.test_warm_up import bounded

VOID = {"meta", "br"}


class _Balanced(HTMLParser):
    """Checks that elements are closed in their order, and gathers what a browser would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []
        self.drawn: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.drawn[tag] = self.drawn.get(tag, 0) + 1
        self.loaded += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(text: str) -> _Balanced:
    parser = _Balanced()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture
def inside(taxi: Taxi, monkeypatch: pytest.MonkeyPatch) -> Taxi:
    monkeypatch.chdir(taxi.folder)
    return taxi


def test_the_page_stands_alone_and_draws_each_leaking_column(taxi: Taxi) -> None:
    taxi.run(place=LEAD)
    report = taxi.replay(3)
    text = page(report)
    found = read(text)
    assert found.loaded == []
    leaking = sum(len(table.leaking) for table in report.leaking)
    assert leaking == 2
    assert found.drawn["svg"] == leaking
    assert found.drawn["path"] + found.drawn.get("circle", 0) == leaking * 3
    assert "prefers-color-scheme: dark" in text
    assert "bronze.rides" in text
    assert "2 of 2 tables know what came later." in text


def test_a_clean_page_says_so(taxi: Taxi) -> None:
    taxi.run()
    text = page(taxi.replay(1))
    assert "Nothing leaked." in text
    assert "svg" not in read(text).drawn


def test_names_and_values_are_escaped(taxi: Taxi) -> None:
    taxi.run(labels=LABELS.replace("FROM bronze", ", concat('<b>', tip) AS bold\nFROM bronze"))
    text = page(taxi.replay(1))
    read(text)
    assert "&lt;b&gt;" in text
    assert "<b>" not in text


def test_the_command_ends_with_1_if_something_leaks(inside: Taxi) -> None:
    inside.run(place=LEAD)
    asked = ["replay", "--cutoffs", "2", "--html", "found.html", "--json"]
    done = CliRunner().invoke(slh, asked, standalone_mode=False)
    assert done.return_value == 1
    told = json.loads(done.stdout)
    assert {t["table"]: t["verdict"] for t in told["tables"]}["features.place"] == "leaks"
    leaks = [c for t in told["tables"] for c in t["columns"] if c["column"] == "next"]
    assert leaks[0]["leaks"][0]["examples"][0]["key"]["place"] in ("hill", "shore", "port")
    assert read((inside.folder / "found.html").read_text()).drawn["svg"] == 2
    assert set(inside.lake.read(REPLAYS).to_polars()["verdict"]) == {"leaks"}
    with pytest.raises(UsageError, match=r"found\.html exists"):
        CliRunner().invoke(slh, asked, standalone_mode=False, catch_exceptions=False)


def test_the_command_tells_a_person_what_was_found(inside: Taxi) -> None:
    inside.run(place=LEAD)
    done = CliRunner().invoke(slh, ["replay", "--cutoffs", "1"], standalone_mode=False)
    assert "features.place.next knows what came later" in done.stdout
    assert re.search(r"changed by arrived_at of bronze.rides, known at 2026-01-\d\d", done.stdout)
    assert re.search(r"[12] of 2 tables know what came later \(1 cutoff, trunc", done.stdout)
    inside.run(place=CLEAN)
    done = CliRunner().invoke(slh, ["replay", "--cutoffs", "1"], standalone_mode=False)
    assert done.return_value == 0
    assert "Nothing leaked" in done.stdout


def test_the_command_measures_and_mutates(inside: Taxi) -> None:
    inside.run(place=bounded("1h"))
    runner = CliRunner()
    asked = ["replay", "--warm-up", "--cutoffs", "4"]
    with pytest.raises(StepError, match="needs 3h"):
        runner.invoke(slh, asked, standalone_mode=False, catch_exceptions=False)
    assert inside.lake.read("features.place").properties["pipelines.warm_up"] == "10800s"
    assert inside.plan()["features.place"] == "up to date"
    done = runner.invoke(slh, ["replay", "--mutate", "--cutoffs", "2"], standalone_mode=False)
    assert done.return_value == 0
    assert "leaks were caught, with 0 false alarms" in done.stdout


def test_splits_and_labels_are_told(taxi: Taxi) -> None:
    taxi.run(place=CLEAN)
    found = {one.check: one for one in taxi.replay(1).findings}
    assert found["single features"].state == "clean"
    assert found["groups on both sides"] == SetFinding(
        "training.taxi",
        "groups on both sides",
        "noted",
        "100.0% of the rows of 'test' have values of place that 'train' has as well",
    )
    assert "1.0 days" in found["embargo"].said or "24.0 hours" in found["embargo"].said
    assert found["labels at the split"].state == "clean"


def test_a_feature_that_says_the_label_stands_beside_its_replay(taxi: Taxi) -> None:
    taxi.run(
        labels=LABELS.replace("FROM bronze", ", CAST(minutes > 30 AS INT) AS same\nFROM bronze")
    )
    found = [one for one in taxi.replay(6).findings if one.check == "single features"]
    assert [one.state for one in found] == ["found"]
    assert found[0].said.startswith("'same' says the label nearly alone")
    assert found[0].said.endswith("Its replay: leaks.")


def test_rows_on_both_sides_of_the_split_are_counted(taxi: Taxi) -> None:
    text = (taxi.folder / "taxi.yml").read_text()
    taxi.write({"taxi.yml": text.replace("[ride]", "[ride, arrivals, mean_minutes, arrivals_3h]")})
    taxi.run()
    found = {one.check: one for one in taxi.replay(1).findings}
    assert found["duplicates across the split"].state == "found"
