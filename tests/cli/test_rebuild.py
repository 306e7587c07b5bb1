from __future__ import annotations

import json

from sololakehouse.rebuild.rebuilds import REBUILDS
from tests.rain import make_project
from tests.rebuild.projects import copied, spoil_record


def test_rebuild_says_each_link_and_the_verdict_and_ends_with_1_if_it_diverged(
    trained, tmp_path, slh
):
    project = copied(trained[0], tmp_path / "copy")
    spoil_record(project, trained[1].runs[0], lambda record: record["config"].update(seed=8))
    same = slh("rebuild", "rain@1", folder=project.folder)
    assert same.code == 0
    assert same.err == ""
    *links, verdict = same.out.splitlines()
    states = {line[14:29].strip(): line[:14].strip() for line in links}
    assert list(states) == [
        *("environment", "code", "table version", "feature", "row order", "seed", "training"),
    ]
    assert states["seed"] == "differs"
    assert "seed was 7 when it was trained, and is 8 in the record." in same.out
    assert verdict == (
        "rain version 1: metric-identical, and a link differs: seed. Every metric is the same; so "
        "are predictions, but not what the model holds."
    )
    spoil_record(
        project,
        trained[1].runs[0],
        lambda record: record["config"]["baseline"]["params"].update(C=0.001),
    )
    other = slh("rebuild", "rain@1", "--json", folder=project.folder)
    said = json.loads(other.out)
    assert other.code == 1
    assert (said["verdict"], said["first_link"]) == ("diverged", "experiment")
    verdicts = project.lake.read(REBUILDS).to_polars().sort("at")["verdict"]
    assert verdicts.to_list() == ["metric-identical", "diverged"]
    runs = project.lake.read("system.runs").to_polars()
    assert runs["command"].to_list().count("rebuild") == 2


def test_bundle_export_writes_a_file_and_import_refuses_what_is_none(tmp_path, slh):
    project = make_project(tmp_path / "rain")
    project.experiment()
    done = slh("bundle", "export", "rain.yml", folder=project.folder)
    assert done.code == 0
    first, second, third = done.out.splitlines()
    assert first.startswith("rain.bundle.zip: training.rain@v1, 2,160 rows, ")
    assert len(second.removeprefix("Digest ").rstrip(".")) == 64
    assert "notebooks/gpu_training.ipynb" in third
    again = slh("bundle", "export", "rain.yml", folder=project.folder)
    assert again.code == 2
    assert "rain.bundle.zip exists" in again.err
    refused = slh("bundle", "import", "rain.bundle.zip", folder=project.folder)
    assert refused.code == 2
    assert refused.err == (
        "Error: rain.bundle.zip is a bundle, not a result. Train from it with "
        "notebooks/gpu_training.ipynb, then import its result.\n"
    )
