"""Labels and feature rows whose timestamps have no time zone, in a project that declares one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sololakehouse.config.validation import validate
from sololakehouse.errors import FeatureFunctionError, FeatureLookupError, FeatureTableError
from sololakehouse.feature_engineering import FeatureFunction
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.saved import build_training_set, open_training_set
from sololakehouse.lake import Lakehouse

from .flights import LABELS, WEATHER, FeatureProject, weather

ZONE = "Europe/Berlin"
NAIVE = pl.Datetime("us")
UTC_TIME = pl.Datetime("us", "UTC")
SKIPPED, TWICE = datetime(2026, 3, 29, 2, 30), datetime(2026, 10, 25, 2, 30)


def local(frame: pl.DataFrame, *columns: str, zone: str = ZONE) -> pl.DataFrame:
    """Return what clocks show at the moments of a frame, without a zone."""
    return frame.with_columns(
        pl.col(column).dt.convert_time_zone(zone).dt.replace_time_zone(None) for column in columns
    )


LOCAL = local(LABELS, "predict_at")


def declare(lake: Lakehouse, zone: str | None) -> FeatureProject:
    """Write another zone into lakehouse.yml, and open the project again."""
    text = "name: zoned\n" + (f"time_zone: {zone}\n" if zone else "")
    (lake.project.folder / "lakehouse.yml").write_text(text)
    return FeatureProject(Lakehouse.open(lake.project.folder))


@pytest.fixture
def zoned(project: FeatureProject) -> FeatureProject:
    return declare(project.lake, ZONE)


def made(project: FeatureProject, df, **options):
    whole = {"feature_lookups": [weather()], "label": "is_late", "timestamp": "predict_at"}
    return project.client.create_training_set(df=df, **whole | options)


@pytest.mark.parametrize("convert", ["clone", "lazy", "to_arrow", "to_pandas"])
def test_labels_of_every_kind_are_read_in_the_zone(zoned, convert):
    found = made(zoned, getattr(LOCAL, convert)()).to_polars()
    assert found.equals(made(zoned, LABELS).to_polars())
    assert found.schema["predict_at"] == UTC_TIME


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_labels_of_every_unit_become_microseconds(zoned, unit):
    found = made(zoned, LOCAL.with_columns(pl.col("predict_at").dt.cast_time_unit(unit)))
    assert found.to_polars().equals(made(zoned, LABELS).to_polars())


def test_nanoseconds_that_microseconds_cannot_hold_are_refused_as_ever(zoned):
    nano = pl.col("predict_at").dt.cast_time_unit("ns") + pl.duration(nanoseconds=1)
    with pytest.raises(FeatureLookupError, match="3 rows have a value that microseconds cannot"):
        made(zoned, LOCAL.head(3).with_columns(nano))


@given(
    st.lists(
        st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 30))
        | st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 26))
        | st.none(),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([ZONE, "America/New_York", "Asia/Kolkata"]),
)
def test_a_local_time_sees_what_its_moment_sees(unchanged, times, zone):
    there = ZoneInfo(zone)
    folds = [
        {one.replace(tzinfo=there, fold=fold).astimezone(UTC) for fold in (0, 1)}
        for one in times
        if one
    ]
    project = declare(unchanged.lake, zone)
    labels = pl.DataFrame({"origin": ["JFK"] * len(times), "predict_at": times, "is_late": 1})
    labels = labels.with_columns(pl.col("predict_at").cast(NAIVE))
    if any(len(one) != 1 for one in folds):
        with pytest.raises(FeatureLookupError, match=rf"is read as time of {zone}, where"):
            made(project, labels)
        return
    moments = [one and one.replace(tzinfo=there).astimezone(UTC) for one in times]
    exact = labels.with_columns(pl.Series("predict_at", moments, dtype=UTC_TIME))
    assert made(project, labels).to_polars().equals(made(project, exact).to_polars())


def test_a_table_of_labels_is_read_in_the_zone_where_it_has_to_be(zoned):
    wall = LOCAL.with_columns(wall=pl.lit(TWICE, NAIVE))
    zoned.write("gold.local", wall)
    found = made(zoned, "gold.local").to_polars()
    assert found.drop("wall").equals(made(zoned, "gold.labels").to_polars())
    assert found.schema["wall"] == NAIVE
    assert found["wall"].unique().to_list() == [TWICE]


def test_a_query_for_labels_is_read_in_the_zone(zoned):
    zoned.write("gold.local", LOCAL)
    query = "SELECT * FROM gold.{} WHERE flight < 4"
    found = made(zoned, query.format("local"))
    assert found.to_polars().equals(made(zoned, query.format("labels")).to_polars())
    assert found.recipe.time_zone == ZONE


@pytest.mark.parametrize(
    ("time", "why"), [(SKIPPED, "clocks skip it"), (TWICE, "clocks show it twice")]
)
@pytest.mark.parametrize("kind", ["frame", "table", "query"])
def test_a_time_that_is_not_one_moment_is_refused(zoned, time, why, kind):
    labels = LOCAL.with_columns(predict_at=pl.lit(time, NAIVE))
    zoned.write("gold.local", labels)
    df = {"frame": labels, "table": "gold.local", "query": "SELECT * FROM gold.local"}[kind]
    where = "gold.local" if kind == "table" else "the labels"
    with pytest.raises(FeatureLookupError) as said:
        made(zoned, df).to_polars()
    assert str(said.value) == (
        f"The timestamp 'predict_at' of {where} has no time zone and is read as time of "
        f"Europe/Berlin, where 4 of its values are not one moment: {time.isoformat()} ({why}). "
        "Give the column in UTC."
    )


def test_without_the_setting_the_message_names_it(project):
    project.write("gold.local", LOCAL)
    with pytest.raises(FeatureLookupError) as said:
        made(project, "gold.local")
    assert str(said.value) == (
        "The timestamp 'predict_at' of gold.local has no time zone. Say which one it is in, for "
        "example with .dt.replace_time_zone('UTC'), or declare 'time_zone' in lakehouse.yml."
    )


def test_when_a_label_was_known_is_read_in_the_zone(zoned):
    known = LABELS.with_columns(known=pl.col("predict_at") + pl.duration(days=120))
    zoned.write("gold.local", local(known, "predict_at", "known"))
    found = made(zoned, "gold.local", label_known_at="known").to_polars()
    assert found.drop("temp", "wind").equals(
        known.sort("predict_at", *known.columns).select(*found.drop("temp", "wind").columns)
    )


def test_a_function_gets_the_moment(zoned):
    folder = zoned.lake.project.folder / "functions"
    folder.mkdir()
    (folder / "clock.py").write_text(
        "from datetime import datetime\n\n\ndef hour(at: datetime) -> int:\n"
        "    return None if at is None else at.hour\n"
    )
    zoned.write("gold.local", LOCAL.with_columns(sold=pl.col("predict_at")))
    hour = FeatureFunction(udf_name="clock.hour", input_bindings={"at": "sold"}, output_name="hour")
    found = made(zoned, "gold.local", feature_lookups=[hour]).to_polars()
    assert found.sort("flight")["hour"].to_list() == [8, 10, 9, 9]
    with pytest.raises(FeatureFunctionError, match="declares at: datetime, and 'sold' is Datetime"):
        made(declare(zoned.lake, None), "gold.local", feature_lookups=[hour], timestamp=None)


def test_the_recipe_has_the_zone_if_and_only_if_it_was_needed(zoned):
    zoned.write("gold.local", LOCAL)
    assert made(zoned, "gold.local").recipe.time_zone == ZONE
    assert made(zoned, "gold.labels").recipe.time_zone is None
    assert made(zoned, LOCAL).recipe.time_zone is None
    recipe = made(zoned, "gold.local").save("delay").record.details["recipe"]
    assert recipe["time_zone"] == ZONE
    assert "time_zone" not in made(zoned, "gold.labels").save("delay").record.details["recipe"]


@pytest.mark.parametrize("labels", ["gold.local", "SELECT * FROM gold.local", "a frame"])
def test_a_saved_training_set_follows_the_setting_and_is_opened_without_it(zoned, labels):
    zoned.write("gold.local", LOCAL)
    df = LOCAL if labels == "a frame" else labels
    first = made(zoned, df).save("delay")
    assert made(zoned, df).save("delay").version == first.version
    other = declare(zoned.lake, "America/New_York")
    second = made(other, df).save("delay")
    assert second.version == first.version + 1
    assert second.record.manifest != first.record.manifest
    for zone in (None, "Asia/Kolkata", ZONE):
        now = declare(zoned.lake, zone)
        for saved in (first, second):
            opened = open_training_set(now.lake, f"delay@v{saved.version}")
            assert opened.to_polars().equals(saved.to_polars())
            row = saved.to_polars()["flight"].to_list().index(1)
            explained = opened.explain(row)
            assert explained.label["predict_at"] == saved.to_polars()["predict_at"][row]


@pytest.mark.parametrize("labels", ["gold.local", "SELECT * FROM gold.local"])
def test_building_again_knows_whether_the_zone_matters(zoned, labels):
    zoned.write("gold.local", LOCAL)
    spec = validate(
        {
            "name": "training.delay",
            "labels": labels,
            "label": "is_late",
            "timestamp": "predict_at",
            "feature_lookups": [weather().model_dump()],
        },
        TrainingSetSpec,
        "test",
    )
    exact = spec.model_copy(
        update={"labels": labels.replace("local", "labels"), "name": "training.exact"}
    )

    def build(project: FeatureProject, one: TrainingSetSpec) -> tuple[int, bool]:
        snapshot, is_up_to_date = build_training_set(project.lake, project.writer(), one)
        return snapshot.version, is_up_to_date

    assert build(zoned, spec) == (1, False)
    assert build(zoned, spec) == (1, True)
    assert build(zoned, exact) == (1, False)
    other = declare(zoned.lake, "America/New_York")
    assert build(other, spec) == (2, False)
    assert build(other, exact) == (1, True)
    unset = declare(zoned.lake, None)
    assert build(unset, exact) == (1, True)
    with pytest.raises(FeatureLookupError, match="has no time zone"):
        build(unset, spec)
    alone = spec.model_copy(update={"time_zone": "America/New_York"})
    assert build(unset, alone) == (2, True)


@pytest.mark.parametrize("table", ["gold.labels", "gold.local"])
def test_a_query_is_not_run_to_see_whether_it_needs_the_zone(zoned, monkeypatch, table):
    zoned.write("gold.local", LOCAL)
    labels = f"SELECT * FROM {table}"
    spec = TrainingSetSpec(
        name="training.asked", labels=labels, label="is_late", timestamp="predict_at"
    )
    build_training_set(zoned.lake, zoned.writer(), spec)
    monkeypatch.setattr("sololakehouse.features.labels_query.run_query", None)
    assert build_training_set(zoned.lake, zoned.writer(), spec)[1]


def test_new_labels_extend_a_training_set_that_was_read_in_the_zone(zoned):
    zoned.write("gold.local", LOCAL)
    made(zoned, "gold.local").save("delay")
    later = LABELS.with_columns(pl.col("predict_at") + pl.duration(days=200))
    zoned.write("gold.local", local(later, "predict_at"), mode="append")
    saved = made(zoned, "gold.local").save("delay")
    assert saved.record.details["computed"] == {"kept": {"version": 1, "rows": 4}}
    whole = made(zoned, pl.concat([LABELS, later])).to_polars()
    order = ["predict_at", *(name for name in LABELS.columns if name != "predict_at")]
    assert saved.to_polars().equals(whole.sort(order))
    zoned.write(
        "features.weather",
        WEATHER.tail(1).with_columns(pl.col("feature_ts") + pl.duration(hours=7)),
        mode="append",
    )
    again = made(zoned, "gold.local").save("delay")
    assert again.record.details["computed"] == {
        "in full": "features.weather gained rows that earlier labels see"
    }
    other = declare(zoned.lake, "America/New_York")
    assert "in full" in made(other, "gold.local").save("delay").record.details["computed"]


def test_labels_that_memory_does_not_hold_are_read_in_the_zone(zoned, monkeypatch):
    zoned.write("gold.local", LOCAL)
    expected = made(zoned, "gold.labels").to_polars()
    monkeypatch.setattr("sololakehouse.lake.memory.Memory.holds_labels", lambda *_: False)
    saved = made(zoned, "gold.local").save("delay")
    assert saved.to_polars().equals(expected)
    zoned.write("gold.local", LOCAL.with_columns(predict_at=pl.lit(TWICE, NAIVE)))
    with pytest.raises(FeatureLookupError, match="4 of its values are not one moment"):
        made(zoned, "gold.local").save("delay")


def test_a_label_that_is_null_is_shown_with_its_moment(zoned):
    zoned.write("gold.local", LOCAL.with_columns(is_late=pl.lit(None, pl.Int32)))
    with pytest.raises(Exception, match=r"predict_at=2026-01-01T08:00:00Z, is_late=NULL"):
        made(zoned, "gold.local").to_polars()


LATER = WEATHER.with_columns(pl.col("feature_ts") + pl.duration(days=1))


def test_feature_rows_are_stored_as_moments(zoned):
    options = {"primary_keys": "origin", "timeseries_columns": "feature_ts"}
    made_here = zoned.client.create_table(
        name="features.local", df=local(WEATHER, "feature_ts"), **options
    )
    assert made_here.snapshot.to_polars().equals(zoned.lake.read("features.weather").to_polars())
    for mode, expected in (("merge", pl.concat([WEATHER, LATER])), ("overwrite", LATER)):
        rows = local(LATER, "feature_ts")
        table = zoned.client.write_table(name="features.local", df=rows, mode=mode)
        assert table.snapshot.to_polars().equals(expected.sort("origin", "feature_ts"))


def test_feature_rows_of_another_zone_are_another_version(zoned):
    zoned.client.write_table(name="features.weather", df=local(WEATHER, "feature_ts"))
    assert zoned.lake.read("features.weather").version == 1
    other = declare(zoned.lake, "America/New_York")
    rows = local(WEATHER, "feature_ts")
    table = other.client.write_table(name="features.weather", df=rows, mode="overwrite")
    assert table.version == 2
    shown = table.snapshot.to_polars()["feature_ts"].to_list()
    assert shown == [one + timedelta(hours=6) for one in WEATHER["feature_ts"]]


def test_when_a_feature_row_was_known_is_read_in_the_zone(zoned):
    rows = WEATHER.with_columns(known=pl.col("feature_ts") + pl.duration(hours=1))
    table = zoned.client.create_table(
        name="features.known",
        primary_keys="origin",
        timeseries_columns="feature_ts",
        known_at="known",
        df=local(rows, "feature_ts", "known"),
    )
    assert table.snapshot.to_polars()["known"].to_list() == rows["known"].to_list()


def test_a_schema_without_a_zone_is_one_in_utc(zoned):
    schema = {"origin": pl.String, "feature_ts": NAIVE, "temp": pl.Float64}
    options = {"primary_keys": "origin", "timeseries_columns": "feature_ts", "schema": schema}
    table = zoned.client.create_table(name="features.empty", **options)
    assert table.snapshot.schema["feature_ts"] == UTC_TIME
    rows = local(WEATHER, "feature_ts").drop("wind")
    filled = zoned.client.create_table(name="features.filled", df=rows, **options)
    assert filled.snapshot.to_polars()["feature_ts"].to_list() == WEATHER["feature_ts"].to_list()


@pytest.mark.parametrize("time", [SKIPPED, TWICE])
def test_feature_rows_that_are_not_one_moment_are_refused(zoned, time):
    rows = WEATHER.with_columns(feature_ts=pl.lit(time, NAIVE))
    with pytest.raises(FeatureLookupError, match=r"of the rows of features\.weather has no time z"):
        zoned.client.write_table(name="features.weather", df=rows)
    assert zoned.lake.read("features.weather").version == 1


def test_a_feature_table_that_others_wrote_without_a_zone_is_refused_as_ever(zoned):
    rows = local(WEATHER, "feature_ts")
    properties = {"feature.keys": "origin", "feature.timestamp": "feature_ts"}
    with pytest.raises(FeatureTableError, match=r"'feature_ts' must be a timestamp with a time zo"):
        zoned.write("features.other", rows, properties=properties)


@pytest.mark.parametrize("day", [datetime(2026, 1, 1, 10, 30), "2026-01-01T10:30:00"])
def test_a_day_of_knowledge_is_read_in_the_zone(zoned, day):
    exact = datetime(2026, 1, 1, 9, 30, tzinfo=UTC)
    assert made(zoned, LABELS, known_as_of=day).recipe.known_as_of == exact
    report = made(zoned, LABELS).restatement_report(datetime(2026, 1, 1, 10, 30))
    assert report.known_as_of == exact


def test_a_day_of_knowledge_that_is_not_one_moment_is_refused(zoned):
    with pytest.raises(FeatureLookupError) as said:
        made(zoned, LABELS, known_as_of=TWICE)
    assert str(said.value) == (
        "create_training_set: known_as_of: 2026-10-25T02:30:00 has no time zone, and is not one "
        "moment in Europe/Berlin: clocks show it twice. Write it in UTC, as in "
        "2026-01-31T00:00:00Z"
    )
