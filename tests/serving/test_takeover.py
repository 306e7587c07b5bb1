"""New versions of the model and of feature tables are taken over while requests are answered."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from sololakehouse.models.registry import promote
from sololakehouse.provenance import Change
from tests.rain import sky
from tests.serving.process import Client, eventually, serving
from tests.serving.test_requests import ROW

KEYS = {"feature.keys": "place", "feature.timestamp": "feature_ts"}


@pytest.fixture(scope="module")
def project(copied):
    return copied()


@pytest.fixture(scope="module")
def changing(project):
    with serving(project.folder, "rain@staging", "--refresh", "0.2") as running:
        yield running


def test_no_request_is_lost_when_another_version_takes_over(project, changing):
    answers: list[tuple[int, int]] = []
    stop = threading.Event()

    def ask() -> None:
        client = changing.client(keep=True)
        while not stop.is_set():
            reply = client.predict(ROW)
            answers.append((reply.status, reply.json["model"]["version"]))
        client.close()

    askers = [threading.Thread(target=ask) for _ in range(2)]
    for one in askers:
        one.start()
    for version in (1, 2):
        promote(project.lake, project.writer(), "rain", version, "staging")
        eventually(lambda wanted=version: answers and answers[-1] == (200, wanted))
    stop.set()
    for one in askers:
        one.join()
    assert {status for status, _ in answers} == {200}
    assert {version for _, version in answers} == {1, 2}
    assert changing.client().get("/model").json["version"] == 2


def test_features_are_fresh_as_soon_as_they_are_committed(project, changing):
    client = changing.client()
    moment = datetime.now(UTC).replace(microsecond=0)
    soon = moment + timedelta(hours=1)
    more = pl.DataFrame(
        {"place": ["hill", "hill"], "feature_ts": [moment, soon], "light": [55.0, 77.0]},
        schema=sky().schema,
    )
    project.writer().write_frame("features.sky", more, Change("TEST", "more"), mode="append")
    eventually(lambda: _light(client) == (2, 55.0))
    (age,) = _sky(client)["age_seconds"]
    assert 0 <= age < 30
    later = client.predict({**ROW, "at": soon.isoformat()}, with_features=True).json
    assert later["features"][0]["light"] == 77.0
    assert changing.metric('slh_serve_feature_table_version{table="features.sky"}') == 2


def test_a_table_that_does_not_fit_any_more_leaves_memory_as_it_is(project, changing):
    client = changing.client()
    light = _light(client)
    other = sky().rename({"light": "brightness"})
    writer = project.writer()
    writer.write_frame("features.sky", other, Change("TEST", "other"), properties=KEYS)
    eventually(lambda: changing.metric('slh_serve_refreshes_total{result="failed"}') > 1)
    assert _light(client) == light
    assert changing.log.read_text().count("Serving goes on with what is in memory") == 1
    writer.write_frame("features.sky", sky(), Change("TEST", "back"), properties=KEYS)
    eventually(lambda: _sky(client)["version"] > light[0] + 1)


def _sky(client: Client) -> dict:
    lookups = client.predict(ROW).json["lookups"]
    return next(one for one in lookups if one["table"] == "features.sky")


def _light(client: Client) -> tuple[int, float]:
    reply = client.predict(ROW, with_features=True).json
    (version,) = [one["version"] for one in reply["lookups"] if one["table"] == "features.sky"]
    return version, reply["features"][0]["light"]
