"""A Spark session whose catalog holds the tables of one lakehouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from typing import TYPE_CHECKING, Any, ClassVar, Protocol
from weakref import WeakValueDictionary

from sololakehouse.config.engine import EMBEDDED
from sololakehouse.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.types import StructType

    from sololakehouse.engine.questions import Questions

# The embedded engine keeps this name for a catalog of its own.
SYSTEM_PREFIX = "system."
_PINS = "__pinned"
# What a server may have been told otherwise, and the embedded engine does by itself.
SETTINGS: dict[str, str | int | bool] = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.caseSensitive": "false",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
    "spark.sql.parquet.datetimeRebaseModeInWrite": "CORRECTED",
    "spark.sql.parquet.compression.codec": "zstd",
}


class TableSnapshot(Protocol):
    """A Delta table at one of its versions, as an engine needs to know it."""

    name: str
    path: Path
    version: int

    @property
    def schema_json(self) -> str:
        """The columns as Delta and Spark write them in JSON."""

    @property
    def partition_columns(self) -> tuple[str, ...]:
        """The columns whose values are in the names of folders."""

    def plain_files(self) -> list[Path]:
        """Return the data files, which a reader without Delta can read.

        Raises
        ------
        RunError
            The files do not say all.
        """


class Reader(Protocol):
    """How an engine reads one version of a Delta table."""

    def source(self, snapshot: TableSnapshot, table: str) -> str:
        """Return what stands behind FROM; `table` may be created as a hidden name for it."""


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder that this process alone needs to see."""
    with TemporaryDirectory() as folder:
        yield Path(folder)


