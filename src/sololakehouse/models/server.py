"""MLflow's own server and UI on top of the project's store, as a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import urlopen

from sololakehouse.config import Project
from sololakehouse.errors import RunError, UsageError
from sololakehouse.models.tracking import artifact_location, is_server, tracking_uri

HOST = "127.0.0.1"
_ALONE = ("--host", HOST, "--workers", "1")
_LOG = ".slh/mlflow_server.log"
_STARTS_WITHIN = 60
_ENDS_WITHIN = 10
_BETWEEN = 0.1


def serve(project: Project, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve MLflow's UI and API for this machine alone, until Ctrl-C or a signal to end.

    Parameters
    ----------
    on_ready
        Called with the address when the server answers.

    Raises
    ------
    UsageError
        The project's MLflow is a server already, or the port is taken.
    RunError
        The server ends by itself.
    """
    if is_server(project):
        raise UsageError(
            f"The project's MLflow is a server already: open {project.settings.mlflow.tracking_uri}"
            " in a browser."
        )
    _refuse_taken(port)
    log = project.folder / _LOG
    log.parent.mkdir(exist_ok=True)
    before = signal.signal(signal.SIGTERM, _as_interrupt)
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *_ALONE, "--port", str(port)],
            env=_environment(project),
            cwd=project.folder,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            _wait_until_it_answers(process, port)
            if process.poll() is None:
                on_ready(f"http://{HOST}:{port}")
            process.wait()
        except KeyboardInterrupt:
            return
        finally:
            signal.signal(signal.SIGTERM, before)
            _end(process)
    raise RunError(f"The MLflow server ended by itself. What it said is in {log}.")


def _environment(project: Project) -> dict[str, str]:
    """Return the server's settings as variables, so that a password is in no argument."""
    location = artifact_location(project) or ""
    return {
        **os.environ,
        "MLFLOW_BACKEND_STORE_URI": tracking_uri(project),
        "MLFLOW_ARTIFACTS_DESTINATION": location,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": location,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GIT_PYTHON_REFRESH": "quiet",
    }


def _refuse_taken(port: int) -> None:
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, port))
        except OSError as error:
            raise UsageError(
                f"Port {port} cannot be used: {error.strerror}. Name another one: --port "
                f"{port + 1}."
            ) from error


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + _STARTS_WITHIN
    while process.poll() is None and time.monotonic() < until:
        try:
            with urlopen(f"http://{HOST}:{port}/health", timeout=1):
                return
        except (URLError, OSError):
            time.sleep(_BETWEEN)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the server and its workers, which are one group of processes."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            continue


def _as_interrupt(*_: object) -> None:
    raise KeyboardInterrupt
