from __future__ import annotations

import json
import re

import polars as pl
import pytest

from tests.conformance.test_check_training_set import save_again
from tests.features.conftest import project  # noqa: F401
from tests.features.flights import LABELS, airports, weather

STORE = """
from sololakehouse.features.asof import join_as_of
from dataclasses import replace
NOT_SUPPORTED = ("known_at", "known_as_of", "plain_lookup")

def join(labels, features, rule):
    return join_as_of(labels, features, ["row", "value"], replace(rule, allow_exact_match=True))
"""


# Which key and value a seed draws depends on the release of Hypothesis.
EXAMPLE = r"""
exact match refused: with allow_exact_match=False it is not
The smallest case that differs, with allow_exact_match = false, labels' time zone = UTC
feature rows:
row  key_1  feature_ts                   value
0    '(?P<key>.+)'    (?P<moment>\S+Z)  (?P<value>\S+)
expected:
key_1  event_ts                     row   value
'(?P=key)'    (?P=moment)  NULL  NULL
got:
key_1  event_ts                     row  value
'(?P=key)'    (?P=moment)  0    (?P=value)
"""
TRAINING_SET = """\
lookup                rows  passed  failed
labels                   3       3       0
features.weather@v1      3       3       0
features.airports@v1     3       3       0

3 of 4 rows of training.delay@v1 (seed 1).
"""
DIFFERENCE = """
features.airports@v1: row 0 differs
label:
flight  origin  predict_at            is_late
3       'LGA'   2026-01-01T09:00:00Z  0
expected:
altitude
22
got:
altitude
5
"""


@pytest.fixture
def folder(tmp_path):
    """Give a folder with a store that does not know strict joins."""
    (tmp_path / "store.py").write_text(STORE)
    return tmp_path


def unpadded(text):
    return "\n".join(line.rstrip() for line in text.split("\n"))


def test_differences_are_shown_by_trap_with_a_small_case(slh, folder):
    said = slh("conformance", "store.py:join", "--cases", "210", "--seed", "7", folder=folder)
    assert said.code == 1
    lines = said.out.splitlines()
    assert [line.split("  ")[0] for line in lines if "  differs  " in line] == [
        "exact match refused",
        "all at once",
    ]
    assert sum("  not supported  " in line for line in lines) == 5
    assert re.search(EXAMPLE, unpadded(said.out))
    assert lines[-1].endswith(" of 221 cases differ (seed 7).")


def test_json_has_every_trap_and_the_example(slh, folder):
    said = slh("conformance", "store.py:join", "--cases", "34", "--json", folder=folder)
    assert said.code == 1
    report = json.loads(said.out)
    assert (report["contestant"], report["seed"], report["cases"]) == ("store.py:join", 1, 34)
    traps = {one["trap"]: one for one in report["traps"]}
    assert traps["known later"]["verdict"] == "not supported"
    strict = traps["exact match refused"]
    assert (strict["verdict"], strict["cases"], strict["passed"]) == ("differs", 2, 0)
    assert strict["example"]["expected"][0]["row"] is None
    assert strict["example"]["got"][0]["event_ts"] == "2026-03-01T12:00:00+00:00"


def test_an_engine_that_holds(slh, folder):
    said = slh("conformance", "--engine", "polars", "--cases", "22", folder=folder)
    assert said.code == 0
    assert said.out.splitlines()[-1] == "No difference in 22 cases (seed 1)."


def test_a_training_set_that_holds(slh, project):  # noqa: F811
    made = project.client.create_training_set(
        df="gold.labels", feature_lookups=[weather(), airports()], label="is_late"
    )
    made.save("delay")
    folder = project.lake.project.folder
    said = slh("conformance", "--training-set", "delay", "--rows", "3", folder=folder)
    assert (said.code, said.out) == (0, TRAINING_SET)


def test_a_training_set_that_differs(slh, project):  # noqa: F811
    made = project.client.create_training_set(
        df=LABELS, feature_lookups=[airports()], label="is_late"
    )
    right = made.save("delay")
    save_again(project, right, right.to_polars().with_columns(altitude=pl.lit(5, pl.Int64)))
    folder = project.lake.project.folder
    said = slh("conformance", "--training-set", "delay", folder=folder)
    assert said.code == 1
    assert DIFFERENCE in unpadded(said.out)
    said = slh("conformance", "--training-set", "delay", "--json", folder=folder)
    assert json.loads(said.out)["failed"] == 4


@pytest.mark.parametrize(
    "arguments",
    [(), ("store.py:join", "--engine", "polars"), ("--engine", "polars", "--training-set", "x")],
)
def test_one_thing_at_a_time(slh, folder, arguments):
    said = slh("conformance", *arguments, folder=folder)
    assert said.code == 2
    assert said.err == (
        "Error: Say what to hold to the rules: FILE.py:FUNCTION, --engine ENGINE or "
        "--training-set NAME, one of them.\n"
    )
