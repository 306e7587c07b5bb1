from __future__ import annotations

import math
from datetime import UTC, date, datetime
from typing import Any

import polars as pl
import pytest

from sololakehouse.errors import (
    FeatureFunctionError,
    FeatureLookupError,
    FunctionFailedError,
    NotFoundError,
)
from sololakehouse.feature_engineering import FeatureFunction
from sololakehouse.features.recipe import Recipe, TrainingSetSpec
from sololakehouse.features.requests import lookup_features
from sololakehouse.features.saved import build_training_set, open_training_set

from .flights import LABELS, airports, hours, weather

SKY = '''\
from __future__ import annotations

import math
from datetime import UTC, date, datetime

FREEZING = 32.0


def celsius(fahrenheit: float) -> float | None:
    """Degrees."""
    return None if fahrenheit is None else _scaled(fahrenheit - FREEZING)


def _scaled(difference):
    return difference / 1.8


def gusty(wind: int, limit: int = 50) -> bool:
    return wind is not None and wind >= limit


def hour(at: datetime) -> int:
    return at.hour


def is_null(value: str) -> bool:
    return value is None


def day(at: datetime) -> date:
    return at.date()


def later(at: datetime) -> datetime:
    return at.replace(year=2027)


def name(origin: str) -> str:
    return f"airport {origin}"


def raw(origin: str) -> bytes:
    return (origin or "").encode()


def always() -> int:
    return 7


def nan(temp: float) -> float:
    return math.nan


def whole(temp: float) -> int:
    return temp


def too_large(temp: float) -> int:
    return 2**63


def yes(temp: float) -> int:
    return True


def naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)


def moment(at: datetime) -> date:
    return at


def now() -> datetime:
    return datetime.now(UTC)


def inverse(altitude: int) -> float:
    return 1 / (altitude - 13)


def untyped(temp) -> float:
    return temp


def listed(temps: list[float]) -> float:
    return temps[0]


def returns_what(temp: float):
    return temp


def many(*temps: float) -> float:
    return temps[0]


def unknown(temp: Nothing) -> float:
    return temp


number = 3
'''


def function(name: str, output: str | None = None, **bindings: str) -> FeatureFunction:
    return FeatureFunction(udf_name=f"sky.{name}", output_name=output, input_bindings=bindings)


def place(name: str) -> str:
    line = SKY[: SKY.index(f"def {name}(")].count("\n") + 1
    return f"functions/sky.py:{line}: sky.{name}"


def with_functions(project):
    folder = project.lake.project.folder / "functions"
    folder.mkdir()
    (folder / "sky.py").write_text(SKY)
    return project


@pytest.fixture
def project(project):
    return with_functions(project)


@pytest.fixture(scope="module")
def unchanged(unchanged):
    return with_functions(unchanged)


def made(project, *lookups, df: Any = LABELS, **options: Any):
    options = {"label": "is_late", "timestamp": "predict_at"} | options
    return project.client.create_training_set(df=df, feature_lookups=lookups, **options)


def test_functions_see_labels_looked_up_features_and_earlier_functions(unchanged):
    training = made(
        unchanged,
        function("celsius", "degrees", fahrenheit="temp"),
        weather(),
        function("celsius", "twice", fahrenheit="degrees"),
        function("hour", at="predict_at"),
    )
    assert training.columns == (*LABELS.columns, "temp", "wind", "degrees", "twice", "hour")
    frame = training.to_polars()
    expected = [None if temp is None else (temp - 32) / 1.8 for temp in frame["temp"]]
    assert frame["degrees"].to_list() == expected
    assert frame["hour"].to_list() == [9, 8, 10, 9]
    assert training.feature_columns[-3:] == ("degrees", "twice", "hour")


def test_null_comes_as_none_and_defaults_of_parameters_stand(unchanged):
    frame = made(
        unchanged, weather(), function("gusty", wind="wind"), function("is_null", value="origin")
    ).to_polars()
    assert frame["gusty"].to_list() == [False, True, False, False]
    assert frame["is_null"].to_list() == [False, False, False, True]


@pytest.mark.parametrize(
    ("name", "bindings", "kind", "first"),
    [
        ("day", {"at": "predict_at"}, pl.Date(), date(2026, 1, 1)),
        ("later", {"at": "predict_at"}, pl.Datetime("us", "UTC"), datetime(2027, 1, 1, 9, 0)),
        ("name", {"origin": "origin"}, pl.String(), "airport LGA"),
        ("raw", {"origin": "origin"}, pl.Binary(), b"LGA"),
        ("always", {}, pl.Int64(), 7),
        ("is_null", {"value": "origin"}, pl.Boolean(), False),
    ],
)
def test_the_annotation_decides_the_type_of_the_column(unchanged, name, bindings, kind, first):
    column = made(unchanged, function(name, "made", **bindings)).to_polars()["made"]
    assert column.dtype == kind
    assert column[0] == (first.replace(tzinfo=UTC) if isinstance(first, datetime) else first)


