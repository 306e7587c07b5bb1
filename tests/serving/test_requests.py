"""What `/predict` refuses and says, and what the other endpoints tell."""

from __future__ import annotations

import time

import pytest

ROW = {"place": "hill", "device": 1, "humid": 0.4, "wind": None, "cloud": "some"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"humd": 1}, "rows.0.humd: there is no such field. Did you mean 'humid'? Fields: "),
        ({"humid": "0.4"}, "rows.0.humid: input should be a valid number"),
        ({"humid": 1e400}, "rows.0.humid: input should be a finite number"),
        ({"device": "1"}, "rows.0.device: input should be a valid integer"),
        ({"at": "2026-01-01T00:00:00"}, "rows.0.at: must be a moment with a time zone"),
        ({"at": "2026-01-01T00:00:00.1234567Z"}, "at most microseconds"),
        ({"at": "2026-13-01T00:00:00Z"}, "month must be in 1..12"),
        ({"humid": 2000}, "no air holds so much water"),
        ({"light": 1e308, "humid": 999}, "must be finite"),
        ({"cloud": "\ud800"}, "invalid JSON"),
    ],
)
def test_mistakes_are_refused_by_name(client, changes, message):
    reply = client.predict({**ROW, **changes})
    assert reply.status == 400, reply.body
    assert message in reply.json["message"]


def test_a_field_that_is_left_out_is_named(client):
    reply = client.predict({name: value for name, value in ROW.items() if name != "humid"})
    assert (reply.status, "rows.0.humid: the field is missing" in reply.json["message"]) == (
        400,
        True,
    )


def test_features_are_sent_for_all_rows_or_for_none(client):
    reply = client.predict({**ROW, "light": 1}, ROW)
    assert "'light' is in some rows and not in others" in reply.json["message"]


def test_only_three_mistakes_are_told_in_full(client):
    message = client.predict(*[{**ROW, "humd": 1}] * 9).json["message"]
    assert message.count("no such field") == 3
    assert message.endswith("and 6 more.")


def test_too_many_rows_are_refused(client):
    assert client.predict(*[ROW] * 3000).status == 200
    assert client.predict(*[ROW] * 3001).status == 400
    many = {"dataframe_records": [ROW] * 3001}
    assert "There are 3,001 rows" in client.post("/invocations", many).json["message"]


def test_unknown_paths_and_methods_are_told_apart(client):
    assert client.get("/predictions").status == 404
    assert client.get("/predict").status == 405


def test_the_model_says_what_it_was_trained_on(client, rich):
    about = client.get("/model").json
    assert (about["name"], about["version"], about["reference"]) == ("rain", 2, "rain@staging")
    assert about["trained_on"]["training_set"] == "training.rain@v1"
    assert "features.gauge@v1" in about["trained_on"]["inputs"]
    assert about["fields"]["at"]["role"] == "moment"
    assert about["feature_tables"]["features.gauge"]["version"] == 1
    assert 0 < about["feature_tables"]["features.sky"]["age_seconds"] < 3600


def test_health_readiness_and_ping(client):
    assert client.get("/health").json == {"status": "ok"}
    assert client.get("/ready").json == {"status": "ready"}
    assert client.get("/ping").body == b"\n"


def test_the_document_names_each_field_with_its_type(client):
    document = client.get("/openapi.json").json
    row = document["components"]["schemas"]["Row"]
    assert row["properties"]["device"]["type"] == ["integer", "null"]
    assert row["properties"]["at"]["format"] == "date-time"
    assert sorted(row["required"]) == ["cloud", "device", "humid", "place", "wind"]
    assert row["additionalProperties"] is False
    assert client.get("/docs").status == 200


def test_metrics_count_what_happened(server, client):
    before = server.metric("slh_serve_rows_total")
    client.predict(ROW, ROW)
    assert server.metric("slh_serve_rows_total") == before + 2
    assert server.metric('slh_serve_feature_table_version{table="features.gauge"}') == 1


def test_an_answer_does_not_wait_for_the_network(server):
    """With Nagle's algorithm each answer on a connection that is kept takes 40 ms more."""
    client = server.client(keep=True)
    began = time.monotonic()
    for _ in range(20):
        assert client.predict(ROW).status == 200
    client.close()
    assert time.monotonic() - began < 20 * 0.04
