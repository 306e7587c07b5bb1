"""What was asked and answered is in the inference table, and nothing that happens to it matters."""

from __future__ import annotations

import dataclasses
import json
import signal
import time
from datetime import UTC, datetime

import psutil
import pytest

from sololakehouse.errors import RunError
from sololakehouse.lake import Lakehouse
from sololakehouse.models.registry import resolve
from sololakehouse.serving import inference_log
from sololakehouse.serving.inference_log import InferenceLog
from sololakehouse.serving.log_writer import LogWriter
from sololakehouse.serving.metrics import Metrics
from sololakehouse.serving.served_model import ServedModel
from sololakehouse.serving.served_rows import Packed, Served
from tests.faults.test_disk import empty, fill
from tests.serving.process import eventually, serving
from tests.serving.test_requests import ROW

TABLE = "inference.served_rain"


def one(served: ServedModel, name: str = "r", rows: int = 1) -> Served:
    now = datetime.now(UTC)
    return Served(name, "/predict", now, 1.5, served.answer([ROW] * rows, now, history=False))


@pytest.fixture
def logs():
    """Make inference logs whose processes end with the test."""
    made = []

    def log(lake: Lakehouse, metrics: Metrics) -> InferenceLog:
        made.append(InferenceLog(lake, "rain", 60, metrics))
        return made[-1]

    yield log
    for one_log in made:
        one_log._writer.close()


def test_rows_hold_request_features_prediction_and_latency(copied):
    project = copied()
    with serving(project.folder, "rain@staging", "--flush", "60") as running:
        reply = running.client().predict({**ROW, "at": "2026-03-31T23:30:00+02:00"}, ROW)
        running.client().post("/invocations", {"dataframe_records": [ROW]})
        assert running.stop() == -signal.SIGTERM
    table = project.lake.read(TABLE)
    first, second, third = table.to_polars().sort("requested_at", "row").to_dicts()
    assert first["request_id"] == second["request_id"] == reply.headers["x-request-id"]
    assert [first["row"], second["row"], third["row"]] == [0, 1, 0]
    assert (first["endpoint"], third["endpoint"]) == ("/predict", "/invocations")
    expected = reply.json["predictions"][0]
    assert (first["probability"], first["prediction"]) == tuple(expected.values())
    assert json.loads(first["request"])["at"] == "2026-03-31T21:30:00.000000+00:00"
    assert json.loads(first["features"])["height"] == 300
    assert json.loads(first["feature_versions"])["features.gauge"] == 1
    assert 0 < first["milliseconds"] < 10_000
    assert table.record.operation == "SERVING"
    assert {source.table for source in table.record.inputs} == set(
        json.loads(first["feature_versions"])
    )


def test_a_crash_loses_at_most_the_interval(copied):
    project = copied()
    with serving(project.folder, "rain@staging", "--flush", "1") as running:
        client, asked = running.client(), []
        until = time.monotonic() + 3.5
        while time.monotonic() < until:
            asked.append((client.predict(ROW).headers["x-request-id"], time.monotonic()))
            time.sleep(0.02)
        assert running.metric("slh_serve_inference_rows_written_total") > 0
        running.process.kill()
        killed = time.monotonic()
        running.process.wait()
    written = set(project.lake.read(TABLE).to_polars()["request_id"])
    old_enough = {request_id for request_id, at in asked if at < killed - 1.5}
    assert len(old_enough) > 20
    assert old_enough <= written


def test_a_full_disk_does_not_stop_serving(served, logs, small_disk, caplog):
    (small_disk / "lakehouse.yml").write_text("name: small\n")
    metrics, lake = Metrics(), Lakehouse.open(small_disk)
    log = logs(lake, metrics)
    log.put(one(served, "before"))
    log.flush()
    fill(small_disk, 0)
    for number in range(3):
        log.put(one(served, f"meanwhile {number}"))
        log.flush()
    assert metrics.registry.get_sample_value("slh_serve_inference_write_failures_total") == 3
    assert metrics.registry.get_sample_value("slh_serve_inference_rows_waiting") == 3
    assert [r.message for r in caplog.records if "the disk is full" in r.message] == [
        caplog.records[0].message
    ]
    empty(small_disk)
    log.put(one(served, "after"))
    log.flush()
    rows = lake.read(TABLE).to_polars().sort("requested_at")["request_id"].to_list()
    assert rows == ["before", "meanwhile 0", "meanwhile 1", "meanwhile 2", "after"]
    assert "is written again" in caplog.records[-1].message


def test_what_waits_is_bounded_and_what_is_given_up_is_counted(served, logs, copied, monkeypatch):
    monkeypatch.setattr(inference_log, "MOST_ROWS", 10)
    monkeypatch.setattr(inference_log, "AT_ONCE", 1)
    project, metrics = copied(), Metrics()
    log = logs(project.lake, metrics)
    for number in range(8):
        log.put(one(served, str(number), rows=3))
    assert metrics.registry.get_sample_value("slh_serve_inference_rows_lost_total") == 15
    log.flush()
    rows = project.lake.read(TABLE).to_polars()
    assert rows["request_id"].unique().sort().to_list() == ["5", "6", "7"]


