"""The graph of a pipeline: which declaration reads which table, found without running anything."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.errors import DefinitionError, RunError, suggestion
from sololakehouse.pipelines.declarations import (
    DETERMINISTIC,
    Declaration,
    error_place,
    first_line,
)
from sololakehouse.pipelines.flow_plan import FlowPlan, read_plan
from sololakehouse.pipelines.refused_actions import refused_actions
from sololakehouse.provenance import fingerprint

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

_IDENTIFIER = re.compile(r'missing from the schema|Identifier\("([^"]+)"\)')
_UNRESOLVED = re.compile(r"\[UNRESOLVED_COLUMN\.\w+\].*? with name (\S+) cannot be resolved")


@dataclass(frozen=True)
class Node:
    """A declaration with its lazy DataFrame.

    Attributes
    ----------
    reads
        Names of the declared views and tables and of the lakehouse's tables that it reads.
    definition
        Hash of the plan and of the plans of the views that it reads.
    streams
        Names in the plan that stand for the new rows of a table, with the table.
    """

    declaration: Declaration
    frame: DataFrame
    reads: tuple[str, ...]
    definition: str
    streams: Mapping[str, str]

    @property
    def name(self) -> str:
        """Qualified name of the table, or one-part name of the view."""
        return self.declaration.name

    @property
    def is_view(self) -> bool:
        """Whether this is a temporary view, which is computed where it is read."""
        return self.declaration.kind == "temporary view"

    @property
    def is_stream(self) -> bool:
        """Whether new rows are appended to the table that is there."""
        return self.declaration.kind == "streaming table"


@dataclass(frozen=True)
class Graph:
    """The nodes of a pipeline, each after those that it reads."""

    nodes: tuple[Node, ...]

    def tables_read(self, node: Node) -> list[str]:
        """Return the tables that a node reads, directly or through views, sorted."""
        by_name = {other.name: other for other in self.nodes}
        found: set[str] = set()
        for name in node.reads:
            source = by_name.get(name)
            found |= set(self.tables_read(source)) if source and source.is_view else {name}
        return sorted(found)


class GraphBuilder:
    """Builds a graph in rounds.

    A flow function that asks for the columns of its inputs can only be called once these are
    known: each round calls what is left, then gives the engine an empty stand-in for each new
    table whose schema can be told. `stored` has the tables of the lakehouse, with what is wrong
    with those that cannot be opened.
    """

    def __init__(
        self,
        engine: Engine,
        declarations: Mapping[str, Declaration],
        stored: Mapping[str, RunError | None],
        database: str,
        folder: Path,
    ) -> None:
        self._engine = engine
        self._declarations = declarations
        self._stored = stored
        self._database = database
        self._folder = folder
        self._frames: dict[str, DataFrame] = {}
        self._plans: dict[str, FlowPlan] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        self._streams: dict[str, dict[str, str]] = {}
        self._analysed: set[str] = set()
        self._mistakes: dict[str, DefinitionError] = {}

    def build(self) -> Graph:
        """Call every flow function and order the declarations.

        Raises
        ------
        DefinitionError
            Cycles, unknown tables or columns, functions that give no DataFrame or compute rows,
            and functions in queries whose answer changes: all of them at once.
        """
        pending = dict(self._declarations)
        while pending:
            failures = {
                name: failure
                for name, declaration in pending.items()
                if (failure := self._call(declaration)) is not None
            }
            if len(failures) == len(pending):
                self._blame(failures)
                break
            pending = {name: pending[name] for name in failures}
            if pending:
                self._analyse(self._order(self._reads))
        names = self._order(self._reads)
        for name in names:
            self._check_deterministic(name)
        if self._mistakes:
            self.analyse(names)
        definitions: dict[str, str] = {}
        return Graph(tuple(self._node(name, definitions) for name in names))

    def analyse(self, names: Iterable[str]) -> None:
        """Resolve the named declarations against stand-ins for each other, in their order.

        Raises
        ------
        DefinitionError
            Queries name columns that their inputs lack, or cannot be resolved otherwise.
        """
        self._analyse(names)
        if self._mistakes:
            raise DefinitionError.of(self._mistakes.values())

    def _analyse(self, names: Iterable[str]) -> None:
        ordered = list(names)
        for name in ordered:
            if name in self._analysed or not self._can_analyse(name, ordered):
                continue
            self._stand_in_streams(self._declarations[name])
            try:
                schema: Any = self._frames[name].schema
                self._analyse_expectations(name)
            except Exception as error:  # noqa: BLE001  (engines raise whatever they like)
                self._mistakes.setdefault(name, self._error(name, error))
                continue
            if self._declarations[name].kind == "temporary view":
                self._engine.view(name, self._frames[name])
            else:
                self._engine.stand_in(name, schema)
            self._analysed.add(name)

    def _analyse_expectations(self, name: str) -> None:
        declaration = self._declarations[name]
        for expectation in declaration.expectations:
            try:
                _ = self._frames[name].selectExpr(expectation.violated).schema
            except Exception as error:
                columns = self._frames[name].columns
                raise DefinitionError(
                    f"{declaration.place}: {name}: the expectation {expectation.name!r}: "
                    f"{_explained(error, columns)}"
                ) from error

    def _blame(self, failures: Mapping[str, Exception]) -> None:
        """Keep the failures that are not just the echo of another one."""
        failed = {*failures, *self._mistakes}
        causes = {
            name: error for name, error in failures.items() if not _is_echo(error, failed - {name})
        }
        for name, error in (causes or ({} if self._mistakes else failures)).items():
            self._mistakes.setdefault(name, self._error(name, error))

    def _can_analyse(self, name: str, pending: Collection[str]) -> bool:
        return all(
            read in self._analysed
            or read not in self._declarations
            or (read in self._stored and read in self._reads and read not in pending)
            for read in self._reads[name]
        )

    def _call(self, declaration: Declaration) -> Exception | None:
        try:
            self._stand_in_streams(declaration)
            with refused_actions():
                frame: Any = declaration.query()
            self._understand(declaration, frame)
        except RunError:
            raise
        except Exception as error:  # noqa: BLE001  (a flow function is the person's code)
            return error
        return None

    def _understand(self, declaration: Declaration, frame: Any) -> None:
        from pyspark.sql.connect.dataframe import DataFrame

        place = f"{declaration.place}: {declaration.name}"
        if not isinstance(frame, DataFrame):
            given = "nothing" if frame is None else f"a {type(frame).__name__}"
            raise DefinitionError(
                f"{place} returns {given}, not a DataFrame. End the function with "
                "'return' and the DataFrame."
            )
        plan = read_plan(frame, str(declaration.place))
        streams = {
            alias: self._streamed(table, declaration)
            for alias, table in declaration.streams.items()
        }
        _refuse_kind(declaration, streams)
        named = plan.reads - streams.keys()
        reads = {self._resolved(name, declaration) for name in named} | set(streams.values())
        self._frames[declaration.name] = frame
        self._plans[declaration.name] = plan
        self._reads[declaration.name] = tuple(sorted(reads))
        self._streams[declaration.name] = streams

    def _stand_in_streams(self, declaration: Declaration) -> None:
        """Let the names of streams mean the tables themselves, to resolve queries."""
        for alias, table in declaration.streams.items():
            source = self._streamed(table, declaration)
            if source in self._stored or source in self._analysed:
                rows: Any = self._engine.session.table(source)
                self._engine.view(alias, rows)

    def _streamed(self, table: str, declaration: Declaration) -> str:
        source = self._resolved(table, declaration)
        if self._is_view(source):
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} streams from the temporary view "
                f"{source!r}. Stream from a table."
            )
        return source

    def _resolved(self, name: str, declaration: Declaration) -> str:
        qualified = name if "." in name else f"{self._database}.{name}"
        for candidate in (name, qualified):
            if candidate in self._declarations:
                return candidate
            if candidate in self._stored:
                damage = self._stored[candidate]
                if damage is not None:
                    raise damage
                return candidate
        known = {*self._declarations, *self._stored}
        raise DefinitionError(
            f"{declaration.place}: {declaration.name} reads {name!r}, which is neither declared "
            f"nor in the lakehouse. {suggestion(qualified, known, 'table')}"
        )

    def _order(self, reads: Mapping[str, tuple[str, ...]]) -> list[str]:
        ordered: list[str] = []
        path: list[str] = []

        def visit(name: str) -> None:
            if name in ordered or name not in reads:
                return
            if name in path:
                raise self._cycle([*path[path.index(name) :], name])
            path.append(name)
            for read in reads[name]:
                visit(read)
            path.pop()
            ordered.append(name)

        for name in sorted(reads):
            visit(name)
        return ordered

    def _cycle(self, path: list[str]) -> DefinitionError:
        places = ", ".join(f"{name} at {self._declarations[name].place}" for name in path[:-1])
        cycle = DefinitionError(
            f"The tables read each other in a circle: {' <- '.join(path)}. Defined: {places}. "
            "Let one of them read something else."
        )
        return DefinitionError.of([*self._mistakes.values(), cycle])

    def _check_deterministic(self, name: str) -> None:
        declaration = self._declarations[name]
        volatile = sorted(self._volatile(name))
        if self._is_view(name) or not volatile or not declaration.deterministic:
            return
        calls = ", ".join(f"{function}()" for function in volatile)
        self._mistakes.setdefault(
            name,
            DefinitionError(
                f"{declaration.place}: {name} uses {calls}, so the same inputs would not give the "
                "same table again. Take the value from a table, or declare the table property "
                f"'{DETERMINISTIC}' as 'false'."
            ),
        )

    def _volatile(self, name: str) -> frozenset[str]:
        views = [read for read in self._reads.get(name, ()) if self._is_view(read)]
        own = self._plans[name].volatile if name in self._plans else frozenset()
        return own.union(*(self._volatile(view) for view in views))

    def _node(self, name: str, definitions: dict[str, str]) -> Node:
        reads = self._reads[name]
        views = {read: definitions[read] for read in reads if self._is_view(read)}
        definitions[name] = fingerprint(self._plans[name].digest, views)
        return Node(
            self._declarations[name],
            self._frames[name],
            reads,
            definitions[name],
            self._streams[name],
        )

    def _is_view(self, name: str) -> bool:
        declaration = self._declarations.get(name)
        return declaration is not None and declaration.kind == "temporary view"

    def _error(self, name: str, error: Exception) -> DefinitionError:
        declaration = self._declarations[name]
        if isinstance(error, DefinitionError):
            return error
        file = self._folder / declaration.place.file
        place = error_place(error, file, self._folder)
        if file.suffix == ".sql" or place.line < declaration.place.line:
            place = declaration.place
        return DefinitionError(f"{place}: {name}: {_explained(error, self._columns_read(name))}")

    def _columns_read(self, name: str) -> Iterator[str]:
        for read in self._reads.get(name, ()):
            yield from self._engine.session.table(read).columns


def _explained(error: Exception, known: Iterable[str]) -> str:
    message = first_line(error)
    missing = _IDENTIFIER.findall(message) if "missing from the schema" in message else []
    columns = [found for found in missing if found]
    columns += [found.replace("`", "").rpartition(".")[2] for found in _UNRESOLVED.findall(message)]
    if not columns:
        return message
    return f"no column {columns[-1]!r}. {suggestion(columns[-1], set(known), 'column')}"


def _refuse_kind(declaration: Declaration, streams: Mapping[str, str]) -> None:
    streaming = declaration.kind == "streaming table"
    idle = [flow.name for flow in declaration.flows if not flow.streams]
    if streaming and idle:
        raise DefinitionError(
            f"{declaration.place}: the flow {idle[0]!r} of the streaming table {declaration.name} "
            "reads no stream. Read one with spark.readStream.table(...) or STREAM(...), or "
            "declare a materialized view."
        )
    if streams and not streaming:
        raise DefinitionError(
            f"{declaration.place}: {declaration.name} is a {declaration.kind} and reads a stream. "
            "Read the table itself, or declare a streaming table (@dp.table)."
        )


def _is_echo(error: Exception, failed: Iterable[str]) -> bool:
    """Whether an engine only misses a table that could not be defined."""
    message = first_line(error)
    if isinstance(error, DefinitionError) or "TABLE_OR_VIEW_NOT_FOUND" not in message:
        return False
    words = set(re.findall(r"\w+", message))
    return any(name.rpartition(".")[2] in words for name in failed)
