from __future__ import annotations

import json
import shutil

import pytest

from sololakehouse.config import ScoringJob
from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.inference.batch import score
from sololakehouse.lake.leases import active_leases
from sololakehouse.lineage.graph import TableNode
from sololakehouse.lineage.trace import trace
from sololakehouse.models.registry import RUNS, promote, resolve
from sololakehouse.models.tracking import connected

from .conftest import WEATHER, features, pipeline

COLUMNS = ("place", "humid", "wind", "cloud", "light", "damp")


def test_a_logged_model_is_registered_like_a_trained_one(logged):
    first, second, _ = logged.versions
    assert (str(first), first.role, first.stage) == ("rain version 1", "logged", None)
    assert set(first.feature_columns) == set(COLUMNS)
    assert second.feature_columns == ("humid", "wind", "light")
    assert first.metrics == {"train_accuracy": pytest.approx(0.7, abs=0.3)}
    assert second.metrics == {}
    spec = TrainingSetSpec.model_validate(first.recipe)
    assert spec.labels.startswith("SELECT * FROM gold.labels")
    assert spec.function_sources == {"weather": WEATHER}
    record = logged.project.lake.read(RUNS).record
    assert record.operation == "LOG MODEL"
    assert [str(source) for source in record.inputs] == ["training.rain_logged@v1"]


def test_the_training_set_is_saved_and_leased_with_what_it_was_made_from(logged):
    assert str(logged.training_set.saved.table_version) == "training.rain_logged@v1"
    held = {one.reference for one in active_leases(logged.project.lake) if one.holder == "rain@2"}
    assert held == {"training.rain_logged@v1", "gold.labels@v1", "features.sky@v1"}
    nodes = trace(logged.project.lake, "rain@2").nodes.values()
    tables = {f"{node.table}@v{node.version}" for node in nodes if isinstance(node, TableNode)}
    assert tables == held


def test_mlflow_holds_it_in_the_open_run_with_datasets_and_signature(logged):
    import mlflow

    version = logged.versions[0]
    with connected(logged.project.lake.project) as client:
        run = client.get_run(version.mlflow_run_id)
        info = mlflow.models.get_model_info("models:/rain/1")
        other = client.get_run(logged.versions[1].mlflow_run_id)
    assert run.info.status == other.info.status == "FINISHED"
    assert run.data.tags["training_set"] == "training.rain_logged@v1"
    datasets = {given.dataset.name: given.dataset for given in run.inputs.dataset_inputs}
    assert set(datasets) == {"training.rain_logged", "gold.labels", "features.sky"}
    digest = logged.training_set.saved.record.manifest.digest
    assert datasets["training.rain_logged"].digest == digest
    assert {column.name for column in info.signature.inputs} == set(COLUMNS)
    assert info.metadata["sololakehouse"]["recipe"]["label"] == "wet"


def test_files_are_in_formats_that_run_no_code(logged):
    files = {file.name for file in logged.project.folder.rglob("*") if file.is_file()}
    assert {"model.skops", "model.ubj", "input_example.json"} <= files
    assert not [name for name in files if name.endswith(".pkl")]


def test_it_can_be_in_staging_and_production_is_refused_with_the_reason(logged):
    project = logged.project
    assert promote(project.lake, project.writer(), "rain", 2, "staging").reason == "Chosen by hand."
    assert resolve(project.lake, "models:/rain@staging").version == 2
    with pytest.raises(RunError) as said:
        promote(project.lake, project.writer(), "rain", 2, "production")
    assert (
        "baseline (failed): rain version 2 was logged with log_model, so no baseline was trained "
        "beside it on the same split, and there is nothing that it has beaten. It may be in "
        "staging; for production, write an experiment file and use 'slh train'."
    ) in str(said.value)


