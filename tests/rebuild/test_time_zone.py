"""A model whose labels were read in the project's zone is rebuilt whatever the project says now."""

from __future__ import annotations

from sololakehouse.features.saved import open_training_set
from sololakehouse.rebuild.course import rebuild
from tests.rebuild import projects
from tests.rebuild.projects import CONFIG, LABELS, commit, make_raw_project

LOCAL = "CAST(from_utc_timestamp(at, 'Europe/Berlin') AS TIMESTAMP_NTZ) AS at,"


def test_it_is_built_again_after_the_setting_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(projects, "CONFIG", f"{CONFIG}time_zone: Europe/Berlin\n")
    monkeypatch.setattr(projects, "LABELS", LABELS.replace("at,", LOCAL))
    project = make_raw_project(tmp_path / "raw")
    saved = project.lake.read("training.rain")
    assert saved.record.details["recipe"]["time_zone"] == "Europe/Berlin"
    (project.folder / "lakehouse.yml").write_text(f"{CONFIG}time_zone: America/New_York\n")
    commit(project.folder)
    assert open_training_set(project.lake, "rain").to_polars().equals(saved.to_polars())
    for from_raw in (False, True):
        rebuilt = rebuild(project.lake, "rain@2", from_raw=from_raw)
        assert (rebuilt.verdict, rebuilt.first) == ("bit-identical", None)
