"""The pages: all tables, and one table with its rows, its commits and where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.errors import SoloLakehouseError, UsageError
from sololakehouse.lake import Lakehouse
from sololakehouse.lake.catalog import healthy_and_damaged
from sololakehouse.lineage.trace import trace
from sololakehouse.lineage.tree import tree

if TYPE_CHECKING:
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
        sample = snapshot.scan().head(_SAMPLE_ROWS).collect()
        lines = [line.cells(_HASH_DIGITS) for line in tree(trace(lake, snapshot.name))]
        return page(request, "table.html", table=snapshot, sample=sample, trace=lines)

    def mistake(request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, UsageError) else 500
        return page(request, "mistake.html", status=status, message=str(error))

    return Starlette(
        routes=[Route("/", tables), Route("/tables/{name}", table)],
        exception_handlers={SoloLakehouseError: mistake},
    )


def serve(lake: Lakehouse, port: int) -> None:
    """Serve the pages on this machine only, until the process is stopped.

    Parameters
    ----------
    port
        TCP port on 127.0.0.1.
    """
    import uvicorn

    uvicorn.run(create_app(lake), host=LOCALHOST, port=port, log_level="warning")
