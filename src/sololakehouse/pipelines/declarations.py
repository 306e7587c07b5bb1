"""What a pipeline's source files declare: our registry behind `pyspark.pipelines`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sololakehouse.engine import engine_message
from sololakehouse.errors import DefinitionError, SoloLakehouseError, suggestion
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.refused_actions import ActionRefusedError, refused_actions
from sololakehouse.pipelines.streams import Flow, FlowUnion
from sololakehouse.quality import (
    Expectation,
    Query,
    expect,
    expect_or_drop,
    expect_or_fail,
    expectations_in,
    expectations_of,
    unfiltered,
    without_expectations,
)

if TYPE_CHECKING:
    from pyspark.pipelines.flow import AutoCdcFlow
    from pyspark.pipelines.flow import Flow as SparkFlow
    from pyspark.pipelines.graph_element_registry import GraphElementRegistry
    from pyspark.pipelines.output import Output
    from pyspark.sql.connect.session import SparkSession

DETERMINISTIC = "pipelines.deterministic"
_DECORATORS = {"": expect, "DROP ROW": expect_or_drop, "FAIL UPDATE": expect_or_fail}


@dataclass(frozen=True)
class Place:
    """Where a definition stands: a file, relative to the project's folder, and a line from 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Declaration:
    """A table or view that a source file declares, and the function that gives its rows.

    `query` gives the rows as they are stored, `unfiltered` the rows before `expect_or_drop`.
    `flows` are the queries that it consists of: one, but for a streaming table.
    """

    name: str
    kind: sql.Kind
    place: Place
    query: Query
    unfiltered: Query
    flows: tuple[Flow, ...]
    comment: str | None
    properties: Mapping[str, str]
    expectations: tuple[Expectation, ...]

    @property
    def streams(self) -> dict[str, str]:
        """What the flows read as streams: alias to table, complete once `query` was called."""
        return {alias: table for flow in self.flows for alias, table in flow.streams.items()}

    @property
    def deterministic(self) -> bool:
        """Whether the same inputs must give the same rows; what the table property says."""
        return self.properties.get(DETERMINISTIC, "true") == "true"


class _Collector:
    """Collects outputs and flows; registered as a `GraphElementRegistry` of pyspark."""

    def __init__(self, folder: Path, database: str, session: SparkSession) -> None:
        self._folder = folder
        self._database = database
        self._session = session
        self._outputs: dict[str, tuple[sql.Kind, Place, str | None, Mapping[str, str]]] = {}
        self._flows: dict[str, list[tuple[Flow, Query, Place]]] = {}

    def register_output(self, output: Output) -> None:
        from pyspark.pipelines.output import MaterializedView, StreamingTable, TemporaryView

        place = self._place(output.source_code_location)
        if isinstance(output, TemporaryView):
            self._add(output.name, "temporary view", place, output.comment, {})
        elif isinstance(output, MaterializedView | StreamingTable):
            _refuse_layout(output, place)
            streaming = isinstance(output, StreamingTable)
            self._add(
                self._qualified(output.name),
                "streaming table" if streaming else "materialized view",
                place,
                output.comment,
                dict(output.table_properties),
            )
        else:
            raise DefinitionError(
                f"{place}: {output.name} is a {_words(type(output).__name__)}, which is not "
                "supported. Supported: @dp.materialized_view, @dp.table, dp.create_streaming_table "
                "and @dp.temporary_view."
            )

    def register_flow(self, flow: SparkFlow) -> None:
        name = flow.target if flow.target in self._outputs else self._qualified(flow.target)
        place = self._place(flow.source_code_location)
        if flow.spark_conf:
            raise DefinitionError(f"{place}: 'spark_conf' is not supported for {name}.")
        stream = Flow(flow.name)
        self._add_flow(name, stream, stream.reading(flow.func), place)

    def register_auto_cdc_flow(self, flow: AutoCdcFlow) -> None:
        place = self._place(flow.source_code_location)
        raise DefinitionError(f"{place}: create_auto_cdc_flow is not supported.")

    def register_sql(self, sql_text: str, file_path: Path) -> None:
        for found in sql.definitions(sql_text, str(file_path)):
            place = Place(str(file_path), found.line)
            flow = Flow(found.name)
            if isinstance(found, sql.SqlFlow):
                query = self._sql_query(found.query, flow)
                self._add_flow(self._qualified(found.target), flow, query, place)
                continue
            name = found.name if found.kind == "temporary view" else self._qualified(found.name)
            self._add(name, found.kind, place, found.comment, found.properties)
            if found.query is not None:
                query = self._sql_query(found.query, flow)
                self._add_flow(name, flow, _constrained(query, found.constraints), place)

    def declarations(self) -> dict[str, Declaration]:
        for target, flows in self._flows.items():
            if target not in self._outputs:
                place = flows[0][2]
                hint = suggestion(target, self._outputs, "table")
                raise DefinitionError(
                    f"{place}: the flow's target {target!r} is not defined. {hint}"
                )
        for name, (kind, place, *_) in self._outputs.items():
            if name not in self._flows:
                raise DefinitionError(
                    f"{place}: no flow fills the {kind} {name}. Add one with "
                    "@dp.append_flow(target=...) or CREATE FLOW, or a query after AS."
                )
        return {name: self._declaration(name, *output) for name, output in self._outputs.items()}

    def _add_flow(self, target: str, flow: Flow, query: Query, place: Place) -> None:
        self._flows.setdefault(target, []).append((flow, query, place))

    def _declaration(
        self,
        name: str,
        kind: sql.Kind,
        place: Place,
        comment: str | None,
        properties: Mapping[str, str],
    ) -> Declaration:
        flows = self._flows[name]
        self._refuse_flows(name, kind, flows)
        _refuse_undecided(name, place, properties)
        union = FlowUnion(tuple((flow, query) for flow, query, _ in flows))
        found = [found for _, query, _ in flows for found in expectations_of(query)]
        return Declaration(
            name=name,
            kind=kind,
            place=place,
            query=union,
            unfiltered=union.over(unfiltered),
            flows=union.flows,
            comment=comment,
            properties=without_expectations(properties),
            expectations=(*dict.fromkeys(found), *expectations_in(properties, str(place))),
        )

    def _refuse_flows(
        self, name: str, kind: sql.Kind, flows: Sequence[tuple[Flow, Query, Place]]
    ) -> None:
        if kind != "streaming table" and len(flows) > 1:
            raise DefinitionError(
                f"{flows[1][2]}: {name} has a second flow; a {kind} has exactly one."
            )
        names = [flow.name for flow, _, _ in flows]
        for flow, _, place in flows:
            if names.count(flow.name) > 1:
                raise DefinitionError(
                    f"{place}: {name} has two flows of the name {flow.name!r}. Rename one."
                )

    def _sql_query(self, text: str, flow: Flow) -> Query:
        def frame() -> Any:
            return self._session.sql(sql.streams_renamed(text, flow.alias))

        return frame

    def _add(
        self,
        name: str,
        kind: sql.Kind,
        place: Place,
        comment: str | None,
        properties: Mapping[str, str],
    ) -> None:
        if name in self._outputs:
            first = self._outputs[name][1]
            raise DefinitionError(
                f"{name} is defined twice: at {first} and at {place}. Keep one definition, or "
                "give one of them another name."
            )
        self._outputs[name] = (kind, place, comment, properties)

    def _qualified(self, name: str) -> str:
        return name if "." in name else f"{self._database}.{name}"

    def _place(self, location: Any) -> Place:
        file = Path(location.filename)
        near = file.relative_to(self._folder) if file.is_relative_to(self._folder) else file
        return Place(str(near), location.line_number or 0)


