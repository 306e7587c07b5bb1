"""Each link of a model's chain is spoiled in turn, and named."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake.commit import TRAINING_SET
from sololakehouse.lake.leases import drop_leases
from sololakehouse.lake.vacuum import vacuum
from sololakehouse.models.model_content import model_content
from sololakehouse.models.registry import load_model, resolve
from sololakehouse.provenance import Change
from sololakehouse.rebuild.course import Rebuilt, rebuild
from sololakehouse.rebuild.rebuilds import REBUILDS, record_rebuild
from tests.rain import ModelProject, sky
from tests.rebuild.projects import commit, git, rewrite_data, spoil_record


def states(rebuilt: Rebuilt) -> dict[str, str]:
    return {finding.link: finding.state for finding in rebuilt.findings}


def said(rebuilt: Rebuilt, link: str) -> str:
    return next(finding.said for finding in rebuilt.findings if finding.link == link)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    files = (file for file in folder.rglob("*") if file.is_file() and "_locks" not in file.parts)
    return {str(file): (file.stat().st_size, file.stat().st_mtime_ns) for file in files}


def test_an_untouched_model_is_built_again_to_the_last_bit_and_nothing_changes(trained):
    project = trained[0]
    before = tree(project.folder)
    rebuilt = rebuild(project.lake, "rain@staging")
    assert tree(project.folder) == before
    assert (rebuilt.verdict, rebuilt.first) == ("bit-identical", None)
    assert rebuilt.comparison is not None
    assert rebuilt.comparison.model_content is True
    assert rebuilt.comparison.predictions == {"train": True, "validation": True, "test": True}
    assert {n for n, state in states(rebuilt).items() if state == "differs"} == set()
    assert "2160 rows" in said(rebuilt, "feature").replace(",", "")


def test_what_a_run_keeps_of_its_model_is_what_the_registered_one_holds(trained):
    project, outcome = trained
    for version in outcome.runs:
        model = load_model(project.lake.project, version)
        assert model_content(model) == version.record["model_content"]


def test_another_library_is_named_whether_or_not_it_changed_the_model(project):
    def older(record):
        record["environment"] = {"libraries": {"numpy": "1.0.0"}, "python": "3.11.0rc1"}

    spoil_record(project, resolve(project.lake, "rain@2"), older)
    rebuilt = rebuild(project.lake, "rain@2")
    assert rebuilt.verdict == "bit-identical"
    assert rebuilt.first is not None
    assert rebuilt.first.link == "environment"
    assert said(rebuilt, "environment").startswith("libraries.numpy 1.0.0 is ")
    assert "python 3.11.0rc1 is 3." in said(rebuilt, "environment")
    assert rebuilt.said.startswith(
        "rain version 2: bit-identical, although a link differs: environment."
    )


def test_another_seed_is_named_with_both(project):
    spoil_record(project, resolve(project.lake, "rain@2"), lambda one: one["config"].update(seed=8))
    spoil_record(
        project,
        resolve(project.lake, "rain@2"),
        lambda one: one["config"]["model"]["params"].update(subsample=0.5),
    )
    rebuilt = rebuild(project.lake, "rain@2")
    assert rebuilt.verdict == "diverged"
    assert rebuilt.first is not None
    assert rebuilt.first.link == "experiment"
    assert said(rebuilt, "experiment") == (
        "model.params.subsample was None when it was trained, and is 0.5 in the record; seed was 7 "
        "when it was trained, and is 8 in the record."
    )
    assert "predictions differ by at most 0." in said(rebuilt, "training")


def test_a_version_whose_files_were_overwritten_is_named_with_its_columns(project):
    rewrite_data(project, "features.sky", {"light": pl.col("light") + 1})
    rebuilt = rebuild(project.lake, "rain@2")
    assert rebuilt.verdict == "metric-identical"
    assert rebuilt.first is not None
    assert rebuilt.first.link == "table version"
    assert said(rebuilt, "table version") == (
        "features.sky@v1 does not hold what was committed: light differs."
    )
    assert said(rebuilt, "feature") == "training.rain@v1: light in 2,160 rows, by at most 1."


def test_a_table_that_was_made_anew_ends_it(project):
    properties = {"feature.keys": "place", "feature.timestamp": "feature_ts"}
    shutil.rmtree(project.lake.path("features.sky"))
    change = Change("TEST", "sky")
    project.writer().write_frame("features.sky", sky(), change, properties=properties)
    rebuilt = rebuild(project.lake, "rain@2")
    assert (rebuilt.verdict, rebuilt.comparison) == ("diverged", None)
    assert said(rebuilt, "table version").startswith(
        "features.sky@v1 is gone: features.sky was dropped and made anew"
    )


def test_a_vacuumed_version_says_since_when_and_by_which_run(project):
    with (project.folder / "lakehouse.yml").open("a") as config:
        config.write("retention: 1d\n")
    for holder in ("rain@1", "rain@2"):
        drop_leases(project.writer(), holder)
    project.writer().write_frame("features.sky", sky().head(9), Change("TEST", "less"))
    writer = project.writer()
    began = datetime.now(UTC).replace(microsecond=0)
    vacuum(writer, ["features.sky"], now=began + timedelta(days=3))
    rebuilt = rebuild(project.lake, "rain@2")
    sentence = said(rebuilt, "table version")
    assert rebuilt.verdict == "diverged"
    assert sentence.startswith("features.sky@v1 cannot be read since 20")
    assert f"(run {writer.run.run_id})" in sentence
    removed = project.lake.read("system.vacuumed_versions").to_polars()
    assert removed["version"].to_list() == [0, 1]
    assert began <= removed["at"][0] <= datetime.now(UTC)


def train_on(project: ModelProject, frame: pl.DataFrame) -> None:
    """Train `sleet` on other rows than the recipe gives, which pass for its own."""
    with (project.folder / "lakehouse.yml").open("a") as config:
        config.write("mlflow: {tracking_uri: 'sqlite:///other.db'}\n")
    saved = project.lake.read("training.rain")
    record = saved.record
    change = Change(TRAINING_SET, record.fingerprint, record.inputs, details=record.details)
    project.writer().write_frame("training.rain", frame, change)
    project.train("register_as=sleet")


def test_other_values_of_a_feature_are_named_with_their_rows(project):
    frame = project.lake.read("training.rain").to_polars()
    few = pl.int_range(pl.len()) < 12
    light = pl.when(few).then(pl.col("light") + 0.5).otherwise(pl.col("light"))
    train_on(project, frame.with_columns(light.alias("light")))
    rebuilt = rebuild(project.lake, "sleet@2")
    assert states(rebuilt)["table version"] == "same"
    assert rebuilt.first is not None
    assert rebuilt.first.link == "feature"
    assert said(rebuilt, "feature") == "training.rain@v2: light in 12 rows, by at most 0.5."
    assert rebuilt.first.figures["columns"] == [{"column": "light", "rows": 12, "greatest": 0.5}]


def test_another_order_of_rows_is_named(project):
    frame = project.lake.read("training.rain").to_polars()
    first = pl.concat([frame[10:20], frame[:10], frame[20:]])
    train_on(project, first)
    rebuilt = rebuild(project.lake, "sleet@1")
    assert states(rebuilt)["feature"] == "same"
    assert rebuilt.first is not None
    assert rebuilt.first.link == "row order"
    assert said(rebuilt, "row order") == "20 of 2,160 places hold another row."


def test_the_code_is_that_of_the_recorded_revision_whatever_the_folder_holds(raw_copy):
    file = raw_copy.folder / "transformations/sky.sql"
    file.write_text(file.read_text().replace("light * 2", "light * 3"))
    commit(raw_copy.folder)
    rebuilt = rebuild(raw_copy.lake, "rain@2")
    assert (rebuilt.verdict, rebuilt.first) == ("bit-identical", None)
    assert "They are those that made the 2 tables below." in said(rebuilt, "code")


def test_changed_code_is_named_where_the_revision_is_gone(raw_copy):
    file = raw_copy.folder / "transformations/sky.sql"
    file.write_text(file.read_text().replace("light * 2", "light * 3"))
    shutil.rmtree(raw_copy.folder / ".git")
    git(raw_copy.folder, "init", "-q")
    rebuilt = rebuild(raw_copy.lake, "rain@2")
    assert rebuilt.first is not None
    assert (rebuilt.verdict, rebuilt.first.link) == ("bit-identical", "code")
    assert "is not in the repository" in said(rebuilt, "code")
    assert "features.sky has another query (transformations/sky.sql:1)." in said(rebuilt, "code")


def test_from_the_landing_files_the_same_tables_and_the_same_model(raw):
    before = tree(raw.folder)
    rebuilt = rebuild(raw.lake, "rain@2", from_raw=True)
    assert tree(raw.folder) == before
    assert (rebuilt.verdict, rebuilt.first) == ("bit-identical", None)
    assert said(rebuilt, "landing file").startswith("3 files have the SHA-256")
    assert said(rebuilt, "table version") == (
        "4 tables made from the files hold what was committed."
    )


def test_from_the_landing_files_other_code_gives_other_tables(raw_copy):
    file = raw_copy.folder / "transformations/sky.sql"
    file.write_text(file.read_text().replace("light * 2", "(light * 5) % 7"))
    shutil.rmtree(raw_copy.folder / ".git")
    rebuilt = rebuild(raw_copy.lake, "rain@2", from_raw=True)
    assert rebuilt.verdict == "diverged"
    assert rebuilt.first is not None
    assert rebuilt.first.link == "code"
    assert said(rebuilt, "table version").startswith("features.sky@v1: light in ")
    assert states(rebuilt)["feature"] == "differs"


def test_a_landing_file_with_another_content_ends_it(raw_copy):
    (raw_copy.folder / "landing/sky_2.csv").write_text("place,feature_ts,light\n")
    (raw_copy.folder / "landing/hours.csv").unlink()
    rebuilt = rebuild(raw_copy.lake, "rain@2", from_raw=True)
    assert (rebuilt.verdict, rebuilt.comparison) == ("diverged", None)
    assert rebuilt.first is not None
    assert rebuilt.first.link == "landing file"
    sentence = said(rebuilt, "landing file")
    assert sentence.startswith("landing/hours.csv is gone. landing/sky_2.csv has SHA-256 ")


def test_a_newer_landing_file_is_left_out(raw_copy):
    (raw_copy.folder / "landing/sky_3.csv").write_text(
        "place,feature_ts,light\nhill,2026-02-01T00:30:00Z,99\n"
    )
    rebuilt = rebuild(raw_copy.lake, "rain@2", from_raw=True)
    assert (rebuilt.verdict, rebuilt.first) == ("bit-identical", None)


def test_a_model_without_a_record_is_refused(project):
    spoil_record(project, resolve(project.lake, "rain@2"), dict.clear)
    with pytest.raises(UsageError, match="was trained before runs kept what training again needs"):
        rebuild(project.lake, "rain@2")
    with pytest.raises(NotFoundError, match="rain has no version '9'"):
        rebuild(project.lake, "rain@9")


def test_what_came_of_it_is_a_row(project):
    writer = project.writer()
    rebuilt = Rebuilt(resolve(project.lake, "rain@2"), False, (), None)
    record_rebuild(writer, rebuilt)
    (row,) = project.lake.read(REBUILDS).to_polars().to_dicts()
    detail = json.loads(row.pop("detail"))
    assert datetime.now(UTC) - row.pop("at") < timedelta(minutes=1)
    assert row == {
        "model_name": "rain",
        "model_version": 2,
        "mlflow_run_id": rebuilt.model.mlflow_run_id,
        "verdict": "diverged",
        "first_link": None,
        "from_raw": False,
        "run_id": writer.run.run_id,
    }
    assert detail["links"] == []
