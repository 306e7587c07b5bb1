"""The definitions of a revision against those that made the tables below a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sololakehouse.errors import SoloLakehouseError, shortened
from sololakehouse.features.recipe import TrainingSetSpec
from sololakehouse.features.udf import Functions
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.reference import parse_moment
from sololakehouse.pipelines.plan import Step, step_fingerprint
from sololakehouse.pipelines.run import prepare
from sololakehouse.pipelines.settings import AS_OF
from sololakehouse.provenance import CommitRecord
from sololakehouse.rebuild.checkout import Checkout
from sololakehouse.rebuild.links import Finding

DEFINITION = "definition"


def code_finding(
    lake: Lakehouse, taken: Checkout, tables: Mapping[str, CommitRecord], training_set: Snapshot
) -> Finding:
    """Say whether the definitions are those that made the tables and the functions' features.

    Parameters
    ----------
    lake
        A lakehouse of the definitions that sees the project's tables, see `scratch.reading_lake`.
    tables
        The commit records of all tables below the model, by name.
    """
    declared = {name: record for name, record in tables.items() if DEFINITION in record.details}
    try:
        changed = _changed_tables(lake, declared) + _changed_functions(lake, training_set)
    except SoloLakehouseError as error:
        said = f"{taken.said} They cannot be planned: {error}"
        return Finding("code", "differs", said, {"revision": taken.revision})
    figures = {"revision": taken.revision, "dirty": taken.dirty, "changed": changed}
    if changed:
        return Finding("code", "differs", f"{taken.said} {shortened(changed, 3)}.", figures)
    if taken.revision is None and not declared:
        return Finding("code", "not compared", taken.said, figures)
    made = f"They are those that made the {len(declared)} tables below." if declared else ""
    return Finding("code", "same", f"{taken.said} {made}".strip(), figures)


def _changed_tables(lake: Lakehouse, declared: Mapping[str, CommitRecord]) -> list[str]:
    if not declared:
        return []
    moments = recorded_moments(declared.values())
    as_of = parse_moment(moments[-1]) if moments else None
    with prepare(lake, as_of=as_of) as pipeline:
        steps = {step.name: step for step in pipeline.steps}
        comparable = {
            name: record
            for name, record in declared.items()
            if record.details.get(AS_OF) in (None, *moments[-1:])
        }
        found = [_changed(name, steps.get(name), one) for name, one in comparable.items()]
    return [one for one in found if one]


def _changed(name: str, step: Step | None, record: CommitRecord) -> str | None:
    if step is None:
        return f"{name} is not declared any more"
    node = step.node
    if record.details[DEFINITION] != node.definition:
        return f"{name} has another query ({node.declaration.place})"
    inputs = {one.table: one for one in record.inputs}
    if node.is_stream or record.fingerprint == step_fingerprint(node, inputs):
        return None
    return f"{name} has other expectations or properties ({node.declaration.place})"


def _changed_functions(lake: Lakehouse, training_set: Snapshot) -> list[str]:
    record = training_set.record
    if record is None or not record.details.get("functions"):
        return []
    recipe = TrainingSetSpec.model_validate(record.details["recipe"])
    now = Functions.load(lake.project, recipe.feature_functions).fingerprints
    was: Mapping[str, str] = record.details["functions"]
    return [f"the function {name} is another one" for name in was if was[name] != now.get(name)]


def recorded_moments(records: Iterable[CommitRecord]) -> list[str]:
    """Return the moments of runs that tables were computed with, each once, ascending."""
    return sorted({record.details[AS_OF] for record in records if AS_OF in record.details})