def test_nan_stays_nan(unchanged):
    frame = made(unchanged, weather(), function("nan", temp="temp")).to_polars()
    assert all(math.isnan(value) for value in frame["nan"])


def test_inputs_and_outputs_can_be_excluded(unchanged):
    lookups = (weather(), function("gusty", wind="wind"), function("celsius", fahrenheit="temp"))
    frame = made(unchanged, *lookups, exclude_columns=["wind", "celsius"]).to_polars()
    assert frame.columns == [*LABELS.columns, "temp", "gusty"]


def saved_with(project, text: str) -> int:
    (project.lake.project.folder / "functions" / "sky.py").write_text(text)
    lookups = (weather(), function("celsius", fahrenheit="temp"), function("always"))
    return made(project, *lookups).save("sky").version


def test_only_what_a_function_computes_makes_a_new_version(project):
    assert saved_with(project, SKY) == 1
    comment = SKY.replace('"""Degrees."""', '"""Degrees, by Celsius."""').replace("\n\n\n", "\n\n")
    assert saved_with(project, comment) == 1
    assert saved_with(project, SKY.replace("number = 3", "number = 4")) == 1
    assert saved_with(project, SKY.replace("return at.hour", "return 1")) == 1
    assert saved_with(project, SKY.replace("/ 1.8", "/ 1.9")) == 2
    assert saved_with(project, SKY.replace("FREEZING = 32.0", "FREEZING = 31.0")) == 3
    assert saved_with(project, SKY.replace("fahrenheit: float)", "fahrenheit: float | None)")) == 4
    assert saved_with(project, SKY.replace("-> float | None", "-> float")) == 4
    assert saved_with(project, SKY.replace("always() -> int", "always() -> float")) == 5


def test_the_record_holds_the_code_that_inference_and_explaining_use(project):
    lookups = [weather(), function("celsius", fahrenheit="temp"), airports()]
    training = made(project, *lookups, df="gold.labels")
    saved = training.save("sky")
    spec = TrainingSetSpec.model_validate(saved.record.details["recipe"])
    assert spec.function_sources == {"sky": SKY}
    assert set(saved.record.details["functions"]) == {"sky.celsius"}
    (project.lake.project.folder / "functions" / "sky.py").write_text("gone = 1\n")
    request = project.lake.read("gold.labels").to_polars().drop("is_late")
    found, _ = lookup_features(project.lake, request, spec)
    in_order = found.sort("predict_at", *request.columns)
    assert in_order["celsius"].equals(saved.to_polars()["celsius"])
    explained = open_training_set(project.lake, "sky").explain(0)
    (celsius,) = explained.functions
    assert celsius.arguments == {"fahrenheit": 7.0}
    assert celsius.value == saved.to_polars()["celsius"][0]
    assert place("celsius").startswith(celsius.place)
    assert build_training_set(project.lake, project.writer(), spec)[1]


def test_explaining_uses_defaults_as_the_training_set_does(unchanged):
    lookup = weather(default_values={"temp": 50.0})
    training = made(unchanged, lookup, function("celsius", fahrenheit="temp"))
    explained = training.explain(3)
    assert explained.lookups[0].chosen is None
    assert explained.functions[0].value == training.to_polars()["celsius"][3] == 10.0


def test_restatements_reach_what_functions_make_of_them(project):
    project.client.create_table(
        name="features.restated",
        primary_keys="origin",
        timeseries_columns="feature_ts",
        known_at="known_at",
        df=pl.DataFrame(
            {
                "origin": ["JFK", "JFK"],
                "feature_ts": hours(7, 7),
                "known_at": hours(7, 12),
                "temp": [32.0, 50.0],
            }
        ),
    )
    lookup = weather(table_name="features.restated")
    training = made(project, lookup, function("celsius", fahrenheit="temp"))
    first = training.restatement_report().changes[0]
    assert {one.feature: one.rows for one in first.features} == {"temp": 2, "celsius": 2}