class Engine:
    """A Spark session whose catalog holds exactly the tables that were given to it.

    The session's time zone is UTC. Until it is closed the session is the active one, whichever was
    before, so that a pipeline source may begin with `spark = SparkSession.active()`.

    Attributes
    ----------
    name
        Which engine computes, with its version.
    scratch
        A folder for as long as the session lives; the engine can read it.
    is_embedded
        Whether it computes in this process.
    parquet_options
        How `write_parquet` encodes its files, as options of Spark's writer; none: the engine's own.
    """

    is_embedded = False
    _opened: ClassVar[WeakValueDictionary[str, Engine]] = WeakValueDictionary()

    def __init__(
        self,
        session: SparkSession,
        name: str,
        scratch: Path,
        questions: Questions,
        reader: Callable[[SparkSession], Reader] | None = None,
        space: str = "",
    ) -> None:
        self.session = session
        self.name = name
        self.scratch = scratch
        self.parquet_options: Mapping[str, str] = {}
        self._questions = questions
        self._reader = reader(session) if reader else DeltaReader(session)
        self._space = space
        self._databases: set[str] = set()
        self._pinned: dict[str, tuple[str, int]] = {}
        self._pinning = RLock()
        self._opened[session.session_id] = self

    @classmethod
    def of(cls, session: Any) -> Engine | None:
        """Return the engine that a session belongs to; None if a person opened it otherwise."""
        return cls._opened.get(session.session_id)

    @classmethod
    @contextmanager
    def start(
        cls,
        engine: str = EMBEDDED,
        staging: Callable[[], AbstractContextManager[Path]] = temporary_folder,
    ) -> Iterator[Engine]:
        """Open a session and close it afterwards.

        Parameters
        ----------
        engine
            `embedded`, or the address of a Spark Connect server, `sc://host:port`.
        staging
            Gives a folder that a server can see as well, until it is left.

        Raises
        ------
        EngineError
            The server does not answer, or does not share this machine's files.
        """
        if engine == EMBEDDED:
            from sololakehouse.engine.embedded import embedded_engine

            with embedded_engine() as opened, opened.active():
                yield opened
        else:
            from sololakehouse.engine.server import connected_engine

            with staging() as folder, connected_engine(engine, folder) as opened, opened.active():
                yield opened

    def activate(self) -> None:
        """Make the session the active one in a thread of its own."""
        from pyspark.sql.connect.session import SparkSession

        SparkSession._active_session.session = self.session

    @contextmanager
    def active(self) -> Iterator[None]:
        """Make the session the active one meanwhile; then the one before is it again.

        PySpark would leave a session active that a person has opened before.
        """
        from pyspark.sql.connect.session import SparkSession

        before = SparkSession.getActiveSession()
        self.activate()
        try:
            yield
        finally:
            if SparkSession.getActiveSession() is self.session:
                is_open = before is not None and not before.is_stopped
                SparkSession._active_session.session = before if is_open else None

    def interrupt(self) -> None:
        """End the queries that other threads wait for; they fail."""
        with suppress(Exception):
            self.session.interruptAll()

    def before_asked(self, prepare: Callable[[], None]) -> AbstractContextManager[None]:
        """Call `prepare` before the first question to the engine meanwhile, if one is asked."""
        return self._questions.preceded_by(prepare)

    def register(self, table: str, folder: Path) -> None:
        """Make a folder of Parquet files known under a table's name."""
        name = self._created(table)
        location = literal(folder)
        self._execute(
            f"CREATE TABLE IF NOT EXISTS {quoted(name)} USING parquet LOCATION {location}"
        )

    def pin(self, snapshot: TableSnapshot, table: str | None = None) -> None:
        """Make one version of a Delta table the only thing that a name means.

        Nothing is done if the name means it already; threads may pin tables side by side.

        Parameters
        ----------
        table
            The name, `schema.table`; None: the table's own.

        Raises
        ------
        RunError
            The table has a Delta feature with which this engine cannot read it.
        """
        name, pinned = table or snapshot.name, (snapshot.name, snapshot.version)
        with self._pinning:
            if self._pinned.get(name) != pinned:
                self._view(name, self._rows_of(snapshot))
                self._pinned[name] = pinned

    def read(self, snapshot: TableSnapshot) -> DataFrame:
        """Give one version of a Delta table as a lazy DataFrame, which no name means.

        Raises
        ------
        RunError
            The table has a Delta feature with which this engine cannot read it.
        """
        with self._pinning:
            return self.session.sql(self._rows_of(snapshot))

    def _rows_of(self, snapshot: TableSnapshot) -> str:
        hidden = self._created(f"{_PINS}.{snapshot.name.replace('.', '__')}")
        return f"SELECT * FROM {self._reader.source(snapshot, hidden)}"

    def use(self, database: str) -> None:
        """Make `database` the one that names without a schema belong to."""
        self._execute(f"USE DATABASE `{self._database(database)}`")

    def stand_in(self, table: str, schema: StructType) -> None:
        """Give a table's name a schema and no rows, to resolve queries before the table exists."""
        columns = ", ".join(
            f"CAST(NULL AS {field.dataType.simpleString()}) AS `{field.name}`"
            for field in schema.fields
        )
        self._pinned.pop(table, None)
        self._view(table, f"SELECT * FROM (SELECT {columns}) WHERE 1 = 0")

    def view(self, name: str, frame: DataFrame) -> None:
        """Make a DataFrame known under a one-part name."""
        frame.createOrReplaceTempView(name)

    def stream(self, name: str, table: str, files: Iterable[Path]) -> None:
        """Let a one-part name mean the rows of some of a table's files, with its columns."""
        whole: Any = self.session.table(quoted(table))
        paths = [str(file) for file in files]
        rows = self.session.read.schema(whole.schema).parquet(*paths) if paths else whole.limit(0)
        self.view(name, rows)

    def write_parquet(
        self, frame: DataFrame, folder: Path, partition_by: Sequence[str] = ()
    ) -> None:
        """Compute a DataFrame into Parquet files in an existing, empty folder.

        A DataFrame without rows becomes one file without rows, so that its schema is kept. With
        `partition_by`, the files are in a folder for each value of these columns, and lack them;
        without rows, there is none.

        Raises
        ------
        EngineError
            There are rows, but none arrived in the folder.
        """
        writer = frame.write.mode("append").options(**self.parquet_options)
        writer.partitionBy(*partition_by).parquet(str(folder))
        if any(folder.glob("**/*.parquet" if partition_by else "*.parquet")):
            return
        first = frame.limit(1).toArrow()
        if first.num_rows:
            raise EngineError(
                f"{self.name} wrote its files elsewhere: none arrived in {folder}. Its workers "
                "must see this machine's files under the same paths"
            )
        if partition_by:
            return
        import pyarrow.parquet as pq

        pq.write_table(first, folder / "part-0.parquet")

    def _view(self, table: str, query: str) -> None:
        self._execute(f"CREATE OR REPLACE VIEW {quoted(self._created(table))} AS {query}")

    def _created(self, table: str) -> str:
        """Return a table's name in the catalog; its database is there."""
        database, _, name = table.partition(".")
        return f"{self._database(database)}.{name}"

    def _database(self, name: str) -> str:
        database = f"{self._space}{name}"
        if database not in self._databases:
            place = f" LOCATION {literal(self.scratch / database)}" if self._space else ""
            self._execute(f"CREATE DATABASE IF NOT EXISTS `{database}`{place}")
            self._databases.add(database)
        return database

    def _execute(self, statement: str) -> None:
        execute(self.session, statement)

    def drop_databases(self) -> None:
        """Remove every name that was given to the engine."""
        for database in self._databases:
            self._execute(f"DROP DATABASE IF EXISTS `{database}` CASCADE")


class DeltaReader:
    """Reads Delta tables with the engine's own Delta reader."""

    def __init__(self, session: SparkSession) -> None:
        self._session = session
        self._known: set[str] = set()

    def source(self, snapshot: TableSnapshot, table: str) -> str:
        """Register the table with all of its versions, and name the one."""
        if table not in self._known:
            location = literal(snapshot.path)
            execute(self._session, f"CREATE TABLE {quoted(table)} USING delta LOCATION {location}")
            self._known.add(table)
        return f"{quoted(table)} VERSION AS OF {snapshot.version}"


def execute(session: SparkSession, statement: str) -> None:
    """Run a statement of ours, also while sources are kept from running any by `session.sql`."""
    from pyspark.sql.connect.plan import SQL

    client: Any = session.client
    client.execute_command(SQL(statement).command(client))


def quoted(table: str) -> str:
    """Quote each part of a table's name for SQL.

    Examples
    --------
    >>> quoted("silver.flights")
    '`silver`.`flights`'
    """
    return ".".join(f"`{part}`" for part in table.split("."))


def literal(path: Path) -> str:
    """Write a path as a text in SQL.

    Examples
    --------
    >>> print(literal(Path("/home/o'hara")))
    '/home/o\\'hara'
    """
    text = str(path).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
