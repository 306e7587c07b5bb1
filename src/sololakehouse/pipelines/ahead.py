"""Work ahead in threads: what is made stays in order, and only a few items wait to be taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
R = TypeVar("R")
_END: Any = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """Give items while a thread makes the next one."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(next, items, _END)
        while (item := pending.result()) is not _END:
            pending = pool.submit(next, items, _END)
            yield item


def side_by_side(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Give `function(item)` of each item, in order, computed by threads ahead of who takes them.

    At most `workers + 1` items are held, computed or not.

    Raises
    ------
    BaseException
        What the function raised for an item, when it is that item's turn.

    Examples
    --------
    >>> list(side_by_side(abs, [-3, 2, -1], workers=2))
    [3, 2, 1]
    """
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for one in waiting:
                one.cancel()
