"""A Spark Connect server as the engine: any `sc://host:port` that sees this machine's files."""

from __future__ import annotations

import json
import logging
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config.engine import without_secrets
from sololakehouse.engine.client import import_client
from sololakehouse.engine.linked import LinkedReader
from sololakehouse.engine.messages import SPACE, engine_message, is_lost
from sololakehouse.engine.names import NamesOnTheWire
from sololakehouse.engine.questions import Questions, keep_queries
from sololakehouse.engine.session import SETTINGS, Engine
from sololakehouse.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

_OLDEST = 4
# A plan that was analysed against a stand-in must be analysed again when the table is there, and
# names can only be read in plans that are not compressed.
_OF_THE_SERVER: dict[str, str | int | bool] = {
    "spark.connect.session.planCache.enabled": "false",
    "spark.connect.session.planCompression.threshold": "-1",
}
_LOGGERS = ("SQLQueryContextLogger", "DataFrameQueryContextLogger")
_SCHEMA = '{"type":"struct","fields":[{"name":"id","type":"long","nullable":true,"metadata":{}}]}'
_EMPTY_TABLE = (
    {"protocol": {"minReaderVersion": 1, "minWriterVersion": 2}},
    {
        "metaData": {
            "id": "8a5a64d6-2e6c-4a5a-8a39-6d2f2d2f1b6e",
            "format": {"provider": "parquet", "options": {}},
            "schemaString": _SCHEMA,
            "partitionColumns": [],
            "configuration": {},
            "createdTime": 0,
        }
    },
)


@contextmanager
def connected_engine(address: str, folder: Path) -> Iterator[Engine]:
    """Open a session on a server and close it afterwards.

    Ctrl-C interrupts what the server computes for the session.

    Parameters
    ----------
    folder
        An empty folder for as long as the session lives, which the server must see as well.

    Raises
    ------
    EngineError
        The server does not answer, is too old, or does not see the folder.
    """
    space = f"slh_{uuid.uuid4().hex[:8]}_"
    questions = Questions()
    session = _connected(address, space, questions)
    try:
        name = _name(session, address, folder)
        reader = None if _has_delta(session, folder) else partial(LinkedReader, folder=folder)
        _drop_dead_databases(session)
        engine = Engine(session, name, folder, questions, reader, space)
        try:
            yield engine
        finally:
            session.client.set_retry_policies([])
            with suppress(Exception):
                session.interruptAll()
                engine.drop_databases()
    finally:
        _stop(session)


def _connected(address: str, space: str, questions: Questions) -> SparkSession:
    for logger in _LOGGERS:
        logging.getLogger(logger).disabled = True
    import_client()
    from pyspark.errors import PySparkException
    from pyspark.sql.connect.client import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    channel = DefaultChannelBuilder(address)
    channel.add_interceptor(NamesOnTheWire(space))
    channel.add_interceptor(questions)
    session = SparkSession.builder.channelBuilder(channel).create()
    session.client.set_retry_policies([])
    try:
        session.conf._set_all(SETTINGS | _OF_THE_SERVER, silent=False)
    except PySparkException as error:
        _stop(session)
        reason = "" if is_lost(error) else f": {engine_message(error)}"
        raise EngineError(
            f"No Spark Connect server answers at {without_secrets(address)}{reason}. Start one "
            "(docs/pipelines.md says how, under 'Engines'), or compute with 'embedded'. The "
            "address is the one of --engine, SOLOLAKEHOUSE_ENGINE or lakehouse.yml, in this order."
        ) from error
    session.client.set_retry_policies([_patience()])
    keep_queries(session.client)
    return session


def _patience() -> Any:
    """Return a policy that tries for about twenty seconds; the client's own takes ten minutes."""
    from pyspark.sql.connect.client.retries import DefaultPolicy

    warnings.filterwarnings("ignore", message=r"\[RETRIES_EXCEEDED\]")
    return DefaultPolicy(max_retries=8, max_backoff=4000)


def _name(session: SparkSession, address: str, folder: Path) -> str:
    """Say which engine answers, once it has read a file of this machine."""
    said = uuid.uuid4().hex
    probe = folder / "probe.txt"
    probe.write_text(said)
    asked = ("value", "version() AS version", "current_catalog() AS catalog")
    shown = without_secrets(address)
    try:
        rows = session.read.text(str(probe)).selectExpr(*asked).toArrow().to_pylist()
    except Exception as error:
        if is_lost(error):
            raise EngineError(f"{shown}: {engine_message(error)}.") from error
        rows = []
    if [row["value"] for row in rows] != [said]:
        raise EngineError(
            f"The server at {shown} does not see this machine's files: it cannot read {probe}. Let "
            "it run here, or mount the warehouse there under the same path."
        )
    version = rows[0]["version"].split()[0]
    kind = "Sail" if rows[0]["catalog"] == "sail" else "Apache Spark"
    if kind != "Sail" and int(version.split(".")[0]) < _OLDEST:
        raise EngineError(
            f"The server at {shown} is {kind} {version}, and {_OLDEST}.0 or newer is needed."
        )
    return f"{kind} {version} (server)"


def _has_delta(session: SparkSession, folder: Path) -> bool:
    table = folder / "probe"
    log = table / "_delta_log"
    log.mkdir(parents=True)
    (log / f"{0:020}.json").write_text("\n".join(json.dumps(action) for action in _EMPTY_TABLE))
    try:
        return session.read.format("delta").load(str(table)).columns == ["id"]
    except Exception as error:
        if is_lost(error):
            raise
        return False


def _drop_dead_databases(session: SparkSession) -> None:
    """Remove the databases of sessions that could not do it themselves."""
    for row in session.sql("SHOW DATABASES LIKE 'slh_*'").toArrow().to_pylist():
        name = next(iter(row.values()))
        if not SPACE.match(name):
            continue
        told = session.sql(f"DESCRIBE DATABASE `{name}`").toArrow().to_pylist()
        places = [row["info_value"] for row in told if row["info_name"] == "Location"]
        if places and not Path(places[0].removeprefix("file:")).parent.exists():
            session.sql(f"DROP DATABASE IF EXISTS `{name}` CASCADE")


def _stop(session: SparkSession) -> None:
    session.client.set_retry_policies([])
    with suppress(Exception):
        session.client.release_session()
    session.release_session_on_close = False
    session.stop()
