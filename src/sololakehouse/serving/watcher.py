"""Looks for new versions of feature tables and of the model, and takes them over."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from sololakehouse.models.registry import RUNS, TRANSITIONS, resolve
from sololakehouse.serving.served_model import ServedModel

if TYPE_CHECKING:
    from sololakehouse.serving.state import ServingState

_LOG = logging.getLogger(__name__)


class Watcher:
    """Polls the Delta logs in a thread.

    What is new is loaded beside what answers, and takes its place at once, when it is whole.
    Requests keep what they began with. If loading fails, what is there goes on.
    """

    def __init__(self, state: ServingState, seconds: float) -> None:
        self._state = state
        self._seconds = seconds
        self._stop = threading.Event()
        self._stages = self._stage_versions()
        self._said: dict[str, str] = {}
        self._thread = threading.Thread(target=self._work, name="watcher", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def close(self) -> None:
        """Stop, when a load that has begun is done."""
        self._stop.set()
        self._thread.join()

    @property
    def is_alive(self) -> bool:
        """Whether anybody looks."""
        return self._thread.is_alive()

    def look(self) -> None:
        """Take over what is new; a failure is logged, once for the same message in a row."""
        self._attempt("model", self._take_over)
        self._attempt("features", self._refresh)

    def _attempt(self, what: str, take: Callable[[], bool]) -> None:
        state = self._state
        try:
            taken = take()
        except Exception as error:  # noqa: BLE001  (serving goes on with what is there)
            state.metrics.refreshes.labels("failed").inc()
            if str(error) != self._said.get(what):
                _LOG.error("Serving goes on with what is in memory: %s", error)
            self._said[what] = str(error)
            return
        self._said.pop(what, None)
        state.metrics.refreshes.labels("taken" if taken else "nothing new").inc()
        if taken:
            state.metrics.shows(state.served)

    def _refresh(self) -> bool:
        return bool(self._state.served.refresh(self._state.lake))

    def _work(self) -> None:
        while not self._stop.wait(self._seconds):
            self.look()

    def _take_over(self) -> bool:
        stages = self._stage_versions()
        if stages == self._stages:
            return False
        version = resolve(self._state.lake, self._state.reference)
        changed = not version.is_as(self._state.served.version)
        if changed:
            served = ServedModel(self._state.lake, version)
            served.prepare(self._state.limits.rows)
            _LOG.warning("%s takes over.", version)
            self._state.served = served
        self._stages = stages
        return changed

    def _stage_versions(self) -> list[tuple[str, int] | None]:
        newest = (self._state.lake.newest(name) for name in (RUNS, TRANSITIONS))
        return [(one.table_id, one.version) if one else None for one in newest]
