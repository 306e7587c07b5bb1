"""The definition of a step's table, with its text, as its commits keep it."""

from __future__ import annotations

from collections.abc import Iterator

from sololakehouse.lake.definition import Definition
from sololakehouse.pipelines.declarations import Declaration
from sololakehouse.pipelines.plan import Step
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.pipelines.source_text import source_text
from sololakehouse.provenance import fingerprint


def definition_of(step: Step) -> Definition:
    """Return code and policy of a step's table; the query must have been analysed."""
    node, declaration = step.node, step.node.declaration
    policies = [expectation.policy for expectation in declaration.expectations]
    columns = node.column_types()
    text = "\n".join(_query_lines(step))
    return Definition(
        fingerprint=fingerprint(node.code, policies, dict(declaration.properties), columns),
        query=text.replace(node.as_of, f"${{{AS_OF}}}") if node.as_of else text,
        expectations=tuple(
            f"{one.action} {one.name}: {one.condition}" for one in declaration.expectations
        ),
        properties=declaration.properties,
        columns=columns,
    )


def _query_lines(step: Step) -> Iterator[str]:
    yield from _own_lines(step.node.declaration)
    for name, view in step.views.items():
        yield f"view {name}"
        yield from (f"  {line}" for line in _own_lines(view.declaration))


def _own_lines(declaration: Declaration) -> Iterator[str]:
    changes = declaration.changes
    if changes is not None:
        yield from (f"{argument} = {given}" for argument, given in changes.arguments.items())
        yield from source_text(changes.view).splitlines() if changes.view else ()
        return
    for flow, branch in zip(declaration.flows, declaration.branches, strict=True):
        if len(declaration.flows) > 1:
            yield f"flow {flow.name}"
        yield from source_text(branch.query).splitlines()
    if declaration.shape.cluster_by:
        yield f"cluster by {', '.join(declaration.shape.cluster_by)}"
