from __future__ import annotations

import polars as pl
import pyarrow as pa
import pytest

from sololakehouse.errors import (
    FeatureFunctionError,
    FeatureLookupError,
    NotFoundError,
    UsageError,
)

URI = "models:/rain/1"


@pytest.fixture(scope="module")
def request_rows(logged) -> pl.DataFrame:
    rows = logged.project.lake.read("gold.labels").to_polars().sort("at")
    return rows.drop("wet").filter(pl.col("wind").is_not_null()).head(20).reverse()


@pytest.fixture(scope="module")
def scored(logged, request_rows) -> pl.DataFrame:
    return logged.client.score_batch(model_uri=URI, df=request_rows)


def test_rows_come_back_with_features_probability_and_prediction(logged, request_rows, scored):
    assert scored.columns == [
        *request_rows.columns,
        *("light", "damp", "probability", "prediction"),
    ]
    assert scored.select(request_rows.columns).equals(request_rows)
    known = logged.training_set.to_polars().filter(pl.col("at").is_in(request_rows["at"].implode()))
    assert known["damp"].equals(scored.sort("at")["damp"])
    inputs = known.select(logged.training_set.feature_columns).to_pandas()
    expected = logged.model.predict_proba(inputs)[:, 1].tolist()
    assert scored.sort("at")["probability"].to_list() == pytest.approx(expected)
    assert scored["prediction"].to_list() == [int(p >= 0.5) for p in scored["probability"]]


def test_the_kind_of_frame_stays(logged, request_rows, scored):
    def asked(frame):
        return logged.client.score_batch(model_uri=URI, df=frame)

    lazy = asked(request_rows.lazy())
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect().equals(scored)
    arrow = asked(request_rows.to_arrow())
    assert isinstance(arrow, pa.Table)
    assert pl.DataFrame(arrow).equals(scored)
    reader = request_rows.to_arrow().to_reader()
    assert pl.DataFrame(asked(reader)).equals(scored)


