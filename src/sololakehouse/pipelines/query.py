"""One question in Spark SQL over all tables of the lakehouse, `system` included."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sololakehouse.engine import SYSTEM_PREFIX, Engine, engine_message
from sololakehouse.errors import NotFoundError, RunError, UsageError
from sololakehouse.lake import Lakehouse, system
from sololakehouse.lake.failures import disk_error
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.missing_columns import explained
from sololakehouse.pipelines.sql_names import renamed
from sololakehouse.pipelines.time_travel import Clause, as_moment, clauses, pinned, with_clauses

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame


# What the embedded engine says of a data file that holds what is no row.
_DAMAGED = re.compile(r"parquet (argument )?error", re.IGNORECASE)


def run_query(
    lake: Lakehouse,
    text: str,
    limit: int | None = None,
    versions: Mapping[str, int] | None = None,
) -> pa.Table:
    """Answer a `SELECT`; nothing can be written.

    Parameters
    ----------
    text
        One Spark SQL query. A table's newest version is read, unless the query says
        `VERSION AS OF`, `TIMESTAMP AS OF` or `schema.table@v3`. A moment is text with a time zone
        or an expression of type TIMESTAMP, and means the version that `Lakehouse.read` gives.
    limit
        Greatest number of rows to return.
    versions
        Tables to read at a version other than their newest, where the query does not say which.

    Raises
    ------
    NotFoundError
        The query names a table or a version that does not exist.
    UsageError
        The text is no query, a moment has no time zone, or the engine cannot run the query.
    RunError
        A table's file is damaged, or a table has a Delta feature that cannot be read here.
    """
    with _asked(lake, text, versions or {}) as frame:
        return (frame if limit is None else frame.limit(limit)).toArrow()


def write_query(lake: Lakehouse, text: str, folder: Path, versions: Mapping[str, int]) -> None:
    """Write the answer of a `SELECT` as Parquet files into a new folder; see `run_query`.

    The engine writes them: the rows need not fit into memory. Without rows there is one file.
    """
    with _asked(lake, text, versions) as frame:
        frame.write.parquet(str(folder))
        if not any(folder.glob("*.parquet")):
            import pyarrow.parquet as pq

            folder.mkdir(exist_ok=True)
            pq.write_table(frame.limit(0).toArrow(), folder / "part-0.parquet")


@contextmanager
def _asked(lake: Lakehouse, text: str, versions: Mapping[str, int]) -> Iterator[DataFrame]:
    """Give the lazy answer of a query; what its rows meet is said as a mistake of the query."""
    text = with_clauses(text)
    names = sql.tables_in_query(text)
    for name in sorted(names):
        if name not in system.VIEWS and not lake.exists(name):
            raise NotFoundError.of("table", name, [*lake.table_names(), *system.VIEWS])
    asked = clauses(text)
    with lake.engine() as engine:
        past = {clause: _past(lake, engine, clause) for clause in asked}
        query = pinned(text, past.__getitem__)
        for name in sorted(names):
            _register(lake, engine, name, versions.get(name))
        query = renamed(query, {name: _engine_name(name) for name in names})
        try:
            yield engine.session.sql(query.rstrip().rstrip(";"))
        except Exception as error:
            columns = [column for name in sorted(names) for column in _columns(lake, name)]
            full = disk_error(error, lake.project.warehouse)
            if full is not None:
                raise full from error
            if _DAMAGED.search(str(error)):
                raise RunError(
                    f"The rows of {' or '.join(sorted(names))} cannot be read: "
                    f"{explained(error, columns).rstrip('.')}. A data file is damaged: put it back "
                    "from a backup, or read an older version."
                ) from error
            raise UsageError(f"The query failed: {explained(error, columns)}") from error


def _columns(lake: Lakehouse, name: str) -> Iterable[str]:
    """Return the columns of a table that a query failed on; damage of its files is said first."""
    if name in system.VIEWS:
        return system.VIEWS[name]
    snapshot = lake.read(name)
    snapshot.verify()
    return snapshot.columns


def _register(lake: Lakehouse, engine: Engine, name: str, version: int | None) -> None:
    if name not in system.VIEWS:
        snapshot = lake.read(name, version)
        snapshot.verify_log()
        engine.pin(snapshot, _engine_name(name))
        return
    place = engine.scratch / "views" / name
    place.mkdir(parents=True)
    system.view(lake, name).write_parquet(place / "part-0.parquet")
    engine.register(_engine_name(name), place)


def _past(lake: Lakehouse, engine: Engine, clause: Clause) -> str:
    """Pin a table at a moment under a name that differs in the schema, and return that."""
    version = _version(lake, engine, clause)
    schema, table = clause.table.split(".")
    name = f"__{schema}__v{version}.{table}"
    engine.pin(lake.read(clause.table, version=version), name)
    return name


def _version(lake: Lakehouse, engine: Engine, clause: Clause) -> int:
    if clause.table in system.VIEWS:
        raise UsageError(
            f"{clause.table} is computed from the logs when it is asked, and has no versions. "
            "Filter by its timestamp instead."
        )
    if isinstance(clause.at, int):
        asked = lake.read(clause.table, version=clause.at)
    else:
        moment = clause.at if clause.at is not None else _evaluated(engine, clause)
        asked = lake.read(clause.table, timestamp=moment)
    asked.verify_log()
    return asked.version


def _evaluated(engine: Engine, clause: Clause) -> datetime:
    try:
        answer = engine.session.sql(f"SELECT {clause.expression} AS moment").toArrow()
    except Exception as error:
        raise UsageError(
            f"{clause.expression} cannot be computed: {engine_message(error)}"
        ) from error
    moment = as_moment(clause, answer.column("moment")[0].as_py())
    return moment.astimezone(UTC) if moment.tzinfo else moment


def _engine_name(table: str) -> str:
    return f"__{table}" if table.startswith(SYSTEM_PREFIX) else table
