"""Each way into a feature table keeps its contract, or nothing is written."""

from __future__ import annotations

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from sololakehouse.errors import (
    DefinitionError,
    FeatureTableError,
    NotFoundError,
    RedefinitionError,
    RunError,
    UsageError,
)
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.features.tables import FeatureTable
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.lake.doctor import diagnose
from sololakehouse.lake.optimize import optimize
from sololakehouse.lake.restore import restore
from sololakehouse.pipelines.redefinition import Redefining
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Change
from tests.pipelines.test_run import define

CONFIG = """\
name: test
sources:
  sky:
    path: landing/*.csv
    table: features.sky
    options: {null_value: NA}
    on_change: replace
    schema: {place: string, feature_ts: timestamp, light: double}
"""
HEADER = "place,feature_ts,light\n"
PROPERTIES = {"feature.keys": "place", "feature.timestamp": "feature_ts"}
STREAM = """
@dp.table(name="features.moon", table_properties={"feature.keys": "place"})
def moon():
    return spark.readStream.table("bronze.sky").select("place", "light")
"""
CHANGES = """
dp.create_streaming_table("features.moon", table_properties={"feature.keys": "feature_ts"})
dp.create_auto_cdc_flow(
    target="features.moon", source="bronze.sky", keys=["place"], sequence_by="feature_ts"
)
"""
VIEW = """\
CREATE MATERIALIZED VIEW features.moon TBLPROPERTIES ({}) AS SELECT {} FROM bronze.sky
"""
BY_TIME = "'feature.keys' = 'place', 'feature.timestamp' = 'feature_ts'"


def deliver(project, name: str, *rows: str) -> None:
    project.write(f"landing/{name}.csv", HEADER + "\n".join(rows) + "\n")
    project.ingest("sky")


def declare(project, **properties: str) -> None:
    """Set table properties as another program would."""
    path = project.lake.path("features.sky")
    DeltaTable(path).alter.set_table_properties(properties, raise_if_not_exists=False)


@pytest.fixture
def sky(make_project):
    """Give a table that `slh ingest` fills and that became a feature table later."""
    project = make_project(config=CONFIG)
    deliver(project, "1", "hill,2026-01-01T00:00:00Z,1", "shore,2026-01-01T00:00:00Z,2")
    declare(project, **PROPERTIES)
    return project


@pytest.fixture
def moon(make_project):
    """Give a project with a bronze table for pipelines."""
    config = CONFIG.replace("table: features.sky", "table: bronze.sky")
    project = make_project(config=config)
    deliver(project, "1", "hill,2026-01-01T00:00:00Z,1", "shore,2026-01-01T00:01:00Z,2")
    return project


def test_ingestion_keeps_the_contract(sky):
    deliver(sky, "2", "hill,2026-01-02T00:00:00Z,3")
    assert sky.lake.read("features.sky").rows == 3
    deliver(sky, "2", "hill,2026-01-02T00:00:00Z,4")
    assert sky.lake.read("features.sky").rows == 3


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["hill,2026-01-02T00:00:00Z,3", "hill,2026-01-02T00:00:00Z,4"], "2 rows have them in"),
        (["hill,2026-01-01T00:00:00Z,3"], "2 rows have them in common with another row"),
        (["NA,2026-01-02T00:00:00Z,3"], "place must be set, but 1 row has a NULL there"),
    ],
)
def test_ingestion_of_rows_that_break_the_contract_is_refused(sky, rows, said):
    deliver(sky, "2", "hill,2026-02-01T00:00:00Z,3")
    before = sky.lake.read("features.sky").version
    with pytest.raises(FeatureTableError, match=f"features.sky: .*{said}"):
        deliver(sky, "3", *rows)
    assert sky.lake.read("features.sky").version == before


def test_ingestion_looks_at_rows_from_before_the_table_had_a_contract(make_project):
    project = make_project(config=CONFIG)
    deliver(project, "1", "hill,2026-01-01T00:00:00Z,1", "hill,2026-01-01T00:00:00Z,2")
    declare(project, **PROPERTIES)
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        deliver(project, "2", "shore,2026-01-02T00:00:00Z,3")