def test_batch_inference_uses_it(logged):
    job = ScoringJob(model="models:/rain/1", input="gold.labels", output="inference.by_hand")
    done = score(logged.project.lake, logged.project.writer(), job)
    rows = done.snapshot.to_polars()
    assert rows.height == 90 * 24
    assert json.loads(rows["feature_versions"][0]) == {"features.sky": 1}
    expected = logged.model.predict_proba(features(logged.training_set))[:, 1]
    assert rows["probability"].head(len(expected)).to_list() == pytest.approx(expected.tolist())
    amount = job.model_copy(update={"model": "amount@1", "output": "inference.amount"})
    assert (
        "probability"
        not in score(logged.project.lake, logged.project.writer(), amount).snapshot.columns
    )


def test_a_model_that_is_not_registered_is_only_logged(logged):
    import mlflow.sklearn

    before = logged.project.lake.read(RUNS).version
    given = {"model": logged.model, "training_set": logged.training_set}
    assert logged.client.log_model(name="tried", flavor=mlflow.sklearn, **given) is None
    assert logged.project.lake.read(RUNS).version == before


def fit_on(logged, columns, estimator=None):
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    frame = logged.training_set.to_pandas()
    model = make_pipeline(SimpleImputer(), estimator or LogisticRegression())
    return model.fit(columns(frame), frame["wet"])


def holds_a_lambda(logged):
    from sklearn.preprocessing import FunctionTransformer

    return FunctionTransformer(lambda x: x).fit(logged.training_set.to_pandas()[["humid"]])


def not_fitted(logged):
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression()


def needs_no_null(logged):
    from sklearn.linear_model import LogisticRegression

    frame = logged.training_set.to_pandas()
    return LogisticRegression().fit(frame[["wind"]].fillna(0.0), frame["wet"])


MISTAKES = {
    "a column that is not there": (
        lambda logged: fit_on(logged, lambda x: x[["humid"]].rename(columns={"humid": "hum"})),
        NotFoundError,
        "the training set, for a model that was fitted on it: No column 'hum'. Did you mean "
        "'humid'? Columns: cloud, damp, humid, light, place, wind.",
    ),
    "the label": (
        lambda logged: fit_on(logged, lambda x: x[["humid", "wet"]]),
        UsageError,
        "The model was fitted on 'wet', which is what is to be predicted or known only with it. "
        "Fit it on the other columns.",
    ),
    "columns without names": (
        lambda logged: fit_on(logged, lambda x: x[["humid", "wind"]].to_numpy()),
        UsageError,
        "The model was fitted on 2 columns without names, and the training set has 6 features: "
        "place, humid, wind, cloud, light, damp. Fit it on a pandas frame of some of them.",
    ),
    "code in it": (
        holds_a_lambda,
        UsageError,
        "which cannot be loaded again without running whatever its file says. Build it from "
        "scikit-learn's own estimators and transformers.",
    ),
    "not fitted": (
        not_fitted,
        UsageError,
        "The model cannot predict from the training set's columns (NotFittedError: This Logistic",
    ),
    "a model that takes no NULL": (
        needs_no_null,
        UsageError,
        "(ValueError: Input X contains NaN). Columns come as 'slh train' gives them: numbers and",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_model_that_could_not_be_used_is_refused(logged, mistake):
    import mlflow.sklearn

    model, error, message = MISTAKES[mistake]
    before = logged.project.lake.read(RUNS).version
    with pytest.raises(error) as said:
        logged.client.log_model(
            model=model(logged),
            name="model",
            flavor=mlflow.sklearn,
            training_set=logged.training_set,
            registered_model_name="rain",
        )
    assert message in str(said.value)
    assert said.value.exit_code == 2
    assert logged.project.lake.read(RUNS).version == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a", "artifact_path": "b"}, "log_model needs either 'name' or, as it was called"),
        ({}, "log_model needs either 'name' or, as it was called, 'artifact_path'."),
        ({"name": "a", "training_set": "rain"}, "that create_training_set gave, not str."),
        ({"name": "a b"}, "'a b' is no model's name. Write letters, digits, _ and -."),
        ({"name": "a", "registered_model_name": "1"}, "'1' is no model's name."),
        (
            {"name": "a", "flavor": json},
            "log_model keeps no models of flavor 'json'. Flavors: mlflow.sklearn, mlflow.xgboost.",
        ),
    ],
)
def test_arguments_are_checked(logged, options, message):
    import mlflow.sklearn

    whole = {"model": logged.model, "flavor": mlflow.sklearn, "training_set": logged.training_set}
    with pytest.raises(UsageError) as said:
        logged.client.log_model(**whole | options)
    assert message in str(said.value)


