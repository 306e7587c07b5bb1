"""The pages: all tables, and one table with its rows, its commits and where it came from."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import SoloLakehouseError, UsageError
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.catalog import healthy_and_damaged
from sololakehouse.lake.failures import unreadable_rows
from sololakehouse.lineage.trace import trace
from sololakehouse.lineage.tree import tree

if TYPE_CHECKING:
    import polars as pl
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

LOCALHOST = "127.0.0.1"
_SAMPLE_ROWS = 10
_HASH_DIGITS = 12
_TEMPLATES = Path(__file__).parent / "templates"


def create_app(lake: Lakehouse) -> Starlette:
    """Build the application; it answers GET requests and cannot write."""
    from starlette.applications import Starlette
    from starlette.routing import Route
    from starlette.templating import Jinja2Templates

    templates = Jinja2Templates(_TEMPLATES)

    def page(request: Request, name: str, status: int = 200, **context: Any) -> Response:
        about = {"project": lake.project.settings.name, **context}
        return templates.TemplateResponse(request, name, about, status_code=status)

    def tables(request: Request) -> Response:
        healthy, damaged = healthy_and_damaged(lake, lake.table_names())
        return page(request, "tables.html", tables=healthy, damaged=damaged)

    def table(request: Request) -> Response:
        snapshot = lake.read(request.path_params["name"])
        sample = _sample(snapshot)
        lines = [line.cells(_HASH_DIGITS) for line in tree(trace(lake, snapshot.name))]
        return page(request, "table.html", table=snapshot, sample=sample, trace=lines)

    def mistake(request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, UsageError) else 500
        return page(request, "mistake.html", status=status, message=str(error))

    return Starlette(
        routes=[Route("/", tables), Route("/tables/{name}", table)],
        exception_handlers={SoloLakehouseError: mistake},
    )


def _sample(snapshot: Snapshot) -> pl.DataFrame:
    try:
        return snapshot.scan().head(_SAMPLE_ROWS).collect()
    except Exception as error:
        said = unreadable_rows(error)
        if said is None:
            raise
        raise said from error


def serve(lake: Lakehouse, port: int, listening: Callable[[], None]) -> None:
    """Serve the pages on this machine only, until the process is stopped.

    Parameters
    ----------
    port
        TCP port on 127.0.0.1.
    listening
        Called when the port is the server's.

    Raises
    ------
    UsageError
        The port is taken.
    """
    import uvicorn

    config = uvicorn.Config(create_app(lake), log_level="warning")
    with _bound(port) as bound:
        listening()
        uvicorn.Server(config).run([bound])


def _bound(port: int) -> socket.socket:
    try:
        return socket.create_server((LOCALHOST, port))
    except OSError as error:
        raise UsageError(
            f"Nothing can listen on {LOCALHOST} port {port}: {error.strerror or error}. Choose "
            "another with --port."
        ) from error
