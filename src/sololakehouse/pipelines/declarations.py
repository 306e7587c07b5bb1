"""What a pipeline's source files declare: our registry behind `pyspark.pipelines`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.engine import engine_message
from sololakehouse.errors import DefinitionError, SoloLakehouseError, UsageError, suggestion
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.branches import Branch
from sololakehouse.pipelines.change_flow import ChangeFlow, scd_type_hint
from sololakehouse.pipelines.quarantine import quarantine_of
from sololakehouse.pipelines.refused_actions import ActionRefusedError, refused_actions
from sololakehouse.pipelines.settings import AS_OF, PipelineSettings, keys_read
from sololakehouse.pipelines.shape import Shape
from sololakehouse.pipelines.sinks import Sink
from sololakehouse.pipelines.source_text import SQL_TEXT
from sololakehouse.pipelines.streams import Flow, FlowUnion
from sololakehouse.pipelines.time_bound import TimeBound
from sololakehouse.pipelines.variables import VariableError, marked, with_marks
from sololakehouse.quality import (
    AnyExpectation,
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
    from pyspark.sql import Column
    from pyspark.sql.connect.session import SparkSession

DETERMINISTIC = "pipelines.deterministic"
QUARANTINE = "pipelines.quarantine"
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

    `query` gives the rows as they are stored, `branches` those of each flow before
    `expect_or_drop`. `flows` are the queries that it consists of: one, but for a streaming table
    or a sink.

    Attributes
    ----------
    shape
        The columns that the rows must have, and how the files are sorted.
    sink
        Where the rows go, if they leave the lakehouse.
    asks_moment
        Whether its source file asked for the moment of the run while it was loaded.
    changes
        The flow of change data that fills it, if one does.
    """

    name: str
    kind: sql.Kind
    place: Place
    query: Query
    branches: tuple[Branch, ...]
    flows: tuple[Flow, ...]
    comment: str | None
    properties: Mapping[str, str]
    expectations: tuple[AnyExpectation, ...]
    shape: Shape = field(default_factory=Shape)
    sink: Sink | None = None
    asks_moment: bool = False
    changes: ChangeFlow | None = None

    @property
    def streams(self) -> dict[str, str]:
        """What the flows read as streams: alias to table, complete once `query` was called."""
        return {alias: table for flow in self.flows for alias, table in flow.streams.items()}

    @property
    def time_bound(self) -> TimeBound | None:
        """How far back the rows look, if the table properties declare it."""
        return TimeBound.from_properties(self.properties)

    @property
    def deterministic(self) -> bool:
        """Whether the same inputs must give the same rows; what the table property says."""
        return self.properties.get(DETERMINISTIC, "true") == "true"

    @property
    def quarantine(self) -> str | None:
        """The table that keeps the rows which expectations drop; None if they are not kept."""
        wanted = self.properties.get(QUARANTINE, "false") == "true"
        return quarantine_of(self.name) if wanted else None


@dataclass(frozen=True)
class SourceContext:
    """What source files are read with: folders, the schema of names without one, settings."""

    folder: Path
    warehouse: Path
    database: str
    settings: PipelineSettings


@dataclass(frozen=True)
class _Output:
    kind: sql.Kind
    place: Place
    comment: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    shape: Shape = field(default_factory=Shape)
    sink: Sink | None = None
    constraints: tuple[sql.Constraint, ...] = ()


@dataclass(frozen=True)
class _NamedFlow:
    """A flow with the name of its target: as it is written, and with a schema."""

    target: str
    qualified: str
    flow: Flow
    query: Query
    place: Place