def collect(
    folder: Path, files: Iterator[Path], database: str, session: SparkSession
) -> dict[str, Declaration]:
    """Run the source files and return what they declare, by qualified name.

    A name without a schema is in the spec's database; a temporary view has a one-part name.

    Raises
    ------
    DefinitionError
        A file cannot be run, or declares something twice or something unsupported.
    """
    from pyspark.pipelines.graph_element_registry import graph_element_registration_context

    collector = _Collector(folder, database, session)
    mistakes = []
    with _in_folder(folder), graph_element_registration_context(_as_registry(collector)):
        for file in files:
            try:
                if file.suffix == ".sql":
                    collector.register_sql(file.read_text("utf-8"), file.relative_to(folder))
                else:
                    _run_source(file, folder, session)
            except DefinitionError as error:
                mistakes.append(error)
    if mistakes:
        raise DefinitionError.of(mistakes) from mistakes[0]
    return collector.declarations()


def _run_source(file: Path, folder: Path, session: SparkSession) -> None:
    from pyspark.pipelines.block_session_mutations import block_session_mutations

    spec: Any = importlib.util.spec_from_file_location(file.stem, file)
    module: Any = importlib.util.module_from_spec(spec)
    module.spark = session
    try:
        with block_session_mutations(), refused_actions():
            spec.loader.exec_module(module)
    except SoloLakehouseError:
        raise
    except Exception as error:
        place = error_place(error, file, folder)
        kind = "" if isinstance(error, ActionRefusedError) else f"{type(error).__name__}: "
        raise DefinitionError(f"{place}: {kind}{first_line(error)}") from error


def error_place(error: BaseException, file: Path, folder: Path) -> Place:
    """Return the last line of the project's own code on the way to an error."""
    if isinstance(error, SyntaxError) and error.filename:
        return Place(str(Path(error.filename).relative_to(folder)), error.lineno or 1)
    place = Place(str(file.relative_to(folder)), 1)
    trace = error.__traceback__
    while trace is not None:
        source = Path(trace.tb_frame.f_code.co_filename)
        if source.is_relative_to(folder):
            place = Place(str(source.relative_to(folder)), trace.tb_lineno)
        trace = trace.tb_next
    return place


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, which engines follow by a stack trace."""
    return engine_message(error)


@contextmanager
def _in_folder(folder: Path) -> Iterator[None]:
    before, path, bytecode = Path.cwd(), list(sys.path), sys.dont_write_bytecode
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path
        sys.dont_write_bytecode = bytecode


def _as_registry(collector: _Collector) -> GraphElementRegistry:
    from pyspark.pipelines.graph_element_registry import GraphElementRegistry

    GraphElementRegistry.register(type(collector))
    registry: Any = collector
    return registry  # type: ignore[no-any-return]


def _constrained(query: Query, constraints: Sequence[sql.Constraint]) -> Query:
    for constraint in reversed(constraints):
        decorate = _DECORATORS[constraint.action]
        query = decorate(constraint.name, constraint.condition)(query)
    return query


def _refuse_undecided(name: str, place: Place, properties: Mapping[str, str]) -> None:
    deterministic = properties.get(DETERMINISTIC, "true")
    if deterministic not in ("true", "false"):
        raise DefinitionError(
            f"{place}: the table property '{DETERMINISTIC}' of {name} is 'true' or 'false', "
            f"not {deterministic!r}."
        )


def _refuse_layout(output: Any, place: Place) -> None:
    asked = {
        "partition_cols": output.partition_cols,
        "cluster_by": output.cluster_by,
        "schema": output.schema,
        "format": None if output.format in (None, "delta") else output.format,
    }
    given = [name for name, value in asked.items() if value]
    if given:
        raise DefinitionError(f"{place}: {', '.join(given)} is not supported for {output.name}.")


def _words(class_name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in class_name).strip()
