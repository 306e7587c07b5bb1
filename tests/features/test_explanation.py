from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from deltalake import write_deltalake
from hypothesis import given, settings

from sololakehouse.conformance.oracle import chosen
from sololakehouse.errors import FeatureLookupError, NotFoundError, UsageError
from sololakehouse.features.asof import chosen_rows
from sololakehouse.features.explanation import _verdicts
from sololakehouse.features.saved import open_training_set
from sololakehouse.features.timeline import timeline

from .flights import LABELS, airports, hours, weather
from .test_asof import _frame, cases, rule_of

RESTATED = pl.DataFrame(
    {
        "shop": ["n"] * 6 + ["s"],
        "feature_ts": hours(2, 4, 4, 4, 5, 9, 9),
        "known_at": hours(2, 4, 5, 8, 7, 9, 9),
        "sales": [2.0, 40.0, 41.0, 42.0, 50.0, 90.0, 99.0],
    }
)
SHOPS = pl.DataFrame({"shop": ["n", "n", "s"], "at": hours(6, 9, 3), "label": [0, 1, 0]})


def shop_set(project, **options: Any):
    if not project.lake.exists("features.shops"):
        project.client.create_table(
            name="features.shops",
            primary_keys="shop",
            timeseries_columns="feature_ts",
            known_at="known_at",
            df=RESTATED,
        )
    lookup = weather(
        table_name="features.shops",
        lookup_key="shop",
        timestamp_lookup_key="at",
        **options.pop("lookup", {}),
    )
    options = {"df": SHOPS, "label": "label", "feature_lookups": [lookup]} | options
    return project.client.create_training_set(**options)


def verdicts(training_set, row: int, near: int = 3) -> list[tuple[float, str]]:
    found = training_set.explain(row, near).lookups[0].candidates
    return [(one.values["sales"], one.verdict) for one in found]


def test_every_rejected_row_has_its_reason(project):
    assert verdicts(shop_set(project), 0, near=9) == [
        (2.0, "older"),
        (40.0, "lost the tie"),
        (41.0, "chosen"),
        (42.0, "not yet known"),
        (50.0, "not yet known"),
        (90.0, "in the future"),
    ]
    strict = shop_set(project, allow_exact_match=False)
    assert verdicts(strict, 1, near=9)[-2:] == [(50.0, "chosen"), (90.0, "exact match refused")]


def test_an_expired_row_gives_nothing_and_says_so(project):
    short = shop_set(project, lookup={"lookback_window": timedelta(hours=1)})
    found = short.explain(0).lookups[0]
    assert (found.chosen, found.summary) == (None, "no row: the latest is expired")
    assert (41.0, "expired") in verdicts(short, 0)
    assert short.to_polars()["sales"][0] is None


def test_only_the_nearest_rows_are_shown(project):
    found = shop_set(project).explain(0, near=1).lookups[0]
    assert [one.verdict for one in found.candidates] == [
        "chosen",
        "not yet known",
        "in the future",
    ]
    assert found.left_out == 3


def test_keys_that_are_null_or_unknown_and_lookups_without_time(project):
    labels = LABELS.with_columns(origin=pl.Series([None, "JFK", "XXX", "LGA"]))
    made = project.client.create_training_set(
        df=labels, feature_lookups=[weather(), airports()], label="is_late"
    )
    said = [[lookup.summary for lookup in made.explain(row).lookups] for row in range(3)]
    assert said[0] == ["no row: the label's key is NULL"] * 2
    assert said[1][0].startswith("the row of 2026-01-01 07:00:00 UTC, 1:00 h before")
    assert said[1][1] == "the row with the label's key"
    assert said[2] == ["no row: the feature table has none with this key"] * 2


@settings(max_examples=150, deadline=None, derandomize=True)
@given(cases())
def test_verdicts_agree_with_the_oracle(case):
    rows = sorted(case["rows"], key=lambda row: row[1:])
    times = {"ts": [row[1] for row in rows], "known": [row[2] for row in rows]}
    features = _frame([row[0] for row in rows], case["width"], times, "UTC")
    rule, oldest = rule_of(case), case["lookback"]
    options = {key: case[key] for key in ("known_as_of", "allow_exact_match")}
    for key, event in case["labels"]:
        label = _frame([key], case["width"], {"at": [event]}, "UTC")
        same = [index for index, row in enumerate(rows) if row[0] == key]
        own = features[same]
        found = chosen_rows(label, own, rule)[0]
        judged = _verdicts(own, label["at"][0], rule, found)
        of_key = [rows[index] for index in same]
        known = {"uses_known_at": case["uses_known_at"], **options}
        fresh = chosen(key, event, of_key, lookback=oldest, **known)
        ever = chosen(key, event, of_key, **known)
        assert [i for i, verdict in enumerate(judged) if verdict == "chosen"] == (
            [] if fresh is None else [fresh]
        )
        assert [i for i, verdict in enumerate(judged) if verdict == "expired"] == (
            [ever] if fresh is None and ever is not None else []
        )


