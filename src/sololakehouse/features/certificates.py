"""What a replay vouched for: read from `system.replays`, and held against the definitions now."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from sololakehouse.errors import SoloLakehouseError
from sololakehouse.features.recipe import Recipe, TrainingSetSpec
from sololakehouse.lake import Lakehouse, Snapshot
from sololakehouse.lake.definition import Definition
from sololakehouse.pipelines import sql
from sololakehouse.provenance import CommitRecord, TableVersion, fingerprint

REPLAYS = "system.replays"
Verdict = Literal["clean", "leaks", "not covered", "not deterministic"]


@dataclass(frozen=True)
class Certificate:
    """What a replay found of a training set whose definitions are still the same.

    Attributes
    ----------
    verdict
        `clean`: at all cutoffs its rows and features were the same without what came later.
    cutoffs
        The moments that were gone back to, in UTC.
    modes
        `truncate`, `perturb`.
    leaking
        Columns that leak, as `table.column`.
    uncovered
        Why it is vouched for only in part; None if all of its sources were covered.
    steps
        Fingerprints of what leads to the training set, by table.
    """

    replay_id: str
    replayed_at: datetime
    verdict: Verdict
    cutoffs: tuple[datetime, ...]
    modes: tuple[str, ...]
    rows_compared: int
    leaking: tuple[str, ...]
    uncovered: str | None
    steps: Mapping[str, str]

    @property
    def is_clean(self) -> bool:
        """Whether everything was covered, and nothing leaked."""
        return self.verdict == "clean"


def certificate_of(lake: Lakehouse, training_set: Snapshot) -> Certificate | None:
    """Return the certificate that counts for a training set; None if there is none.

    It is the newest one that shows a leak, or else the newest: fewer cutoffs, or a gentler mode, do
    not take back what was seen under the same definitions.

    It counts if every definition that leads to this version of the training set, its recipe, its
    functions and the declarations of its sources are those that were replayed. New rows under the
    same definitions do not make it void.

    Parameters
    ----------
    training_set
        A saved training set at one of its versions.
    """
    import polars as pl

    if not lake.exists(REPLAYS):
        return None
    rows = lake.read(REPLAYS).scan().filter(pl.col("table_name") == training_set.name)
    now = steps_of_training_set(lake, training_set)
    newest_first = rows.sort("replayed_at", descending=True).collect()
    found = [
        _certificate(row)
        for row in newest_first.iter_rows(named=True)
        if json.loads(row["steps"]) == now
    ]
    leaks = (one for one in found if one.verdict == "leaks")
    return next(leaks, found[0] if found else None)


def steps_of_training_set(lake: Lakehouse, training_set: Snapshot) -> dict[str, str]:
    """Return the fingerprints of all that a saved training set comes from, by table.

    Tables that are gone, and versions without a record, count as `unknown`.
    """
    record = training_set.record
    if record is None or "recipe" not in record.details:
        return {training_set.name: "unknown"}
    recipe = TrainingSetSpec.model_validate(record.details["recipe"])
    functions = record.details.get("functions", {})
    steps = _definitions(lake, record.inputs)
    return {training_set.name: recipe_mark(recipe, functions), **steps}


def recipe_mark(recipe: TrainingSetSpec, functions: Mapping[str, str]) -> str:
    """Hash what a recipe says, whatever versions of the tables it reads."""
    rules = recipe.model_dump(mode="json", include={*Recipe.model_fields, "labels"})
    return fingerprint(rules, dict(functions))


def definitions_before(lake: Lakehouse, tables: Iterable[str]) -> dict[str, str]:
    """Return the fingerprints of the definitions that lead to the newest versions of tables."""
    newest = [lake.newest(table) for table in tables]
    return _definitions(lake, [snapshot.table_version for snapshot in newest if snapshot])


def _definitions(lake: Lakehouse, inputs: Iterable[TableVersion]) -> dict[str, str]:
    found: dict[str, str] = {}
    waiting = list(inputs)
    seen = set()
    while waiting:
        source = waiting.pop()
        if source.content in seen:
            continue
        seen.add(source.content)
        record = _record(lake, source)
        mark = _definition(lake, source.table, record)
        known = found.setdefault(source.table, mark)
        if known != mark:
            found[source.table] = fingerprint(*sorted([known, mark]))
        waiting += record.inputs if record else ()
        waiting += _dated_by(lake, source.table)
    return dict(sorted(found.items()))


def _dated_by(lake: Lakehouse, table: str) -> list[TableVersion]:
    """Return the tables that say when the rows of a source were known."""
    knowledge = lake.project.settings.known_at.get(table)
    if knowledge is None or knowledge.source is None:
        return []
    names = sql.tables_in(knowledge.source, "lakehouse.yml: known_at") - {table}
    return [newest.table_version for name in sorted(names) if (newest := lake.newest(name))]


def _record(lake: Lakehouse, source: TableVersion) -> CommitRecord | None:
    try:
        snapshot = lake.read(source.table, source.version)
    except SoloLakehouseError:
        return None
    return snapshot.record if snapshot.table_id == source.table_id else None


def _definition(lake: Lakehouse, table: str, record: CommitRecord | None) -> str:
    """Return what stands for how a table is made: its query, or when its rows were known."""
    if record is not None:
        kept = Definition.kept(record)
        if kept is not None and "definition" in record.details:
            return kept.fingerprint
        if "definition" in record.details:
            return str(record.details["definition"])
    knowledge = lake.project.settings.known_at.get(table)
    if knowledge is not None:
        return fingerprint("known_at", knowledge.model_dump(mode="json"))
    return "not declared" if record is not None else "unknown"


def _certificate(row: Mapping[str, Any]) -> Certificate:
    return Certificate(
        replay_id=row["replay_id"],
        replayed_at=row["replayed_at"].astimezone(UTC),
        verdict=row["verdict"],
        cutoffs=tuple(moment.astimezone(UTC) for moment in row["cutoffs"]),
        modes=tuple(row["modes"]),
        rows_compared=row["rows_compared"],
        leaking=tuple(row["leaking"]),
        uncovered=row["uncovered"],
        steps=json.loads(row["steps"]),
    )
