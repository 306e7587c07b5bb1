from __future__ import annotations

import polars as pl
import pytest

from sololakehouse.conformance import check_training_set
from sololakehouse.errors import NotFoundError, RunError
from sololakehouse.provenance import Change
from tests.features.flights import LABELS, WEATHER, airports, hours, weather


def saved(project, *lookups, df="gold.labels", name="delay", **options):
    options = {"label": "is_late", "timestamp": "predict_at"} | options
    made = project.client.create_training_set(df=df, feature_lookups=lookups, **options)
    return made.save(name)


def save_again(project, training_set, rows):
    """Save other rows as what the same recipe gives."""
    record = training_set.record
    change = Change(record.content_operation, "other", record.inputs, details=record.details)
    project.writer().write_frame(training_set.name, rows, change)


def restated(project):
    rows = pl.concat([WEATHER, WEATHER.head(1).with_columns(temp=pl.lit(99.0))])
    project.client.create_table(
        name="features.restated",
        primary_keys="origin",
        timeseries_columns="feature_ts",
        known_at="known_at",
        df=rows.with_columns(pl.Series("known_at", hours(7, 9, 2, 9))),
    )
    names = {"temp": "restated_temp", "wind": "gust"}
    return weather(
        table_name="features.restated", rename_outputs=names, default_values={"gust": -1}
    )


def test_a_saved_training_set_holds(project):
    lookups = (weather(lookback_window="3h"), airports(default_values={"altitude": 0}))
    saved(project, *lookups, restated(project), exclude_columns=["temp", "flight"])
    report = check_training_set(project.lake, "delay")
    assert [(one.lookup, one.rows, one.failed) for one in report.results] == [
        ("labels", 4, 0),
        ("features.weather@v1", 4, 0),
        ("features.airports@v1", 4, 0),
        ("features.restated@v1", 4, 0),
    ]
    assert (report.training_set, report.rows, report.failed) == ("training.delay@v1", 4, 0)


def test_a_frame_and_other_rules_hold(project):
    saved(project, weather(), df=LABELS, allow_exact_match=False)
    saved(project, restated(project), df=LABELS, name="replay", known_as_of=hours(8)[0])
    for name in ("delay", "training.replay@v1"):
        assert check_training_set(project.lake, name).failed == 0


def test_the_versions_of_the_time_are_read(project):
    saved(project, airports())
    project.client.write_table(
        name="features.airports", df=pl.DataFrame({"faa": ["JFK"], "altitude": [99]})
    )
    assert check_training_set(project.lake, "delay").failed == 0


def test_other_values_are_found(project):
    labels = LABELS.with_columns(pl.lit(hours(9)[0]).alias("predict_at"))
    right = saved(project, weather(), airports(), df=labels)
    save_again(project, right, right.to_polars().with_columns(temp=pl.Series([2.0, 7.0, 9.0, 1.0])))
    report = check_training_set(project.lake, "delay")
    assert [one.failed for one in report.results] == [0, 2, 0]
    example = report.results[1].example
    assert (example.row, example.label["flight"]) == (1, 1)
    assert example.expected == {"temp": 9.0, "wind": None}
    assert example.got == {"temp": 7.0, "wind": None}
    said = report.as_dict()["lookups"][1]
    assert (said["passed"], said["failed"]) == (2, 2)
    assert said["example"]["label"]["predict_at"] == "2026-01-01T09:00:00+00:00"


def test_labels_in_another_order_are_found(project):
    right = saved(project, weather())
    save_again(project, right, right.to_polars().reverse())
    assert check_training_set(project.lake, "delay").results[0].failed == 4


def test_as_many_rows_as_wanted_are_drawn(project):
    saved(project, weather())
    report = check_training_set(project.lake, "delay", rows=2, seed=3)
    assert [one.rows for one in report.results] == [2, 2]
    assert report.rows == 4


def test_rows_that_are_missing_are_an_error(project):
    right = saved(project, weather())
    save_again(project, right, right.to_polars().head(3))
    with pytest.raises(RunError) as raised:
        check_training_set(project.lake, "delay")
    assert str(raised.value) == (
        "training.delay@v2 has 3 rows, and its labels 4. Rows in must be rows out."
    )


def test_a_training_set_that_is_not_there(project):
    with pytest.raises(NotFoundError, match=r"No training set 'training\.dely'"):
        check_training_set(project.lake, "dely")
