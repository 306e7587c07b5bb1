"""`slh serve` beside `mlflow models serve`, with the same model, in one run.

`python benchmarks/serving.py --project FOLDER [--seconds 10] [--rounds 3]`: a project where
`slh demo` has run. Reported are the seconds until a server answers, latencies of one row by keys
(alone, and at 200 requests a second, from the moment when a request was due), throughput of
`/invocations` with four clients, and the memory of the processes. The two servers' answers are
compared. Clients are threads of this process, so that they share the cores with the server. The
servers take turns, round after round; the figures are medians. How much of the latencies is the
clients' own is said by the same requests to an endpoint that does nothing.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import psutil
from measuring import MEGABYTE

from sololakehouse.lake import Lakehouse
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import ModelVersion, resolve

BIN = Path(sys.executable).parent
MODEL = "flight_delay@production"
CLIENTS, RATE, ALONE = 4, 200, 2000
JSON = {"Content-Type": "application/json"}
EMPTY = """\
import gc, sys
import uvicorn
from fastapi import FastAPI, Request
from starlette.responses import Response
from sololakehouse.serving.server import _listen
app = FastAPI()
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/json")
app.add_api_route("/predict", echo, methods=["POST"])
app.add_api_route("/ping", echo, methods=["GET"])
gc.freeze()
config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False)
uvicorn.Server(config).run(sockets=[_listen("127.0.0.1", int(sys.argv[1]))])
"""
KEYS = ("origin", "tailnum", "dest", "carrier")
INPUTS = ("month", "day_of_week", "scheduled_hour", "distance", "scheduled_minutes")


@dataclass(frozen=True)
class Figures:
    """What was measured of one server; throughput by the rows of a request."""

    ready_seconds: float
    megabytes: float
    per_second: dict[int, float]
    answers: list[bytes]
    alone: Sequence[float] = ()
    at_rate: Sequence[float] = ()


class Connection:
    """A connection that is kept, as clients do."""

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._http.connect()
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: bytes) -> bytes:
        """Return the answer; anything but success ends the benchmark."""
        self._http.request("POST", path, body, JSON)
        answer = self._http.getresponse()
        content = answer.read()
        if answer.status != 200:
            sys.exit(f"{path} answered {answer.status}: {content[:300]!r}")
        return content


@contextmanager
def server(
    command: Sequence[str], folder: Path, port: int
) -> Iterator[tuple[psutil.Process, float]]:
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }
    began = time.perf_counter()
    quiet = subprocess.DEVNULL
    with psutil.Popen(command, cwd=folder, stdout=quiet, stderr=quiet, env=environment) as process:
        while not answers(port):
            if process.poll() is not None or time.perf_counter() - began > 120:
                sys.exit(f"{' '.join(command)} does not answer")
            time.sleep(0.02)
        try:
            yield process, time.perf_counter() - began
        finally:
            for one in (*process.children(recursive=True), process):
                one.terminate()


def answers(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False


def memory(process: psutil.Process) -> float:
    processes = (process, *process.children(recursive=True))
    return sum(one.memory_full_info().pss for one in processes) / MEGABYTE


def throughput(port: int, body: bytes, seconds: float) -> float:
    """Return answers in a second to clients that ask again as soon as they are answered."""
    until = time.perf_counter() + seconds
    counts: list[int] = []

    def ask() -> None:
        connection, count = Connection(port), 0
        while time.perf_counter() < until:
            connection.post("/invocations", body)
            count += 1
        counts.append(count)

    in_threads([ask] * CLIENTS)
    return sum(counts) / seconds


def at_rate(port: int, bodies: Sequence[bytes], seconds: float) -> list[float]:
    """Return seconds from when each request was due to its answer."""
    waits: list[float] = []
    begin = time.perf_counter() + 0.1

    def ask(client: int) -> Callable[[], None]:
        def work() -> None:
            connection = Connection(port)
            for number in range(client, int(RATE * seconds), CLIENTS):
                due = begin + number / RATE
                time.sleep(max(0.0, due - time.perf_counter()))
                connection.post("/predict", bodies[number % len(bodies)])
                waits.append(time.perf_counter() - due)

        return work

    in_threads([ask(client) for client in range(CLIENTS)])
    return waits


def alone(port: int, bodies: Sequence[bytes]) -> list[float]:
    connection, waits = Connection(port), []
    for number in range(ALONE):
        began = time.perf_counter()
        connection.post("/predict", bodies[number % len(bodies)])
        waits.append(time.perf_counter() - began)
    return waits[ALONE // 10 :]


def in_threads(works: Sequence[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def ours(folder: Path, inputs: dict[int, bytes], keys: Sequence[bytes], seconds: float) -> Figures:
    port = free_port()
    command = [str(BIN / "slh"), "serve", MODEL, "--port", str(port)]
    with server(command, folder, port) as (process, ready):
        first = [Connection(port).post("/invocations", body) for body in inputs.values()]
        print(f"slh serve answers after {ready:.1f} s", flush=True)
        single = alone(port, keys)
        steady = at_rate(port, keys, seconds)
        rates = {rows: throughput(port, body, seconds) for rows, body in inputs.items()}
        return Figures(ready, memory(process), rates, first, single, steady)


def theirs(
    folder: Path, version: ModelVersion, inputs: dict[int, bytes], seconds: float
) -> Figures:
    port = free_port()
    uri = f"models:/{version.name}/{version.version}"
    options = ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    command = [str(BIN / "mlflow"), "models", "serve", "-m", uri, *options]
    with server(command, folder, port) as (process, ready):
        print(f"mlflow models serve answers after {ready:.1f} s", flush=True)
        first = [Connection(port).post("/invocations", body) for body in inputs.values()]
        rates = {rows: throughput(port, body, seconds) for rows, body in inputs.items()}
        return Figures(ready, memory(process), rates, first)


def nothing(folder: Path, keys: Sequence[bytes], seconds: float) -> Sequence[float]:
    """Return the latencies at the rate of an endpoint that gives back what it gets."""
    port = free_port()
    with server([sys.executable, "-c", EMPTY, str(port)], folder, port):
        return at_rate(port, keys, seconds)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def split_body(rows: pl.DataFrame, version: ModelVersion) -> bytes:
    inputs = model_input(rows, version.feature_columns)
    return json.dumps({"dataframe_split": json.loads(inputs.to_json(orient="split"))}).encode()


def key_bodies(lake: Lakehouse) -> list[bytes]:
    rows = lake.read("gold.flight_labels").scan().select(*KEYS, *INPUTS).tail(500).collect()
    return [json.dumps({"rows": [row]}).encode() for row in rows.to_dicts()]


def middle(values: Sequence[float], share: float = 0.5) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def report(
    mine: Sequence[Figures], other: Sequence[Figures], empty: Sequence[Sequence[float]]
) -> None:
    def both(name: str, of: Callable[[Figures], float], unit: str) -> tuple[float, float]:
        a, b = (statistics.median(map(of, figures)) for figures in (mine, other))
        print(f"{name:44} {a:10.2f} {b:10.2f} {a / b:8.2f}  {unit}")
        return a, b

    print(f"{'':44} {'slh serve':>10} {'mlflow':>10} {'ratio':>8}")
    ready, _ = both("ready after", lambda one: one.ready_seconds, "s")
    both("memory", lambda one: one.megabytes, "MB")
    ratios = []
    for rows in mine[0].per_second:
        a, b = both(
            f"/invocations, {rows} rows", lambda one, n=rows: one.per_second[n], "per second"
        )
        ratios.append(a / b)
    print("By keys, ms (medians of rounds)         p50        p99")
    shown: dict[str, tuple[float, float]] = {}
    for name in ("alone", "at_rate"):
        p50, p99 = (
            1000 * statistics.median(middle(getattr(one, name), share) for one in mine)
            for share in (0.5, 0.99)
        )
        shown[name] = p50, p99
        print(f"  {name:30} {p50:10.2f} {p99:10.2f}")
    p50, p99 = (
        1000 * statistics.median(middle(waits, share) for waits in empty) for share in (0.5, 0.99)
    )
    print(f"  {'at_rate, of an empty endpoint':30} {p50:10.2f} {p99:10.2f}")
    same = all(
        json.loads(a) == json.loads(b)
        for x, y in zip(mine, other, strict=True)
        for a, b in zip(x.answers, y.answers, strict=True)
    )
    limits = {
        "the answers are the same": same,
        "p50 of one row by keys < 5 ms": shown["alone"][0] < 5,
        f"p99 at {RATE} requests/s < 25 ms": shown["at_rate"][1] < 25,
        "throughput of /invocations at least 3 times": min(ratios) >= 3,
        "ready in < 10 s": ready < 10,
    }
    for name, holds in limits.items():
        print(f"{'holds ' if holds else 'MISSED'}  {name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--project", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    folder = wanted.project.resolve()
    lake = Lakehouse.open(folder)
    version = resolve(lake, MODEL)
    table = lake.read(version.training_set, version.training_set_version)
    rows = table.scan().select(version.feature_columns).head(100).collect()
    inputs = {count: split_body(rows.head(count), version) for count in (1, 100)}
    keys = key_bodies(lake)
    mine, other, empty = [], [], []
    for _ in range(wanted.rounds):
        empty.append(nothing(folder, keys, wanted.seconds))
        mine.append(ours(folder, inputs, keys, wanted.seconds))
        other.append(theirs(folder, version, inputs, wanted.seconds))
    report(mine, other, empty)


if __name__ == "__main__":
    main()