def test_a_saved_training_set_is_explained_from_its_record(project):
    for df, name in (("gold.labels", "of_table"), (LABELS, "of_frame")):
        made = project.client.create_training_set(
            df=df,
            feature_lookups=[weather(), airports()],
            label="is_late",
            timestamp="predict_at",
            exclude_columns=["flight", "wind"],
        )
        made.save(name)
        project.client.write_table(
            name="features.airports", df=pl.DataFrame({"faa": ["LGA"], "altitude": [len(name)]})
        )
        opened = open_training_set(project.lake, f"{name}@v1")
        saved = project.lake.read(f"training.{name}").to_polars()
        assert opened.to_polars().equals(saved)
        for row, stored in enumerate(saved.iter_rows(named=True)):
            for lookup in opened.explain(row).lookups:
                values = dict(lookup.chosen.values) if lookup.chosen else {}
                values.pop("wind", None)
                assert values.items() <= stored.items()


def test_what_cannot_be_explained_is_one_sentence(project):
    made = project.client.create_training_set(
        df=LABELS, feature_lookups=[weather()], label="is_late", exclude_columns=["origin"]
    )
    made.save("narrow")
    with pytest.raises(FeatureLookupError, match="their columns origin were excluded from it"):
        open_training_set(project.lake, "narrow")
    with pytest.raises(NotFoundError, match=r"Did you mean 'training\.narrow'"):
        open_training_set(project.lake, "narow")
    with pytest.raises(UsageError, match="saved in the schema 'training'"):
        open_training_set(project.lake, "gold.labels")
    write_deltalake(project.lake.path("training.other"), LABELS.to_arrow())
    with pytest.raises(FeatureLookupError, match="was not made from a recipe"):
        open_training_set(project.lake, "other")
    with pytest.raises(NotFoundError, match="has no row 4: its 4 rows are numbered from 0"):
        made.explain(4)


def test_the_time_line_is_a_picture_with_every_candidate(project):
    explained = shop_set(project, lookup={"lookback_window": timedelta.max}).explain(0)
    picture = ElementTree.fromstring(timeline(explained))
    space = "{http://www.w3.org/2000/svg}"
    told = [title.text for title in picture.iterfind(f"{space}circle/{space}title")]
    candidates = explained.lookups[0].candidates
    assert len(told) == len(candidates)
    for one, text in zip(candidates, told, strict=True):
        assert one.verdict in text
        assert f"sales={one.values['sales']}" in text
    marks = [
        mark for mark in picture.iter(f"{space}circle") if mark.find(f"{space}title") is not None
    ]
    places = [float(mark.get("cx")) for mark in marks]
    assert places == sorted(places)
    assert all(24 <= place <= 936 for place in places)


def test_restatements_are_counted_for_the_three_kinds_of_knowledge(project):
    report = shop_set(project).restatement_report(datetime(2026, 1, 1, 7, tzinfo=UTC))
    found = {(one.before, one.after): one for one in report.changes}
    assert {pair: one.labels for pair, one in found.items()} == {
        ("event time", "as known"): 1,
        ("event time", "as of a day"): 1,
        ("as known", "as of a day"): 2,
    }
    (change,) = found["event time", "as known"].features
    assert (change.feature, change.rows, change.share) == ("sales", 1, 1 / 3)
    assert (change.mean_change, change.examples) == (9.0, ((0, 50.0, 41.0),))
    assert json.dumps(report.as_dict(), default=str)


def test_a_restatement_report_needs_a_time_with_a_zone(project):
    with pytest.raises(FeatureLookupError, match="has no time zone"):
        shop_set(project).restatement_report(datetime(2026, 1, 1))
    timeless = project.client.create_training_set(
        df=LABELS, feature_lookups=[airports()], label="is_late"
    )
    with pytest.raises(FeatureLookupError, match="no lookup is by time"):
        timeless.restatement_report()


def test_a_label_without_a_moment_has_no_rows_near_it(project):
    labels = SHOPS.with_columns(at=pl.lit(None, pl.Datetime("us", "UTC")))
    (found,) = shop_set(project, df=labels).explain(0).lookups
    assert (found.candidates, found.left_out) == ((), 6)
    assert found.summary == "no row: the label's timestamp is NULL"


def test_a_restatement_report_takes_the_moments_that_there_are(project):
    never = SHOPS.with_columns(never=pl.lit(None, pl.Datetime("us", "UTC")))
    lookups = [
        weather(table_name="features.shops", lookup_key="shop", timestamp_lookup_key="at"),
        weather(
            table_name="features.shops",
            lookup_key="shop",
            timestamp_lookup_key="never",
            rename_outputs={"sales": "later"},
        ),
    ]
    shop_set(project)
    report = shop_set(project, df=never, feature_lookups=lookups).restatement_report()
    assert report.known_as_of == hours(9)[0]


def test_the_change_of_small_integers_may_be_larger_than_they_are(project):
    rows = pl.DataFrame(
        {"shop": ["n"] * 2, "feature_ts": hours(2, 2), "known_at": hours(2, 9), "n": [127, -128]},
        schema_overrides={"n": pl.Int8},
    )
    project.client.create_table(
        name="features.small",
        primary_keys="shop",
        timeseries_columns="feature_ts",
        known_at="known_at",
        df=rows,
    )
    lookup = weather(table_name="features.small", lookup_key="shop", timestamp_lookup_key="at")
    report = shop_set(project, feature_lookups=[lookup]).restatement_report(hours(2)[0])
    (change,) = report.changes[0].features
    assert (change.rows, change.mean_change) == (1, 255.0)