def test_a_pandas_frame_keeps_its_index_and_types(logged, request_rows, scored):
    given = request_rows.to_pandas().set_index(request_rows["id"].to_numpy() // 2)
    given["cloud"] = given["cloud"].astype("category")
    answer = logged.client.score_batch(model_uri=URI, df=given)
    assert answer.index.equals(given.index)
    assert answer[list(given.columns)].equals(given)
    assert answer["probability"].tolist() == scored["probability"].to_list()


def test_a_spark_frame_gives_one_of_its_session(logged, request_rows, scored):
    from sololakehouse.engine import Engine

    with Engine.start() as engine:
        given = engine.session.createDataFrame(request_rows.to_arrow())
        answer = logged.client.score_batch(model_uri=URI, df=given)
        assert answer.sparkSession is engine.session
        assert answer.columns == scored.columns
        assert [row.prediction for row in answer.collect()] == scored["prediction"].to_list()


def test_a_column_with_the_name_of_a_feature_is_used_instead(logged, request_rows):
    given = request_rows.with_columns(light=pl.lit(3))
    answer = logged.client.score_batch(model_uri=URI, df=given)
    assert answer.columns[: len(given.columns)] == given.columns
    assert answer["light"].dtype == pl.Int32
    assert answer["damp"].to_list() == [humid / 4 for humid in given["humid"]]
    computed = given.with_columns(damp=pl.lit(0.5)).drop("at")
    assert logged.client.score_batch(model_uri=URI, df=computed)["damp"].unique().to_list() == [0.5]


def test_the_functions_code_is_the_registered_one(logged, request_rows, scored):
    file = logged.project.folder / "functions" / "weather.py"
    known = file.read_text()
    file.write_text("def damp(humid: float, light: float) -> float:\n    return 0.0\n")
    again = logged.client.score_batch(model_uri=URI, df=request_rows)
    file.write_text(known)
    assert again.equals(scored)


def test_predictions_can_be_given_in_another_type(logged, request_rows):
    def asked(model: str, kind: str | None) -> pl.Series:
        return logged.client.score_batch(model_uri=model, df=request_rows, result_type=kind)[
            "prediction"
        ]

    assert asked("rain@1", None).dtype == pl.Int32
    assert asked("rain@1", "double").to_list() == asked("rain@1", None).to_list()
    assert set(asked("rain@1", "string")) <= {"0", "1"}
    assert asked("amount@1", None).dtype == pl.Float64


def test_no_rows_give_no_predictions(logged, request_rows, scored):
    for model, columns in (("rain@1", scored.columns), ("amount@1", scored.drop("probability"))):
        answer = logged.client.score_batch(model_uri=model, df=request_rows.clear())
        assert answer.shape == (0, len(list(columns)))


def test_classes_that_are_no_numbers_are_predicted_by_name(logged, request_rows):
    import mlflow.sklearn
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    frame = logged.training_set.to_pandas()
    for name, words in (("word", ["dry", "wet"]), ("three", ["dry", "wet", "snow"])):
        truth = [words[index % len(words)] for index in range(len(frame))]
        model = make_pipeline(SimpleImputer(), LogisticRegression()).fit(frame[["humid"]], truth)
        logged.client.log_model(
            model=model,
            name="model",
            flavor=mlflow.sklearn,
            training_set=logged.training_set,
            registered_model_name=name,
        )
        answer = logged.client.score_batch(model_uri=f"{name}@1", df=request_rows)
        assert set(answer["prediction"]) <= set(words)
        assert ("probability" in answer.columns) == (name == "word")


MISTAKES = {
    "no such model": ({"model_uri": "models:/ran/1"}, NotFoundError, "No model 'ran'. Did you me"),
    "no such version": ({"model_uri": "rain@9"}, NotFoundError, "rain has no version '9'."),
    "no version": (
        {"model_uri": "models:/rain"},
        UsageError,
        "'models:/rain' is no model. Write NAME@production, NAME@staging or NAME@3, or as MLflow "
        "does models:/NAME@production or models:/NAME/3.",
    ),
    "no frame": (
        {"df": "gold.labels"},
        UsageError,
        "str cannot be read as the rows to score. Give a Polars, pandas, Arrow or Spark frame.",
    ),
    "no such type": (
        {"result_type": "doubl"},
        NotFoundError,
        "score_batch: No result type 'doubl'. Did you mean 'double'?",
    ),
    "a reserved name": (
        {"df": lambda rows: rows.with_columns(prediction=1)},
        UsageError,
        "The rows have a column 'prediction', which is the name of what rain version 1 gives. "
        "Leave it out, or rename it.",
    ),
    "a missing key": (
        {"df": lambda rows: rows.drop("place")},
        FeatureLookupError,
        "Lookup in features.sky: there is no column 'place' in the request.",
    ),
    "a missing argument of a function": (
        {"df": lambda rows: rows.drop("humid")},
        FeatureFunctionError,
        "FeatureFunction weather.damp: the request and the lookups have no column 'humid'.",
    ),
    "a missing input": (
        {"df": lambda rows: rows.drop("cloud")},
        NotFoundError,
        "the model's input: No column 'cloud'.",
    ),
    "a feature of another type": (
        {"df": lambda rows: rows.with_columns(light=pl.lit("much"))},
        FeatureLookupError,
        "The column 'light' of the request stands for a feature that is Float64, and is String. "
        "Give it the same type, or leave it out: then the feature is looked up.",
    ),
    "a naive time": (
        {"df": lambda rows: rows.with_columns(pl.col("at").dt.replace_time_zone(None))},
        FeatureLookupError,
        "The timestamp 'at' of the rows to score has no time zone.",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_error(logged, request_rows, mistake):
    options, error, message = MISTAKES[mistake]
    changed = options.get("df", request_rows)
    frame = changed(request_rows) if callable(changed) else changed
    with pytest.raises(error) as said:
        logged.client.score_batch(**{"model_uri": URI, **options, "df": frame})
    assert message in str(said.value)
    assert said.value.exit_code == 2
