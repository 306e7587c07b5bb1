"""What stands before every request: who may come in, how large it may be; and it is counted."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

from sololakehouse.serving.limits import TOKEN_VARIABLE
from sololakehouse.serving.problems import problem

if TYPE_CHECKING:
    from starlette.responses import Response

    from sololakehouse.serving.state import ServingState

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

ENDPOINTS = frozenset(
    {
        *("/predict", "/invocations", "/model", "/ping", "/version", "/health", "/ready"),
        *("/metrics", "/openapi.json", "/docs"),
    }
)
OPEN = frozenset({"/ping", "/health", "/ready"})


class Guard:
    """ASGI middleware: refuses before anything is read, and measures what is let in."""

    def __init__(self, app: App, state: ServingState) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Handle one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refused = self._refusal(scope)
        try:
            await (refused or self._app)(scope, receive, noted)
        finally:
            endpoint = scope["path"] if scope["path"] in ENDPOINTS else "other"
            metrics = self._state.metrics
            metrics.requests.labels(endpoint, str(status)).inc()
            metrics.seconds.labels(endpoint).observe(time.perf_counter() - began)

    def _refusal(self, scope: Message) -> Response | None:
        headers = dict(scope["headers"])
        access, most = self._state.access, self._state.limits.body
        if not access.knows_host(headers.get(b"host")):
            return problem(421, "This server answers programs on its own machine only.")
        if scope["path"] not in OPEN and not access.lets_in(headers.get(b"authorization")):
            return problem(
                401,
                f"Send 'Authorization: Bearer ...' with the token that {TOKEN_VARIABLE} has here.",
                {"WWW-Authenticate": "Bearer"},
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > most:
            return problem(413, f"The body may have at most {most:,} bytes.")
        return None
