"""Answers that say what is wrong, in the form of MLflow's server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sololakehouse.errors import FunctionFailedError, RequestError, SoloLakehouseError

if TYPE_CHECKING:
    from starlette.responses import Response

_CODES: Mapping[int, str] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    404: "ENDPOINT_NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    413: "REQUEST_TOO_LARGE",
    503: "TEMPORARILY_UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


class RefusedError(Exception):
    """A request that is not answered, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer with a message, as `{"error_code": ..., "message": ...}`."""
    from starlette.responses import JSONResponse

    default = "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR"
    content = {"error_code": _CODES.get(status, default), "message": message}
    return JSONResponse(content, status, headers)


def status_of(error: SoloLakehouseError) -> int:
    """Return 400 for what the request is to blame for, 503 for what the lakehouse is."""
    from sololakehouse.errors import RunError

    if isinstance(error, RequestError | FunctionFailedError):
        return 400
    return 503 if isinstance(error, RunError) else 400
