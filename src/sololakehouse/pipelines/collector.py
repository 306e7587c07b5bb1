"""Collects what source files declare: our registry behind `pyspark.pipelines`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import unwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.errors import DefinitionError, UsageError, suggestion
from sololakehouse.pipelines import sql
from sololakehouse.pipelines.branches import Branch
from sololakehouse.pipelines.change_flow import ChangeFlow
from sololakehouse.pipelines.declaration_checks import (
    refuse_contract,
    refuse_expectations,
    refuse_flows,
    refuse_layout,
    refuse_name,
    refuse_time_bound,
    refuse_undecided,
    refuse_values,
)
from sololakehouse.pipelines.declarations import (
    QUARANTINE,
    Declaration,
    Declared,
    DeclaredFlow,
    DeclaredOutput,
    Place,
    SourceContext,
)
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.pipelines.shape import Shape
from sololakehouse.pipelines.sinks import Sink
from sololakehouse.pipelines.source_text import SQL_TEXT
from sololakehouse.pipelines.sql_names import qualified, streams_renamed
from sololakehouse.pipelines.sql_statements import (
    Constraint,
    SqlDatabase,
    SqlDefinition,
    SqlFlow,
    SqlSetting,
    read_statement,
)
from sololakehouse.pipelines.streams import Flow, FlowUnion
from sololakehouse.pipelines.variables import marked, with_marks
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
    from pyspark.pipelines.output import Output
    from pyspark.sql import Column
    from pyspark.sql.connect.session import SparkSession

_DECORATORS = {"": expect, "DROP ROW": expect_or_drop, "FAIL UPDATE": expect_or_fail}


class Collector:
    """Collects outputs and flows; registered as a `GraphElementRegistry` of pyspark.

    What of the sources cannot be taken is kept, and they go on, so that all is said at once.
    """

    def __init__(self, context: SourceContext, session: SparkSession) -> None:
        self._context = context
        self._session = session
        self._outputs: dict[str, DeclaredOutput] = {}
        self._flows: list[DeclaredFlow] = []
        self._changes: list[tuple[ChangeFlow, Place]] = []
        self._refused: set[str] = set()
        self.asked: dict[str, set[str]] = {}
        self._mistakes: list[DefinitionError] = []
        self._given_up: set[str] = set()
        self._is_whole = True

    def register_output(self, output: Output) -> None:
        """Take a table, view or sink that a Python source declares."""
        with self._kept(output.name):
            self._take_output(output)

    def _take_output(self, output: Output) -> None:
        from pyspark.pipelines.output import MaterializedView, StreamingTable, TemporaryView
        from pyspark.pipelines.output import Sink as SparkSink

        place = self._place(output.source_code_location)
        if isinstance(output, TemporaryView):
            self._add(output.name, DeclaredOutput("temporary view", place, output.comment))
        elif isinstance(output, SparkSink):
            folder, warehouse = self._context.folder, self._context.warehouse
            with _at(place):
                sink = Sink.of(output.name, output.format, output.options, folder, warehouse)
            self._add(output.name, DeclaredOutput("sink", place, sink=sink))
        elif isinstance(output, MaterializedView | StreamingTable):
            streaming = isinstance(output, StreamingTable)
            refuse_layout(output.name, output.partition_cols, output.format, place)
            refuse_values(output.name, output.comment, output.table_properties, place)
            with _at(place):
                shape = Shape.of(output.schema, output.cluster_by or ())
            self._add(
                self._qualified(output.name),
                DeclaredOutput(
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
        """Take a query of a Python source."""
        place = self._place(flow.source_code_location)
        with self._kept():
            self._refuse_settings(flow.spark_conf, f"{place}: spark_conf of {flow.name}")
        stream = Flow(flow.name)
        query = stream.reading(flow.func)
        whole = self._qualified(flow.target)
        self._flows.append(DeclaredFlow(flow.target, whole, stream, query, place))

    def register_auto_cdc_flow(self, flow: AutoCdcFlow) -> None:
        """Take a flow of change data that keeps the newest state."""
        with self._kept(flow.target):
            self._add_changes(flow, 1)

    def register_history_flow(
        self,
        flow: AutoCdcFlow,
        track_history: Sequence[Column] | None,
        track_history_except: Sequence[Column] | None,
    ) -> None:
        """Take a flow of change data that keeps the history."""
        with self._kept(flow.target):
            self._add_changes(flow, 2, track_history, track_history_except)

    def register_sql(self, sql_text: str, file_path: Path) -> None:
        """Take what a SQL file declares."""
        text = self._with_values(sql_text, file_path)
        if text is None:
            return
        database = self._context.database
        for tokens in sql.statements_of(sql.tokens_of(text, str(file_path))):
            try:
                found = read_statement(text, tokens, str(file_path))
            except DefinitionError as error:
                self._mistakes.append(error)
                self._is_whole = False
                continue
            if isinstance(found, SqlDatabase):
                database = found.name
            else:
                name = found.name if isinstance(found, SqlDefinition) else None
                with self._kept(name, database):
                    self._take(found, Place(str(file_path), found.line), database)

    def _take(
        self, found: SqlDefinition | SqlFlow | SqlSetting, place: Place, database: str
    ) -> None:
        if isinstance(found, SqlSetting):
            self._refuse_settings({found.key: found.value}, f"{place}: SET")
        elif isinstance(found, SqlFlow):
            flow = Flow(found.name)
            query = self._sql_query(found.query, flow, database)
            whole = self._qualified(found.target, database)
            self._flows.append(DeclaredFlow(found.target, whole, flow, query, place))
        else:
            self._define(found, place, database)

    @contextmanager
    def _kept(self, name: str | None = None, database: str | None = None) -> Iterator[None]:
        """Keep a mistake; what stands under the name is left out, and echoes of it are not said."""
        try:
            yield
        except DefinitionError as error:
            self._mistakes.append(error)
            if name is not None:
                self._refused |= {name, self._qualified(name, database)}

    def _define(self, found: SqlDefinition, place: Place, database: str) -> None:
        is_view = found.kind == "temporary view"
        name = found.name if is_view else self._qualified(found.name, database)
        refuse_layout(name, found.partition_cols, found.format, place)
        with _at(place):
            shape = Shape.of(found.columns, found.cluster_by)
        self._add(
            name,
            DeclaredOutput(
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
            self._flows.append(DeclaredFlow(name, name, flow, query, place))

    def _with_values(self, text: str, file: Path) -> str | None:
        """Replace variables; None if one has no value, which is a mistake unless in a comment."""
        text, errors = with_marks(text, lambda key: self._session.conf.get(key, None))
        mistakes = []
        for token in sql.tokens_of(text, str(file)) if errors else ():
            number = marked(token.text)
            if number is not None:
                set_here = f"SET {errors[number].name}".lower() in text.lower()
                why = " SET does not: it holds for queries, not for their text." * set_here
                mistakes.append(DefinitionError(f"{file}:{token.line}: {errors[number]}{why}"))
        for mistake in mistakes:
            self.give_up(str(file), mistake)
        return None if mistakes else text

    def _refuse_settings(self, settings: Mapping[str, str], where: str) -> None:
        refusal = self._context.settings.refusal(settings)
        if refusal:
            raise DefinitionError(f"{where}: {refusal}")

    def give_up(self, file: str, mistake: DefinitionError) -> None:
        """Leave out what a file declares that could not be read to its end."""
        self._mistakes.append(mistake)
        self._given_up.add(file)
        self._is_whole = False

    def declared(self) -> Declared:
        """Return what was declared, and the mistakes."""
        declarations = self._declarations()
        refused = frozenset(self._refused | (self._outputs.keys() - declarations.keys()))
        return Declared(declarations, tuple(self._mistakes), refused, self._is_whole)

    def _declarations(self) -> dict[str, Declaration]:
        changes = self._read_changes()
        flows = self._flows_by_target()
        declared = {}
        for name, output in self._outputs.items():
            places = [output.place, *(named.place for named in flows.get(name, ()))]
            if name in self._refused or any(place.file in self._given_up for place in places):
                continue
            if name not in flows and not self._is_whole:
                continue
            with self._kept():
                if name not in flows:
                    raise DefinitionError(
                        f"{output.place}: no flow fills the {output.kind} {name}. Add one with "
                        "@dp.append_flow(target=...) or CREATE FLOW, or a query after AS."
                    )
                declared[name] = self._declaration(name, output, flows[name], changes.get(name))
        return declared

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
            source = self._outputs.get(given.source)
            if view and source and source.kind == "temporary view":
                changes = given.over(view.query, view.flow.streams)
                views.add(given.source)
            found[changes.target] = changes
            query = partial(changes.rows, self._session)
            target = changes.target
            self._flows.append(DeclaredFlow(target, target, changes.flow, query, place))
        self._flows = [named for named in self._flows if named.target not in views]
        for name in views:
            del self._outputs[name]
        return found

    def _flows_by_target(self) -> dict[str, list[DeclaredFlow]]:
        flows: dict[str, list[DeclaredFlow]] = {}
        for named in self._flows:
            target = named.target if named.target in self._outputs else named.qualified
            if target in self._outputs:
                flows.setdefault(target, []).append(named)
            elif self._is_whole and named.target not in self._refused:
                hint = suggestion(target, self._outputs, "table")
                self._mistakes.append(
                    DefinitionError(
                        f"{named.place}: the flow's target {target!r} is not defined. {hint}"
                    )
                )
        return flows

    def _declaration(
        self,
        name: str,
        output: DeclaredOutput,
        flows: Sequence[DeclaredFlow],
        changes: ChangeFlow | None,
    ) -> Declaration:
        if changes is not None:
            changes.refuse_target(output.kind, [str(named.place) for named in flows])
        refuse_flows(name, output.kind, flows)
        refuse_undecided(name, output.place, output.properties)
        refuse_time_bound(name, output)
        refuse_contract(name, output)
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
            is_sql=all(hasattr(unwrap(query), SQL_TEXT) for query in queries),
        )
        refuse_expectations(declaration, of_flows)
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
            query = streams_renamed(text, lambda table: flow.alias(named(table)))
            return self._session.sql(query if database == usual else qualified(query, named))

        vars(frame)[SQL_TEXT] = text
        return frame

    def _add(self, name: str, output: DeclaredOutput) -> None:
        refuse_name(name, output.kind, output.place, self._context)
        like = {known.lower(): known for known in self._outputs}.get(name.lower(), name)
        if like != name:
            raise DefinitionError(
                f"{output.place}: {name} and {like} at {self._outputs[like].place} differ in upper "
                "and lower case only, and are one name for Apache Spark. Rename one."
            )
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


def _constrained(query: Query, constraints: Sequence[Constraint]) -> Query:
    for constraint in reversed(constraints):
        decorate = _DECORATORS[constraint.action]
        query = decorate(constraint.name, constraint.condition)(query)
    return query


def _of_rows(expectations: Sequence[AnyExpectation]) -> tuple[Expectation, ...]:
    return tuple(e for e in expectations if isinstance(e, Expectation))


@contextmanager
def _at(place: Place) -> Iterator[None]:
    """Say the place of what is declared wrongly."""
    try:
        yield
    except UsageError as error:
        raise DefinitionError(f"{place}: {error}") from error


def _words(class_name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in class_name).strip()
