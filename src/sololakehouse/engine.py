"""Spark sessions on the embedded engine: Sail, a Spark Connect server inside this process."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

# The embedded engine keeps this name for a catalog of its own.
SYSTEM_PREFIX = "system."
_PINS = "__pinned"


@cache
def _embedded_server() -> Any:
    os.environ.setdefault("RUST_LOG", "off")
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer()
    server.start(background=True)
    return server


class Engine:
    """A Spark session whose catalog holds exactly the tables that were given to it.

    The session's time zone is UTC. The session is the active one, so that a pipeline source may
    begin with `spark = SparkSession.active()`.
    """

    def __init__(self, session: SparkSession) -> None:
        self.session = session
        self._databases: set[str] = set()
        self._registered: set[str] = set()

    @classmethod
    @contextmanager
    def start(cls) -> Iterator[Engine]:
        """Open a session on the embedded engine and close it afterwards."""
        server = _embedded_server()
        from pyspark.sql import SparkSession

        host, port = server.listening_address
        session: Any = SparkSession.builder.remote(f"sc://{host}:{port}").create()
        session.conf.set("spark.sql.session.timeZone", "UTC")
        session.client.set_retry_policies([])
        _keep_ctrl_c()
        interrupted = False
        try:
            yield cls(session)
        except KeyboardInterrupt:
            interrupted = True
            session.client.close()
            raise
        finally:
            if not interrupted:
                session.stop()

    def activate(self) -> None:
        """Make the session the active one in a thread of its own."""
        self.session._set_default_and_active_session(self.session)

    def interrupt(self) -> None:
        """End the queries that other threads wait for; they fail, and no new one can begin."""
        with suppress(Exception):
            self.session.interruptAll()
        self.session.client._channel.close()

    def register(
        self, table: str, path: Path, storage: Literal["delta", "parquet"] = "delta"
    ) -> None:
        """Make a Delta table known under its name, with all of its versions.

        With `parquet`, the path is a folder of Parquet files without versions.
        """
        if table not in self._registered:
            self._create_database(table.split(".")[0])
            self.session.sql(
                f"CREATE TABLE {quoted(table)} USING {storage} LOCATION '{_text(path)}'"
            )
            self._registered.add(table)

    def pin(self, table: str, path: Path, version: int) -> None:
        """Make one version of a Delta table the only thing that the table's name means."""
        alias = f"{_PINS}.{table.replace('.', '__')}"
        self.register(alias, path)
        self._create_database(table.split(".")[0])
        self.session.sql(
            f"CREATE OR REPLACE VIEW {quoted(table)} AS "
            f"SELECT * FROM {quoted(alias)} VERSION AS OF {version}"
        )

    def use(self, database: str) -> None:
        """Make `database` the one that names without a schema belong to."""
        self._create_database(database)
        self.session.catalog.setCurrentDatabase(database)

    def stand_in(self, table: str, schema: StructType) -> None:
        """Give a table's name a schema and no rows, to resolve queries before the table exists."""
        self._create_database(table.split(".")[0])
        columns = ", ".join(
            f"CAST(NULL AS {field.dataType.simpleString()}) AS `{field.name}`"
            for field in schema.fields
        )
        self.session.sql(
            f"CREATE OR REPLACE VIEW {quoted(table)} AS SELECT * FROM (SELECT {columns}) "
            "WHERE 1 = 0"
        )

    def view(self, name: str, frame: DataFrame) -> None:
        """Make a DataFrame known under a one-part name."""
        frame.createOrReplaceTempView(name)

    def stream(self, name: str, table: str, files: Iterable[Path]) -> None:
        """Let a one-part name mean the rows of some of a table's files, with its columns."""
        schema = self.session.table(quoted(table)).schema
        paths = [str(file) for file in files]
        rows: Any = self.session.createDataFrame([], schema)
        if paths:
            rows = self.session.read.schema(schema).parquet(*paths)
        self.view(name, rows)

    def write_parquet(
        self, frame: DataFrame, folder: Path, partition_by: Sequence[str] = ()
    ) -> None:
        """Compute a DataFrame into Parquet files in an existing, empty folder.

        A DataFrame without rows becomes one file without rows, so that its schema is kept. With
        `partition_by`, the files are in a folder for each value of these columns, and lack them.
        """
        frame.write.mode("append").partitionBy(*partition_by).parquet(str(folder))
        if not partition_by and not any(folder.glob("*.parquet")):
            import pyarrow.parquet as pq

            pq.write_table(frame.limit(0).toArrow(), folder / "part-0.parquet")

    def _create_database(self, database: str) -> None:
        if database not in self._databases:
            self.session.sql(f"CREATE DATABASE IF NOT EXISTS `{database}`")
            self._databases.add(database)


def _keep_ctrl_c() -> None:
    """Let Ctrl-C reach Python alone.

    The embedded server catches the signal as well: it would refuse to cancel the queries that are
    at work, and would go on with them, also with writing their files.
    """
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))


def quoted(table: str) -> str:
    """Quote each part of a table's name for SQL.

    Examples
    --------
    >>> quoted("silver.flights")
    '`silver`.`flights`'
    """
    return ".".join(f"`{part}`" for part in table.split("."))


def _text(path: Path) -> str:
    return str(path).replace("'", "\\'")
