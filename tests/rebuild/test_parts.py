"""The comparisons that a rebuild is made of, one by one."""

from __future__ import annotations

import shutil

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.provenance import TableVersion
from sololakehouse.rebuild.checkout import checkout
from sololakehouse.rebuild.environment import differences, environment_finding
from sololakehouse.rebuild.frames import column_differences, moved_rows
from sololakehouse.rebuild.landing import linked_copy
from sololakehouse.rebuild.tables import lost_version
from sololakehouse.rebuild.training import Comparison
from tests.rebuild.projects import commit, git

HERE = {"python": "3.12.1", "cpu": "a", "libraries": {"numpy": "2.4.6", "polars": "2.1.0"}}


def test_the_same_environment_differs_in_nothing():
    assert differences(HERE, HERE) == []
    assert environment_finding(HERE, HERE).state == "same"
    assert environment_finding({}, HERE).state == "not compared"
    assert environment_finding(None, HERE).state == "not compared"


def test_facts_that_one_release_alone_knows_and_the_code_are_no_difference():
    was = {**HERE, "gpu": None, "code_revision": "abc", "dirty": True}
    assert differences(was, {**HERE, "code_revision": "def", "dirty": False}) == []


def test_each_fact_is_named_with_both_values():
    was = {**HERE, "cpu": "b", "libraries": {"numpy": "2.4.5", "torch": "2.13.0"}}
    finding = environment_finding(was, HERE)
    assert finding.said == (
        "cpu b is a here, libraries.numpy 2.4.5 is 2.4.6 here, libraries.torch 2.13.0 is missing "
        "here."
    )
    assert finding.figures["libraries.torch"] == {"recorded": "2.13.0", "now": None}


def test_columns_are_compared_row_by_row_where_the_anchors_pair_them():
    before = pl.DataFrame(
        {"id": [1, 2, 3, 4], "x": [1.0, None, float("nan"), 4.0], "t": list("abcd")}
    )
    after = before.with_columns(
        x=pl.Series([1.0, None, float("nan"), 6.5]), t=pl.Series(list("axyd"))
    )
    text, number = column_differences(before.lazy(), after.lazy(), ["x", "t"], ["id"])
    assert (text.column, text.rows, text.greatest) == ("t", 2, None)
    assert str(number) == "x in 1 row, by at most 2.5"


def test_columns_of_other_rows_are_compared_by_their_values():
    before = pl.DataFrame({"id": [1, 2, 3], "x": [1, 1, None]})
    after = pl.DataFrame({"id": [3, 1, 2, 4], "x": [None, 1, 2, 2]})
    (found,) = column_differences(before.lazy(), after.lazy(), ["x"], ["id"])
    assert (found.rows, found.greatest) == (2, None)
    assert column_differences(before.lazy(), before.reverse().lazy(), ["x"], ["id"]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9), st.data())
def test_moved_rows_are_the_places_with_another_row(rows, data):
    other = data.draw(st.permutations(rows))
    frames = [pl.LazyFrame(one, schema=["a", "b"], orient="row") for one in (rows, other)]
    expected = sum(one != two for one, two in zip(rows, other, strict=True))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sololakehouse.rebuild.frames._VALUES_AT_ONCE", data.draw(st.integers(1, 20)))
        assert moved_rows(*frames) == expected


@pytest.mark.parametrize(
    ("metric", "predictions", "content", "verdict"),
    [
        (0.5, True, True, "bit-identical"),
        (0.5, True, None, "bit-identical"),
        (0.5, True, False, "metric-identical"),
        (0.5 + 9e-7, False, False, "metric-identical"),
        (0.5 + 2e-6, False, False, "diverged"),
    ],
)
def test_the_verdict_is_that_of_the_weakest_comparison(metric, predictions, content, verdict):
    compared = Comparison(
        {"test_brier": (0.5, metric), "train_brier": (0.1, 0.1)},
        {"train": True, "test": predictions},
        content,
    )
    assert compared.verdict == verdict
    assert compared.farthest[0] == "test_brier" or metric == 0.5


def test_a_checkout_is_of_the_project_folder_and_leaves_the_repository_alone(tmp_path):
    project = tmp_path / "repository" / "project"
    project.mkdir(parents=True)
    (project / "lakehouse.yml").write_text("name: first\n")
    (project.parent / "other.txt").write_text("beside")
    git(project.parent, "init", "-q")
    commit(project.parent)
    first = (project.parent / ".git/refs/heads").glob("*")
    revision = next(first).read_text().strip()
    (project / "lakehouse.yml").write_text("name: second\n")
    taken = checkout(project, f"{revision}+dirty", tmp_path / "taken")
    assert (taken.revision, taken.dirty) == (revision, True)
    assert (taken.folder / "lakehouse.yml").read_text() == "name: first\n"
    assert not (taken.folder / "other.txt").exists()
    assert (project / "lakehouse.yml").read_text() == "name: second\n"
    assert taken.said.endswith("without the changes that no commit keeps.")


def test_what_cannot_be_checked_out_is_said(tmp_path):
    (tmp_path / "lakehouse.yml").write_text("name: p\n")
    outside = checkout(tmp_path, None, tmp_path / "a")
    assert outside.said.startswith("The model was trained outside of a Git repository. The project")
    gone = checkout(tmp_path, "0" * 40, tmp_path / "b")
    assert (gone.folder, gone.revision) == (tmp_path, None)
    assert "Revision 000000000000 is not in the repository" in gone.said
    git(tmp_path, "init", "-q")
    (tmp_path / "lakehouse.yml").rename(tmp_path / "config.yml")
    commit(tmp_path)
    revision = next((tmp_path / ".git/refs/heads").glob("*")).read_text().strip()
    without = checkout(tmp_path, revision, tmp_path / "c")
    assert without.why_not == f"Revision {revision[:12]} holds no lakehouse.yml."


def test_a_linked_copy_has_the_files_and_nothing_hidden_or_left_out(tmp_path):
    for name in ("a.yml", "in/b.sql", "warehouse/t/c.parquet", ".git/d", "in/__pycache__/e.pyc"):
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_text(name)
    linked_copy(tmp_path / "from", ["warehouse"], tmp_path / "to")
    found = sorted(path for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert [str(path.relative_to(tmp_path / "to")) for path in found] == ["a.yml", "in/b.sql"]
    assert (tmp_path / "to/in/b.sql").read_text() == "in/b.sql"


def test_why_a_version_is_lost(project):
    lake = project.lake
    there = lake.read("features.sky").table_version
    assert lost_version(lake, there) == ""
    assert lost_version(lake, there.model_copy(update={"version": 7})) == (
        "features.sky has no version 7. Its versions are 0 to 1."
    )
    other = TableVersion(table="features.moon", version=1, table_id="x")
    assert lost_version(lake, other) == (
        "features.moon@v1 is gone: there is no table features.moon any more."
    )
    (file,) = lake.read("features.sky").data_files
    shutil.move(file, file.with_suffix(".bak"))
    assert lost_version(project.lake, there).startswith("features.sky@v1: the data file ")