def test_a_contract_that_names_no_column_is_refused_at_the_next_write(sky):
    declare(sky, **{"feature.keys": "plac"})
    with pytest.raises(NotFoundError, match=r"features\.sky: No column 'plac'\. Did you mean"):
        deliver(sky, "2", "hill,2026-01-02T00:00:00Z,3")
    declare(sky, **{"feature.kyes": "place"})
    with pytest.raises(DefinitionError, match=r"features\.sky: Unknown table property"):
        deliver(sky, "2", "hill,2026-01-02T00:00:00Z,3")


def test_rows_of_another_program_are_checked_when_they_are_read_or_added_to(sky):
    deliver(sky, "2", "hill,2026-01-02T00:00:00Z,3")
    rows = sky.lake.read("features.sky").to_polars().head(1)
    write_deltalake(sky.lake.path("features.sky"), rows, mode="append")
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        FeatureTable.open(sky.lake, "features.sky").scan(["light"])
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        deliver(sky, "3", "hill,2026-01-03T00:00:00Z,3")
    (found,) = [one for one in diagnose(sky.lake) if one.check == "feature contract"]
    assert found.severity == "error"
    assert found.what.startswith("Another program wrote to it. features.sky: place, feature_ts")


def test_arranging_the_files_does_not_hide_whose_rows_they_are(sky):
    rows = sky.lake.read("features.sky").to_polars().head(1)
    write_deltalake(sky.lake.path("features.sky"), rows, mode="append")
    assert optimize(sky.writer(), "features.sky").changed
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        FeatureTable.open(sky.lake, "features.sky").scan(["light"])
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        deliver(sky, "3", "hill,2026-01-03T00:00:00Z,3")
    bad = sky.lake.read("features.sky").version
    restore(sky.writer(), "features.sky", bad - 2)
    with pytest.raises(FeatureTableError, match="2 rows have them in common"):
        restore(sky.writer(), "features.sky", bad)


def test_a_client_does_not_write_to_what_is_filled_by_ingestion_or_a_pipeline(sky):
    client = FeatureEngineeringClient(sky.lake)
    rows = sky.lake.read("features.sky").to_polars()
    deliver(sky, "2", "hill,2026-01-02T00:00:00Z,3")
    with pytest.raises(UsageError, match=r"features\.sky is filled by 'slh ingest sky': deliver"):
        client.write_table(name="features.sky", df=rows)


def run(project, **selection):
    with prepare(project.lake, Selection(**selection)) as pipeline:
        return execute(pipeline, project.writer())


def redefine(project, reason: str):
    redefining = Redefining(tables=("features.moon",), reason=reason)
    with prepare(project.lake, redefining=redefining) as pipeline:
        return execute(pipeline, project.writer())


@pytest.mark.parametrize("text", [STREAM, CHANGES])
def test_a_stream_and_change_data_keep_the_contract(moon, text):
    define(moon, text)
    run(moon)
    before = moon.lake.read("features.moon").version
    deliver(moon, "2", "cape,2026-01-01T00:01:00Z,2", "hill,2026-01-03T00:00:00Z,2")
    with pytest.raises(FeatureTableError, match=r"features\.moon: .* must be unique"):
        run(moon)
    assert moon.lake.read("features.moon").version == before
    with pytest.raises(UsageError, match=r"features\.moon is computed by the pipeline"):
        FeatureEngineeringClient(moon.lake).write_table(name="features.moon", df=pl.DataFrame())


def test_a_materialized_view_keeps_the_contract_also_in_its_first_run(moon):
    define(moon, VIEW.format("'feature.keys' = '_source_file'", "*"), "moon.sql")
    with pytest.raises(FeatureTableError, match="_source_file must be unique, but 2 rows"):
        run(moon)
    assert not moon.lake.exists("features.moon")


