from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import polars as pl
import pytest

from sololakehouse.errors import FeatureLookupError, FeatureTableError, RunError, UsageError
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.features.recipe import Recipe
from sololakehouse.features.requests import lookup_features
from sololakehouse.lake import Lakehouse

from .flights import AIRPORTS, LABELS, WEATHER, airports, hours, weather


def test_a_table_is_created_with_its_contract(project):
    table = project.client.get_table(name="features.weather")
    assert table.primary_keys == ("origin", "feature_ts")
    assert table.timeseries_columns == ("feature_ts",)
    assert table.features == ("temp", "wind")
    assert table.description == "Weather at the origin"
    assert (table.name, table.known_at) == ("features.weather", None)
    properties = project.lake.read("features.weather").properties
    assert properties["feature.keys"] == "origin"
    assert properties["feature.timestamp"] == "feature_ts"


def test_the_client_opens_the_project_here(project, monkeypatch):
    monkeypatch.chdir(project.lake.project.folder)
    assert FeatureEngineeringClient().read_table(name="features.airports").rows == 2


def test_a_table_that_exists_is_not_created(project):
    with pytest.raises(UsageError, match=r"features\.airports exists\. Write to it with write_tab"):
        project.client.create_table(name="features.airports", primary_keys="faa", df=AIRPORTS)


def test_the_schema_that_tells_of_runs_holds_no_feature_table(project):
    with pytest.raises(
        UsageError, match=r"system\.airports is in the schema 'system', which tells"
    ):
        project.client.create_table(name="system.airports", primary_keys="faa", df=AIRPORTS)
    assert not project.lake.exists("system.airports")


def test_a_table_has_one_timestamp(project):
    with pytest.raises(UsageError, match="a feature table has one timestamp, and timeseries_"):
        project.client.create_table(
            name="features.two", primary_keys="a", df=WEATHER, timeseries_columns=["x", "y"]
        )


@pytest.mark.parametrize("keys", [[], None, "feature_ts"])
def test_a_table_without_a_key_is_not_made(project, keys):
    with pytest.raises(UsageError, match=r"features\.none: primary_keys names no key"):
        project.client.create_table(
            name="features.none", primary_keys=keys, df=WEATHER, timeseries_columns="feature_ts"
        )
    assert not project.lake.exists("features.none")


def test_mistakes_in_keys_and_times_are_told_in_the_clients_words(project):
    create = partial(project.client.create_table, name="features.bad", df=AIRPORTS)
    with pytest.raises(UsageError, match="known_at needs timeseries_columns"):
        create(primary_keys="faa", known_at="altitude")
    with pytest.raises(UsageError, match="the keys and times name 'faa' twice"):
        create(primary_keys=["faa", "faa"])
    with pytest.raises(UsageError, match="the key 'a,b' has a comma"):
        create(primary_keys="a,b")


def test_tags_stay_with_the_table(project):
    tags = {"team": "field", "tier": "2"}
    create = partial(project.client.create_table, primary_keys="faa", df=AIRPORTS)
    assert create(name="features.tagged", tags=tags).tags == tags
    more = AIRPORTS.with_columns(altitude=pl.lit(7, pl.Int64))
    assert project.client.write_table(name="features.tagged", df=more).tags == tags
    assert project.client.get_table(name="features.airports").tags == {}
    with pytest.raises(UsageError, match="tags are texts by name"):
        create(name="features.others", tags={"tier": 2})


def spark_schema():
    from pyspark.sql.types import DoubleType, StringType, StructType, TimestampType

    kinds = {"shop": StringType(), "ts": TimestampType(), "sales": DoubleType()}
    schema = StructType()
    for name, kind in kinds.items():
        schema.add(name, kind)
    return schema


SHOPS = {"shop": pl.String, "ts": pl.Datetime("us", "UTC"), "sales": pl.Float64}


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(spark_schema, id="spark"),
        pytest.param(lambda: pl.DataFrame(schema=SHOPS).to_arrow().schema, id="arrow"),
        pytest.param(lambda: SHOPS, id="polars"),
    ],
)
def test_a_table_is_created_from_a_schema_and_filled_later(project, schema):
    table = project.client.create_table(
        name="features.shops",
        primary_keys=["shop", "ts"],
        timeseries_columns="ts",
        schema=schema(),
    )
    assert (table.snapshot.rows, table.features) == (0, ("sales",))
    rows = pl.DataFrame([("n", hours(1)[0], 2.5)], schema=SHOPS, orient="row")
    assert project.client.write_table(name="features.shops", df=rows).snapshot.rows == 1


