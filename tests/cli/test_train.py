from __future__ import annotations

import json

import polars as pl

from sololakehouse.cli.models import print_models
from sololakehouse.models.registry import resolve
from sololakehouse.models.tracking import connected
from sololakehouse.provenance import Change
from tests.rain import EXPERIMENT, make_project


def test_train_tells_of_suspects_and_of_rows_that_it_leaves_out(tmp_path, slh):
    project = make_project(tmp_path)
    known = EXPERIMENT.replace("  timestamp: at", "  timestamp: at\n  label_known_at: known_at")
    known = known.replace("split:", "split:\n  embargo: 3h")
    (tmp_path / "rain.yml").write_text(known)
    labels = project.lake.read("gold.labels").to_polars()
    labels = labels.with_columns(puddles="wet", known_at=pl.col("at").dt.offset_by("10h"))
    project.writer().write_frame("gold.labels", labels, Change("TEST", "with puddles"))
    first = slh("train", "rain.yml", folder=tmp_path)
    again = slh("train", "rain.yml", "--json", folder=tmp_path)
    assert first.out.splitlines()[-4:] == [
        "Left out of train, as they lie within the embargo: 3 rows.",
        "Left out of validation, as they lie within the embargo: 3 rows.",
        "Left out of train, as their label was not known at its end: 6 rows.",
        "Left out of validation, as their label was not known at its end: 6 rows.",
    ]
    assert [row["role"] for row in json.loads(again.out)] == ["baseline", "model"]
    for said in (first, again):
        assert said.code == 0
        assert said.err == (
            "Suspicious: training.rain: 'puddles' says the label nearly alone (share of equal "
            "values: 1.000). Is it known at the label's moment?\n"
        )
    version = resolve(project.lake, "rain@1")
    assert "known_at" not in version.feature_columns
    with connected(project.lake.project) as client:
        params = client.get_run(version.mlflow_run_id).data.params
    assert {name: value for name, value in params.items() if name.endswith("_rows")} == {
        "train_rows": str(59 * 24 - 9),
        "validation_rows": str(14 * 24 - 9),
        "test_rows": str(17 * 24),
        "train_unknown_rows": "6",
        "validation_unknown_rows": "6",
        "train_embargoed_rows": "3",
        "validation_embargoed_rows": "3",
        "outside_rows": "0",
    }


def test_models_are_shown_with_every_metric_that_one_of_them_has(capsys):
    print_models([{"model": "a", "train_x": 1}, {"model": "b", "test_x": 2, "validation_x": 3}])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [["model", "test_x"], ["a"], ["b", "2"]]
