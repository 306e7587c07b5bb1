"""Sail in a process of its own: a Spark Connect server that reads Delta tables itself."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS_TO_START = 60
PROGRAM = """
import sys, threading
from pathlib import Path
from pysail.spark import SparkConnectServer
server = SparkConnectServer()
server.start(background=True)
host, port = server.listening_address
place = Path(sys.argv[1])
place.with_suffix(".new").write_text(f"sc://{host}:{port}")
place.with_suffix(".new").rename(place)
threading.Event().wait()
"""


@contextmanager
def started(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Start a server, and stop it afterwards; gives its process and its address."""
    place = folder / "address"
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, place], cwd=folder)
    try:
        deadline = time.monotonic() + SECONDS_TO_START
        while not place.exists():
            assert process.poll() is None, "Sail did not start"
            assert time.monotonic() < deadline, "Sail did not start in time"
            time.sleep(0.05)
        yield process, place.read_text()
    finally:
        process.kill()
        process.wait()
