"""A steady load for a while: every request is answered, and memory stays flat.

`make test-soak` takes five minutes; here it is ten seconds.
"""

from __future__ import annotations

import threading
import time

import psutil

from tests.serving.process import serving
from tests.serving.test_requests import ROW

RATE, CLIENTS = 100, 4
MEGABYTE = 1_000_000


def test_memory_is_flat_under_a_steady_load(copied, request):
    seconds = request.config.getoption("--soak-seconds")
    with serving(copied().folder, "rain@staging", "--flush", "2") as running:
        process = psutil.Process(running.process.pid)
        _load(running, 1)
        sizes = []
        failed = _load(running, seconds, lambda: sizes.append(_memory(process)))
        third = len(sizes) // 3
        early, late = max(sizes[:third]), max(sizes[-third:])
        said = f"{seconds} s at {RATE}/s: {early / MEGABYTE:.0f} MB, then {late / MEGABYTE:.0f} MB"
        assert failed == []
        assert late - early < max(8 * MEGABYTE, early // 20), said
        assert running.metric("slh_serve_inference_rows_lost_total") == 0


def _memory(process: psutil.Process) -> int:
    """Return the bytes of the process that answers and of the one that writes."""
    return sum(one.memory_info().rss for one in (process, *process.children()))


def _load(running, seconds: float, each=lambda: None) -> list[int]:
    """Ask `RATE` times a second, and return the statuses that were not 200."""
    failed: list[int] = []
    until = time.monotonic() + seconds

    def ask(first: float) -> None:
        client, at = running.client(keep=True), first
        while at < until:
            time.sleep(max(0, at - time.monotonic()))
            status = client.predict(ROW).status
            if status != 200:
                failed.append(status)
            at += CLIENTS / RATE
        client.close()

    now = time.monotonic()
    threads = [threading.Thread(target=ask, args=(now + n / RATE,)) for n in range(CLIENTS)]
    for one in threads:
        one.start()
    while any(one.is_alive() for one in threads):
        each()
        time.sleep(min(1.0, seconds / 30))
    return failed