def test_a_given_feature_is_used_instead_of_looked_up_or_computed(unchanged):
    recipe = Recipe.model_validate(
        {
            "label": "is_late",
            "feature_lookups": [
                weather(default_values={"gust": 1}, rename_outputs={"wind": "gust"}),
                airports(),
                function("celsius", fahrenheit="temp"),
                function("gusty", wind="gust"),
            ],
        }
    )
    request = LABELS.drop("is_late").with_columns(
        temp=pl.lit(50, pl.Int32), gusty=pl.lit(True), altitude=pl.lit(5)
    )
    found, used = lookup_features(unchanged.lake, request, recipe)
    assert found["temp"].to_list() == [50.0] * 4
    assert found["celsius"].to_list() == [10.0] * 4
    assert found["gusty"].to_list() == [True] * 4
    assert found["gust"].to_list() == [20, 70, 1, 1]
    assert [source.table for source in used] == ["features.weather"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["7"], "stands for a feature that is Int64, and is String. Give it the same type, or"),
        ([1.5], "stands for a feature that is Int64, and 4 rows have a value that does not fit."),
    ],
)
def test_a_given_feature_must_be_of_the_features_type(unchanged, values, message):
    request = LABELS.drop("is_late").with_columns(altitude=pl.lit(values[0]))
    with pytest.raises(FeatureLookupError, match="The column 'altitude' of the") as said:
        lookup_features(unchanged.lake, request, [airports()])
    assert message in str(said.value)


