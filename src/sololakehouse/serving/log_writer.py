"""The process that writes the inference table, so that the one that answers never waits for it.

Within one process the two would take the interpreter from each other: a commit of a thousand rows
is 15 ms of work, and kept requests waiting for 100 ms.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.errors import RunError, SoloLakehouseError
from sololakehouse.lake import Lakehouse, LakeWriter
from sololakehouse.provenance import Change, Run
from sololakehouse.serving.served_rows import as_written

if TYPE_CHECKING:
    import polars as pl

_LOOKED_AT = 20
_NICENESS = 10
_SECONDS_TO_END = 30


@dataclass(frozen=True)
class Append:
    """Rows to append to a table: Arrow files in memory, each of one form."""

    table: str
    rows: tuple[bytes, ...]
    change: Change
    run: Run


class LogWriter:
    """A process that appends to tables of a lakehouse, for as long as this one lives.

    It is started when it is first needed, and again if it died. It ignores Ctrl-C and SIGTERM: it
    ends when `close` is called or the process that started it is gone.
    """

    def __init__(self, lake: Lakehouse) -> None:
        self._lake = lake
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def start(self) -> None:
        """Start the process, unless it runs."""
        if self._connection is not None:
            return
        mine, its = Pipe()
        command = [sys.executable, "-m", __name__, str(self._lake.project.folder)]
        self._process = subprocess.Popen(
            [*command, str(its.fileno())],
            pass_fds=[its.fileno()],
            env={**os.environ, "POLARS_MAX_THREADS": "1"},
        )
        its.close()
        self._connection = mine

    def append(self, table: str, frames: Sequence[pl.DataFrame], change: Change, run: Run) -> None:
        """Append the rows of `Packed` answers in one commit.

        Raises
        ------
        RunError
            The table cannot be written, or the process died before it had written it.
        """
        self.start()
        try:
            said = self._asked(Append(table, tuple(_as_bytes(frames)), change, run))
        except (EOFError, OSError):
            self.close()
            said = None if self._is_committed(table, change) else "the process that writes died"
        if said is not None:
            raise RunError(said)

    def close(self) -> None:
        """Let the process end when it has written what it was given."""
        if self._connection is None or self._process is None:
            return
        self._connection.close()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._connection = self._process = None

    def _asked(self, what: Append) -> str | None:
        assert self._connection is not None
        self._connection.send(what)
        said: str | None = self._connection.recv()
        return said

    def _is_committed(self, table: str, change: Change) -> bool:
        if not self._lake.exists(table):
            return False
        commits = self._lake.history(table, limit=_LOOKED_AT)
        return any(one.record and one.record.fingerprint == change.fingerprint for one in commits)


def _as_bytes(frames: Sequence[pl.DataFrame]) -> Iterator[bytes]:
    import polars as pl

    for _, some in groupby(frames, lambda frame: frame.schema):
        rows = BytesIO()
        pl.concat(some).write_ipc(rows)
        yield rows.getvalue()


def write_all(lake: Lakehouse, connection: Connection) -> None:
    """Append what comes, and answer each time: None, or why it is not written."""
    while True:
        try:
            connection.send(_appended(lake, connection.recv()))
        except (EOFError, OSError):
            return


def _appended(lake: Lakehouse, what: Append) -> str | None:
    import polars as pl

    try:
        frame = pl.concat([as_written(pl.read_ipc(rows)) for rows in what.rows])
        LakeWriter(lake, what.run).write_frame(what.table, frame, what.change, mode="append")
    except SoloLakehouseError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  (serving goes on, whatever the disk does)
        return f"{type(error).__name__}: {error}"
    return None


def main() -> None:
    """Write what the process says that started this one."""
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_IGN)
    os.nice(_NICENESS)
    folder, descriptor = sys.argv[1:]
    with Connection(int(descriptor)) as connection:
        write_all(Lakehouse.open(Path(folder)), connection)


if __name__ == "__main__":
    main()
