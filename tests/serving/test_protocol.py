"""MLflow's scoring protocol, asked by MLflow's own client and held to MLflow's own answers."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import resolve
from tests.serving.process import as_rows
from tests.serving.test_requests import ROW

ROWS = 5


@pytest.fixture(scope="module")
def version(rich):
    return resolve(rich.lake, "rain@staging")


@pytest.fixture(scope="module")
def features(rich, version) -> pl.DataFrame:
    rows = rich.lake.read(version.training_set, version.training_set_version).to_polars()
    return rows.select(version.feature_columns).tail(ROWS)


@pytest.fixture(scope="module")
def expected(rich, version, features) -> list[list[float]]:
    """Give what MLflow's own loader of the model says."""
    import mlflow
    import mlflow.pyfunc

    mlflow.set_registry_uri(f"sqlite:///{rich.folder / 'mlflow.db'}")
    mlflow.set_tracking_uri(f"sqlite:///{rich.folder / 'mlflow.db'}")
    loaded = mlflow.pyfunc.load_model(f"models:/rain/{version.version}")
    answer: np.ndarray = loaded.predict(model_input(features, version.feature_columns))
    return answer.tolist()


def test_a_client_of_mlflow_gets_what_mlflow_would_answer(server, version, features, expected):
    from importlib.metadata import version as installed

    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient("127.0.0.1", server.port)
    client.wait_server_ready()
    assert client.get_version() == installed("mlflow")
    answer = client.invoke(model_input(features, version.feature_columns))
    assert answer.get_predictions().to_numpy().tolist() == expected


def test_each_form_of_input_gives_the_same(client, version, features, expected):
    columns, rows = list(version.feature_columns), as_rows(features)
    data = [list(row.values()) for row in rows]
    forms = [
        {"dataframe_split": {"columns": columns, "data": data, "index": list(range(ROWS))}},
        {"dataframe_split": {"columns": columns[::-1], "data": [row[::-1] for row in data]}},
        {"dataframe_records": rows, "params": {}},
        {"instances": rows},
        {"instances": data},
        {"inputs": features.to_dict(as_series=False)},
        {"inputs": rows},
    ]
    for form in forms:
        reply = client.post("/invocations", form)
        assert (reply.status, reply.json) == (200, {"predictions": expected}), form
    table = features.write_csv().encode()
    for kind in ("text/csv", "text/csv; charset=utf-8"):
        assert client.post("/invocations", table, kind).json == {"predictions": expected}


def test_invocations_look_up_what_is_left_out(client, rich):
    rows = rich.lake.read("gold.labels").to_polars().tail(3)
    asked = as_rows(rows.select("place", "device", "at", "humid", "wind", "cloud"))
    scores = client.post("/invocations", {"dataframe_records": asked}).json["predictions"]
    predictions = client.predict(*asked).json["predictions"]
    assert [one[1] for one in scores] == pytest.approx([one["probability"] for one in predictions])


def test_no_rows_give_no_predictions(client, version):
    empty = {"dataframe_split": {"columns": list(version.feature_columns), "data": []}}
    assert client.post("/invocations", empty).json == {"predictions": []}
    assert client.post("/invocations", {"instances": []}).json == {"predictions": []}
    assert client.post("/invocations", b"humid\n", "text/csv").json == {"predictions": []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "The body is no JSON"),
        (b"[]", "must be an object with one of dataframe_split"),
        (b"\xff", "The body is no JSON"),
        ({"instances": float("nan")}, "'instances' must be a list of rows"),
        ({"dataframe_records": [{"humid": float("inf")}]}, "0.humid: input should be a finite"),
        ({}, "exactly one of dataframe_split"),
        ({"instances": [], "inputs": []}, "exactly one of"),
        (
            {"dataframe_record": []},
            "'dataframe_record' is no part of the scoring protocol. Did you",
        ),
        ({"instances": [], "params": {"depth": 3}}, "'params' must be empty"),
        ({"instances": 3}, "'instances' must be a list of rows"),
        ({"instances": [[1, 2]]}, "instances[0] must be a list of "),
        ({"inputs": {"humid": [1], "wind": [1, 2]}}, "all of one length"),
        ({"dataframe_records": {}}, "'dataframe_records' must be a list of objects"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": []}}, "has 'a' twice"),
        ({"dataframe_split": {"columns": ["humid"], "data": [[1, 2]]}}, "a list of 1 values"),
        (
            {"dataframe_records": [{"humd": 1}]},
            "0.humd: there is no such field. Did you mean 'humid'",
        ),
        ({"dataframe_records": [{"humid": "wet"}]}, "0.humid: input should be a valid number"),
        ({"dataframe_records": [{"humid": True}]}, "0.humid: input should be a valid number"),
        ({"dataframe_records": [{"device": 1.5}]}, "0.device: input should be a valid integer"),
        ({"dataframe_records": [{"device": 2**63}]}, "0.device: input should be less than"),
        ({"dataframe_records": [{"cloud": 7}]}, "0.cloud: input should be a valid string"),
        ({"dataframe_records": [{"at": "2026-01-01"}]}, "0.at: must be a moment with a time zone"),
        ({"dataframe_records": [{"at": 1700000000}]}, "0.at: must be a moment with a time zone"),
        ({"dataframe_records": [{"at": None}]}, "0.at: must be a moment"),
        ({"dataframe_records": [ROW, {"place": "hill"}]}, " is in some rows and not in others"),
        ({"dataframe_records": [{"humid": 1}]}, " is missing: the model needs it"),
    ],
)
def test_mistakes_are_refused_by_name(client, content, message):
    reply = client.post("/invocations", content)
    assert reply.status == 400
    assert message in reply.json["message"]
    assert reply.json["error_code"] == "BAD_REQUEST"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "The body is empty"),
        ("humid,humid\n1,2\n", "names a column twice"),
        ("humid,wind\n1\n", "Row 0 has 1 values, and there are 2 columns"),
        ("humid\nwet\n", "0.humid: 'wet' is no number"),
        ("humd\n1\n", "0.humd: there is no such field"),
    ],
)
def test_mistakes_in_csv_are_refused_by_name(client, text, message):
    reply = client.post("/invocations", text.encode(), "text/csv")
    assert (reply.status, message in reply.json["message"]) == (400, True), reply.body


def test_other_content_types_are_refused(client):
    assert client.post("/invocations", b"", "application/xml").status == 415
    assert client.post("/predict", b"", "text/csv").status == 415
    assert client.post("/invocations", b"{}", "application/json; charset=latin-1").status == 415