def test_rows_that_the_model_refuses_are_one_sentence(logged):
    import mlflow.sklearn
    import polars as pl
    from sklearn.linear_model import LogisticRegression

    frame = logged.training_set.to_pandas()
    logged.client.log_model(
        model=LogisticRegression().fit(frame[["humid"]], frame["wet"]),
        name="model",
        flavor=mlflow.sklearn,
        training_set=logged.training_set,
        registered_model_name="strict",
    )
    request = logged.training_set.to_polars().head(3).with_columns(humid=pl.lit(None, pl.Float64))
    with pytest.raises(RunError, match=r"strict version 1 cannot predict for these rows \(ValueEr"):
        logged.client.score_batch(model_uri="strict@1", df=request)


def test_xgboost_keeps_its_own_models_only(logged):
    import mlflow.xgboost

    with pytest.raises(UsageError, match="keeps an XGBClassifier or XGBRegressor, not Pipeline"):
        logged.client.log_model(
            model=logged.model,
            name="model",
            flavor=mlflow.xgboost,
            training_set=logged.training_set,
        )


def test_an_open_run_of_another_store_is_refused_and_can_be_ended(logged, tmp_path):
    import mlflow.sklearn

    shutil.copy(logged.project.folder / "mlflow.db", tmp_path / "other.db")
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/other.db")
    with mlflow.start_run() as run:
        with pytest.raises(UsageError, match="belongs to another store than the project's") as said:
            logged.client.log_model(
                model=logged.model,
                name="model",
                flavor=mlflow.sklearn,
                training_set=logged.training_set,
            )
        assert f"{logged.project.folder}/mlflow.db" in str(said.value)
    assert mlflow.get_run(run.info.run_id).info.status == "FINISHED"


def test_a_saved_training_set_is_used_as_it_is(logged):
    import mlflow.sklearn

    from .conftest import training_set

    training = training_set(logged.client)
    training.save("rain_by_person")
    version = logged.client.log_model(
        model=logged.model,
        name="model",
        flavor=mlflow.sklearn,
        training_set=training,
        registered_model_name="other-rain",
    )
    assert version.recipe["name"] == "training.rain_by_person"


def test_a_regressor_of_xgboost_is_loaded_as_one(logged):
    import mlflow.xgboost
    import polars as pl
    from xgboost import XGBRegressor

    frame = logged.training_set.to_pandas()
    model = XGBRegressor(n_estimators=3).fit(frame[["humid"]], frame["wet"])
    logged.client.log_model(
        model=model,
        name="model",
        flavor=mlflow.xgboost,
        training_set=logged.training_set,
        registered_model_name="share",
    )
    request = logged.training_set.to_polars().head(5)
    scored = logged.client.score_batch(model_uri="share@1", df=request)
    assert scored.columns == [*request.columns, "prediction"]
    expected = model.predict(frame[["humid"]].head()).tolist()
    assert scored["prediction"].to_list() == pytest.approx(expected)
    assert scored.schema["prediction"] == pl.Float32


def test_pipelines_with_a_tree_are_kept(logged):
    import mlflow.sklearn
    from sklearn.ensemble import RandomForestClassifier

    frame, truth = features(logged.training_set), logged.training_set.to_pandas()["wet"]
    forest = pipeline(RandomForestClassifier(n_estimators=3, random_state=1))
    version = logged.client.log_model(
        model=forest.fit(frame, truth),
        name="model",
        flavor=mlflow.sklearn,
        training_set=logged.training_set,
        registered_model_name="forest",
    )
    scored = logged.client.score_batch(
        model_uri=f"models:/forest/{version.version}", df=frame.head(7)
    )
    assert scored["probability"].tolist() == forest.predict_proba(frame.head(7))[:, 1].tolist()