class _Collector:
    """Collects outputs and flows; registered as a `GraphElementRegistry` of pyspark."""

    def __init__(self, context: SourceContext, session: SparkSession) -> None:
        self._context = context
        self._session = session
        self._outputs: dict[str, _Output] = {}
        self._flows: list[_NamedFlow] = []
        self._changes: list[tuple[ChangeFlow, Place]] = []
        self.asked: dict[str, set[str]] = {}

    def register_output(self, output: Output) -> None:
        from pyspark.pipelines.output import MaterializedView, StreamingTable, TemporaryView
        from pyspark.pipelines.output import Sink as SparkSink

        place = self._place(output.source_code_location)
        if isinstance(output, TemporaryView):
            self._add(output.name, _Output("temporary view", place, output.comment))
        elif isinstance(output, SparkSink):
            folder, warehouse = self._context.folder, self._context.warehouse
            with _at(place):
                sink = Sink.of(output.name, output.format, output.options, folder, warehouse)
            self._add(output.name, _Output("sink", place, sink=sink))
        elif isinstance(output, MaterializedView | StreamingTable):
            streaming = isinstance(output, StreamingTable)
            _refuse_layout(output.name, output.partition_cols, output.format, place)
            with _at(place):
                shape = Shape.of(output.schema, output.cluster_by or ())
            self._add(
                self._qualified(output.name),
                _Output(
                    "streaming table" if streaming else "materialized view",
                    place,
                    output.comment,
                    dict(output.table_properties),
                    shape,
                ),
            )
        else:
            raise DefinitionError(
                f"{place}: {output.name} is a {_words(type(output).__name__)}, which is not "
                "supported. Supported: @dp.materialized_view, @dp.table, dp.create_streaming_table "
                "and @dp.temporary_view."
            )

    def register_flow(self, flow: SparkFlow) -> None:
        place = self._place(flow.source_code_location)
        self._refuse_settings(flow.spark_conf, f"{place}: spark_conf of {flow.name}")
        stream = Flow(flow.name)
        query = stream.reading(flow.func)
        qualified = self._qualified(flow.target)
        self._flows.append(_NamedFlow(flow.target, qualified, stream, query, place))

    def register_auto_cdc_flow(self, flow: AutoCdcFlow) -> None:
        self._add_changes(flow, 1)

    def register_history_flow(
        self,
        flow: AutoCdcFlow,
        track_history: Sequence[Column] | None,
        track_history_except: Sequence[Column] | None,
    ) -> None:
        self._add_changes(flow, 2, track_history, track_history_except)

    def register_sql(self, sql_text: str, file_path: Path) -> None:
        text = self._with_values(sql_text, file_path)
        database = self._context.database
        for found in sql.definitions(text, str(file_path)):
            place = Place(str(file_path), found.line)
            if isinstance(found, sql.SqlDatabase):
                database = found.name
            elif isinstance(found, sql.SqlSetting):
                self._refuse_settings({found.key: found.value}, f"{place}: SET")
            elif isinstance(found, sql.SqlFlow):
                flow = Flow(found.name)
                query = self._sql_query(found.query, flow, database)
                qualified = self._qualified(found.target, database)
                self._flows.append(_NamedFlow(found.target, qualified, flow, query, place))
            else:
                self._define(found, place, database)

    def _define(self, found: sql.SqlDefinition, place: Place, database: str) -> None:
        is_view = found.kind == "temporary view"
        name = found.name if is_view else self._qualified(found.name, database)
        _refuse_layout(name, found.partition_cols, found.format, place)
        with _at(place):
            shape = Shape.of(found.columns, found.cluster_by)
        self._add(
            name,
            _Output(
                found.kind,
                place,
                found.comment,
                found.properties,
                shape,
                constraints=found.constraints,
            ),
        )
        if found.query is not None:
            flow = Flow(found.name)
            query = self._sql_query(found.query, flow, database)
            self._flows.append(_NamedFlow(name, name, flow, query, place))

    def _with_values(self, text: str, file: Path) -> str:
        """Replace variables; one without a value is a mistake, unless it is in a comment."""
        text, errors = with_marks(text, lambda key: self._session.conf.get(key, None))
        mistakes = []
        for token in sql.tokens_of(text, str(file)) if errors else ():
            number = marked(token.text)
            if number is not None:
                set_here = f"SET {errors[number].name}".lower() in text.lower()
                why = " SET does not: it holds for queries, not for their text." * set_here
                mistakes.append(DefinitionError(f"{file}:{token.line}: {errors[number]}{why}"))
        if mistakes:
            raise DefinitionError.of(mistakes)
        return text

    def _refuse_settings(self, settings: Mapping[str, str], where: str) -> None:
        refusal = self._context.settings.refusal(settings)
        if refusal:
            raise DefinitionError(f"{where}: {refusal}")

    def declarations(self) -> dict[str, Declaration]:
        changes = self._read_changes()
        flows = self._flows_by_target()
        for name, output in self._outputs.items():
            if name not in flows:
                raise DefinitionError(
                    f"{output.place}: no flow fills the {output.kind} {name}. Add one with "
                    "@dp.append_flow(target=...) or CREATE FLOW, or a query after AS."
                )
        return {
            name: self._declaration(name, output, flows[name], changes.get(name))
            for name, output in self._outputs.items()
        }

    def _add_changes(
        self,
        flow: AutoCdcFlow,
        scd_type: Literal[1, 2],
        track_history: Sequence[Column] | None = None,
        track_history_except: Sequence[Column] | None = None,
    ) -> None:
        place = self._place(flow.source_code_location)
        target = self._qualified(flow.target)
        changes = ChangeFlow(
            flow=Flow(flow.name or target),
            target=target,
            source=flow.source,
            keys=flow.keys,
            sequence_by=flow.sequence_by,
            apply_as_deletes=flow.apply_as_deletes,
            column_list=flow.column_list,
            except_column_list=flow.except_column_list,
            scd_type=scd_type,
            place=str(place),
            track_history=track_history,
            track_history_except=track_history_except,
        )
        self._changes.append((changes, place))

    def _read_changes(self) -> dict[str, ChangeFlow]:
        """Add the flows of change data; a temporary view that one reads becomes part of it."""
        found, views = {}, set()
        for given, place in self._changes:
            changes = given
            view = next((named for named in self._flows if named.target == given.source), None)
            if view and self._outputs[given.source].kind == "temporary view":
                changes = given.over(view.query, view.flow.streams)
                views.add(given.source)
            found[changes.target] = changes
            query = partial(changes.rows, self._session)
            target = changes.target
            self._flows.append(_NamedFlow(target, target, changes.flow, query, place))
        self._flows = [named for named in self._flows if named.target not in views]
        for name in views:
            del self._outputs[name]
        return found

    def _flows_by_target(self) -> dict[str, list[_NamedFlow]]:
        flows: dict[str, list[_NamedFlow]] = {}
        for named in self._flows:
            target = named.target if named.target in self._outputs else named.qualified
            if target not in self._outputs:
                hint = suggestion(target, self._outputs, "table")
                raise DefinitionError(
                    f"{named.place}: the flow's target {target!r} is not defined. {hint}"
                )
            flows.setdefault(target, []).append(named)
        return flows

    def _declaration(
        self,
        name: str,
        output: _Output,
        flows: Sequence[_NamedFlow],
        changes: ChangeFlow | None,
    ) -> Declaration:
        if changes is not None:
            changes.refuse_target(output.kind, [str(named.place) for named in flows])
        _refuse_flows(name, output.kind, flows)
        _refuse_undecided(name, output.place, output.properties)
        _refuse_time_bound(name, output)
        _refuse_contract(name, output)
        queries = [_constrained(named.query, output.constraints) for named in flows]
        union = FlowUnion(
            tuple((named.flow, query) for named, query in zip(flows, queries, strict=True))
        )
        of_table = expectations_in(output.properties, str(output.place))
        of_table = (*of_table, *output.shape.expectations)
        of_flows = [(*expectations_of(query), *of_table) for query in queries]
        declaration = Declaration(
            name=name,
            kind=output.kind,
            place=output.place,
            query=union,
            branches=tuple(
                Branch(unfiltered(query), _of_rows(expectations))
                for query, expectations in zip(queries, of_flows, strict=True)
            ),
            flows=union.flows,
            comment=output.comment,
            properties=without_expectations(output.properties),
            expectations=tuple(dict.fromkeys(found for one in of_flows for found in one)),
            shape=output.shape,
            sink=output.sink,
            asks_moment=any(AS_OF in self.asked.get(named.place.file, ()) for named in flows),
            changes=changes,
        )
        _refuse_expectations(declaration, of_flows)
        self._refuse_quarantine(declaration)
        return declaration

    def _refuse_quarantine(self, declaration: Declaration) -> None:
        kept = declaration.quarantine
        place = f"{declaration.place}: the table property '{QUARANTINE}' of {declaration.name}"
        if kept and not any(branch.dropping for branch in declaration.branches):
            raise DefinitionError(
                f"{place} is 'true', but none of its expectations drops rows. Write one with "
                "expect_or_drop, or remove the property."
            )
        if kept in self._outputs:
            raise DefinitionError(
                f"{place} is 'true', but {kept} is defined at {self._outputs[str(kept)].place}. "
                "Give that table another name."
            )

    def _sql_query(self, text: str, flow: Flow, database: str) -> Query:
        settings, usual = self._context.settings, self._context.database

        def named(table: str) -> str:
            known = table in self._outputs or table in flow.streams or database == usual
            return table if known else self._qualified(table, database)

        def frame() -> Any:
            if settings.as_of in text:
                self._session.conf.get(AS_OF)
            query = sql.streams_renamed(text, lambda table: flow.alias(named(table)))
            return self._session.sql(query if database == usual else sql.qualified(query, named))

        vars(frame)[SQL_TEXT] = text
        return frame

    def _add(self, name: str, output: _Output) -> None:
        if name in self._outputs:
            first = self._outputs[name].place
            raise DefinitionError(
                f"{name} is defined twice: at {first} and at {output.place}. Keep one definition, "
                "or give one of them another name."
            )
        self._outputs[name] = output

    def _qualified(self, name: str, database: str | None = None) -> str:
        return name if "." in name else f"{database or self._context.database}.{name}"

    def _place(self, location: Any) -> Place:
        file, folder = Path(location.filename), self._context.folder
        near = file.relative_to(folder) if file.is_relative_to(folder) else file
        return Place(str(near), location.line_number or 0)


