from __future__ import annotations

from pathlib import Path

import pytest

from sololakehouse.pipelines.source_text import SQL_TEXT, source_text
from sololakehouse.windows import Aggregate, TrailingAggregates
from tests import rain

LIMITS = {"b", "a"}
DELAY = TrailingAggregates(
    keys="carrier",
    timestamp="arrived_at",
    aggregates=[Aggregate("mean", "delay", windows="7d"), Aggregate("count", windows="7d")],
    closed="both",
)


class Rate:
    """A rate."""

    factor = 2  # times


def halved(value):
    """Halve it."""
    return value / 2


def sql(text: str):
    def query():
        raise AssertionError

    vars(query)[SQL_TEXT] = text
    return query


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("SELECT a -- the key\nFROM t", "SELECT a\nFROM t"),
        ("/* all\nof it */ SELECT a,\n\n  b", " SELECT a,\n  b"),
        ("SELECT '-- no comment', `a--b`, \"/*\"", "SELECT '-- no comment', `a--b`, \"/*\""),
        ("SELECT 'it''s', 'a\\'--b' -- x", "SELECT 'it''s', 'a\\'--b'"),
    ],
)
def test_sql_keeps_its_layout_and_loses_its_comments(text, expected):
    assert source_text(sql(text)) == expected


def test_a_function_comes_with_what_it_refers_to_in_the_project():
    unit = "euros"

    def query():
        """Say it.

        In two lines.
        """
        # a comment
        return (
            halved(Rate.factor),
            LIMITS,  # another
            unit,
            rain.labels,
            Path,
        )

    lines = source_text(query).split("\n")
    assert lines[:6] == [
        "LIMITS = ['a', 'b']",
        "class Rate:",
        "    factor = 2",
        "def halved(value):",
        "    return value / 2",
        "module rain",
    ]
    assert lines[-9:-3] == [
        "unit = 'euros'",
        "def query():",
        "    return (",
        "        halved(Rate.factor),",
        "        LIMITS,",
        "        unit,",
    ]
    assert not any("class Path" in line or "comment" in line for line in lines)


def test_what_is_declared_stands_field_by_field():
    def query():
        return DELAY.of(None)

    lines = source_text(query).split("\n")
    assert lines[0] == "DELAY = TrailingAggregates(keys='carrier',"
    assert "                   closed='both'," in lines
    assert sum("Aggregate(function=" in line for line in lines) == 2


def test_functions_that_call_each_other_are_given_once():
    def first(number):
        return second(number - 1)

    def second(number):
        return first(number)

    def query():
        return first(1), second(2)

    assert source_text(query).count("def second") == 1


def test_part_of_a_statement_and_code_without_a_file_are_given_as_they_are():
    def query():
        return shorter(1), made(2)

    shorter = [lambda value: value][0]
    made = eval("lambda value: value + 1", {})
    text = source_text(query)
    assert "shorter = [lambda value: value][0]" in text
    assert "<lambda>: its source is not there" in text
