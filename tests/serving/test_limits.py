"""How long a request may take, how many may wait, and what takes over when something fails."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request

from sololakehouse.errors import RequestError
from sololakehouse.models.registry import promote, resolve
from sololakehouse.serving.app import Endpoints
from sololakehouse.serving.inference_log import InferenceLog
from sololakehouse.serving.limits import Access, Limits
from sololakehouse.serving.problems import RefusedError
from sololakehouse.serving.served_model import ServedModel
from sololakehouse.serving.state import ServingState
from sololakehouse.serving.watcher import Watcher

JSON = "application/json"
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/predict",
    "query_string": b"",
    "headers": [(b"content-type", JSON.encode())],
}


def state_of(project, served: ServedModel, limits: Limits, reference: str = "") -> ServingState:
    return ServingState(project.lake, reference, served, limits, Access.of("127.0.0.1"))


def endpoints_of(state: ServingState) -> Endpoints:
    log = InferenceLog(state.lake, state.served.name, 60, state.metrics)
    return Endpoints(state, log, Watcher(state, 60))


async def ask(endpoints: Endpoints, how: Callable[..., Any]) -> Any:
    """Send a small request to a model with functions, which is answered in a thread."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    return await endpoints.answer(Request(SCOPE, receive), how, (JSON,))


def let_in(*_: object, history: bool) -> Any:
    raise RequestError("it was let in")


def test_an_answer_that_does_not_come_in_time_is_given_up(rich, served):
    endpoints = endpoints_of(state_of(rich, served, Limits(seconds=0.2)))
    ended = threading.Event()

    def slow(*_: object, history: bool) -> Any:
        ended.wait(20)

    began = time.monotonic()
    with pytest.raises(RefusedError, match=r"No answer within 0\.2 s\. Send fewer rows") as refused:
        asyncio.run(ask(endpoints, slow))
    waited = time.monotonic() - began
    ended.set()
    assert refused.value.status == 504
    assert 0.2 <= waited < 10


def test_more_requests_than_may_wait_are_refused_until_one_has_ended(rich, served):
    endpoints = endpoints_of(state_of(rich, served, Limits(waiting=2)))
    ended = threading.Event()

    def slow(*_: object, history: bool) -> Any:
        ended.wait(20)
        raise RequestError("it has ended")

    async def all_of_them() -> None:
        waiting = [asyncio.create_task(ask(endpoints, slow)) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(RefusedError, match="Too many large requests wait") as refused:
            await ask(endpoints, let_in)
        assert refused.value.status == 503
        ended.set()
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [str(one) for one in told] == ["it has ended"] * 2
        with pytest.raises(RequestError, match="it was let in"):
            await ask(endpoints, let_in)

    asyncio.run(all_of_them())


def test_a_server_is_ready_while_it_looks_after_its_features_and_does_not_stop(rich, served):
    state = state_of(rich, served, Limits())
    log = InferenceLog(state.lake, served.name, 60, state.metrics)
    watcher = Watcher(state, 60)
    endpoints = Endpoints(state, log, watcher)
    assert not endpoints.is_ready
    watcher.start()
    assert endpoints.is_ready
    state.stopping = True
    assert not endpoints.is_ready
    state.stopping = False
    watcher.close()
    assert not endpoints.is_ready


def looks(state: ServingState, result: str) -> float:
    name = "slh_serve_refreshes_total"
    return state.metrics.registry.get_sample_value(name, {"result": result}) or 0.0


def test_a_version_that_cannot_be_loaded_is_tried_again_at_the_next_look(copied, caplog):
    project = copied()
    served = ServedModel(project.lake, resolve(project.lake, "rain@staging"))
    state = state_of(project, served, Limits(), "rain@staging")
    watcher = Watcher(state, 60)
    training = project.lake.path("training.rain")
    away = training.with_name("away")
    for version in (1, 2):
        promote(project.lake, project.writer(), "rain", version, "staging")
        before, failed = state.served, looks(state, "failed")
        training.rename(away)
        watcher.look()
        watcher.look()
        assert state.served is before
        assert looks(state, "failed") == failed + 2
        away.rename(training)
        watcher.look()
        assert state.served.version.version == version
        gauge = ("slh_serve_model_version", {"model": "rain"})
        assert state.metrics.registry.get_sample_value(*gauge) == version
    errors = [one for one in caplog.records if "what is in memory" in one.message]
    assert len(errors) == 2, "a failure is logged once, and again after it had been mended"


def test_a_model_stays_whatever_happens_to_the_stages_of_others(copied):
    project = copied()
    served = ServedModel(project.lake, resolve(project.lake, "rain@2"))
    state = state_of(project, served, Limits(), "rain@2")
    watcher = Watcher(state, 60)
    promote(project.lake, project.writer(), "rain", 1, "staging")
    watcher.look()
    assert state.served is served
    assert (looks(state, "taken"), looks(state, "failed")) == (0, 0)