def collect(
    files: Iterator[Path], context: SourceContext, session: SparkSession
) -> dict[str, Declaration]:
    """Run the source files and return what they declare, by qualified name.

    A name without a schema is in the spec's database; a temporary view or a sink has a one-part
    name.

    Raises
    ------
    DefinitionError
        A file cannot be run, or declares something twice or something unsupported.
    """
    from pyspark.pipelines.graph_element_registry import graph_element_registration_context

    folder = context.folder
    collector = _Collector(context, session)
    mistakes = []
    with _in_folder(folder), graph_element_registration_context(_as_registry(collector)):
        for file in files:
            near = file.relative_to(folder)
            try:
                if file.suffix == ".sql":
                    collector.register_sql(file.read_text("utf-8"), near)
                else:
                    with keys_read() as asked:
                        collector.asked[str(near)] = asked
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
        with block_session_mutations(), refused_actions(), _uncompiled():
            spec.loader.exec_module(module)
    except DefinitionError:
        raise
    except UsageError as error:
        raise DefinitionError(f"{error_place(error, file, folder)}: {error}") from error
    except SoloLakehouseError:
        raise
    except Exception as error:
        place = error_place(error, file, folder)
        ours = isinstance(error, ActionRefusedError | VariableError)
        kind = "" if ours else f"{type(error).__name__}: "
        said = scd_type_hint(error) or f"{kind}{first_line(error)}"
        raise DefinitionError(f"{place}: {said}") from error


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
    before, path = Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        os.chdir(before)
        sys.path[:] = path


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Leave no compiled modules beside the project's sources.

    Only while these are run: a library that is imported meanwhile is compiled again each time.
    """
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = before


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
    for key in (DETERMINISTIC, QUARANTINE):
        said = properties.get(key, "true")
        if said not in ("true", "false"):
            raise DefinitionError(
                f"{place}: the table property '{key}' of {name} is 'true' or 'false', not {said!r}."
            )


def _of_rows(expectations: Sequence[AnyExpectation]) -> tuple[Expectation, ...]:
    return tuple(e for e in expectations if isinstance(e, Expectation))


def _refuse_expectations(
    declaration: Declaration, of_flows: Sequence[Sequence[AnyExpectation]]
) -> None:
    place = f"{declaration.place}: {declaration.name}"
    for found in declaration.expectations:
        if found.mistake:
            raise DefinitionError(f"{place}: the expectation {found.name!r} {found.mistake}.")
        if declaration.changes and found.action == "drop":
            raise DefinitionError(
                f"{place}: the expectation {found.name!r} drops rows, and change data needs every "
                "event. Put it on a temporary view, and let the flow read that."
            )
        if declaration.kind == "temporary view" and found.action != "drop":
            raise DefinitionError(
                f"{place}: the expectation {found.name!r} stands on a temporary view, which is "
                "computed where it is read, so nothing would check it. Put it on the table that "
                "reads the view."
            )
    for group in (declaration.expectations, *of_flows):
        names = [found.name for found in group]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise DefinitionError(
                f"{place} has two expectations of the name {twice[0]!r}. Rename one."
            )


def _refuse_time_bound(name: str, output: _Output) -> None:
    try:
        bound = TimeBound.from_properties(output.properties)
    except DefinitionError as error:
        raise DefinitionError(f"{output.place}: {name}: {error}") from error
    if bound is not None and output.kind != "materialized view":
        raise DefinitionError(
            f"{output.place}: {name} is a {output.kind}; the table properties 'pipelines."
            "incremental.*' are for materialized views. A streaming table takes only new rows by "
            "itself."
        )


def _refuse_contract(name: str, output: _Output) -> None:
    try:
        FeatureContract.from_properties(output.properties)
    except DefinitionError as error:
        raise DefinitionError(f"{output.place}: {name}: {error}") from error


def _refuse_layout(
    name: str, partition_cols: Sequence[str] | None, storage: str | None, place: Place
) -> None:
    if partition_cols:
        raise DefinitionError(
            f"{place}: partition_cols of {name} is not supported: the files of a table here are "
            f"not partitioned. Write cluster_by={list(partition_cols)} to sort them by these "
            "columns; the rows are the same."
        )
    if storage not in (None, "delta"):
        raise DefinitionError(
            f"{place}: {name} cannot have the format {storage!r}: every table of a lakehouse is a "
            "Delta table. Leave the format out, or write rows to files with dp.create_sink."
        )


def _refuse_flows(name: str, kind: sql.Kind, flows: Sequence[_NamedFlow]) -> None:
    if kind not in ("streaming table", "sink") and len(flows) > 1:
        raise DefinitionError(
            f"{flows[1].place}: {name} has a second flow; a {kind} has exactly one."
        )
    names = [named.flow.name for named in flows]
    for named in flows:
        if names.count(named.flow.name) > 1:
            raise DefinitionError(
                f"{named.place}: {name} has two flows of the name {named.flow.name!r}. Rename one."
            )


@contextmanager
def _at(place: Place) -> Iterator[None]:
    """Say the place of what is declared wrongly."""
    try:
        yield
    except UsageError as error:
        raise DefinitionError(f"{place}: {error}") from error


def _words(class_name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in class_name).strip()
