"""What a declaration may not say, refused with its place."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from sololakehouse.config.table_name import TABLE_NAME
from sololakehouse.errors import DefinitionError
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines.declarations import (
    DETERMINISTIC,
    QUARANTINE,
    Declaration,
    DeclaredFlow,
    DeclaredOutput,
    Place,
    SourceContext,
)
from sololakehouse.pipelines.sql import condition_mistake
from sololakehouse.pipelines.sql_statements import Kind
from sololakehouse.pipelines.time_bound import TimeBound
from sololakehouse.quality import AnyExpectation, Expectation


def refuse_name(name: str, kind: Kind, place: Place, context: SourceContext) -> None:
    """Refuse what cannot be the name of a table or view here, or belongs to something else."""
    parts = name.split(".")
    if kind in ("temporary view", "sink"):
        if len(parts) > 1 and kind == "temporary view":
            raise DefinitionError(
                f"{place}: the temporary view {name!r} is no table, so its name has one part."
            )
        return
    if len(parts) == 3:
        raise DefinitionError(
            f"{place}: the name {name!r} has a catalog, and a lakehouse is one catalog. Write "
            f"{'.'.join(parts[1:])}."
        )
    if not re.match(TABLE_NAME, name):
        raise DefinitionError(
            f"{place}: {name!r} is no table name. Write schema.table, as in gold.sales: letters, "
            "digits and _."
        )
    if parts[0].lower() == "system":
        raise DefinitionError(
            f"{place}: {name} is in the schema 'system', which tells of runs. Take another schema."
        )
    if name in context.ingested:
        raise DefinitionError(
            f"{place}: {name} is filled by 'slh ingest', as lakehouse.yml says under 'sources'. "
            "Give this table another name."
        )


def refuse_layout(
    name: str, partition_cols: Sequence[str] | None, storage: str | None, place: Place
) -> None:
    """Refuse files of another layout than those of a lakehouse."""
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


def refuse_flows(name: str, kind: Kind, flows: Sequence[DeclaredFlow]) -> None:
    """Refuse a second flow where one is all, and two of one name."""
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


def refuse_values(
    name: str, comment: object, properties: Mapping[str, object], place: Place
) -> None:
    """Refuse a comment, and table properties, that are no text."""
    if not isinstance(comment, str | None):
        raise DefinitionError(f"{place}: the comment of {name} must be text, not {comment!r}.")
    for key, value in properties.items():
        if not isinstance(value, str):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            raise DefinitionError(
                f"{place}: the table property {key!r} of {name} must be text; write '{text}'."
            )


def refuse_undecided(name: str, place: Place, properties: Mapping[str, str]) -> None:
    """Refuse table properties that are neither 'true' nor 'false'."""
    for key in (DETERMINISTIC, QUARANTINE):
        said = properties.get(key, "true")
        if said not in ("true", "false"):
            raise DefinitionError(
                f"{place}: the table property '{key}' of {name} is 'true' or 'false', not {said!r}."
            )


def refuse_time_bound(name: str, output: DeclaredOutput) -> None:
    """Refuse a declared lookback that says too little, or stands on another kind of table."""
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


def refuse_contract(name: str, output: DeclaredOutput) -> None:
    """Refuse properties of a feature table that contradict each other."""
    try:
        FeatureContract.from_properties(output.properties)
    except DefinitionError as error:
        raise DefinitionError(f"{output.place}: {name}: {error}") from error


def refuse_expectations(
    declaration: Declaration, of_flows: Sequence[Sequence[AnyExpectation]]
) -> None:
    """Refuse expectations that cannot hold where they stand, and two of one name."""
    place = f"{declaration.place}: {declaration.name}"
    for found in declaration.expectations:
        mistake = found.mistake
        if mistake is None and isinstance(found, Expectation):
            mistake = condition_mistake(found.condition)
        if mistake:
            raise DefinitionError(f"{place}: the expectation {found.name!r} {mistake}.")
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
