"""The command `slh serve`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from sololakehouse.cli.render import as_json, print_json, print_line

if TYPE_CHECKING:
    from sololakehouse.serving.served_model import ServedModel

DEFAULT_PORT = 5001


@click.command()
@click.argument("model")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="0 takes any that is free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Others need a token.")
@click.option(
    "--max-rows",
    type=click.IntRange(1),
    default=10_000,
    show_default=True,
    help="Most rows of a request.",
)
@click.option(
    "--max-bytes",
    type=click.IntRange(1),
    default=10_000_000,
    show_default=True,
    help="Most bytes of a request's body.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=30.0,
    show_default=True,
    help="Seconds that a body may take to come, and an answer to be found.",
)
@click.option(
    "--refresh",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    help="Seconds between looks for new features and models.",
)
@click.option(
    "--flush",
    type=click.FloatRange(0.1),
    default=10.0,
    show_default=True,
    help="A crash loses at most so many seconds of the inference table.",
)
@as_json
def serve(
    model: str,
    port: int,
    host: str,
    max_rows: int,
    max_bytes: int,
    timeout: float,
    refresh: float,
    flush: float,
    json_wanted: bool,
) -> None:
    """Serve MODEL over HTTP: MLflow's scoring protocol, and predictions by keys.

    MODEL is NAME@production, NAME@staging or NAME@3. What is asked and answered goes to
    inference.served_NAME. Stops with Ctrl-C; requests that have begun are answered.

    \b
    Examples:
      slh serve flight_delay@production
      SLH_SERVE_TOKEN=$(openssl rand -hex 32) slh serve flight_delay@3 --host 0.0.0.0
    """
    from sololakehouse.lake import Lakehouse
    from sololakehouse.serving.example import curl_line
    from sololakehouse.serving.limits import Access, Limits
    from sololakehouse.serving.server import serve as serve_model

    def ready(bound: int, served: ServedModel) -> None:
        place = f"[{host}]" if ":" in host else host
        url = f"http://{place}:{bound}"
        if json_wanted:
            print_json({"url": url, "model": served.name, "version": served.version.version})
            return
        print_line(f"{served.version} answers at {url}  (docs: {url}/docs, Ctrl-C stops it)")
        click.echo(f"  {curl_line(url, served.example())}")

    serve_model(
        Lakehouse.open(),
        model,
        access=Access.of(host),
        port=port,
        limits=Limits(max_rows, max_bytes, timeout),
        refresh_seconds=refresh,
        log_seconds=flush,
        on_ready=ready,
    )
