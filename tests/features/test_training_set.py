from __future__ import annotations

import os
import shutil
import subprocess
import sys
from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from sololakehouse.errors import (
    FeatureLookupError,
    FeatureTableError,
    NotFoundError,
    SoloLakehouseError,
    TrainingError,
    UsageError,
)
from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
from sololakehouse.features import identity
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.saved import build_training_set, open_training_set
from sololakehouse.lake import Lakehouse

from .flights import LABELS, WEATHER, airports, hours, weather

AIRPORT_RAISED = pl.DataFrame({"faa": ["LGA"], "altitude": [99]})


def spec(**fields: Any) -> TrainingSetSpec:
    whole = {
        "name": "training.delay",
        "labels": "gold.labels",
        "label": "is_late",
        "timestamp": "predict_at",
        "feature_lookups": (weather(), airports()),
    }
    return TrainingSetSpec(**whole | fields)


def made(project, *lookups, df: Any = "gold.labels", **options: Any):
    options = {"label": "is_late", "timestamp": "predict_at"} | options
    return project.client.create_training_set(df=df, feature_lookups=lookups, **options)


def test_labels_from_a_table_are_ordered_by_time_then_by_all_columns(project):
    frame = made(project, weather(), airports()).to_polars()
    assert frame.columns == [*LABELS.columns, "temp", "wind", "altitude"]
    assert frame["flight"].to_list() == [1, 3, 4, 2]
    assert frame["temp"].to_list() == [7.0, 2.0, None, 9.0]
    assert frame["wind"].to_list() == [70, 20, None, None]
    assert frame["altitude"].to_list() == [13, 22, None, 13]


def test_labels_from_a_frame_keep_their_order(project):
    frame = made(project, weather(), df=LABELS).to_polars()
    assert frame.select(LABELS.columns).equals(LABELS)
    assert frame["temp"].to_list() == [2.0, 7.0, 9.0, None]


def test_every_kind_of_frame_gives_the_same(project):
    of_polars = made(project, weather(), df=LABELS)
    assert made(project, weather(), df=LABELS.lazy()).to_polars().equals(of_polars.to_polars())
    for other in (LABELS.to_arrow(), LABELS.to_pandas()):
        assert made(project, weather(), df=other).to_polars().equals(of_polars.to_polars())
    assert of_polars.to_arrow().num_rows == 4
    assert list(of_polars.to_pandas()["flight"]) == [3, 1, 2, 4]


def test_features_are_chosen_renamed_and_excluded(project):
    lookup = weather(feature_names=["wind"], rename_outputs={"wind": "origin_wind"})
    training = made(project, lookup, airports(), exclude_columns=["flight", "altitude"])
    assert training.columns == ("origin", "predict_at", "is_late", "origin_wind")
    assert training.to_polars().columns == list(training.columns)
    assert training.feature_columns == ("origin", "origin_wind")


def test_one_lookup_and_one_excluded_column_need_no_list(project):
    training = project.client.create_training_set(
        df=LABELS, feature_lookups=airports(), label="is_late", exclude_columns="flight"
    )
    assert training.columns == ("origin", "predict_at", "is_late", "altitude")


def test_one_table_can_be_looked_up_with_two_lookbacks(project):
    recent = weather(feature_names="temp", rename_outputs={"temp": "recent"}, lookback_window="1h")
    any_age = weather(feature_names="temp")
    frame = made(project, recent, any_age, df=LABELS).to_polars()
    assert frame["recent"].to_list() == [None, 7.0, 9.0, None]
    assert frame["temp"].to_list() == [2.0, 7.0, 9.0, None]


def test_defaults_replace_null_of_a_missing_row_and_of_a_missing_value(project):
    lookup = weather(rename_outputs={"wind": "gust"}, default_values={"gust": -1})
    frame = made(project, lookup, df=LABELS).to_polars()
    assert frame["gust"].to_list() == [20, 70, -1, -1]
    assert frame["temp"].to_list() == [2.0, 7.0, 9.0, None]


