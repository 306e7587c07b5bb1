"""What a declaration may not say, refused with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sololakehouse.errors import DefinitionError
from sololakehouse.lake.contract import FeatureContract
from sololakehouse.pipelines.declarations import (
    DETERMINISTIC,
    QUARANTINE,
    Declaration,
    DeclaredFlow,
    DeclaredOutput,
    Place,
)
from sololakehouse.pipelines.sql_statements import Kind
from sololakehouse.pipelines.time_bound import TimeBound
from sololakehouse.quality import AnyExpectation


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
