"""The graph of a pipeline: which declaration reads which table, found without running anything."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import Engine
from sololakehouse.errors import DefinitionError, RunError, suggestion
from sololakehouse.pipelines.declarations import Declaration, error_place, first_line
from sololakehouse.pipelines.flow_plan import FlowPlan, read_plan
from sololakehouse.provenance import fingerprint

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame

_IDENTIFIER = re.compile(r'missing from the schema|Identifier\("([^"]+)"\)')


@dataclass(frozen=True)
class Node:
    """A declaration with its lazy DataFrame.

    Attributes
    ----------
    reads
        Names of the declared views and tables and of the lakehouse's tables that it reads.
    definition
        Hash of the plan and of the plans of the views that it reads.
    """

    declaration: Declaration
    frame: DataFrame
    reads: tuple[str, ...]
    definition: str

    @property
    def name(self) -> str:
        """Qualified name of the table, or one-part name of the view."""
        return self.declaration.name

    @property
    def is_view(self) -> bool:
        """Whether this is a temporary view, which is computed where it is read."""
        return self.declaration.kind == "temporary view"


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
        self._analysed: set[str] = set()

    def build(self) -> Graph:
        """Call every flow function and order the declarations.

        Raises
        ------
        DefinitionError
            A cycle, an unknown table, an unknown column, or a function that gives no DataFrame.
        """
        pending = dict(self._declarations)
        while pending:
            failures = {
                name: failure
                for name, declaration in pending.items()
                if (failure := self._call(declaration)) is not None
            }
            if len(failures) == len(pending):
                raise self._error(*next(iter(failures.items())))
            pending = {name: pending[name] for name in failures}
            if pending:
                self.analyse(self._order(self._reads))
        names = self._order(self._reads)
        definitions: dict[str, str] = {}
        return Graph(tuple(self._node(name, definitions) for name in names))

    def analyse(self, names: Iterable[str]) -> None:
        """Resolve the named declarations against stand-ins for each other, in their order.

        Raises
        ------
        DefinitionError
            A query names a column that its inputs lack, or cannot be resolved otherwise.
        """
        for name in names:
            if name in self._analysed or not self._can_analyse(name):
                continue
            try:
                schema: Any = self._frames[name].schema
            except Exception as error:
                raise self._error(name, error) from error
            if self._declarations[name].kind == "temporary view":
                self._engine.view(name, self._frames[name])
            else:
                self._engine.stand_in(name, schema)
            self._analysed.add(name)

    def _can_analyse(self, name: str) -> bool:
        declared = [read for read in self._reads[name] if read in self._declarations]
        return all(read in self._analysed for read in declared)

    def _call(self, declaration: Declaration) -> Exception | None:
        from pyspark.sql.connect.dataframe import DataFrame

        try:
            frame: Any = declaration.query()
        except Exception as error:  # noqa: BLE001  (a flow function is the person's code)
            return error
        place = f"{declaration.place}: {declaration.name}"
        if not isinstance(frame, DataFrame):
            given = "nothing" if frame is None else f"a {type(frame).__name__}"
            raise DefinitionError(
                f"{place} returns {given}, not a DataFrame. End the function with "
                "'return' and the DataFrame."
            )
        plan = read_plan(frame, str(declaration.place))
        self._frames[declaration.name] = frame
        self._plans[declaration.name] = plan
        self._reads[declaration.name] = tuple(
            sorted({self._resolved(name, declaration) for name in plan.reads})
        )
        return None

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
        return DefinitionError(
            f"The tables read each other in a circle: {' <- '.join(path)}. Defined: {places}. "
            "Let one of them read something else."
        )

    def _node(self, name: str, definitions: dict[str, str]) -> Node:
        reads = self._reads[name]
        views = {read: definitions[read] for read in reads if self._is_view(read)}
        definitions[name] = fingerprint(self._plans[name].digest, views)
        return Node(self._declarations[name], self._frames[name], reads, definitions[name])

    def _is_view(self, name: str) -> bool:
        declaration = self._declarations.get(name)
        return declaration is not None and declaration.kind == "temporary view"

    def _error(self, name: str, error: Exception) -> Exception:
        declaration = self._declarations[name]
        if isinstance(error, DefinitionError):
            return error
        file = self._folder / declaration.place.file
        place = error_place(error, file, self._folder)
        if file.suffix == ".sql" or place.line < declaration.place.line:
            place = declaration.place
        return DefinitionError(f"{place}: {name}: {self._explained(name, error)}")

    def _explained(self, name: str, error: Exception) -> str:
        message = first_line(error)
        missing = _IDENTIFIER.findall(message) if "missing from the schema" in message else []
        columns = [found for found in missing if found]
        if not columns:
            return message
        known = {
            column
            for read in self._reads.get(name, ())
            for column in self._engine.session.table(read).columns
        }
        return f"no column {columns[-1]!r}. {suggestion(columns[-1], known, 'column')}"
