"""The notebook for a GPU, executed on this processor, in a folder with nothing but the bundle."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from sololakehouse import __version__
from sololakehouse.config import Project
from sololakehouse.errors import RunError, UsageError
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.models.batches import rows_held
from sololakehouse.models.bundle.archive import MANIFEST_FILE
from sololakehouse.models.bundle.bundles import BUNDLES
from sololakehouse.models.bundle.export import export_bundle
from sololakehouse.models.bundle.result import Imported, import_result
from sololakehouse.models.registry import model_versions
from sololakehouse.models.tracking import connected
from sololakehouse.provenance import Run
from tests.elsewhere import run_notebook
from tests.rain import ModelProject, make_project
from tests.rebuild.projects import copied


@dataclass(frozen=True)
class Journey:
    """A bundle, its result, and what the notebook said; nothing of it is imported yet."""

    project: ModelProject
    bundle: Path
    result: Path
    said: str


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp("journey")
    project = make_project(folder / "rain")
    bundle, result = folder / "rain.bundle.zip", folder / "rain.result.zip"
    manifest = export_bundle(project.lake, project.writer(), project.experiment(), bundle)
    (folder / "elsewhere").mkdir()
    done = run_notebook(folder / "elsewhere", SLH_BUNDLE=str(bundle), SLH_RESULT=str(result))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"Digest {manifest.digest}" in done.stdout
    return Journey(project, bundle, result, done.stdout)


@pytest.fixture(scope="module")
def imported(journey, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelProject, Imported]:
    """Give a copy of the project with the result in it."""
    project = copied(journey.project, tmp_path_factory.mktemp("imported") / "copy")
    return project, import_result(project.lake, project.writer(), journey.result)


def altered(source: Path, target: Path, **members: bytes | None) -> Path:
    """Write an archive again with other members; None leaves one out."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        contents = {name: old.read(name) for name in old.namelist()} | members
        for name, content in contents.items():
            if content is not None:
                new.writestr(name, content)
    return target


def member(file: Path, name: str) -> bytes:
    with zipfile.ZipFile(file) as archive:
        return archive.read(name)


def test_the_bundle_says_what_it_holds_and_pins_what_training_needs(journey):
    about = json.loads(member(journey.bundle, MANIFEST_FILE))["about"]
    assert about["training_set"]["table"] == "training.rain"
    assert set(about["tables"]) == {"training.rain@v1", "gold.labels@v1", "features.sky@v1"}
    assert json.loads(member(journey.bundle, "recipe.json"))["label"] == "wet"
    lines = member(journey.bundle, "requirements.txt").decode().splitlines()
    assert "xgboost==3.2.0" in lines
    assert all("==" in line for line in lines)
    (row,) = journey.project.lake.read(BUNDLES).to_polars().to_dicts()
    assert (row["experiment"], row["training_set_version"]) == ("rain", 1)
    leases = journey.project.lake.read("system.leases").to_polars()
    assert "training.rain@v1" in leases["holder"].to_list()


def test_what_comes_back_is_registered_on_the_same_data_with_the_other_environment(
    journey, imported
):
    project, first = imported
    baseline, model = first.runs
    known = len(model_versions(project.lake))
    assert (baseline.role, model.role, model.stage) == ("baseline", "model", "staging")
    assert model.metrics["test_roc_auc"] > 0.8 > baseline.metrics["test_roc_auc"]
    assert (model.training_set, model.training_set_version) == ("training.rain", 1)
    assert model.record["environment"]["libraries"]["sololakehouse"] == __version__
    assert set(model.record["trained_elsewhere"]) == {"bundle", "result"}
    with connected(project.lake.project) as client:
        run = client.get_run(model.mlflow_run_id)
    datasets = {given.dataset.name for given in run.inputs.dataset_inputs}
    assert datasets == {"training.rain", "gold.labels", "features.sky"}
    holders = set(project.lake.read("system.leases").to_polars()["holder"])
    assert {"rain@1", "rain@2"} <= holders
    again = import_result(project.lake, project.writer(), journey.result)
    assert again.again
    assert len(model_versions(project.lake)) == known


def test_it_is_the_model_that_training_here_gives(imported):
    project, there = imported[0], imported[1].runs
    here = project.train().runs
    assert not {one.version for one in here} & {one.version for one in there}
    for one, other in zip(here, there, strict=True):
        assert one.metrics == other.metrics
        for key in ("predictions", "model_content", "data", "config"):
            assert one.record[key] == other.record[key]


