"""How a request comes to its answer: in the event loop, or in a thread."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from fastapi import Request as WebRequest
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from sololakehouse.serving.answering import Request
from sololakehouse.serving.inference_log import InferenceLog
from sololakehouse.serving.invocations import JSON
from sololakehouse.serving.online_lookup import HistoryNeededError
from sololakehouse.serving.problems import RefusedError
from sololakehouse.serving.served_rows import Served
from sololakehouse.serving.state import ServingState
from sololakehouse.serving.watcher import Watcher

_SMALL = 65_536
_THREADS = 2
_Answer = Callable[..., tuple[bytes, Served]]


class Endpoints:
    """What the endpoints that predict do, and the threads behind them.

    Small requests are answered where they come in; large ones, those with a person's functions and
    those that read tables in threads, so that nobody waits for them.
    """

    def __init__(self, state: ServingState, log: InferenceLog, watcher: Watcher) -> None:
        self._state = state
        self._log = log
        self._watcher = watcher
        self._threads = ThreadPoolExecutor(_THREADS, "large requests")
        self._reader = ThreadPoolExecutor(1, "table reads")
        self._waiting = 0

    async def answer(self, request: WebRequest, how: _Answer, kinds: tuple[str, ...]) -> Response:
        """Answer a request that predicts."""
        at, began = datetime.now(UTC), time.perf_counter()
        kind = _content_type(request, kinds)
        body = await self._body(request)
        request_id = os.urandom(16).hex()
        served = self._state.served
        asked = Request(request_id, request.url.path, served, body, kind, at, began)
        content, done = await self._answered(partial(how, self._state, asked), asked)
        if self._log.put(done):
            asyncio.get_running_loop().call_soon(self._log.pack)
        self._state.metrics.rows.inc(done.rows)
        headers = {"X-Request-Id": request_id}
        return Response(content, media_type=JSON, headers=headers)

    async def _answered(
        self, work: Callable[..., tuple[bytes, Served]], asked: Request
    ) -> tuple[bytes, Served]:
        try:
            if len(asked.body) <= _SMALL and not asked.served.has_functions:
                return work(history=False)
            return await self._in_thread(self._threads, partial(work, history=False))
        except HistoryNeededError:
            self._state.metrics.history.inc()
            return await self._in_thread(self._reader, partial(work, history=True))

    async def _in_thread(
        self, pool: ThreadPoolExecutor, work: Callable[[], tuple[bytes, Served]]
    ) -> tuple[bytes, Served]:
        limits = self._state.limits
        if self._waiting >= limits.waiting:
            raise RefusedError(503, "Too many large requests wait. Try again in a second.")
        self._waiting += 1
        loop = asyncio.get_running_loop()
        try:
            return await asyncio.wait_for(loop.run_in_executor(pool, work), limits.seconds)
        except TimeoutError:
            raise RefusedError(
                504, f"No answer within {limits.seconds:g} s. Send fewer rows at once."
            ) from None
        finally:
            self._waiting -= 1

    async def _body(self, request: WebRequest) -> bytes:
        limits, parts, size = self._state.limits, [], 0
        try:
            async with asyncio.timeout(limits.seconds):
                async for part in request.stream():
                    size += len(part)
                    if size > limits.body:
                        raise RefusedError(413, f"The body may have at most {limits.body:,} bytes.")
                    parts.append(part)
        except TimeoutError:
            raise RefusedError(408, f"The body did not come within {limits.seconds:g} s.") from None
        except ClientDisconnect:
            raise RefusedError(400, "The client went away.") from None
        return b"".join(parts)

    @property
    def is_ready(self) -> bool:
        """Whether requests are answered, with features that are looked after."""
        return not self._state.stopping and self._watcher.is_alive

    def start(self) -> None:
        """Begin to look after features and to write the inference table."""
        self._watcher.start()
        self._log.start()

    def close(self) -> None:
        """Stop all threads, and write what the inference table does not have yet."""
        self._state.stopping = True
        self._watcher.close()
        self._threads.shutdown()
        self._reader.shutdown()
        self._log.close()


def _content_type(request: WebRequest, known: tuple[str, ...]) -> str:
    kind, *parameters = request.headers.get("content-type", "").lower().split(";")
    if kind.strip() not in known:
        raise RefusedError(415, f"The Content-Type must be {' or '.join(known)}.")
    for parameter in parameters:
        if parameter.strip().replace('"', "") not in ("charset=utf-8", "charset=utf8", ""):
            raise RefusedError(
                415, "The body must be UTF-8: leave out other parameters of Content-Type."
            )
    return kind.strip()
