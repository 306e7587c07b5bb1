"""Projects of their own for tests that train in another way, and real servers."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.cli.conftest import slh, slh_process  # noqa: F401  (fixtures)
from tests.rain import ModelProject, make_project

# Ten workers of evaluations that nobody asks for start beside a server, and then poll.
WITHOUT_JOBS = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
_ENOUGH = 90


@pytest.fixture
def project(tmp_path) -> ModelProject:
    """Give a project that is not trained yet."""
    return make_project(tmp_path)


def free_port() -> int:
    with socket.socket() as tried:
        tried.bind(("127.0.0.1", 0))
        return int(tried.getsockname()[1])


@dataclass
class MlflowServer:
    """MLflow's own server as a process, which a test may stop and start again."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port)]
        command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{self.folder}/server.db"]
        command += ["--artifacts-destination", str(self.folder / "kept")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"} | WITHOUT_JOBS
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env=os.environ | quiet,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        _wait(lambda: urlopen(f"{self.uri}/health", timeout=1).close())

    def stop(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


@pytest.fixture(scope="package")
def mlflow_server(tmp_path_factory) -> Iterator[MlflowServer]:
    """Give a tracking server with a store and artifacts of its own."""
    server = MlflowServer(tmp_path_factory.mktemp("server"), free_port())
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Give the URI of an empty database of a PostgreSQL server, which runs for these tests."""
    pytest.importorskip("psycopg")
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = programs[-1].parent if programs else shutil.which("initdb")
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs PostgreSQL: apt-get install postgresql")
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    bin_folder = found if isinstance(found, Path) else Path(found).parent
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    shutil.chown(folder, user)
    as_user = {"user": user, "cwd": folder, "check": True, "stdout": subprocess.DEVNULL}
    data, port = folder / "data", free_port()
    given = ["--username", "slh", "--auth", "trust", "--no-sync"]
    subprocess.run([bin_folder / "initdb", "--pgdata", data, *given], **as_user)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder} -c fsync=off"
    control = [bin_folder / "pg_ctl", "--pgdata", data]
    log = ["--log", str(folder / "log")]
    subprocess.run([*control, "start", "--wait", "--options", options, *log], **as_user)
    yield f"postgresql://slh:secret@127.0.0.1:{port}/postgres"
    subprocess.run([*control, "stop", "--mode", "immediate"], **as_user)
    shutil.rmtree(folder)


def _wait(until: Callable[[], None]) -> None:
    end = time.monotonic() + _ENOUGH
    while True:
        try:
            return until()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
