from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from scipy import stats

from sololakehouse.config import ScoringJob
from sololakehouse.config.drift import DriftSettings
from sololakehouse.config.validation import validate
from sololakehouse.errors import ConfigError, NotFoundError
from sololakehouse.inference.batch import score
from sololakehouse.models.registry import resolve
from sololakehouse.monitoring import Predictions, drift, reference
from sololakehouse.monitoring.drift_report import drift_html
from sololakehouse.monitoring.periods import by_period, period_of
from sololakehouse.monitoring.reference import Reference
from sololakehouse.provenance import Change
from tests.monitoring.conftest import JOB

BEGIN = datetime(2026, 4, 6, tzinfo=UTC)  # a Monday
WEEK = 7 * 24
JOB_OF_NEW = JOB.model_copy(update={"input": "gold.new", "output": "inference.new", "labels": None})


def new_hours() -> pl.DataFrame:
    """Three weeks: one as before, one that is more humid, and one with gaps and new clouds."""
    draw = np.random.default_rng(4)
    hours = 3 * WEEK
    week = np.arange(hours) // WEEK
    cloud = draw.choice(["none", "some", None], hours)
    cloud = np.where((week == 2) & (draw.random(hours) < 0.3), "tower", cloud)
    wind = draw.random(hours)
    gaps = draw.random(hours) < np.where(week == 2, 0.5, 0.05)
    return pl.DataFrame(
        {
            "id": np.arange(hours) + 10_000,
            "place": draw.choice(["hill", "shore"], hours),
            "at": [BEGIN + timedelta(hours=hour) for hour in range(hours)],
            "humid": np.where(week == 1, 0.7 + 0.3 * draw.random(hours), draw.random(hours)),
            "wind": [None if gap else value for gap, value in zip(gaps, wind, strict=True)],
            "cloud": cloud.tolist(),
        },
        schema_overrides={"wind": pl.Float64, "cloud": pl.String},
    ).with_columns(pl.col("at").dt.cast_time_unit("us"))


@pytest.fixture(scope="module")
def project(watched):
    watched.writer().write_frame("gold.new", new_hours(), Change("TEST", "new"))
    score(watched.lake, watched.writer(), JOB_OF_NEW)
    return watched


def look(project, job: ScoringJob = JOB_OF_NEW):
    return drift(project.lake, project.writer(), Predictions.of_job(project.lake, job))


@pytest.fixture(scope="module")
def seen(project):
    return look(project)


def row(found, week: int, column: str, against: str = "training"):
    name = f"2026-W{week}"
    (one,) = [
        row
        for row in found.rows
        if (row["period"], row["column"], row["against"]) == (name, column, against)
    ]
    return one


def test_what_changed_is_an_alarm_and_the_rest_is_not(seen):
    states = {
        (one["period"], one["column"])
        for one in seen.rows
        if one["state"] == "alarm" and one["against"] == "training" and one["kind"] == "feature"
    }
    # `light` grows from week to week of its own: it counts the six hours modulo 7.
    states = {place for place in states if place[1] != "light"}
    assert states == {("2026-W16", "humid"), ("2026-W17", "wind"), ("2026-W17", "cloud")}
    assert "missing in 45.8%, was 4.7%" in row(seen, 17, "wind")["why"]
    assert "never seen in training: tower" in row(seen, 17, "cloud")["why"]
    assert row(seen, 15, "humid")["state"] == "stable"
    assert row(seen, 17, "humid", "before")["state"] == "alarm"
    assert row(seen, 17, "humid", "before")["against_period"] == "2026-W16"
    assert row(seen, 17, "place")["unseen"] == 0


def test_numbers_are_those_of_the_values(project, seen):
    predicted = project.lake.read("inference.new").to_polars()
    second = predicted.filter(pl.col("at").dt.week() == 16)
    trained = project.lake.read("training.rain").to_polars()
    trained = trained.filter(pl.col("at") < datetime(2026, 3, 1, tzinfo=UTC))
    found = row(seen, 16, "humid")
    assert (found["rows"], found["reference_rows"]) == (WEEK, trained.height)
    assert found["value"] == pytest.approx(second["humid"].mean())
    assert found["reference_value"] == pytest.approx(trained["humid"].mean())
    exact = stats.ks_2samp(second["humid"].to_numpy(), trained["humid"].to_numpy())
    assert found["ks"] == pytest.approx(exact.statistic, abs=1 / 60)
    wind = row(seen, 17, "wind")
    third = predicted.filter(pl.col("at").dt.week() == 17)
    assert wind["missing"] == third["wind"].null_count() / WEEK
    assert wind["reference_missing"] == trained["wind"].null_count() / trained.height


def test_every_p_value_was_corrected_with_all_the_others(seen):
    tested = [one for one in seen.rows if one["p_value"] is not None]
    missing = [one["missing_q_value"] for one in tested]
    assert all(one["q_value"] >= one["p_value"] for one in tested)
    assert len(missing) == len(tested) == 5 * (len(resolve_columns(seen)))


def resolve_columns(seen) -> set[str]:
    return {one["column"] for one in seen.rows}