def test_the_rules_of_visibility_can_be_set(project):
    labels = LABELS.with_columns(pl.lit(hours(9)[0]).alias("predict_at"))
    strict = made(project, weather(), df=labels, allow_exact_match=False)
    assert strict.to_polars()["temp"].to_list() == [2.0, 7.0, 7.0, None]
    replayed = made(project, weather(), df=labels, known_as_of=hours(6)[0])
    assert replayed.to_polars()["temp"].to_list() == [2.0, None, None, None]


def test_a_lookup_without_time_finds_its_row_whatever_the_rule_of_exact_matches(project):
    found = made(project, weather(), airports(), df=LABELS, allow_exact_match=False).to_polars()
    assert found["altitude"].to_list() == [22, 13, 13, None]
    assert found["temp"].to_list() == [2.0, 7.0, 9.0, None]


def test_labels_may_have_a_column_of_any_name(project):
    labels = LABELS.with_columns(pl.lit(1).alias("row number"))
    assert made(project, weather(), df=labels).save("numbered").to_polars()["row number"].sum() == 4


def test_features_and_keys_may_have_any_name(project):
    rows = pl.DataFrame(
        {"place of the label": ["EWR", "JFK"], "row number": [1, 2], "value": [3, 4]}
    )
    client = FeatureEngineeringClient(project.lake)
    client.create_table(name="features.odd", primary_keys="place of the label", df=rows)
    labels = LABELS.with_columns(pl.col("origin").alias("place of the label"))
    lookup = FeatureLookup(table_name="features.odd", lookup_key="place of the label")
    found = made(project, lookup, df=labels).save("odd").to_polars()
    expected = LABELS["origin"].replace_strict({"EWR": 1, "JFK": 2}, default=None)
    assert found["row number"].equals(expected)


def test_labels_whose_type_nothing_tells_are_refused(project):
    labels = LABELS.with_columns(gate=None, many=[])
    with pytest.raises(UsageError) as said:
        made(project, weather(), df=labels)
    assert str(said.value) == (
        "Nothing tells the type of 'gate', 'many' of the labels: it holds NULL alone. Cast it, for "
        "example with .cast(pl.String), or leave it out."
    )


def test_a_recipe_may_say_the_version_of_its_labels(project):
    before = project.lake.read("gold.labels").version
    project.write("gold.labels", LABELS.head(1))
    recipe = spec(labels=f"gold.labels@v{before}")
    saved, _ = build_training_set(project.lake, project.writer(), recipe)
    assert saved.rows == 4
    assert open_training_set(project.lake, "delay").to_polars().height == 4
    with pytest.raises(NotFoundError, match=r"gold\.labels has no version 9"):
        build_training_set(project.lake, project.writer(), spec(labels="gold.labels@v9"))


def test_the_label_may_be_the_only_one_of_a_list(project):
    assert made(project, df=LABELS, label=["is_late"]).recipe.label == "is_late"
    for label in (None, [], ["is_late", "flight"], 7):
        with pytest.raises(FeatureLookupError, match="a training set has one label, and label is"):
            made(project, df=LABELS, label=label)


def test_a_name_that_is_no_table_says_how_one_is_written(project):
    with pytest.raises(FeatureLookupError) as said:
        weather(table_name="main.features.weather")
    assert str(said.value) == (
        "Lookup in main.features.weather: table_name: 'main.features.weather' is no table. Write "
        "schema.table, as in bronze.flights"
    )


def test_restated_values_are_used_from_when_they_are_known(project):
    restated = pl.concat([WEATHER, WEATHER.head(1).with_columns(temp=pl.lit(99.0))])
    known = restated.with_columns(pl.Series("known_at", hours(7, 9, 2, 9)))
    project.client.create_table(
        name="features.restated",
        primary_keys="origin",
        timeseries_columns="feature_ts",
        known_at="known_at",
        df=known,
    )
    lookup = weather(table_name="features.restated", feature_names="temp", lookback_window="3h")
    labels = pl.DataFrame({"origin": ["JFK"] * 3, "predict_at": hours(8, 9, 6), "is_late": [1] * 3})
    assert made(project, lookup, df=labels).to_polars()["temp"].to_list() == [7.0, 9.0, None]


