"""A project in which a person fitted and logged models of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from sololakehouse.feature_engineering import (
    FeatureEngineeringClient,
    FeatureFunction,
    FeatureLookup,
    TrainingSet,
)
from sololakehouse.models.registry import ModelVersion
from tests.rain import ModelProject, make_project

WEATHER = """\
def damp(humid: float, light: float) -> float:
    return None if light is None else humid / (1 + light)
"""


def training_set(client: FeatureEngineeringClient) -> TrainingSet:
    return client.create_training_set(
        df="SELECT * FROM gold.labels WHERE at < TIMESTAMP '2026-03-01 00:00:00'",
        feature_lookups=[
            FeatureLookup(table_name="features.sky", lookup_key="place", timestamp_lookup_key="at"),
            FeatureFunction(
                udf_name="weather.damp", input_bindings={"humid": "humid", "light": "light"}
            ),
        ],
        label="wet",
        timestamp="at",
        exclude_columns=["id"],
    )


def features(training: TrainingSet) -> pd.DataFrame:
    return training.to_pandas()[list(training.feature_columns)]


def pipeline(estimator: Any) -> Any:
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    columns = make_column_transformer(
        (SimpleImputer(), ["humid", "wind", "light", "damp"]),
        (OneHotEncoder(handle_unknown="ignore"), ["place", "cloud"]),
    )
    return make_pipeline(columns, estimator)


@dataclass(frozen=True)
class Logged:
    """What was fitted, and the versions that it was registered as."""

    project: ModelProject
    client: FeatureEngineeringClient
    training_set: TrainingSet
    model: Any
    booster: Any
    versions: tuple[ModelVersion, ...]


@pytest.fixture(scope="session")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    """Give one project with models logged by hand; tests may only add to it."""
    import mlflow.sklearn
    import mlflow.xgboost
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from xgboost import XGBClassifier

    project = make_project(tmp_path_factory.mktemp("logged"))
    (project.folder / "functions").mkdir()
    (project.folder / "functions" / "weather.py").write_text(WEATHER)
    client = FeatureEngineeringClient(project.lake)
    training = training_set(client)
    truth = training.to_pandas()["wet"]
    frame = features(training)
    model = pipeline(LogisticRegression()).fit(frame, truth)
    booster = XGBClassifier(n_estimators=5, n_jobs=2).fit(frame[["humid", "wind", "light"]], truth)
    project.prepare_store()
    mlflow.set_tracking_uri(f"sqlite:///{project.folder}/mlflow.db")
    place = (project.folder / "mlartifacts").as_uri()
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("by hand", place))
    with mlflow.start_run():
        mlflow.log_metric("train_accuracy", model.score(frame, truth))
        first = client.log_model(
            model=model,
            name="rain",
            flavor=mlflow.sklearn,
            training_set=training,
            registered_model_name="rain",
            infer_input_example=True,
        )
    second = client.log_model(
        model=booster,
        artifact_path="model",
        flavor=mlflow.xgboost,
        training_set=training,
        registered_model_name="rain",
    )
    amount = client.log_model(
        model=pipeline(LinearRegression()).fit(frame, truth),
        name="model",
        flavor=mlflow.sklearn,
        training_set=training,
        registered_model_name="amount",
    )
    return Logged(project, client, training, model, booster, (first, second, amount))
