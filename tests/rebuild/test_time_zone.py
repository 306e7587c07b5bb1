"""A model whose labels were read in the project's zone is rebuilt whatever the project says now."""

from __future__ import annotations

import re

from sololakehouse.features.saved import open_training_set
from sololakehouse.models.training import train
from sololakehouse.rebuild.course import rebuild
from tests.rain import EXPERIMENT
from tests.rebuild import projects
from tests.rebuild.projects import CONFIG, LABELS, commit, make_raw_project

LOCAL = "CAST(from_utc_timestamp(at, 'Europe/Berlin') AS TIMESTAMP_NTZ) AS at,"


def test_it_is_built_again_after_the_setting_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(projects, "CONFIG", f"{CONFIG}time_zone: Europe/Berlin\n")
    monkeypatch.setattr(projects, "LABELS", LABELS.replace("at,", LOCAL))
    project = make_raw_project(tmp_path / "raw")
    saved = project.lake.read("training.rain")
    assert saved.record.details["recipe"]["time_zone"] == "Europe/Berlin"
    named = re.sub(r"training_set:\n(  .*\n)+", "training_set: training.rain@v1\n", EXPERIMENT)
    pinned = EXPERIMENT.replace("training_set:", "training_set_version: 1\ntraining_set:")
    for text in (named, pinned):
        again = train(project.lake, project.writer(), project.experiment(text=text))
        assert again.up_to_date
    (project.folder / "lakehouse.yml").write_text(f"{CONFIG}time_zone: America/New_York\n")
    commit(project.folder)
    assert open_training_set(project.lake, "rain").to_polars().equals(saved.to_polars())
    rebuilt = rebuild(project.lake, "rain@2", from_raw=True)
    assert (rebuilt.verdict, rebuilt.first) == ("bit-identical", None)