def test_frame_and_schema_must_agree_and_one_of_them_be_there(project):
    create = partial(project.client.create_table, name="features.shops", primary_keys="faa")
    other_order = {"altitude": pl.Int64, "faa": pl.String}
    made = create(df=AIRPORTS, schema=other_order)
    assert (made.snapshot.rows, list(made.snapshot.columns)) == (2, ["altitude", "faa"])
    create = partial(create, name="features.others")
    with pytest.raises(UsageError, match=r"features\.others: create_table needs a frame \(df\) or"):
        create()
    with pytest.raises(UsageError) as said:
        create(df=AIRPORTS, schema={"faa": pl.String})
    assert str(said.value) == (
        "features.others: the schema says faa String; the frame has faa String, altitude Int64."
    )
    with pytest.raises(UsageError, match="int cannot be read as the schema of the rows of feature"):
        create(schema=7)
    with pytest.raises(FeatureLookupError, match="The timestamp 'ts' of the rows of features"):
        create(schema={"faa": pl.String, "ts": pl.Datetime("us")})


def test_a_training_set_is_written_by_saving_only(project):
    create = project.client.create_table
    with pytest.raises(UsageError) as said:
        create(name="training.airports", primary_keys="faa", df=AIRPORTS)
    assert str(said.value) == (
        "training.airports: the schema 'training' is for saved training sets, which nothing else "
        "writes. Choose another schema."
    )
    assert not project.lake.exists("training.airports")


def test_a_frame_that_breaks_the_contract_leaves_no_table(project):
    with pytest.raises(FeatureTableError, match="origin must be unique, but 2 rows have it"):
        project.client.create_table(name="features.bad", primary_keys="origin", df=WEATHER)
    naive = WEATHER.with_columns(pl.col("feature_ts").dt.replace_time_zone(None))
    with pytest.raises(FeatureLookupError, match=r"'feature_ts' of the rows of features"):
        project.client.create_table(
            name="features.bad",
            primary_keys="origin",
            timeseries_columns="feature_ts",
            df=naive.to_pandas(),
        )
    assert not project.lake.exists("features.bad")


def test_merge_replaces_rows_with_the_same_keys_and_adds_the_others(project):
    rows = pl.DataFrame(
        {
            "wind": [None, 60],
            "temp": [77.0, 6.0],
            "origin": ["JFK", "EWR"],
            "feature_ts": hours(7, 6),
        }
    )
    first = project.client.get_table(name="features.weather").version
    table = project.client.write_table(name="features.weather", df=rows)
    assert table.version == first + 1
    assert table.description == "Weather at the origin"
    stored = table.snapshot.to_polars()
    assert stored["origin"].to_list() == ["EWR", "JFK", "JFK", "LGA"]
    assert stored["temp"].to_list() == [6.0, 77.0, 9.0, 2.0]
    assert stored["wind"].to_list() == [60, None, None, 20]
    before = project.client.read_table(name="features.weather", as_of_version=first)
    assert before.to_polars()["temp"].to_list() == [7.0, 9.0, 2.0]


def test_overwrite_replaces_all_rows(project):
    rows = pl.DataFrame({"faa": ["EWR"], "altitude": [18], "runways": [3]})
    table = project.client.write_table(name="features.airports", df=rows, mode="overwrite")
    assert table.features == ("altitude", "runways")
    assert table.snapshot.rows == 1


@pytest.mark.parametrize("mode", ["merge", "overwrite"])
def test_writing_what_is_there_commits_nothing(project, mode):
    before = project.client.get_table(name="features.airports").version
    rows = AIRPORTS.reverse()
    table = project.client.write_table(name="features.airports", df=rows, mode=mode)
    assert table.version == before


def test_merged_rows_must_fit_the_table(project):
    before = project.lake.read("features.airports").version
    rows = pl.DataFrame({"faa": ["EWR"], "altitude": [1.5]})
    with pytest.raises(UsageError) as raised:
        project.client.write_table(name="features.airports", df=rows)
    assert str(raised.value) == (
        "features.airports: the rows do not have the types of the table: altitude is Float64 and "
        "not Int64. Cast them, or use mode='overwrite' to change the table's types."
    )
    with pytest.raises(UsageError, match=r"'altitude' and 'Altitude' of features\.airports and"):
        project.client.write_table(
            name="features.airports", df=rows.rename({"altitude": "Altitude"})
        )
    doubled = pl.concat([AIRPORTS, AIRPORTS])
    with pytest.raises(FeatureTableError, match="faa must be unique, but 4 rows"):
        project.client.write_table(name="features.airports", df=doubled)
    untyped = pl.DataFrame({"faa": ["EWR"], "runways": [None]})
    with pytest.raises(UsageError, match="Nothing tells the type of 'runways' of the rows of feat"):
        project.client.write_table(name="features.airports", df=untyped)
    assert project.lake.read("features.airports").version == before


