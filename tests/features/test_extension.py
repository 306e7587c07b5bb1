"""A saved training set that is extended by new labels equals one that is computed in full."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.lake.optimize import optimize
from sololakehouse.provenance import Change, content_manifest

from .flights import AIRPORTS, LABELS, WEATHER, airports, hours, weather

LATER = LABELS.with_columns(predict_at=pl.Series(hours(12, 11, 12, None)), flight=pl.col("flight"))
NEW_WEATHER = pl.DataFrame(
    {"origin": ["JFK"], "feature_ts": hours(11), "temp": [11.0], "wind": [110]}
)


def made(project, *lookups: Any, **options: Any):
    return project.client.create_training_set(
        df="gold.labels",
        feature_lookups=lookups or (weather(), airports()),
        label="is_late",
        timestamp="predict_at",
        **options,
    )


def append(project, table: str, rows: pl.DataFrame) -> None:
    """Append as a pipeline's increment does: the files that are there stay."""
    project.write(table, rows, mode="append")


def computed(project, *lookups: Any, **options: Any) -> dict[str, Any]:
    """Save, hold the rows against a whole computation, and return how they were computed."""
    saved = made(project, *lookups, **options).save("delay")
    whole = made(project, *lookups, **options)
    assert saved.to_polars().equals(whole.to_polars())
    assert saved.record.manifest == content_manifest(whole.to_polars())
    assert saved.record.details["lookups"] == [report.as_dict() for report in whole.reports]
    return saved.record.details["computed"]


@pytest.fixture
def saved(project):
    assert computed(project) == {"in full": "there was no version before"}
    return project


def test_new_labels_are_looked_up_and_the_others_kept(saved):
    append(saved, "gold.labels", LATER)
    append(saved, "features.weather", NEW_WEATHER)
    append(saved, "features.airports", pl.DataFrame({"faa": ["EWR"], "altitude": [18]}))
    assert computed(saved) == {"kept": {"version": 1, "rows": 4}}
    assert saved.lake.read("training.delay").to_polars()["temp"].to_list() == [
        *(None, 7.0, 2.0, None, 9.0, 11.0, 11.0, 2.0)
    ]
    append(saved, "gold.labels", LATER)
    assert computed(saved) == {"kept": {"version": 2, "rows": 8}}


def test_only_the_new_labels_are_looked_up(saved, monkeypatch):
    from sololakehouse.features import training_set

    asked = []
    find = training_set.find

    def watched(labels, *arguments, **options):
        asked.append(labels.collect().height)
        return find(labels, *arguments, **options)

    append(saved, "gold.labels", LATER.head(1))
    monkeypatch.setattr(training_set, "find", watched)
    made(saved).save("delay")
    assert asked == [1]


def test_an_optimized_training_set_is_extended(saved):
    append(saved, "gold.labels", LATER)
    optimize(saved.writer(), "training.delay")
    assert "kept" in computed(saved)


def test_excluded_columns_and_functions_are_extended_as_well(project):
    from sololakehouse.feature_engineering import FeatureFunction

    folder = project.lake.project.folder / "functions"
    folder.mkdir()
    (folder / "sky.py").write_text("def hour(at: int) -> int:\n    return at and at * 2\n")
    function = FeatureFunction(udf_name="sky.hour", input_bindings={"at": "wind"})
    options = {"exclude_columns": ["flight", "wind"]}
    computed(project, weather(), function, **options)
    append(project, "gold.labels", LATER)
    assert "kept" in computed(project, weather(), function, **options)
    (folder / "sky.py").write_text("def hour(at: int) -> int:\n    return at and at * 3\n")
    append(project, "gold.labels", LATER)
    assert (
        "another recipe, rule or function"
        in computed(project, weather(), function, **options)["in full"]
    )


def restated(project) -> None:
    project.client.create_table(
        name="features.restated",
        primary_keys="origin",
        timeseries_columns="feature_ts",
        known_at="known_at",
        df=WEATHER.with_columns(known_at="feature_ts"),
    )


MOMENT = pl.Datetime("us", "UTC")
RESTATEMENT = NEW_WEATHER.with_columns(
    feature_ts=pl.lit(hours(8)[0], MOMENT), known_at=pl.lit(hours(11)[0], MOMENT)
)


