"""A server as a process of its own, and a client of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """A connection that is kept until `close`, or else one for each request."""

    def __init__(self, port: int, *, keep: bool = False) -> None:
        self._keep = keep
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        self._connection.request(method, path, body, headers or {})
        answer = self._connection.getresponse()
        reply = Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        if not self._keep:
            self._connection.close()
        return reply

    def get(self, path: str, **headers: str) -> Reply:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, content: Any, kind: str = "application/json") -> Reply:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return self.ask("POST", path, body, {"Content-Type": kind})

    def predict(self, *rows: dict[str, Any], **more: Any) -> Reply:
        return self.post("/predict", {"rows": rows, **more})

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Server:
    process: subprocess.Popen[str]
    port: int
    version: int
    log: Path

    def client(self, *, keep: bool = False) -> Client:
        return Client(self.port, keep=keep)

    def metric(self, name: str) -> float:
        text = self.client().get("/metrics").body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(folder: Path, model: str, *options: str, **variables: str):
    """Start `slh serve` on a free port; it is told to stop in the end."""
    command = [str(Path(sys.executable).parent / "slh"), "serve", model, "--port", "0", "--json"]
    log = folder / f"serve-{time.time_ns()}.log"
    environment = {**os.environ, **variables}
    with (
        log.open("w") as errors,
        subprocess.Popen(
            [*command, *options],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        ) as process,
    ):
        try:
            lines = ""
            while not lines.rstrip().endswith("}"):
                line = process.stdout.readline()
                assert line, f"The server did not start: {log.read_text()}"
                lines += line
            about = json.loads(lines)
            yield Server(process, int(about["url"].rsplit(":", 1)[1]), about["version"], log)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(30)


def eventually(holds, seconds: float = 15.0):
    """Wait until something holds, and return what it gave."""
    until = time.monotonic() + seconds
    while True:
        found = holds()
        if found or time.monotonic() > until:
            assert found, "It did not come to hold in time."
            return found
        time.sleep(0.05)


def as_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Return rows as JSON has them; moments in ISO 8601."""
    moments = pl.selectors.datetime().dt.convert_time_zone("UTC").dt.to_string("iso:strict")
    return frame.with_columns(moments).to_dicts()
