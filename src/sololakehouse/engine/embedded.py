"""The embedded engine: Sail, a Spark Connect server inside this process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from sololakehouse.engine.client import import_client
from sololakehouse.engine.questions import Questions, keep_queries
from sololakehouse.engine.session import Engine, temporary_folder

_SETTINGS = {
    "RUST_LOG": "off",
    # A thread of the engine that needs a few kilobytes would be given two megabytes of zeros.
    "MIMALLOC_ALLOW_THP": "0",
}
_SECONDS_TO_CLOSE = 5


@cache
def _embedded_server() -> Any:
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start(background=True)
    return server


class EmbeddedEngine(Engine):
    """A session on the embedded engine."""

    is_embedded = True

    def interrupt(self) -> None:
        """End the queries that other threads wait for; they fail, and no new one can begin."""
        super().interrupt()
        _close(self.session)


@contextmanager
def embedded_engine() -> Iterator[Engine]:
    """Open a session on the embedded engine and close it afterwards."""
    server = _embedded_server()
    import_client()
    import pysail
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    host, port = server.listening_address
    channel = DefaultChannelBuilder(f"sc://{host}:{port}")
    channel.add_interceptor(questions := Questions())
    session: Any = SparkSession.builder.channelBuilder(channel).create()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    session.client.set_retry_policies([])
    # A call within the process is not cut off: to hold its answer for that doubles its time.
    session.client.disable_reattachable_execute()
    keep_queries(session.client)
    _keep_ctrl_c()
    with temporary_folder() as scratch:
        engine = EmbeddedEngine(
            session, f"Sail {pysail.__version__} (embedded)", scratch, questions
        )
        try:
            yield engine
        except KeyboardInterrupt:
            _close(session)
            raise
        finally:
            session.stop()


def _close(session: Any) -> None:
    """Close a session at once, so that nothing is asked any more, not even to release it.

    gRPC crashes the process if a closed channel with interceptors is asked; the client refuses to,
    but only if it knows that it is closed. Stopping the session later makes PySpark forget it.
    Where Ctrl-C met gRPC as it began a call, the channel waits for that call without an end: then
    it is left as it is.
    """
    closing = threading.Thread(target=session.client.close, daemon=True)
    closing.start()
    closing.join(_SECONDS_TO_CLOSE)
    session.client._closed = True
    if closing.is_alive():
        session.client.close = lambda: None


def _keep_ctrl_c() -> None:
    """Let Ctrl-C reach Python alone.

    The embedded server catches the signal as well: it would refuse to cancel the queries that are
    at work, and would go on with them, also with writing their files.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
