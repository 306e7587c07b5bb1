"""A real Apache Spark Connect server with two threads, for as long as a test needs it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PYTHON = ROOT / ".venv-spark" / "bin" / "python"
TABLES = Path(__file__).parent / "tables.py"
SECONDS_TO_START = 120


def missing() -> str | None:
    """Say what is not there to run Apache Spark; None if it is all there."""
    if shutil.which("java") is None:
        return "Apache Spark needs Java 17, and there is no 'java' on the PATH"
    if not PYTHON.exists():
        return "Apache Spark is not installed: 'make test' puts it into .venv-spark"
    return None


@dataclass(frozen=True)
class SparkServer:
    """A server at `sc://localhost:port`; its own client runs in an environment of its own."""

    port: int
    home: Path

    @property
    def address(self) -> str:
        return f"sc://localhost:{self.port}"

    def run(self, command: Sequence[str | Path], folder: Path, text: str | None = None) -> str:
        """Run a program of the server's environment; return what it says."""
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment(self.home),
            input=text,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def put(self, tables: Mapping[str, Sequence[str]], databases: Sequence[str]) -> None:
        """Make tables of Parquet files, in databases that hold nothing else."""
        self._tables("put", {"tables": tables, "databases": databases})

    def append(self, tables: Mapping[str, Sequence[str]]) -> None:
        """Append the rows of Parquet files to tables."""
        self._tables("append", {"tables": tables})

    def take(self, folders: Mapping[str, str]) -> None:
        """Write tables to folders of Parquet files."""
        self._tables("take", {"folders": folders})

    def run_pipeline(self, folder: Path) -> str:
        """Run a pipeline's folder with Spark's own `spark-pipelines`."""
        command = [self.home / "bin" / "spark-pipelines", "--remote", self.address, "run"]
        return self.run(command, folder)

    def _tables(self, verb: str, asked: Mapping[str, Any]) -> None:
        self.run([PYTHON, TABLES, verb, self.address], ROOT, json.dumps(asked))


def environment(home: Path, python: Path = PYTHON) -> dict[str, str]:
    """Return the environment of Spark's programs: its Python, and the sources under test."""
    return {
        **os.environ,
        "SPARK_HOME": str(home),
        "PYSPARK_PYTHON": str(python),
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "TZ": "UTC",
    }


@contextmanager
def started(folder: Path, memory: str = "3g", python: Path = PYTHON) -> Iterator[SparkServer]:
    """Start a server that keeps its tables in `folder`, and stop it afterwards.

    `memory` is the heap of its driver, as Java writes it; `python` is what its workers run.
    """
    found = subprocess.run(
        [PYTHON, "-c", "import pyspark; print(pyspark.__path__[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    server = SparkServer(_free_port(), Path(found.stdout.strip()))
    settings = {
        "spark.connect.grpc.binding.port": server.port,
        "spark.sql.warehouse.dir": folder / "warehouse",
        "spark.sql.catalogImplementation": "in-memory",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": 2,
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.ui.enabled": "false",
    }
    options = [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]
    command = [
        str(server.home / "bin" / "spark-submit"),
        *("--class", "org.apache.spark.sql.connect.service.SparkConnectServer"),
        *("--master", "local[2]", "--driver-memory", memory),
        *options,
        "spark-internal",
    ]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(server.home, python),
            stdout=output,
            stderr=output,
        )
    try:
        _wait(process, server.port, log)
        yield server
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with closing(socket.socket()) as listening:
        listening.bind(("localhost", 0))
        return int(listening.getsockname()[1])


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < deadline and process.poll() is None:
        with closing(socket.socket()) as trying:
            if trying.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.2)
    raise AssertionError(f"Apache Spark did not start:\n{log.read_text('utf-8')[-3000:]}")