def test_labels_without_a_key_or_a_time_are_counted(project):
    labels = LABELS.with_columns(pl.Series("predict_at", hours(1, None, 10, None)))
    timed, plain = made(project, weather(), airports(), df=labels).reports
    assert timed.as_dict() == {
        "table": "features.weather",
        "rows": 4,
        "null_keys": 1,
        "null_timestamps": 1,
        "unmatched": 1,
    }
    assert (plain.null_keys, plain.null_timestamps, plain.unmatched) == (1, 0, 0)


def test_a_training_set_is_saved_with_its_recipe_and_inputs(project):
    training = made(project, weather(lookback_window="3h"), exclude_columns=["flight"])
    saved = training.save("delay")
    assert saved.name == "training.delay"
    assert saved.to_polars().equals(training.to_polars())
    assert saved.record.inputs == training.inputs
    assert saved.record.inputs == tuple(
        project.lake.read(name).table_version for name in ("gold.labels", "features.weather")
    )
    details = saved.record.details
    assert details["feature_columns"] == ["origin", "temp", "wind"]
    assert details["lookups"][0]["null_keys"] == 1
    weather_table = project.client.get_table(name="features.weather")
    assert details["feature_tables"] == {"features.weather": weather_table.definition}
    assert len(weather_table.definition) == 32
    recipe = TrainingSetSpec.model_validate(details["recipe"])
    assert recipe.labels == "gold.labels"
    assert recipe.feature_lookups[0].lookback_window == timedelta(hours=3)
    assert build_training_set(project.lake, project.writer(), recipe)[1]


def test_saving_again_commits_nothing_until_something_changes(project):
    first, up_to_date = build_training_set(project.lake, project.writer(), spec())
    assert not up_to_date
    again, up_to_date = build_training_set(project.lake, project.writer(), spec())
    assert (again.version, up_to_date) == (first.version, True)
    project.client.write_table(name="features.airports", df=AIRPORT_RAISED)
    third, up_to_date = build_training_set(project.lake, project.writer(), spec())
    assert (third.version, up_to_date) == (first.version + 1, False)
    assert third.to_polars()["altitude"].to_list() == [13, 99, None, 13]
    changed = spec(allow_exact_match=False)
    assert (
        build_training_set(project.lake, project.writer(), changed)[0].version == first.version + 2
    )


def test_what_is_up_to_date_is_not_read(project, monkeypatch):
    build_training_set(project.lake, project.writer(), spec())
    monkeypatch.setattr("sololakehouse.lake.Snapshot.scan", None)
    assert build_training_set(project.lake, project.writer(), spec())[1]


def test_new_rules_build_the_training_set_again(project, monkeypatch):
    build_training_set(project.lake, project.writer(), spec())
    monkeypatch.setattr(identity, "RULES_VERSION", identity.RULES_VERSION + 1)
    assert not build_training_set(project.lake, project.writer(), spec())[1]


def test_a_frame_is_saved_again_only_if_its_rows_or_their_order_change(project):
    first = made(project, weather(), df=LABELS).save("delay").version
    assert made(project, weather(), df=LABELS.clone()).save("training.delay").version == first
    assert made(project, weather(), df=LABELS.reverse()).save("delay").version == first + 1
    recipe = TrainingSetSpec.model_validate(
        project.lake.read("training.delay").record.details["recipe"]
    )
    assert recipe.labels is None
    with pytest.raises(UsageError, match=r"training\.delay names no table or query under 'labels'"):
        build_training_set(project.lake, project.writer(), recipe)


def test_a_training_set_reads_the_versions_that_it_was_made_with(project):
    training = made(project, airports())
    project.client.write_table(name="features.airports", df=AIRPORT_RAISED)
    assert training.to_polars()["altitude"].to_list() == [13, 22, None, 13]


def test_it_is_saved_in_the_schema_training_only(project):
    with pytest.raises(UsageError) as raised:
        made(project, weather()).save("gold.delay")
    assert str(raised.value) == (
        "A training set is saved in the schema 'training': write training.NAME, not 'gold.delay'."
    )


def test_rows_that_another_writer_left_are_checked_when_they_are_read(project):
    import deltalake

    path = project.lake.path("features.airports")
    deltalake.write_deltalake(path, AIRPORT_RAISED.to_arrow(), mode="append")
    with pytest.raises(FeatureTableError, match="faa must be unique, but 2 rows have it in common"):
        made(project, airports()).to_polars()