def test_the_ranking_is_importance_times_drift(project, seen):
    importances = Reference(project.lake, resolve(project.lake, "rain@2")).importances()
    assert sum(importances.values()) == pytest.approx(1)
    assert min(importances["humid"], importances["wind"]) > max(
        importances["place"], importances["cloud"], importances["light"]
    )
    week = [
        one
        for one in seen.rows
        if (one["period"], one["against"], one["kind"]) == ("2026-W16", "training", "feature")
    ]
    impacts = [one["impact"] for one in week]
    assert impacts == sorted(impacts, reverse=True)
    assert week[0]["column"] == "humid"
    for one in week:
        assert one["impact"] == pytest.approx(importances[one["column"]] * one["psi"])


def test_the_same_is_looked_at_once_and_the_newest_period_decides(project, seen):
    again = look(project)
    assert (again.up_to_date, again.rows) == (True, seen.rows)
    assert seen.newest_period == "2026-W17"
    assert {"wind", "cloud"} <= {one["column"] for one in seen.alarms}


def with_settings(**settings) -> ScoringJob:
    given = JOB_OF_NEW.drift.model_dump() | settings
    return JOB_OF_NEW.model_copy(update={"drift": DriftSettings.model_validate(given)})


def test_limits_of_a_feature_are_its_own(project):
    limits = {"wind": {"missing": 0.9, "psi_warn": 5, "psi_alarm": 9}}
    found = look(project, with_settings(features=limits))
    assert row(found, 17, "wind")["state"] == "stable"
    assert row(found, 17, "cloud")["state"] == "alarm"
    content = JOB_OF_NEW.model_dump(mode="json")
    content["drift"]["features"] = {"wind": {"psi_alrm": 1}}
    with pytest.raises(ConfigError, match=r"wind: no limit 'psi_alrm'\. Did you mean 'psi_alarm'"):
        validate(content, ScoringJob, "lakehouse.yml")


def test_a_period_of_few_rows_is_shown_and_not_judged(project):
    found = look(project, with_settings(least_rows=1000))
    assert {one["state"] for one in found.rows} == {"too few rows"}
    assert (found.newest_period, found.alarms) == (None, [])


def test_performance_is_looked_at_where_labels_are_known(watched):
    found = look(watched, JOB)
    first = row(found, 10, "roc_auc")
    assert first["reference_value"] == resolve(watched.lake, "rain@2").metrics["test_roc_auc"]
    assert first["kind"] == "performance"
    known = watched.lake.read("gold.labels").to_polars()
    turned = known.with_columns(
        wet=pl.when(pl.col("at") >= datetime(2026, 3, 23, tzinfo=UTC))
        .then(1 - pl.col("wet"))
        .otherwise("wet")
    )
    watched.writer().write_frame("gold.turned", turned, Change("TEST", "turned"))
    found = look(watched, JOB.model_copy(update={"labels": "gold.turned"}))
    fallen = row(found, 13, "roc_auc")
    assert (fallen["state"], fallen["value"] < 0.5) == ("alarm", True)
    assert row(found, 13, "roc_auc", "before")["state"] == "alarm"
    assert row(found, 12, "roc_auc")["state"] != "alarm"


def test_predictions_without_features_say_how_to_get_them(watched):
    bare = JOB.model_copy(update={"output": "inference.bare", "features": False})
    score(watched.lake, watched.writer(), bare)
    with pytest.raises(NotFoundError, match="no column 'light', which rain version 2 was given"):
        look(watched, bare)


@pytest.mark.parametrize("period", ["day", "week", "month", "quarter", "year"])
def test_rows_in_any_order_are_in_the_period_that_their_moment_is_in(period):
    draw = np.random.default_rng(8)
    hours = draw.permutation(2 * 365 * 24)[:2000]
    moments = [BEGIN + timedelta(hours=int(hour)) for hour in hours]
    zoned = pl.DataFrame({"at": [*moments, None]}).cast({"at": pl.Datetime("us", "Asia/Tokyo")})
    expected = zoned.drop_nulls().group_by(period_of("at", period).alias("name")).agg("at")
    found = by_period(zoned, "at", period)
    assert len(found) == expected.height
    for name, part in found:
        (wanted,) = expected.filter(pl.col("name") == name)["at"]
        assert part["at"].to_list() == wanted.to_list()
    assert by_period(zoned.tail(1), "at", period) == []


def test_columns_in_several_readings_are_all_counted(project, seen, monkeypatch):
    monkeypatch.setattr(reference, "_AT_ONCE", 2)
    monkeypatch.setattr(reference, "_PREDICTED_AT_ONCE", 100)
    again = look(project, with_settings(least_rows=101))
    places = [(one["period"], one["against"], one["column"]) for one in again.rows]
    assert places == [(one["period"], one["against"], one["column"]) for one in seen.rows]
    for one, other in zip(again.rows, seen.rows, strict=True):
        assert (one["bins"], one["psi"]) == (other["bins"], other["psi"])
        assert one["value"] == pytest.approx(other["value"])


def test_the_report_shows_what_changed(seen):
    page = drift_html(seen.rows)
    for text in ("2026-W17", "tower", "never seen", "wind", "<svg", "Alarms", "missing</text>"):
        assert text in page, text
    assert "<script" not in page
    assert "http" not in page
