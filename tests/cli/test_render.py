from __future__ import annotations

from sololakehouse.cli.render import print_table

ROWS = [{"table": "a.b", "rows": 1200, "at": None}, {"table": "a.longer", "rows": 3, "at": True}]


def test_a_table_is_aligned_and_its_numbers_are_right(capsys):
    print_table(ROWS, ["table", "rows", "at"])
    assert capsys.readouterr().out.splitlines() == [
        "table      rows  at  ",
        "a.b       1,200      ",
        "a.longer      3  true",
    ]


def test_wide_characters_are_aligned_as_they_are_shown(capsys):
    print_table([{"name": "東京", "n": 1}, {"name": "abcd", "n": 22}], ["name", "n"])
    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "name   n",
        "東京   1",
        "abcd  22",
    ]


def test_markup_is_not_printed_as_text(capsys):
    print_table([{"stage": "[bold]production[/]"}], ["stage"])
    assert "[bold]" not in capsys.readouterr().out
