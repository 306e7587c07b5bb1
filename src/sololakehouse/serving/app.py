"""The web application: which path leads where, and what is said when something fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version as installed

from fastapi import FastAPI
from fastapi import Request as WebRequest
from pydantic_core import to_json
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from sololakehouse.errors import SoloLakehouseError
from sololakehouse.serving.answering import about_model, answer_invocations, answer_predict
from sololakehouse.serving.endpoints import Endpoints
from sololakehouse.serving.guard import Guard
from sololakehouse.serving.inference_log import InferenceLog
from sololakehouse.serving.invocations import CSV, JSON
from sololakehouse.serving.openapi import document
from sololakehouse.serving.problems import RefusedError, problem, status_of
from sololakehouse.serving.state import ServingState
from sololakehouse.serving.watcher import Watcher


def create_app(state: ServingState, log: InferenceLog, watcher: Watcher) -> FastAPI:
    """Build the application; its threads live as long as it runs."""
    endpoints = Endpoints(state, log, watcher)
    app = FastAPI(title=state.served.name, lifespan=_lifespan(endpoints), redoc_url=None)
    app.add_middleware(Guard, state=state)
    app.openapi = lambda: document(app, state)  # type: ignore[method-assign]
    _add_predictions(app, endpoints)
    _add_facts(app, state)
    _add_health(app, endpoints)
    _add_error_handlers(app)
    return app


def _lifespan(
    endpoints: Endpoints,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        endpoints.start()
        yield
        await asyncio.to_thread(endpoints.close)

    return lifespan


def _add_predictions(app: FastAPI, endpoints: Endpoints) -> None:
    @app.post("/predict")
    async def predict(request: WebRequest) -> Response:
        return await endpoints.answer(request, answer_predict, (JSON,))

    @app.post("/invocations")
    async def invocations(request: WebRequest) -> Response:
        return await endpoints.answer(request, answer_invocations, (JSON, CSV))


def _add_facts(app: FastAPI, state: ServingState) -> None:
    @app.get("/model")
    async def model() -> Response:
        return Response(to_json(about_model(state), inf_nan_mode="null"), media_type=JSON)

    @app.get("/version")
    async def version() -> Response:
        return PlainTextResponse(installed("mlflow"))

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(state.metrics.text(), media_type="text/plain; version=0.0.4")


def _add_health(app: FastAPI, endpoints: Endpoints) -> None:
    @app.get("/ping")
    async def ping() -> Response:
        return PlainTextResponse("\n")

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/ready")
    async def ready() -> Response:
        if endpoints.is_ready:
            return JSONResponse({"status": "ready"})
        return problem(503, "Not ready: the server stops, or does not look after its features.")


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    async def refused(_: WebRequest, error: RefusedError) -> Response:
        return problem(error.status, str(error))

    @app.exception_handler(SoloLakehouseError)
    async def mistaken(_: WebRequest, error: SoloLakehouseError) -> Response:
        return problem(status_of(error), str(error))

    @app.exception_handler(HTTPException)
    async def unknown(_: WebRequest, error: HTTPException) -> Response:
        return problem(error.status_code, f"{error.detail}. See /docs.", error.headers)

    @app.exception_handler(Exception)
    async def broken(_: WebRequest, __: Exception) -> Response:
        return problem(500, "The server failed; its log says why.")
