"""What a pipeline source may not do: compute rows, or write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any, NoReturn

from sololakehouse.errors import UsageError
from sololakehouse.pipelines import sql

ACTIONS = (
    *("approxQuantile", "checkpoint", "collect", "corr", "count", "cov", "first", "foreach"),
    *("foreachPartition", "head", "isEmpty", "localCheckpoint", "mergeInto", "show", "tail"),
    *("take", "toArrow", "toLocalIterator", "toPandas"),
)
WRITERS = ("write", "writeStream", "writeTo")
_DESCRIBING = {"spark.app.name", "spark.master", "spark.remote"}


# Steps that run side by side call flow functions, which replace the same attributes.
_REPLACING = RLock()


class ActionRefusedError(Exception):
    """A source computes or writes rows where it should only describe them."""

    def __init__(self, call: str) -> None:
        super().__init__(
            f"{call} computes or writes rows, and a pipeline source only describes them: it may "
            "run several times, also when nothing is stored. Return the DataFrame, and the "
            "pipeline runs it."
        )


@contextmanager
def refused_actions() -> Iterator[None]:
    """Refuse what runs a query while the sources of a pipeline are loaded and called.

    Spark's own runner blocks changes of the session in the same way.
    """
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.session import SparkSession as Facade

    with ExitStack() as stack:
        for name in ACTIONS:
            stack.enter_context(replaced(DataFrame, name, _refusing(f"DataFrame.{name}()")))
        for name in WRITERS:
            refused = property(_refusing(f"DataFrame.{name}"))
            stack.enter_context(replaced(DataFrame, name, refused))
        stack.enter_context(replaced(SparkSession, "sql", _only_queries(SparkSession.sql)))
        stack.enter_context(replaced(SparkSession, "stop", _refusing_to_stop))
        for builder in (SparkSession.Builder, Facade.Builder):
            stack.enter_context(replaced(builder, "getOrCreate", _active_session))
        yield


@contextmanager
def replaced(owner: type, name: str, value: Any) -> Iterator[None]:
    """Give an attribute of a class another value for a while; one thread at a time."""
    with _REPLACING:
        before = owner.__dict__[name]
        setattr(owner, name, value)
        try:
            yield
        finally:
            setattr(owner, name, before)


def _refusing(call: str) -> Callable[..., NoReturn]:
    def refused(*_: Any, **__: Any) -> NoReturn:
        raise ActionRefusedError(call)

    return refused


def _refusing_to_stop(session: Any) -> NoReturn:  # noqa: ARG001
    raise UsageError("spark.stop() would end the session of all sources. Leave it out.")


def _active_session(builder: Any) -> Any:
    """Give the pipeline's session, as Spark's own runner does where a source asks for one."""
    from pyspark.sql.connect.session import SparkSession

    told = sorted(set(builder._options) - _DESCRIBING)
    if told:
        raise UsageError(
            f"SparkSession.builder.config({told[0]!r}, ...) has no effect: the session is there "
            "already. Set it under 'configuration' in spark-pipeline.yml."
        )
    return SparkSession.active()


def _only_queries(run: Callable[..., Any]) -> Callable[..., Any]:
    def checked(session: Any, sqlQuery: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N803
        if not sql.is_query(sqlQuery):
            raise ActionRefusedError(f"spark.sql({sqlQuery.split(maxsplit=1)[0].upper()} ...)")
        return run(session, sqlQuery, *args, **kwargs)

    return checked
