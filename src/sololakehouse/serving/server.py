"""A server process: from a model's reference to a socket that answers."""

from __future__ import annotations

import gc
import logging
import socket
import sys
from collections.abc import Callable

from sololakehouse.errors import UsageError
from sololakehouse.lake import Lakehouse
from sololakehouse.models.registry import resolve
from sololakehouse.serving.inference_log import InferenceLog
from sololakehouse.serving.limits import Access, Limits
from sololakehouse.serving.served_model import ServedModel
from sololakehouse.serving.state import ServingState
from sololakehouse.serving.watcher import Watcher

LOCALHOST = "127.0.0.1"
_QUEUE = 2048
_SECONDS_TO_END = 30
_SECONDS_OF_A_THREAD = 0.0005
_YOUNG_OBJECTS = 10_000


def serve(
    lake: Lakehouse,
    reference: str,
    *,
    access: Access,
    port: int,
    limits: Limits,
    refresh_seconds: float,
    log_seconds: float,
    on_ready: Callable[[int, ServedModel], None],
) -> None:
    """Serve a model until the process is told to stop; requests that have begun are answered.

    Parameters
    ----------
    reference
        See `resolve`. With a stage, the version in it is served, whichever that becomes.
    port
        TCP port; 0: any that is free.
    refresh_seconds
        How often feature tables and stages are looked at.
    log_seconds
        A crash loses at most the rows of the inference table of so many seconds.
    on_ready
        Called with the port when the server listens.

    Raises
    ------
    NotFoundError
        The model does not exist, or nothing is in its stage.
    UsageError
        The port is taken.
    RunError
        The model cannot be loaded, or takes fields that a request cannot hold.
    """
    import uvicorn

    from sololakehouse.serving.app import create_app

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    listening = _listen(access.host, port)
    with listening:
        served = ServedModel(lake, resolve(lake, reference))
        served.prepare(limits.rows)
        state = ServingState(lake, reference, served, limits, access)
        state.metrics.shows(served)
        log = InferenceLog(lake, served.name, log_seconds, state.metrics)
        app = create_app(state, log, Watcher(state, refresh_seconds))
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            backlog=_QUEUE,
            server_header=False,
            timeout_graceful_shutdown=_SECONDS_TO_END,
        )
        _spare_the_collector()
        # The threads in the background hand the interpreter back soon to who waits for an answer.
        sys.setswitchinterval(_SECONDS_OF_A_THREAD)
        on_ready(listening.getsockname()[1], served)
        uvicorn.Server(config).run(sockets=[listening])


def _spare_the_collector() -> None:
    """Let the garbage collector look at little at a time, as all requests wait for it.

    What is there now stays. A request leaves about twenty objects in cycles: found early, they cost
    3 ms for 500 requests; left to the collections of the oldest, 30 ms for 2,000.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _listen(host: str, port: int) -> socket.socket:
    """Open a socket.

    asyncio switches Nagle's algorithm off only where a socket says that it is one of TCP, as those
    of `socket.create_server` do not. With it, each answer waits 40 ms for the client's ACK.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(_QUEUE)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"Nothing can listen on {host} port {port}: {error.strerror or error}. Choose another "
            "with --port; 0 takes any that is free."
        ) from error
    return listening
