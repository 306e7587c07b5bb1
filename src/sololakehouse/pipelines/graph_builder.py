"""Builds the graph of a pipeline, without running anything."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import SYSTEM_PREFIX, Engine, engine_message, quoted
from sololakehouse.errors import DefinitionError, RunError, suggestion
from sololakehouse.pipelines.analysis import (
    changing_answer,
    changing_query,
    refuse_differing_flows,
    refuse_earlier_rows,
    refuse_kind,
    refuse_moments,
    refuse_shape,
    refuse_unread_source,
    refuse_unresolved_expectations,
    resolve_together,
)
from sololakehouse.pipelines.branches import MARK, marked
from sololakehouse.pipelines.declarations import Declaration, Declared, SourceContext
from sololakehouse.pipelines.flow_plan import FlowPlan, direct_read, read_plan, timeless_digest
from sololakehouse.pipelines.graph import Graph, Node
from sololakehouse.pipelines.hints import hint
from sololakehouse.pipelines.missing_columns import explained
from sololakehouse.pipelines.refused_actions import refused_actions
from sololakehouse.pipelines.settings import AS_OF, keys_read
from sololakehouse.pipelines.sources import in_folder, own_place
from sololakehouse.pipelines.stored import StoredTables
from sololakehouse.provenance import fingerprint

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.types import StructType


# How Spark names a DataFrame in the text of a query.
_ARGUMENT = "_pyspark_connect_temp_view_"


class _EchoError(DefinitionError):
    """A table is read that could not be declared, which is said already."""


class GraphBuilder:
    """Builds a graph in rounds.

    A flow function that asks for the columns of its inputs can only be called once these are
    known: each round calls what is left, then gives the engine an empty stand-in for each new
    table whose schema can be told.
    """

    def __init__(
        self,
        engine: Engine,
        declared: Declared,
        stored: StoredTables,
        context: SourceContext,
    ) -> None:
        self._engine = engine
        self._declarations = declared.declarations
        self._declared = declared
        self._stored = stored
        self._database = context.database
        self._folder = context.folder
        self._settings = context.settings
        self._ingested = context.ingested
        self._asking: set[str] = set()
        self._changing: set[str] = set()
        self._frames: dict[str, DataFrame] = {}
        self._plans: dict[str, FlowPlan] = {}
        self._reads: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, dict[str, str]] = {}
        self._streams: dict[str, dict[str, str]] = {}
        self._marks: dict[str, DataFrame | None] = {}
        self._analysed: dict[str, StructType] = {}
        self._standing_in: set[str] = set()
        self._mistakes = {f"{n}. mistake": found for n, found in enumerate(declared.mistakes)}

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
        nodes: dict[str, Node] = {}
        for name in names:
            nodes[name] = self._node(name, nodes)
        return Graph(tuple(nodes.values()))

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

    def let_read(self, name: str) -> None:
        """Let the engine know what a declaration reads, so that it can be asked for its plan.

        Raises
        ------
        DefinitionError
            A view that it reads cannot be resolved.
        RunError
            A stored table cannot be read.
        """
        views = [read for read in self._reads[name] if self._is_view(read)]
        for view in views:
            self.let_read(view)
        self.analyse(views)
        self._let_read(self._reads[name])

    def _analyse(self, names: Iterable[str]) -> None:
        ordered = list(names)
        for name in ordered:
            if name in self._analysed or not self._can_analyse(name, ordered):
                continue
            self._let_read(self._reads[name])
            self._stand_in_streams(self._declarations[name])
            try:
                declaration, frame = self._declarations[name], self._frames[name]
                self._refuse_differing_flows(declaration)
                resolved = resolve_together(declaration, frame)
                schema: Any = frame.schema
                refuse_shape(declaration, schema)
                refuse_unresolved_expectations(declaration, frame, resolved=resolved)
                self._check_time_bound(name)
            except Exception as error:  # noqa: BLE001  (engines raise whatever they like)
                self._mistakes.setdefault(name, self._error(name, error))
                continue
            self._analysed[name] = self._declarations[name].shape.schema or schema

    def _refuse_differing_flows(self, declaration: Declaration) -> None:
        if len(declaration.branches) > 1:
            with in_folder(self._folder):
                given: list[Any] = [branch.query() for branch in declaration.branches]
            refuse_differing_flows(declaration, [frame.schema for frame in given])

    def _let_read(self, names: Iterable[str]) -> None:
        """Let the engine know tables and views as they will be, or as they are stored.

        Raises
        ------
        RunError
            A stored table cannot be read.
        """
        for name in names:
            if name in self._analysed:
                self._stand_in(name)
            elif name in self._stored:
                self._stored.pin(name)

    def _stand_in(self, name: str) -> None:
        if name in self._standing_in or self._is_sink(name):
            return
        self._standing_in.add(name)
        if self._is_view(name):
            self._let_read(self._reads[name])
            self._engine.view(name, self._frames[name])
        else:
            self._engine.stand_in(name, self._analysed[name])

    def _let_read_all(self) -> None:
        self._let_read(self._analysed)
        self._stored.pin_all(but=self._analysed)

    def _check_time_bound(self, name: str) -> None:
        declaration = self._declarations[name]
        bound = declaration.time_bound
        if bound is None:
            return
        refuse_unread_source(declaration, bound, self._tables_read(name))
        source = self._analysed.get(bound.source)
        if source is None:
            source = self._engine.session.table(quoted(bound.source)).schema
        refuse_moments(declaration, bound, source, self._frames[name].schema)

    def _tables_read(self, name: str) -> frozenset[str]:
        found: set[str] = set()
        for read in self._reads[name]:
            found |= self._tables_read(read) if self._is_view(read) else {read}
        return frozenset(found)

    def _blame(self, failures: Mapping[str, Exception]) -> None:
        """Keep the failures that are not just the echo of another one."""
        failed = {*failures, *self._mistakes, *self._declared.refused}
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
        from pyspark.pipelines.block_session_mutations import block_session_mutations

        known = declaration.streams
        try:
            self._stand_in_streams(declaration)
            with (
                in_folder(self._folder),
                self._engine.before_asked(self._let_read_all),
                refused_actions(),
                block_session_mutations(),
                keys_read() as asked,
            ):
                frame: Any = declaration.query()
                self._understand(declaration, frame)
                self._compare_with_another_call(declaration)
                self._marks[declaration.name] = marked(declaration.branches)
            if AS_OF in asked or declaration.asks_moment:
                self._asking.add(declaration.name)
        except RunError:
            raise
        except SystemExit as error:
            return RuntimeError(f"it calls sys.exit({error.code!r}), which would end the run")
        except Exception as error:  # noqa: BLE001  (a flow function is the person's code)
            return error if known == declaration.streams else self._call(declaration)
        return None

    def _compare_with_another_call(self, declaration: Declaration) -> None:
        """Note a function of Python that gives another query when it is called once more."""
        plan = self._plans[declaration.name]
        if declaration.is_sql or plan.volatile or not declaration.deterministic:
            return
        again: Any = declaration.query()
        if read_plan(again, str(declaration.place)).digest != plan.digest:
            self._changing.add(declaration.name)

    def _understand(self, declaration: Declaration, frame: Any) -> None:
        from pyspark.sql.connect.dataframe import DataFrame

        place = f"{declaration.place}: {declaration.name}"
        if not isinstance(frame, DataFrame):
            kind = type(frame)
            given = "nothing" if frame is None else f"a {kind.__module__}.{kind.__qualname__}"
            raise DefinitionError(
                f"{place} returns {given.replace('builtins.', '')}, not a DataFrame. End the "
                "function with 'return' and the DataFrame of Spark."
            )
        plan = read_plan(frame, str(declaration.place))
        streams = {
            alias: self._streamed(table, declaration)
            for alias, table in declaration.streams.items()
        }
        refuse_kind(declaration, streams)
        refuse_earlier_rows(declaration, frame)
        names = {n: self._resolved(n, declaration) for n in sorted(plan.reads - streams.keys())}
        reads = {*names.values(), *streams.values()}
        self._frames[declaration.name] = frame
        self._plans[declaration.name] = plan
        self._reads[declaration.name] = tuple(sorted(reads))
        self._names[declaration.name] = names
        self._streams[declaration.name] = streams

    def _stand_in_streams(self, declaration: Declaration) -> None:
        """Let the names of streams mean the tables themselves, to resolve queries."""
        for alias, table in declaration.streams.items():
            source = self._streamed(table, declaration)
            if source in self._stored or source in self._analysed:
                self._let_read([source])
                rows: Any = self._engine.session.table(source)
                self._engine.view(alias, rows)

    def _streamed(self, table: str, declaration: Declaration) -> str:
        source = self._resolved(table, declaration)
        if self._is_view(source):
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} streams from the temporary view "
                f"{source!r}. Stream from a table."
            )
        known = self._declarations.get(source)
        if known is not None and known.changes is not None:
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} streams from {source}, whose rows are "
                "changed in place by change data. Read the table itself, in a materialized view."
            )
        return source

    def _resolved(self, name: str, declaration: Declaration) -> str:
        qualified = name if "." in name else f"{self._database}.{name}"
        if {name, qualified} & self._declared.refused:
            raise _EchoError(f"{name} is declared wrongly")
        for candidate in (name, qualified):
            if candidate in self._declarations and not self._is_sink(candidate):
                return candidate
            if candidate in self._stored:
                self._stored.open(candidate)
                return candidate
        if self._is_sink(name):
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} reads the sink {name!r}, whose rows have "
                "left the lakehouse. Read the tables that the sink streams from."
            )
        if name.startswith(SYSTEM_PREFIX):
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} reads {name!r}. Tables of the schema "
                "'system' tell of runs, and are no input of one: ask them with 'slh query'."
            )
        if "/" in name:
            raise direct_read(str(declaration.place), name.partition(".")[2])
        if name.count(".") == 2:
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} reads {name!r}, which has a catalog, and "
                f"a lakehouse is one catalog. Write {name.partition('.')[2]}."
            )
        if name.startswith(_ARGUMENT):
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} gives spark.sql(...) a DataFrame as an "
                "argument. Make a @dp.temporary_view of it, and read that by its name."
            )
        if not self._declared.is_whole:
            raise _EchoError(f"{name} may be declared in a file that could not be read")
        if {name, qualified} & self._ingested:
            raise DefinitionError(
                f"{declaration.place}: {declaration.name} reads {name!r}, which is not there yet: "
                "'slh ingest' fills it from the landing files."
            )
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
        if self._is_view(name) or not declaration.deterministic:
            return
        volatile = sorted(self._volatile(name))
        if volatile:
            self._mistakes.setdefault(name, changing_answer(declaration, volatile))
        elif self._changing & self._with_views(name):
            self._mistakes.setdefault(name, changing_query(declaration))

    def _volatile(self, name: str) -> frozenset[str]:
        known = self._with_views(name) & self._plans.keys()
        return frozenset().union(*(self._plans[one].volatile for one in known))

    def _with_views(self, name: str) -> frozenset[str]:
        """Return a declaration, and the views that it reads, directly or through others."""
        views = [read for read in self._reads.get(name, ()) if self._is_view(read)]
        return frozenset({name}).union(*(self._with_views(view) for view in views))

    def _node(self, name: str, nodes: Mapping[str, Node]) -> Node:
        reads = self._reads[name]
        views = [nodes[read] for read in reads if self._is_view(read)]
        asks_moment = name in self._asking or any(view.as_of for view in views)
        declaration = self._declarations[name]
        marks = self._marks[name]
        parameters = self._parameters(name)
        deciding = (declaration.shape.policy, self._settings.deciding, parameters)
        policy = [part for part in deciding if part]
        plan = self._plans[name].digest
        definition = fingerprint(plan, {view.name: view.definition for view in views}, *policy)
        code = definition
        if asks_moment:
            plan = timeless_digest(self._frames[name], self._settings.as_of)
            code = fingerprint(plan, {view.name: view.code for view in views}, *policy)
        return Node(
            declaration,
            declaration.shape.of_frame(self._frames[name]),
            reads,
            self._names[name],
            definition,
            code,
            self._streams[name],
            self._settings.as_of if asks_moment else None,
            parameters,
            None if marks is None else declaration.shape.of_frame(marks, (MARK,)),
        )

    def _parameters(self, name: str) -> str | None:
        declaration = self._declarations[name]
        if declaration.changes is None:
            return None
        events = declaration.changes.events(self._engine.session)
        plan = read_plan(events, str(declaration.place))
        self._let_read(self._reads[name])
        return fingerprint(plan.digest, declaration.changes.told(self._frames[name].columns))

    def _is_sink(self, name: str) -> bool:
        return name in self._declarations and self._declarations[name].kind == "sink"

    def _is_view(self, name: str) -> bool:
        declaration = self._declarations.get(name)
        return declaration is not None and declaration.kind == "temporary view"

    def _error(self, name: str, error: Exception) -> DefinitionError:
        declaration = self._declarations[name]
        if isinstance(error, DefinitionError):
            return error
        place = own_place(error, self._folder) or declaration.place
        said = hint(error) or explained(error, self._columns_read(name))
        return DefinitionError(f"{place}: {name}: {said}")

    def _columns_read(self, name: str) -> Iterator[str]:
        for read in self._reads.get(name, ()):
            self._let_read([read])
            yield from self._engine.session.table(read).columns


def _is_echo(error: Exception, failed: Iterable[str]) -> bool:
    """Whether an engine only misses a table that could not be defined."""
    message = engine_message(error)
    if isinstance(error, _EchoError):
        return True
    if isinstance(error, DefinitionError) or "TABLE_OR_VIEW_NOT_FOUND" not in message:
        return False
    words = set(re.findall(r"\w+", message))
    return any(name.rpartition(".")[2] in words for name in failed)