def test_a_restatement_that_came_later_is_not_seen_by_earlier_labels(project):
    restated(project)
    lookup = weather(table_name="features.restated")
    computed(project, lookup)
    append(project, "gold.labels", LATER)
    append(project, "features.restated", RESTATEMENT)
    assert "kept" in computed(project, lookup)


def test_with_a_fixed_day_of_knowledge_it_is_seen(project):
    restated(project)
    lookup = weather(table_name="features.restated")
    options = {"known_as_of": hours(23)[0]}
    computed(project, lookup, **options)
    append(project, "features.restated", RESTATEMENT)
    assert computed(project, lookup, **options) == {
        "in full": "features.restated gained rows that earlier labels see"
    }


def late_weather(project):
    late = NEW_WEATHER.with_columns(feature_ts=pl.lit(hours(10)[0], MOMENT))
    append(project, "features.weather", late)


def rewritten(project):
    project.client.write_table(name="features.weather", df=NEW_WEATHER)


def a_column(project):
    project.client.write_table(
        name="features.airports", df=AIRPORTS.with_columns(runways=1), mode="overwrite"
    )


def fewer_labels(project):
    project.write("gold.labels", LABELS.head(3))


def wider_labels(project):
    project.write("gold.labels", LABELS.with_columns(more=1))


def restored(project):
    from sololakehouse.lake.restore import restore

    made(project, weather()).save("delay")
    restore(project.writer(), "training.delay", 1)
    append(project, "gold.labels", LATER)


def disordered(project):
    stored = project.lake.read("training.delay")
    record, rows = stored.record, stored.to_polars().reverse()
    change = Change("TRAINING SET", record.fingerprint, record.inputs, details=record.details)
    project.writer().write_frame("training.delay", rows, change)
    append(project, "gold.labels", LATER)


IN_FULL = {
    late_weather: "features.weather gained rows that earlier labels see",
    rewritten: "rows of features.weather were changed or removed",
    a_column: "the columns or keys of features.airports changed",
    fewer_labels: "rows of gold.labels were changed or removed",
    wider_labels: "the columns of gold.labels changed",
    restored: "Snapshot(training.delay@v3) was made by another recipe, rule or function",
    disordered: "the rows of training.delay are not in the order of its labels",
}


@pytest.mark.parametrize("change", IN_FULL, ids=lambda change: change.__name__)
def test_it_is_computed_in_full_where_stored_rows_may_not_hold(saved, change):
    change(saved)
    assert computed(saved) == {"in full": IN_FULL[change]}


def test_a_new_key_of_a_table_without_time_is_seen_only_by_its_labels(saved):
    append(saved, "features.airports", pl.DataFrame({"faa": ["JFX"], "altitude": [1]}))
    append(saved, "gold.labels", LABELS.with_columns(origin=pl.lit("JFX")))
    assert "kept" in computed(saved)
    append(saved, "features.airports", pl.DataFrame({"faa": ["LGX"], "altitude": [2]}))
    append(saved, "gold.labels", LABELS.with_columns(origin=pl.lit("LGX")))
    assert "kept" in computed(saved)


def test_a_key_that_earlier_labels_lacked_is_seen(project):
    project.client.write_table(name="features.airports", df=AIRPORTS.head(1), mode="overwrite")
    computed(project)
    append(project, "features.airports", AIRPORTS.tail(1))
    assert computed(project) == {"in full": "features.airports gained rows that earlier labels see"}


KEYS = st.sampled_from(["a", "b", None])
HOURS = st.integers(0, 9)


@st.composite
def growth(draw: st.DrawFn) -> dict[str, Any]:
    """Labels and features before and after, of which the later features may be seen or not."""
    rows = st.tuples(st.sampled_from(["a", "b"]), HOURS, HOURS)
    first = draw(st.integers(0, 12))
    later = st.tuples(st.sampled_from(["a", "b", "c"]), st.integers(first, 12), st.integers(0, 14))
    before = draw(st.lists(rows, min_size=1, max_size=6, unique=True))
    after = draw(st.lists(later, max_size=4, unique=True))
    plain = draw(st.permutations(["a", "b", "c", "d"]))
    cut = draw(st.integers(1, 4))
    return {
        "labels": draw(st.lists(st.tuples(KEYS, st.none() | HOURS), min_size=1, max_size=6)),
        "new labels": draw(st.lists(st.tuples(KEYS, st.integers(0, 14)), max_size=4)),
        "features": before,
        "new features": [row for row in after if row not in before],
        "plain": plain[:cut],
        "new plain": plain[cut : cut + draw(st.integers(0, 1))],
        "number": next(NUMBERS),  # tables of their own: the log of one table would get long
        "known": draw(st.booleans()),
        "known_as_of": draw(st.none() | HOURS),
        "lookback": draw(st.none() | st.integers(0, 5)),
        "exact": draw(st.booleans()),
    }


