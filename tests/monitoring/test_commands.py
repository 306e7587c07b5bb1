"""`slh evaluate` and `slh drift` as a person calls them."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cli.conftest import slh
from tests.monitoring.conftest import JOB

__all__ = ["slh"]


@pytest.fixture(scope="module")
def folder(watched):
    """Give the project with its job in lakehouse.yml."""
    job = JOB.model_dump(mode="json")
    content = {"name": "rain", "scoring": {"march": job}}
    (watched.folder / "lakehouse.yml").write_text(yaml.safe_dump(content))
    yield watched.folder
    (watched.folder / "lakehouse.yml").write_text("name: rain\n")


def test_a_job_and_a_model_are_evaluated_alike(slh, folder):
    job = slh("evaluate", "march", "--json", folder=folder)
    assert job.code == 0, job.err
    asked = ("--predictions", "inference.rain", "--labels", "gold.labels", "--keys", "id")
    model = slh("evaluate", "rain@staging", *asked, "--json", folder=folder)
    assert json.loads(job.out) == json.loads(model.out)


def test_options_set_period_and_slices(slh, folder):
    said = slh("evaluate", "march", "--period", "month", "--slice", "place", folder=folder)
    assert "2026-03" in said.out
    assert "place=hill" in said.out
    assert "cloud=" not in said.out


def test_drift_ends_with_3_on_an_alarm_and_writes_its_report_once(slh, folder):
    report = folder / "drift.html"
    quiet = ("--period", "year", "--predictions", "inference.rain")
    said = slh("drift", "rain@staging", *quiet, "--html", str(report), folder=folder)
    known = json.loads(slh("drift", "rain@staging", *quiet, "--json", folder=folder).out)
    assert said.code == (3 if known["alarms"] else 0), said.err
    assert report.read_text().startswith("<!doctype html>")
    again = slh("drift", "rain@staging", *quiet, "--html", str(report), folder=folder)
    assert again.code == 2
    assert "--force" in again.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("drift", "may"), "No scoring job 'may'"),
        (("evaluate", "march", "--predictions", "inference.rain"), "says where its predictions"),
        (("score", "march", "--input", "gold.labels"), "Leave --input and --output out"),
    ],
)
def test_a_mistake_is_said(slh, folder, arguments, message):
    said = slh(*arguments, folder=folder)
    assert said.code == 2
    assert message in said.err
