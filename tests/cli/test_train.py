from __future__ import annotations

import json

import polars as pl

from sololakehouse.provenance import Change
from tests.rain import EXPERIMENT, make_project


def test_a_feature_that_says_the_label_is_warned_of(tmp_path, slh):
    project = make_project(tmp_path)
    (tmp_path / "rain.yml").write_text(EXPERIMENT)
    labels = project.lake.read("gold.labels").to_polars().with_columns(puddles=pl.col("wet"))
    project.writer().write_frame("gold.labels", labels, Change("TEST", "with puddles"))
    for _ in range(2):
        said = slh("train", "rain.yml", "--json", folder=tmp_path)
        assert said.code == 0
        assert [row["role"] for row in json.loads(said.out)] == ["baseline", "model"]
        assert said.err == (
            "Suspicious: training.rain: 'puddles' says the label nearly alone (share of equal "
            "values: 1.000). Is it known at the label's moment?\n"
        )
