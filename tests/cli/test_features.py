"""`slh features`, and what `slh run` and `slh history` say of definitions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from sololakehouse.errors import RedefinitionError
from sololakehouse.feature_engineering import FeatureEngineeringClient
from sololakehouse.models.users import protected_tables, table_users
from sololakehouse.provenance import Change
from tests.conftest import SPEC
from tests.rain import ModelProject, sky

SKY = """\
CREATE MATERIALIZED VIEW features.sky
TBLPROPERTIES ('feature.keys' = 'place', 'feature.timestamp' = 'feature_ts')
AS SELECT place, feature_ts, {} AS light FROM bronze.sky
"""


@pytest.fixture(scope="module")
def rain_once(trained, tmp_path_factory):
    """Give a copy of the trained project whose features.sky a pipeline computes."""
    folder = Path(shutil.copytree(trained[0].folder, tmp_path_factory.mktemp("cli") / "rain"))
    project = ModelProject(folder)
    project.writer().write_frame("bronze.sky", sky(), Change("TEST", "sky"))
    (folder / "spark-pipeline.yml").write_text(SPEC)
    (folder / "transformations").mkdir()
    define(folder, "light")
    return folder


@pytest.fixture
def rain(rain_once, tmp_path):
    return Path(shutil.copytree(rain_once, tmp_path / "rain"))


def define(folder: Path, light: str) -> None:
    (folder / "transformations" / "sky.sql").write_text(SKY.format(light))


@pytest.fixture(scope="module")
def redefined_once(rain_once, tmp_path_factory):
    """Give the project after its definition was changed for a reason."""
    from sololakehouse.pipelines.redefinition import Redefining
    from sololakehouse.pipelines.run import execute, prepare

    folder = Path(shutil.copytree(rain_once, tmp_path_factory.mktemp("cli") / "redefined"))
    project = ModelProject(folder)
    for light, reason in (("light", "by pipeline"), ("light / 10", "tenths")):
        define(folder, light)
        redefining = Redefining(tables=("features.sky",), reason=reason)
        with prepare(project.lake, redefining=redefining) as pipeline:
            execute(pipeline, project.writer())
    return folder


def test_users_are_models_with_their_stage_and_training_sets(trained):
    project, outcome = trained
    staged = outcome.staged
    assert staged is not None
    users = table_users(project.lake)["features.sky"]
    assert {str(user) for user in users} >= {f"{staged} (staging)", "training.rain (v1)"}
    assert [user.kind for user in users] == ["model", "model", "training set"]
    assert protected_tables(project.lake) == {"features.sky": (f"{staged} (staging)",)}


def test_feature_tables_are_listed_with_their_users(slh, trained):
    project, outcome = trained
    said = slh("features", "list", folder=project.folder)
    header, row = said.out.splitlines()
    assert header.split() == [
        *("table", "keys", "timestamp", "features", "rows"),
        *("newest", "definition", "used", "by"),
    ]
    assert row.startswith("features.sky")
    assert row.rstrip().endswith(f"{outcome.staged} (staging), training.rain (v1)")
    (listed,) = json.loads(slh("features", "list", "--json", folder=project.folder).out)
    assert (listed["rows"], listed["features"]) == (720, ["light"])
    assert listed["newest"] == "2026-03-31T17:00:00Z"
    assert len(listed["used by"]) == 3


def test_a_damaged_table_does_not_hide_the_others(slh, rain):
    (rain / "warehouse/gold/labels/_delta_log/00000000000000000001.json").write_text("{")
    bronze = DeltaTable(rain / "warehouse/bronze/sky")
    bronze.alter.set_table_properties({"feature.kyes": "place"}, raise_if_not_exists=False)
    said = slh("features", "list", folder=rain)
    assert (said.code, "features.sky" in said.out) == (1, True)
    assert "gold.labels" in said.err
    assert "bronze.sky: Unknown table property 'feature.kyes'" in said.err


def test_show_has_what_is_not_finite_tags_and_text_within_its_cell(slh, make_project):
    project = make_project()
    create = FeatureEngineeringClient(project.lake).create_table
    rows = pl.DataFrame({"k": [1, 2], "x": [float("nan"), 1.0], "t": ["a\nb" + "c" * 90, ""]})
    create(name="features.odd", primary_keys="k", df=rows, tags={"team": "field"})
    said = slh("features", "show", "features.odd", folder=project.folder).out
    lines = {line.split()[0]: line.split() for line in said.splitlines() if line}
    assert lines["tags"] == ["tags", "team:", "field"]
    assert lines["column"][3:6] == ["nulls", "not", "finite"]
    assert lines["x"][3:] == ["0", "1", "2", "1", "1", "1", "1", "1", "1"]
    assert lines["t"][3:] == ["0", "0", "2", "''", f"'a\\nb{'c' * 34}…"]
    create(name="features.even", primary_keys="k", df=rows.select("k", x=pl.lit(1.0)))
    assert "not finite" not in slh("features", "show", "features.even", folder=project.folder).out


def test_without_feature_tables_it_says_how_to_make_one(slh, make_project):
    said = slh("features", "list", folder=make_project().folder)
    assert said.out.startswith("No feature tables yet. The table property 'feature.keys' makes")


def test_a_feature_table_is_shown_with_statistics_definitions_and_users(slh, redefined_once):
    said = slh("features", "show", "features.sky", folder=redefined_once).out
    lines = [line.split() for line in said.splitlines()]
    assert lines[0] == ["features.sky@v3"]
    assert ["feature.timestamp", "feature_ts"] in lines
    assert ["entities", "2"] in lines
    assert "\nto                 2026-03-31T17:00:00Z, " in said
    light = ["light", "feature", "double", "0", "7", "0.29833", "0", "0", "0.3", "0.6", "0.6"]
    assert light in lines
    assert [line[-1] for line in lines if len(line) > 3 and line[1] in ("2", "3")] == [
        "tenths",
        "pipeline",
    ]
    assert ["training", "set", "training.rain", "1"] in lines
    assert "SELECT place" not in said


def test_the_text_of_a_definition_is_printed_if_it_is_asked_for(slh, redefined_once):
    now = slh("features", "show", "features.sky", "--definition", folder=redefined_once).out
    then = slh("features", "show", "features.sky@v2", "--definition", folder=redefined_once).out
    assert "  SELECT place, feature_ts, light / 10 AS light FROM bronze.sky\n" in now
    assert "  SELECT place, feature_ts, light AS light FROM bronze.sky\n" in then


def test_scripts_get_everything_as_json(slh, redefined_once):
    about = json.loads(
        slh("features", "show", "features.sky@v1", "--json", folder=redefined_once).out
    )
    assert (about["rows"], about["entities"], about["definition"]) == (720, 2, None)
    key, time, light = about["columns"]
    assert (key["role"], time["role"], light["role"]) == ("key", "timestamp", "feature")
    assert light["statistics"]["maximum"] == 6.0
    assert light["statistics"]["quantiles"]["50%"] == 3.0
    newest = json.loads(
        slh("features", "show", "features.sky", "--json", folder=redefined_once).out
    )
    assert [one["versions"] for one in newest["definitions"]] == [[3], [2]]
    assert newest["definition"]["columns"]["light"] == "double"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "features.sly"], "No table 'features.sly'. Did you mean 'features.sky'?"),
        (["show", "gold.labels"], "gold.labels is no feature table: it has no table property"),
        (["show", "features.sky@v9"], "features.sky has no version 9. Its versions are 0 to 3."),
        (["diff", "features.sky", "x"], "'x' is no version. Write a number or a moment"),
        (["diff", "features.sky", "3"], "version 3 is the same as version 3"),
        (["diff", "features.sky"], "Missing argument 'OLD'"),
    ],
)
def test_mistakes_are_one_sentence(slh, redefined_once, arguments, said):
    got = slh("features", *arguments, folder=redefined_once)
    assert got.code == 2
    assert said in got.err


def test_versions_are_compared_by_definition_statistics_and_rows(slh, redefined_once):
    said = slh("features", "diff", "features.sky", "2", folder=redefined_once).out
    assert "  +  SELECT place, feature_ts, light / 10 AS light FROM bronze.sky\n" in said
    light = next(line for line in said.splitlines() if line.startswith("light  "))
    assert "  2.9833, then 0.29833  " in light
    assert "0 rows added, 0 removed, 616 changed by place, feature_ts" in said
    found = json.loads(
        slh("features", "diff", "features.sky", "2", "3", "--json", folder=redefined_once).out
    )
    assert found["definition"]["old"] != found["definition"]["new"]
    assert found["definition"]["diff"]["columns"] == []
    moved = {move["measure"]: (move["before"], move["after"]) for move in found["statistics"]}
    assert moved["maximum"] == (6.0, 0.6)
    assert "nulls" not in moved
    assert (found["changed"], found["rows_new"]) == (616, 720)


def test_versions_without_a_difference_say_so(slh, redefined_once):
    said = slh("features", "diff", "features.sky", "1", "2", folder=redefined_once).out
    assert "not known: the commits of one of the versions keep none" in said
    assert "\nStatistics\n  the same\n" in said
    assert "0 rows added, 0 removed, 0 changed" in said


def test_the_history_tells_definitions_and_why_they_changed(slh, redefined_once):
    rows = json.loads(slh("history", "features.sky", "--json", folder=redefined_once).out)
    assert [row.get("redefined because") for row in rows] == ["tenths", "by pipeline", None, None]
    assert rows[0]["definition"] != rows[1]["definition"]
    said = slh("history", "features.sky", folder=redefined_once).out
    assert said.splitlines()[0].split()[-3:] == ["definition", "redefined", "because"]
    other = slh("history", "gold.labels", folder=redefined_once).out
    assert "definition" not in other


def test_a_run_is_refused_in_every_form_and_goes_on_with_a_reason(slh, rain):
    staged = protected_tables(ModelProject(rain).lake)["features.sky"][0]
    for form in ([], ["--dry-run"], ["--explain"], ["--json"], ["--dry-run", "--json"]):
        said = slh("run", *form, folder=rain)
        assert said.code == 2
        assert f"would get another definition, and {staged} uses it." in said.err
        assert "Nothing was run." in said.err
    (row,) = json.loads(said.out)
    assert (row["redefinition"]["refused"], row["redefinition"]["users"]) == (True, [staged])
    assert ModelProject(rain).lake.read("features.sky").version == 1
    done = slh("run", "--redefine", "features.sky", "--reason", "by pipeline", folder=rain)
    assert (done.code, done.err) == (0, "")
    assert ModelProject(rain).lake.read("features.sky").version == 2


@pytest.mark.parametrize("given", [["--redefine", "features.sky"], ["--reason", "x"]])
def test_a_redefinition_needs_a_table_and_a_reason(slh, rain, given):
    said = slh("run", *given, folder=rain)
    assert said.code == 2
    assert "--redefine TABLE and --reason '...' go together" in said.err


def test_a_client_does_not_overwrite_columns_that_a_model_uses(trained, tmp_path):
    folder = Path(shutil.copytree(trained[0].folder, tmp_path / "rain"))
    project = ModelProject(folder)
    client = FeatureEngineeringClient(project.lake)
    rows = project.lake.read("features.sky").to_polars()
    other = rows.with_columns(pl.col("light").cast(pl.Int32), dark=pl.lit(1.0))
    with pytest.raises(RedefinitionError) as raised:
        client.write_table(name="features.sky", df=other, mode="overwrite")
    said = str(raised.value).split("\n")
    assert said[:3] == [
        f"features.sky would get another definition, and {trained[1].staged} (staging) uses it.",
        "  column light was double and is int",
        "  column dark double is new",
    ]
    assert said[-3:] == [
        "    - define it beside this one, as features.sky_v2, for the next model;",
        "    - change it for all who read it: "
        "write_table(mode='overwrite', redefine='the reason').",
        "Nothing was written.",
    ]
    same = rows.with_columns(pl.col("light") * 2)
    assert client.write_table(name="features.sky", df=same, mode="overwrite").version == 2
    client.write_table(name="features.sky", df=other, mode="overwrite", redefine="fewer bytes")
    assert project.lake.read("features.sky").version == 3
