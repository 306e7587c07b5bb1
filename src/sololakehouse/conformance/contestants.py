"""Contestants: the joins that are held to the rules, other people's and those of this project."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.config.engine import checked_engine
from sololakehouse.conformance.batches import ROW, VALUE
from sololakehouse.conformance.traps import OPTIONS, Option
from sololakehouse.engine import Engine, engine_message
from sololakehouse.engine.messages import is_lost
from sololakehouse.errors import EngineError, NotFoundError, UsageError
from sololakehouse.features import spark_join
from sololakehouse.features.asof import AsOf, join_as_of
from sololakehouse.features.spark_lookup import sent

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

POLARS = "polars"
DECLARATION = "NOT_SUPPORTED"
_PLACE = "__slh_place"


@dataclass(frozen=True)
class Contestant:
    """A join, and what of a rule it does not support.

    Attributes
    ----------
    join
        Takes labels, features and rule. Returns the labels with the columns `row` and `value` of
        the chosen feature rows, as a Polars, pandas, Arrow or Spark frame.
    lacks
        Options that no rule may have that it is given.
    """

    name: str
    join: Callable[[pl.DataFrame, pl.DataFrame, AsOf], Any]
    lacks: frozenset[Option] = frozenset()


def load_contestant(place: str) -> Contestant:
    """Load a function of a Python file, such as `my_store.py:join`.

    The file may declare `NOT_SUPPORTED = ("known_at", "strict")`. It is run as a script would be:
    it can import its neighbours.

    Raises
    ------
    UsageError
        There is no such file, or it cannot be run.
    NotFoundError
        The file has no such function, or declares something that is no option of a rule.
    """
    file, _, name = place.rpartition(":")
    if not file or not name.isidentifier():
        raise UsageError(
            f"{place!r} names no join. Write a Python file and a function of it, such as "
            "my_store.py:join."
        )
    content = _run(Path(file))
    if not callable(content.get(name)):
        functions = (key for key, one in content.items() if callable(one) and key[0] != "_")
        raise NotFoundError.of("function", name, functions, where=file)
    lacks = content.get(DECLARATION, ())
    for option in lacks:
        if option not in OPTIONS:
            raise NotFoundError.of("option", str(option), OPTIONS, where=f"{file}: {DECLARATION}")
    return Contestant(place, content[name], frozenset(lacks))


def _run(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise UsageError(f"There is no file {file}.")
    sys.path.insert(0, str(file.parent.absolute()))
    try:
        return runpy.run_path(str(file))
    except Exception as error:
        said = f"{type(error).__name__}: {engine_message(error)}"
        raise UsageError(f"{file} cannot be run: {said}.") from error


@contextmanager
def our_contestant(engine: str) -> Iterator[Contestant]:
    """Give one of this project's joins: `polars`, or Spark SQL on `embedded` or `sc://host:port`.

    Raises
    ------
    UsageError
        It is no engine.
    EngineError
        The server does not answer, or does not see this machine's temporary files.
    """
    if engine == POLARS:
        yield Contestant(POLARS, _join_in_polars)
        return
    try:
        address = checked_engine(engine)
    except ValueError as error:
        raise UsageError(f"{error}, or 'polars'.") from error
    with Engine.start(address) as opened:
        yield Contestant(opened.name, partial(_join_on_engine, opened))


def _join_in_polars(labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf) -> pl.DataFrame:
    return join_as_of(labels, features, [ROW, VALUE], rule)


def _join_on_engine(
    engine: Engine, labels: pl.DataFrame, features: pl.DataFrame, rule: AsOf
) -> pa.Table:
    try:
        asked = sent(engine.session, labels.with_row_index(_PLACE).cast({_PLACE: int}))
        rows = sent(engine.session, features)
        found = spark_join.join_as_of(asked, rows, {ROW: ROW, VALUE: VALUE}, rule)
        return found.orderBy(_PLACE).drop(_PLACE).toArrow()
    except Exception as error:
        if is_lost(error):
            raise EngineError(f"{engine.name}: {engine_message(error)}.") from error
        raise