def test_another_version_of_the_model_goes_on_in_the_same_table(rich, served, logs, copied):
    project, metrics = copied(), Metrics()
    log = logs(project.lake, metrics)
    baseline = ServedModel(rich.lake, resolve(rich.lake, "rain@1"))
    log.put(one(served, "2"))
    log.put(one(baseline, "1"))
    log.flush()
    rows = project.lake.read(TABLE).to_polars()
    assert rows["model_version"].to_list() == [2, 1]
    assert project.lake.read(TABLE).record.details["model_versions"] == [1, 2]


def test_a_row_says_which_answer_it_is_of_and_where_it_stood_there(served):
    answers = [one(served, "a", rows=2), one(served, "b"), one(served, "c", rows=3)]
    (packed,) = Packed.of(answers)
    rows = packed.frame.select("request_id", "row", "requested_at").rows()
    places = [("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 1), ("c", 2)]
    assert [row[:2] for row in rows] == places
    assert [row[2] for row in rows] == [answers[number].at for number in (0, 0, 1, 2, 2, 2)]


def test_small_answers_are_packed_together_and_commits_are_of_bounded_size(
    served, logs, copied, monkeypatch
):
    monkeypatch.setattr(inference_log, "_ROWS_OF_A_COMMIT", inference_log.AT_ONCE + 2)
    project, metrics = copied(), Metrics()
    log = logs(project.lake, metrics)
    due = [log.put(one(served, str(number))) for number in range(inference_log.AT_ONCE)]
    assert due == [False] * (inference_log.AT_ONCE - 1) + [True]
    log.pack()
    assert log.put(one(served, "large", rows=inference_log.AT_ONCE + 1)) is False
    log.put(one(served, "last"))
    log.flush()
    rows = project.lake.read(TABLE).to_polars().sort("requested_at", "row")["request_id"].to_list()
    small = [str(number) for number in range(inference_log.AT_ONCE)]
    assert rows == [*small, *["large"] * (inference_log.AT_ONCE + 1), "last"]
    commits = project.lake.history(TABLE)
    assert [one.record.rows_written for one in commits if one.record] == [1, 41]
    assert metrics.registry.get_sample_value("slh_serve_inference_rows_written_total") == 42


def test_a_writer_that_died_is_started_again_and_nothing_is_lost_or_doubled(served, logs, copied):
    project, metrics = copied(), Metrics()
    log = logs(project.lake, metrics)
    for number in range(3):
        log.put(one(served, str(number)))
        log.flush()
        if number == 0:
            log._writer._process.kill()
            log._writer._process.wait()
    assert metrics.registry.get_sample_value("slh_serve_inference_write_failures_total") == 1
    rows = project.lake.read(TABLE).to_polars().sort("requested_at")["request_id"].to_list()
    assert rows == ["0", "1", "2"]
    assert metrics.registry.get_sample_value("slh_serve_inference_rows_lost_total") == 0


def test_a_commit_that_was_made_before_the_writer_died_is_not_made_again(
    served, logs, copied, monkeypatch
):
    project, metrics = copied(), Metrics()
    log, asked = logs(project.lake, metrics), LogWriter._asked

    def dies_before_it_says_so(self, what):
        asked(self, what)
        raise EOFError

    monkeypatch.setattr(LogWriter, "_asked", dies_before_it_says_so)
    log.put(one(served, "once"))
    log.flush()
    log.flush()
    assert project.lake.read(TABLE).to_polars()["request_id"].to_list() == ["once"]
    assert metrics.registry.get_sample_value("slh_serve_inference_write_failures_total") == 0


def test_the_writer_ends_with_the_server_however_that_ends(copied):
    project = copied()
    with serving(project.folder, "rain@staging", "--flush", "60") as running:
        server = psutil.Process(running.process.pid)
        (writer,) = eventually(server.children)
        eventually(lambda: writer.nice() == min(19, server.nice() + 10))
        writer.send_signal(signal.SIGINT)
        writer.send_signal(signal.SIGTERM)
        time.sleep(1)
        running.client().predict(ROW)
        assert writer.status() != psutil.STATUS_ZOMBIE
        running.process.kill()
        running.process.wait()
        writer.wait(10)
    assert not writer.is_running()


def test_answers_that_are_no_rows_are_lost_alone_and_counted(served, logs, copied, caplog):
    project, metrics = copied(), Metrics()
    log = logs(project.lake, metrics)
    log.put(dataclasses.replace(one(served, "odd", rows=2), at="never"))
    log.pack()
    log.put(one(served, "good"))
    log.flush()
    assert project.lake.read(TABLE).to_polars()["request_id"].to_list() == ["good"]
    assert metrics.registry.get_sample_value("slh_serve_inference_rows_lost_total") == 2
    assert "answers are no rows of it" in caplog.text


def test_answers_that_come_while_a_write_fails_wait_as_well(served, logs, copied, monkeypatch):
    project, metrics = copied(), Metrics()
    log, large = logs(project.lake, metrics), inference_log.AT_ONCE + 1

    def fails(*_):
        log.put(one(served, "newer", rows=large))
        raise RunError("the disk is full")

    log.put(one(served, "older"))
    with monkeypatch.context() as patched:
        patched.setattr(LogWriter, "append", fails)
        log.flush()
    log.flush()
    rows = project.lake.read(TABLE).to_polars().sort("requested_at")["request_id"].to_list()
    assert rows == ["older", *["newer"] * large]