def test_a_contract_is_read_before_anything_runs(moon):
    define(moon, VIEW.format("'feature.keys' = 'place', 'feature.time' = 'x'", "*"), "moon.sql")
    with pytest.raises(DefinitionError) as raised:
        run(moon)
    assert str(raised.value).startswith(
        "transformations/moon.sql:1: features.moon: Unknown table property 'feature.time'."
    )


def test_a_property_that_is_not_declared_any_more_is_taken_back(moon):
    define(moon, VIEW.format(BY_TIME, "place, feature_ts"), "moon.sql")
    run(moon)
    define(moon, VIEW.format("'feature.keys' = 'place'", "place, feature_ts"), "moon.sql")
    with pytest.raises(RedefinitionError) as raised:
        run(moon)
    assert "feature.timestamp was feature_ts and is not set" in str(raised.value)
    redefine(moon, "one row each")
    assert moon.lake.read("features.moon").contract == FeatureContract(("place",))
    define(moon, VIEW.format("'team' = 'blue'", "place, feature_ts"), "moon.sql")
    with pytest.raises(RedefinitionError, match=r"feature\.keys was place and is not set"):
        run(moon)


def test_a_written_table_keeps_the_types_of_its_keys_and_times(make_project):
    client = FeatureEngineeringClient(make_project().lake)
    rows = pl.DataFrame({"k": [1, 2], "v": [1, 2]})
    client.create_table(name="features.t", primary_keys="k", df=rows)
    text = rows.cast({"k": pl.String, "v": pl.Float64})
    with pytest.raises(RedefinitionError) as raised:
        client.write_table(name="features.t", df=text, mode="overwrite")
    first, second = str(raised.value).split("\n")[:2]
    assert first == "features.t would get another definition."
    assert second == "  Its rows would be told apart otherwise: k was bigint and is string."
    changed = rows.cast({"v": pl.Float64})
    assert client.write_table(name="features.t", df=changed, mode="overwrite").version == 2
    done = client.write_table(name="features.t", df=text, mode="overwrite", redefine="text ids")
    assert done.snapshot.record.details["redefined"]["reason"] == "text ids"


def test_rows_that_are_merged_have_the_types_of_the_table(make_project):
    client = FeatureEngineeringClient(make_project().lake)
    at = pl.Series(["2026-01-01T00:00:00Z"]).str.to_datetime(time_zone="UTC")
    rows = pl.DataFrame({"k": [1], "at": at})
    client.create_table(name="features.t", primary_keys="k", df=rows)
    with pytest.raises(UsageError, match=r"at is String and not Datetime"):
        client.write_table(name="features.t", df=rows.cast({"at": pl.String}))


def test_a_writer_of_a_frame_is_held_to_the_contract(make_project):
    project = make_project()
    rows = pl.DataFrame({"k": [1, 1]})
    with pytest.raises(FeatureTableError, match="k must be unique, but 2 rows"):
        project.writer().write_frame(
            "features.t", rows, Change("TEST", "x"), properties={"feature.keys": "k"}
        )
    assert not project.lake.exists("features.t")
    with pytest.raises(FeatureTableError, match="no dependable equality"):
        project.writer().write_frame(
            "features.t",
            rows.cast(pl.Float64),
            Change("TEST", "x"),
            properties={"feature.keys": "k"},
        )


def test_another_program_that_writes_at_the_same_time_is_not_overlooked(make_project, monkeypatch):
    from sololakehouse.lake.feature_rows import FeatureRows

    project = make_project()
    rows = pl.DataFrame({"k": [1]})
    properties = {"feature.keys": "k"}
    project.writer().write_frame("features.t", rows, Change("TEST", "x"), properties=properties)
    checked = FeatureRows.checked

    def meanwhile(self, *arguments):
        found = checked(self, *arguments)
        write_deltalake(project.lake.path("features.t"), pl.DataFrame({"k": [2]}), mode="append")
        return found

    monkeypatch.setattr(FeatureRows, "checked", meanwhile)
    more = pl.DataFrame({"k": [2]})
    with pytest.raises(RunError, match="another program wrote to it at the same time"):
        project.writer().write_frame("features.t", more, Change("TEST", "y"), mode="append")