CALLS = {
    "an error": (
        [airports(), function("inverse", altitude="altitude")],
        f"{place('inverse')}(altitude=13) failed: ZeroDivisionError: division by zero.",
    ),
    "an error at a NULL": (
        [weather(), function("inverse", altitude="wind")],
        f"{place('inverse')}(altitude=NULL) failed: TypeError: unsupported operand "
        "type(s) for -: 'NoneType' and 'int' (NULL comes as None).",
    ),
    "another type": (
        [weather(), function("whole", temp="temp")],
        f"{place('whole')}(temp=2.0) gave 2.0 (float), and declares int of 64 bits.",
    ),
    "more than 64 bits": (
        [weather(), function("too_large", temp="temp")],
        f"{place('too_large')}(temp=2.0) gave 9223372036854775808 (int), and declares "
        "int of 64 bits.",
    ),
    "a boolean is no number": (
        [weather(), function("yes", temp="temp")],
        f"{place('yes')}(temp=2.0) gave True (bool), and declares int of 64 bits.",
    ),
    "no time zone": (
        [function("naive", at="predict_at")],
        f"{place('naive')}(at=2026-01-01T09:00:00Z) gave datetime.datetime(2026, 1, "
        "1, 9, 0) (datetime), and declares datetime with a time zone.",
    ),
    "a moment is no date": (
        [function("moment", at="predict_at")],
        f"{place('moment')}(at=2026-01-01T09:00:00Z) gave datetime.datetime(2026, 1, "
        "1, 9, 0, tzinfo=zoneinfo.ZoneInfo(key='UTC')) (datetime), and declares date.",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_a_failure_names_file_function_and_values(unchanged, case):
    lookups, message = CALLS[case]
    with pytest.raises(FunctionFailedError) as said:
        made(unchanged, *lookups).to_polars()
    assert str(said.value) == message
    assert said.value.exit_code == 1


def test_a_function_that_changes_its_answer_is_refused(unchanged):
    with pytest.raises(FunctionFailedError, match=r"sky\.now\(\) gave .* when it was asked again"):
        made(unchanged, function("now")).to_polars()


COLUMNS = "altitude, flight, is_late, origin, predict_at, temp, wind"
TYPES = (
    "Annotate it, as in 'def f(miles: float) -> float'. Types: bool, int, float, str, bytes, "
    "date, datetime; NULL comes as None, whatever the type."
)
MISTAKES: dict[str, tuple[list[Any], type[Exception], str]] = {
    "unknown file": (
        [FeatureFunction(udf_name="skye.celsius")],
        NotFoundError,
        "functions/: No file 'skye'. Did you mean 'sky'? Files: sky.",
    ),
    "unknown function": (
        [function("celsus", fahrenheit="temp")],
        NotFoundError,
        "functions/sky.py: No function 'celsus'. Did you mean 'celsius'? Functions: _scaled, ",
    ),
    "no function": ([function("number")], NotFoundError, "No function 'number'."),
    "an imported name": ([function("UTC")], NotFoundError, "No function 'UTC'."),
    "unknown parameter": (
        [function("celsius", temp="temp")],
        FeatureFunctionError,
        f"{place('celsius')} has no parameter 'temp'. Parameters: fahrenheit.",
    ),
    "unbound parameter": (
        [function("celsius")],
        FeatureFunctionError,
        f"{place('celsius')}: input_bindings says no column for fahrenheit.",
    ),
    "unknown column": (
        [function("celsius", fahrenheit="tmp")],
        FeatureFunctionError,
        "FeatureFunction sky.celsius: the labels and the lookups have no column 'tmp'. Did you "
        f"mean 'temp'? Columns: {COLUMNS}.",
    ),
    "a later function": (
        [function("celsius", fahrenheit="degrees"), function("celsius", "degrees")],
        FeatureFunctionError,
        "FeatureFunction sky.celsius: 'degrees' is computed by sky.celsius, which comes later. "
        "Functions are evaluated in the order given: put that one first.",
    ),
    "the label": (
        [function("gusty", wind="is_late")],
        FeatureFunctionError,
        "FeatureFunction sky.gusty: 'is_late' is the label, which is not known when a model "
        "predicts. Bind another column.",
    ),
    "a column of another type": (
        [function("gusty", wind="origin")],
        FeatureFunctionError,
        f"{place('gusty')} declares wind: int, and 'origin' is String. Bind another "
        "column, or change the annotation.",
    ),
    "a double for an integer": (
        [function("gusty", wind="temp")],
        FeatureFunctionError,
        "change the annotation. (pandas makes integers with NULLs doubles; .astype('Int64') makes "
        "them whole.)",
    ),
    "a name that is taken": (
        [function("celsius", "Temp", fahrenheit="temp")],
        FeatureFunctionError,
        "FeatureFunction sky.celsius: there is a column 'temp' already. Give it another "
        "output_name.",
    ),
    "the name of the label": (
        [function("celsius", "is_late", fahrenheit="temp")],
        FeatureFunctionError,
        "there is a column 'is_late' already.",
    ),
    "a parameter without a type": (
        [function("untyped", temp="temp")],
        FeatureFunctionError,
        f"{place('untyped')}: the parameter 'temp' has no type. {TYPES}",
    ),
    "a list": (
        [function("listed", temps="temp")],
        FeatureFunctionError,
        "sky.listed: the parameter 'temps' is of type list[float]. Annotate it",
    ),
    "a result without a type": (
        [function("returns_what", temp="temp")],
        FeatureFunctionError,
        "sky.returns_what: its result has no type. Annotate it",
    ),
    "any number of parameters": (
        [function("many", temps="temp")],
        FeatureFunctionError,
        "sky.many takes \"*temps: 'float'\". Give each parameter a name of its own.",
    ),
    "a type that does not exist": (
        [function("unknown", temp="temp")],
        FeatureFunctionError,
        f"{place('unknown')}: NameError: name 'Nothing' is not defined.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(unchanged, mistake):
    functions, error, message = MISTAKES[mistake]
    with pytest.raises(error) as said:
        made(unchanged, weather(), airports(), *functions)
    assert message in str(said.value)
    assert said.value.exit_code == 2  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"udf_name": "celsius"}, "write file.function, as in travel.speed, not 'celsius'"),
        ({"udf_name": "main.sky.celsius"}, "as in travel.speed, not 'main.sky.celsius'"),
        ({"udf": "sky.celsius"}, "udf_name: Field required; unknown key 'udf'. Keys: input_bind"),
    ],
)
def test_a_declaration_is_checked(fields, message):
    with pytest.raises(FeatureFunctionError) as said:
        FeatureFunction(**fields)
    assert message in str(said.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def f(:\n", "functions/sky.py:1: SyntaxError: invalid syntax."),
        ("a = 1\nb = a / 0\n", "functions/sky.py:2: ZeroDivisionError: division by zero."),
        ("import nothing_of_this_name\n", "functions/sky.py:1: ModuleNotFoundError: No module nam"),
    ],
)
def test_a_file_that_fails_says_where(project, text, message):
    (project.lake.project.folder / "functions" / "sky.py").write_text(text)
    with pytest.raises(FeatureFunctionError) as said:
        made(project, function("celsius", fahrenheit="temp"))
    assert message in str(said.value)


def test_a_file_stands_alone(project, monkeypatch):
    folder = project.lake.project.folder
    (folder / "helpers_of_functions.py").write_text("def one() -> int:\n    return 1\n")
    monkeypatch.syspath_prepend(folder)
    for line in ("import helpers_of_functions", "from helpers_of_functions import one"):
        (folder / "functions" / "sky.py").write_text(f"{line}\ndef two() -> int:\n    return 2\n")
        with pytest.raises(FeatureFunctionError) as said:
            made(project, function("two"))
        assert "functions/sky.py imports helpers_of_functions" in str(said.value)
        assert "A file of functions stands alone" in str(said.value)


def test_functions_stand_among_the_lookups_of_a_file_too():
    recipe = Recipe.model_validate(
        {
            "label": "wet",
            "feature_lookups": [
                {"udf_name": "sky.hour", "input_bindings": {"at": "at"}},
                {"table_name": "features.sky", "lookup_key": "place"},
            ],
        }
    )
    assert [one.udf_name for one in recipe.feature_functions] == ["sky.hour"]
    assert [one.table_name for one in recipe.feature_lookups] == ["features.sky"]
    assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
