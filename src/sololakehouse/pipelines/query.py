"""One question in Spark SQL over all tables of the lakehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sololakehouse.engine import SYSTEM_PREFIX, Engine
from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake import Lakehouse
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.declarations import first_line

if TYPE_CHECKING:
    import pyarrow as pa


def run_query(lake: Lakehouse, text: str, limit: int | None = None) -> pa.Table:
    """Answer a `SELECT`; nothing can be written.

    Parameters
    ----------
    text
        One Spark SQL query. A table's newest version is read, unless the query says
        `VERSION AS OF`.
    limit
        Greatest number of rows to return.

    Raises
    ------
    NotFoundError
        The query names a table that does not exist.
    UsageError
        The text is no query, or the engine cannot run it.
    RunError
        A table's file is damaged, or a table has a Delta feature that cannot be read here.
    """
    names = sql.tables_in_query(text)
    with Engine.start() as engine:
        for name in sorted(names):
            if not lake.exists(name):
                raise NotFoundError.of("table", name, lake.table_names())
            engine.register(_engine_name(name), lake.read(name).path)
        query = sql.renamed(text, {name: _engine_name(name) for name in names})
        try:
            frame = engine.session.sql(query.rstrip().rstrip(";"))
            return (frame if limit is None else frame.limit(limit)).toArrow()
        except Exception as error:
            for name in sorted(names):
                lake.read(name).verify()
            raise UsageError(f"The query failed: {first_line(error)}") from error


def _engine_name(table: str) -> str:
    return f"__{table}" if table.startswith(SYSTEM_PREFIX) else table