def test_merge_leaves_features_that_are_not_given_and_adds_those_that_are_new(project):
    rows = pl.DataFrame({"faa": ["EWR", "JFK"], "runways": [3, 4]})
    table = project.client.write_table(name="features.airports", df=rows)
    assert table.features == ("altitude", "runways")
    assert table.snapshot.to_polars().rows() == [
        ("EWR", None, 3),
        ("JFK", 13, 4),
        ("LGA", 22, None),
    ]
    unknown = pl.DataFrame({"faa": ["JFK"], "altitude": [None]})
    table = project.client.write_table(name="features.airports", df=unknown)
    assert table.snapshot.to_polars().rows()[1] == ("JFK", None, 4)


def test_clients_that_merge_at_the_same_time_lose_no_row(project):
    def merge(first: int) -> None:
        client = FeatureEngineeringClient(Lakehouse.open(project.lake.project.folder))
        for number in range(first, first + 4):
            rows = pl.DataFrame({"faa": [f"X{number}"], "altitude": [number]})
            client.write_table(name="features.airports", df=rows)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(merge, [0, 10, 20]))
    assert project.client.read_table(name="features.airports").rows == 2 + 12


def test_an_unknown_mode_is_refused(project):
    with pytest.raises(UsageError, match=r"has no mode 'append'\. Modes: merge, overwrite"):
        project.client.write_table(name="features.airports", df=AIRPORTS, mode="append")


def test_a_table_of_the_pipeline_is_not_written_to(project):
    from sololakehouse.provenance import Change

    change = Change("MATERIALIZED VIEW", "x", details={"place": "features.sql:1"})
    project.writer().write_frame(
        "features.computed", AIRPORTS, change, properties={"feature.keys": "faa"}
    )
    with pytest.raises(UsageError) as raised:
        project.client.write_table(name="features.computed", df=AIRPORTS)
    assert str(raised.value) == (
        "features.computed is computed by the pipeline: change its definition (features.sql:1) "
        "instead of writing to it."
    )


def test_features_are_looked_up_for_inference_as_for_training(project):
    lookups = [weather(lookback_window="2h"), airports()]
    training = project.client.create_training_set(
        df=LABELS, feature_lookups=lookups, label="is_late"
    )
    request = LABELS.drop("is_late")
    found, used = lookup_features(project.lake, request, lookups)
    assert found.equals(training.to_polars().drop("is_late"))
    assert used == training.inputs
    assert [source.table for source in used] == ["features.airports", "features.weather"]
    of_recipe, _ = lookup_features(project.lake, request, training.recipe)
    assert of_recipe.equals(found)


def test_inference_uses_what_is_known_now_and_the_recipes_strictness(project):
    recipe = Recipe(
        label="is_late",
        feature_lookups=(weather(feature_names="temp"),),
        known_as_of=hours(0)[0],
        allow_exact_match=False,
    )
    request = pl.DataFrame({"origin": ["JFK"], "predict_at": hours(9)})
    found, _ = lookup_features(project.lake, request, recipe)
    assert found["temp"].to_list() == [7.0]


def test_feature_versions_can_be_pinned(project):
    old = project.lake.read("features.airports").table_version
    raised = pl.DataFrame({"faa": ["LGA"], "altitude": [99]})
    project.client.write_table(name="features.airports", df=raised)
    request = pl.DataFrame({"origin": ["LGA"]})
    newest, used = lookup_features(project.lake, request, [airports()])
    pinned, used_then = lookup_features(project.lake, request, [airports()], [old])
    assert (newest["altitude"].item(), used[0].version) == (99, old.version + 1)
    assert (pinned["altitude"].item(), used_then) == (22, (old,))
    other = old.model_copy(update={"table_id": "another"})
    with pytest.raises(RunError, match=r"features\.airports has been dropped and made anew"):
        lookup_features(project.lake, request, [airports()], [other])


def test_a_request_without_a_lookup_key_is_refused(project):
    with pytest.raises(FeatureLookupError, match="no column 'origin' in the request"):
        lookup_features(project.lake, pl.DataFrame({"x": [1]}), [airports()])
