"""The embedded engine: Sail, a Spark Connect server inside this process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from sololakehouse.engine.session import Engine, temporary_folder


@cache
def _embedded_server() -> Any:
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start(background=True)
    return server


@contextmanager
def embedded_engine() -> Iterator[Engine]:
    """Open a session on the embedded engine and close it afterwards."""
    server = _embedded_server()
    import pysail
    from pyspark.sql import SparkSession

    host, port = server.listening_address
    session: Any = SparkSession.builder.remote(f"sc://{host}:{port}").create()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    # Ctrl-C ends the embedded server at once. With its usual patience the client would then ask
    # it for ten minutes to interrupt the query, to release the session and to clean up.
    session.client.set_retry_policies([])
    session.client.interrupt_operation = _granted
    interrupted = False
    try:
        with temporary_folder() as scratch:
            yield Engine(session, f"Sail {pysail.__version__} (embedded)", scratch)
    except KeyboardInterrupt:
        interrupted = True
        session.client.close()
        raise
    finally:
        if not interrupted:
            session.stop()


def _granted(operation: str) -> list[str]:
    return [operation]