def test_labels_with_null_are_refused_with_three_examples(project):
    labels = pl.concat([LABELS.with_columns(is_late=pl.lit(None, pl.Int64)), LABELS])
    training = made(project, weather(), df=labels)
    with pytest.raises(TrainingError) as raised:
        training.to_polars()
    assert raised.value.exit_code == 1
    assert str(raised.value) == (
        "the labels: the label 'is_late' must be set, but 4 rows have a NULL there. Examples: "
        "origin='LGA', predict_at=2026-01-01T09:00:00Z, is_late=NULL; "
        "origin='JFK', predict_at=2026-01-01T08:00:00Z, is_late=NULL; "
        "origin='JFK', predict_at=2026-01-01T10:00:00Z, is_late=NULL."
    )
    project.write("gold.labels", labels)
    with pytest.raises(TrainingError, match=r"gold\.labels: the label 'is_late' must be set"):
        build_training_set(project.lake, project.writer(), spec())
    assert not project.lake.exists("training.delay")


NAIVE = LABELS.with_columns(pl.col("predict_at").dt.replace_time_zone(None))
MISTAKES: dict[str, tuple[dict[str, Any], type[SoloLakehouseError], str]] = {
    "unknown table": (
        {"lookups": [weather(table_name="features.wether")]},
        NotFoundError,
        "No table 'features.wether'. Did you mean 'features.weather'? Tables: features.airports, "
        "features.weather, gold.labels.",
    ),
    "no feature table": (
        {"lookups": [weather(table_name="gold.labels")]},
        FeatureLookupError,
        "gold.labels is no feature table: it has no table property 'feature.keys'. Feature "
        "tables: features.airports, features.weather.",
    ),
    "unknown feature": (
        {"lookups": [weather(feature_names=["wnd"])]},
        NotFoundError,
        "features.weather: No column 'wnd'. Did you mean 'wind'? Columns: feature_ts, origin, "
        "temp, wind.",
    ),
    "unknown rename": (
        {"lookups": [weather(rename_outputs={"tmp": "t"})]},
        NotFoundError,
        "Lookup in features.weather: rename_outputs: No feature 'tmp'. Did you mean 'temp'? "
        "Features: temp, wind.",
    ),
    "unknown default": (
        {"lookups": [weather(rename_outputs={"wind": "gust"}, default_values={"wind": 1})]},
        NotFoundError,
        "Lookup in features.weather: default_values: No feature 'wind'. Features: gust, temp.",
    ),
    "default of another type": (
        {"lookups": [weather(default_values={"wind": 0.5})]},
        FeatureLookupError,
        "Lookup in features.weather: default_values: 0.5 does not fit 'wind', which is Int64.",
    ),
    "missing lookup key": (
        {"lookups": [weather(lookup_key="orgin")]},
        FeatureLookupError,
        "Lookup in features.weather: there is no column 'orgin' in gold.labels. Did you mean "
        "'origin'? Columns: flight, is_late, origin, predict_at.",
    ),
    "too many lookup keys": (
        {"lookups": [weather(lookup_key=["origin", "flight"])]},
        FeatureLookupError,
        "Lookup in features.weather: lookup_key names origin, flight, but the table's keys are "
        "origin. Name one column of the labels for each key, in this order.",
    ),
    "key of another type": (
        {"lookups": [weather(lookup_key="flight")]},
        FeatureLookupError,
        "Lookup in features.weather: the key 'flight' of gold.labels is Int64, but 'origin' of "
        "the feature table is String. Keys are not cast silently: give both the same type.",
    ),
    "no timestamp": (
        {"lookups": [weather(timestamp_lookup_key=None)]},
        FeatureLookupError,
        "Lookup in features.weather: its rows are valid from 'feature_ts' on, so "
        "timestamp_lookup_key must name the column of the labels with the moment to look up.",
    ),
    "timestamp for a table without": (
        {"lookups": [airports(timestamp_lookup_key="predict_at")]},
        FeatureLookupError,
        "Lookup in features.airports: timestamp_lookup_key is 'predict_at', but the table has no "
        "timestamp. Leave it out, or declare the table property 'feature.timestamp'.",
    ),
    "lookback for a table without": (
        {"lookups": [airports(lookback_window="1d")]},
        FeatureLookupError,
        "Lookup in features.airports: lookback_window needs a table with a timestamp, and this "
        "one has none.",
    ),
    "unknown timestamp": (
        {"lookups": [weather(timestamp_lookup_key="predict_att")]},
        FeatureLookupError,
        "Lookup in features.weather: there is no column 'predict_att' in gold.labels. Did you mean "
        "'predict_at'? Columns: flight, is_late, origin, predict_at.",
    ),
    "timestamp of another type": (
        {"lookups": [weather(timestamp_lookup_key="flight")]},
        FeatureLookupError,
        "The timestamp 'flight' of gold.labels is of type Int64. A timestamp with a time zone is "
        "needed.",
    ),
    "naive timestamp": (
        {"lookups": [weather()], "df": NAIVE},
        FeatureLookupError,
        "The timestamp 'predict_at' of the labels has no time zone. Say which one it is in, for "
        "example with .dt.replace_time_zone('UTC'), or declare 'time_zone' in lakehouse.yml.",
    ),
    "naive timestamp of pandas": (
        {"lookups": [weather()], "df": NAIVE.to_pandas()},
        FeatureLookupError,
        "The timestamp 'predict_at' of the labels has no time zone. Say which one it is in, for "
        "example with .dt.replace_time_zone('UTC'), or declare 'time_zone' in lakehouse.yml.",
    ),
    "colliding names": (
        {
            "lookups": [
                weather(),
                weather(feature_names="temp"),
                airports(rename_outputs={"altitude": "Flight"}),
            ]
        },
        FeatureLookupError,
        "Columns collide: flight (gold.labels, features.airports); temp (features.weather, "
        "features.weather). Give them other names with rename_outputs, or choose feature_names.",
    ),
    "the label as a feature": (
        {"lookups": [weather(rename_outputs={"wind": "is_late"})]},
        FeatureLookupError,
        "The label 'is_late' is also a feature: features.weather has a column of this name. "
        "Leave it out of feature_names, or rename it with rename_outputs if it is something "
        "else.",
    ),
    "the label as a key": (
        {"lookups": [weather(lookup_key="is_late")]},
        FeatureLookupError,
        "The label 'is_late' cannot be a lookup key of features.weather: it is what is to be "
        "predicted.",
    ),
    "unknown label": (
        {"lookups": [weather()], "label": "late"},
        NotFoundError,
        "gold.labels: No column 'late'. Did you mean 'is_late'? Columns: flight, is_late, "
        "origin, predict_at.",
    ),
    "unknown excluded column": (
        {"lookups": [weather()], "exclude_columns": ["fligth"]},
        NotFoundError,
        "exclude_columns: No column 'fligth'. Did you mean 'flight'? Columns: flight, is_late, "
        "origin, predict_at, temp, wind.",
    ),
    "the label excluded": (
        {"lookups": [weather()], "exclude_columns": ["is_late"]},
        FeatureLookupError,
        "exclude_columns: 'is_late' is the label; it must stay.",
    ),
    "no lookup": (
        {"lookups": ["features.weather"]},
        FeatureLookupError,
        "create_training_set: feature_lookups takes a list of FeatureLookup and FeatureFunction, "
        "not str.",
    ),
    "no frame": (
        {"lookups": [weather()], "df": [1, 2]},
        UsageError,
        "list cannot be read as the labels. Give a Polars, pandas, Arrow or Spark frame.",
    ),
    "unknown moment of the label": (
        {"lookups": [weather()], "label_known_at": "known"},
        NotFoundError,
        "gold.labels: No column 'known'. Columns: flight, is_late, origin, predict_at.",
    ),
    "a moment of the label that is none": (
        {"lookups": [weather()], "label_known_at": "flight"},
        FeatureLookupError,
        "The timestamp 'flight' of gold.labels is of type Int64. A timestamp with a time zone is "
        "needed.",
    ),
    "a lookup as of the moment of the label": (
        {"lookups": [weather()], "label_known_at": "predict_at", "timestamp": None},
        FeatureLookupError,
        "label_known_at 'predict_at' cannot be a lookup key of features.weather: that moment is "
        "not known when a model predicts.",
    ),
    "a day of knowledge without a zone": (
        {"lookups": [weather()], "known_as_of": hours(1)[0].replace(tzinfo=None)},
        FeatureLookupError,
        "create_training_set: known_as_of: 2026-01-01 01:00:00 has no time zone. Write UTC as in "
        "2013-09-01T00:00:00Z, or declare 'time_zone' in lakehouse.yml",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(project, mistake):
    options, error, message = MISTAKES[mistake]
    options = dict(options)
    lookups = options.pop("lookups")
    with pytest.raises(error) as raised:
        made(project, *lookups, **options)
    assert str(raised.value) == message
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("kind", [pl.Int32, pl.Int64])
def test_integers_of_another_width_are_another_type(project, kind):
    table = pl.DataFrame({"id": [1, 2], "v": [10, 20]}, schema_overrides={"id": pl.Int64})
    project.client.create_table(name="features.ids", primary_keys="id", df=table)
    lookup = airports(table_name="features.ids", lookup_key="flight")
    labels = LABELS.with_columns(pl.col("flight").cast(kind))
    if kind == pl.Int64:
        assert made(project, lookup, df=labels).to_polars()["v"].to_list() == [None, 10, 20, None]
    else:
        with pytest.raises(FeatureLookupError, match="is Int32, but 'id' of the feature table is"):
            made(project, lookup, df=labels)


def test_load_df_gives_a_dataframe_of_the_active_session(project, monkeypatch):
    from pyspark.sql.connect.session import SparkSession

    from sololakehouse.engine import Engine

    monkeypatch.setattr(SparkSession._active_session, "session", None, raising=False)
    with Engine.start() as engine:
        spark_labels = engine.session.createDataFrame(LABELS.to_pandas())
        training = made(project, weather(), df=spark_labels)
        loaded = training.load_df()
        assert loaded.columns == list(training.columns)
        assert [row.temp for row in loaded.collect()] == [2.0, 7.0, 9.0, None]
    with pytest.raises(UsageError, match="no Spark session is active"):
        training.load_df()


def test_the_moment_of_the_label_stays_and_is_no_feature(project):
    labels = LABELS.with_columns(pl.Series("known_at", hours(12, 12, None, 12)))
    training = made(project, weather(), df=labels, label_known_at="known_at")
    assert "known_at" in training.columns
    assert training.feature_columns == ("flight", "origin", "temp", "wind")
    assert training.save("delay").record.details["recipe"]["label_known_at"] == "known_at"


SAVE = """\
import sys
from sololakehouse.feature_engineering import FeatureEngineeringClient, FeatureLookup
from sololakehouse.lake import Lakehouse

client = FeatureEngineeringClient(Lakehouse.open(sys.argv[1]))
lookups = [FeatureLookup(**fields) for fields in {lookups}]
client.create_training_set(
    df="gold.labels", feature_lookups=lookups, label="is_late", timestamp="predict_at"
).save("delay")
"""


def test_the_same_recipe_on_the_same_versions_gives_the_same_bytes_in_every_process(project):
    many = pl.concat([LABELS.with_columns(flight=pl.col("flight") + n) for n in range(5_000)])
    project.write("gold.labels", many)
    folder = project.lake.project.folder
    copy = shutil.copytree(folder, folder.parent / f"{folder.name}-copy")
    lookups = [weather(), airports()]
    saved = made(project, *lookups).save("delay")
    subprocess.run(
        [sys.executable, "-c", SAVE.format(lookups=[one.model_dump() for one in lookups]), copy],
        env=os.environ | {"PYTHONHASHSEED": "1", "POLARS_MAX_THREADS": "1"},
        check=True,
    )
    other = Lakehouse.open(copy).read("training.delay")
    assert other.record.manifest == saved.record.manifest
    assert other.record.fingerprint == saved.record.fingerprint
    contents = [[file.read_bytes() for file in one.data_files] for one in (saved, other)]
    assert contents[0] == contents[1]
