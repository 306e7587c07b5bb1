"""Replaying several cutoffs side by side, each in a scratch lakehouse of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Barrier, BrokenBarrierError, Lock
from typing import TypeVar

from sololakehouse.pipelines.schedule import STEP_BYTES, free_memory, usable_cores
from sololakehouse.replay.scratch import Scratch

T = TypeVar("T")
Work = Callable[[Scratch], T]
_MOST = 8
_LISTENING_SECONDS = 0.1


@dataclass(frozen=True)
class Lanes:
    """How many cutoffs are replayed at once, and how many steps of each run side by side."""

    count: int
    steps: int

    @classmethod
    def of(cls, asked: int | None, jobs: int) -> Lanes:
        """Take the person's number, or one lane per core while each has 2 GB of free memory."""
        cores = usable_cores()
        free = free_memory()
        most = _MOST if free is None else max(1, free // STEP_BYTES)
        count = max(1, min(jobs, asked or min(cores, most, _MOST)))
        return cls(count, max(1, cores // count))


def side_by_side(
    works: Sequence[Work[T]], opened: Callable[[], AbstractContextManager[Scratch]], lanes: int
) -> Iterator[tuple[int, T]]:
    """Do each work in a scratch lakehouse that is free; give number and result as they end.

    The works begin in their order. If one fails, or the person stops it all, queries that are at
    work are ended, and no other work begins.

    Parameters
    ----------
    opened
        Opens a scratch lakehouse. Each is opened in a thread of its own, one after the other, and
        before any work begins: PySpark knows one active session per thread, and sources ask for it
        when they are loaded, while no thread may write.
    """
    waiting = deque(enumerate(works))
    results: SimpleQueue[tuple[int, T]] = SimpleQueue()
    scratches: list[Scratch] = []
    opening, all_open = Lock(), Barrier(lanes)

    def lane() -> None:
        with ExitStack() as stack:
            try:
                with opening:
                    scratch = stack.enter_context(opened())
            except BaseException:
                all_open.abort()
                raise
            scratches.append(scratch)
            all_open.wait()
            while (begun := _popped(waiting)) is not None:
                number, work = begun
                results.put((number, work(scratch)))

    with ThreadPoolExecutor(lanes, "replay") as pool:
        running = [pool.submit(lane) for _ in range(lanes)]
        try:
            for _ in works:
                yield _next(results, running)
        except BaseException:
            waiting.clear()
            for scratch in scratches:
                scratch.engine.interrupt()
            raise


def _popped(waiting: deque[tuple[int, Work[T]]]) -> tuple[int, Work[T]] | None:
    try:
        return waiting.popleft()
    except IndexError:
        return None


def _next(results: SimpleQueue[tuple[int, T]], running: Sequence[Future[None]]) -> tuple[int, T]:
    while True:
        try:
            return results.get(timeout=_LISTENING_SECONDS)
        except Empty:
            for lane in running:
                if lane.done():
                    with suppress(BrokenBarrierError):
                        lane.result()