def test_what_memory_does_not_hold_goes_out_and_comes_back_the_same(
    journey, imported, tmp_path, monkeypatch
):
    monkeypatch.setattr("sololakehouse.models.batches._VALUES_AT_ONCE", 3000)
    project = copied(journey.project, tmp_path / "small")
    settings = project.lake.project.settings.model_copy(update={"memory_limit": 100_000})
    lake = Lakehouse(Project(folder=project.folder, settings=settings))
    writer = LakeWriter(lake, Run.start(project.folder, "embedded"))
    saved = lake.read("training.rain")
    assert (rows_held(saved, 100_000) or saved.rows) < saved.rows / 3
    bundle = tmp_path / "again.bundle.zip"
    export_bundle(lake, writer, project.experiment(), bundle)
    assert member(bundle, "training_set.parquet") == member(journey.bundle, "training_set.parquet")
    whole = imported[1].runs
    found = import_result(lake, writer, journey.result).runs
    for one, other in zip(found, whole, strict=True):
        assert one.metrics == other.metrics
        assert one.record["intervals"] == other.record["intervals"]


def test_an_altered_bundle_is_refused_by_the_notebook(journey, tmp_path):
    file = altered(journey.bundle, tmp_path / "a.bundle.zip", **{"requirements.txt": b"numpy\n"})
    done = run_notebook(tmp_path, SLH_BUNDLE=str(file))
    assert done.returncode == 1
    assert done.stderr == "The bundle was altered: requirements.txt. Export it again.\n"


@pytest.mark.parametrize(
    ("member_name", "content"),
    [("model/predictions.npz", b"other"), ("model/model.skops", None), ("more.txt", b"new")],
)
def test_an_altered_result_is_refused(journey, tmp_path, member_name, content):
    file = altered(journey.result, tmp_path / "r.zip", **{member_name: content})
    with pytest.raises(UsageError, match=f"was altered: {member_name} is not what the result's"):
        import_result(journey.project.lake, journey.project.writer(), file)


def test_a_file_that_is_no_result_is_refused(journey, tmp_path):
    lake, writer = journey.project.lake, journey.project.writer()
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(UsageError, match="is no result: it is damaged, or another kind of file"):
        import_result(lake, writer, tmp_path / "text.zip")
    with pytest.raises(UsageError, match=r"is a bundle, not a result\. Train from it with"):
        import_result(lake, writer, journey.bundle)
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        import_result(lake, writer, tmp_path / "none.zip")


def repacked(journey: Journey, folder: Path, name: str, content: bytes) -> Path:
    """Write a result with another member, whose manifest was made to fit."""
    import hashlib

    manifest = json.loads(member(journey.result, MANIFEST_FILE))
    manifest["files"][name] = hashlib.sha256(content).hexdigest()
    text = json.dumps(manifest, indent=2, sort_keys=True).encode()
    return altered(journey.result, folder / "r.zip", **{name: content, MANIFEST_FILE: text})


def test_a_bundle_that_this_project_did_not_write_is_refused(journey, tmp_path):
    bundle = json.loads(member(journey.result, "bundle.json"))
    bundle["files"]["training_set.parquet"] = "0" * 64
    file = repacked(journey, tmp_path, "bundle.json", json.dumps(bundle).encode())
    with pytest.raises(UsageError, match=r"did not write, or which was altered since. Bundles: "):
        import_result(journey.project.lake, journey.project.writer(), file)


def test_another_training_set_version_of_the_name_is_refused(journey, tmp_path):
    import shutil

    project = copied(journey.project, tmp_path / "copy")
    shutil.rmtree(project.lake.path("training.rain"))
    project.train()
    with pytest.raises(RunError, match="is not the training set of the bundle any more"):
        import_result(project.lake, project.writer(), journey.result)


def test_a_report_that_its_predictions_do_not_bear_out_is_refused(journey, tmp_path):
    outcome = json.loads(member(journey.result, "model/outcome.json"))
    outcome["metrics"]["test_roc_auc"] = 0.99
    file = repacked(journey, tmp_path, "model/outcome.json", json.dumps(outcome).encode())
    with pytest.raises(RunError, match=r"test_roc_auc of the model is 0.* and 0.99 by its report"):
        import_result(journey.project.lake, journey.project.writer(), file)


def test_a_model_that_predicts_otherwise_is_refused(journey, tmp_path):
    baseline = member(journey.result, "baseline/model.skops")
    file = repacked(journey, tmp_path, "model/model.skops", baseline)
    with pytest.raises(RunError, match="the model predicts otherwise here than where it was"):
        import_result(journey.project.lake, journey.project.writer(), file)
    file = repacked(journey, tmp_path, "model/model.skops", b"no archive")
    with pytest.raises(RunError, match=r"the model cannot be loaded here .BadZipFile: File is not"):
        import_result(journey.project.lake, journey.project.writer(), file)
    assert model_versions(journey.project.lake) == []