def label_rows(rows) -> pl.DataFrame:
    schema = {"key": pl.String, "at": MOMENT, "wet": pl.Int64}
    moments = [(key, hours(at)[0], index % 2) for index, (key, at) in enumerate(rows)]
    return pl.DataFrame(moments, schema=schema, orient="row")


def feature_rows(rows, *, known: bool) -> pl.DataFrame:
    schema = {"key": pl.String, "ts": MOMENT, "known_at": MOMENT, "value": pl.Int64}
    moments = [(key, hours(ts)[0], hours(at)[0], 100 * ts + at) for key, ts, at in rows]
    frame = pl.DataFrame(moments, schema=schema, orient="row")
    return frame if known else frame.unique(["key", "ts"], keep="first", maintain_order=True)


def plain_rows(keys) -> pl.DataFrame:
    values = {"key": list(keys), "size": [ord(key) for key in keys]}
    return pl.DataFrame(values, schema={"key": pl.String, "size": pl.Int64})


HOW: list[str] = []
NUMBERS = count()


def named(case, table: str) -> str:
    return f"{table}_{case['number']}"


def grown(case) -> dict[str, tuple[pl.DataFrame, pl.DataFrame, dict[str, str]]]:
    """Return tables with their first rows, their later rows and their properties."""
    known = case["known"]
    whole = feature_rows([*case["features"], *case["new features"]], known=known)
    first = feature_rows(case["features"], known=known)
    keys = {"feature.keys": "key", "feature.timestamp": "ts"}
    timed = keys | ({"feature.known_at": "known_at"} if known else {})

    def both(rows_of, name: str) -> tuple[pl.DataFrame, pl.DataFrame]:
        return rows_of(case[name]), rows_of(case[f"new {name}"])

    return {
        named(case, "gold.grown"): (*both(label_rows, "labels"), {}),
        named(case, "features.timed"): (first, whole.tail(whole.height - first.height), timed),
        named(case, "features.plain"): (*both(plain_rows, "plain"), {"feature.keys": "key"}),
    }


def recipe_of(case) -> dict[str, Any]:
    lookback = case["lookback"]
    timed = weather(
        table_name=named(case, "features.timed"),
        lookup_key="key",
        timestamp_lookup_key="at",
        feature_names="value",
        lookback_window=None if lookback is None else timedelta(hours=lookback),
    )
    plain = airports(table_name=named(case, "features.plain"), lookup_key="key")
    return {
        "df": named(case, "gold.grown"),
        "feature_lookups": [timed, plain],
        "label": "wet",
        "timestamp": "at",
        "allow_exact_match": case["exact"],
        "known_as_of": hours(case["known_as_of"])[0],
    }


@settings(max_examples=25, deadline=None, derandomize=True)
@given(case=growth())
def test_extended_equals_computed_in_full(unchanged, case):
    writer = unchanged.writer()
    create = partial(unchanged.client.create_training_set, **recipe_of(case))
    tables = grown(case)
    for name, (first, _, properties) in tables.items():
        writer.write_frame(name, first, Change("TEST", "first"), properties=properties)
    create().commit(writer, named(case, "training.grown"))
    for name, (_, later, _) in tables.items():
        if later.height:
            writer.write_frame(name, later, Change("TEST", "later"), mode="append")
    saved, _ = create().commit(writer, named(case, "training.grown"))
    full = create()
    assert saved.to_polars().equals(full.to_polars())
    assert saved.record.manifest == content_manifest(full.to_polars())
    assert saved.record.details["lookups"] == [report.as_dict() for report in full.reports]
    HOW.extend(saved.record.details["computed"])


def test_the_cases_were_of_both_kinds():
    assert HOW.count("kept") >= 5
    assert HOW.count("in full") >= 5
