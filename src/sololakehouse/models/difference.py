"""Two training runs side by side: only what differs, from what is registered of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from sololakehouse.errors import NotFoundError, SoloLakehouseError, UsageError, shortened
from sololakehouse.lake import Lakehouse
from sololakehouse.models.gates import training_set_of
from sololakehouse.models.versions import ModelVersion, all_registered, resolve


def find_run(lake: Lakehouse, reference: str) -> ModelVersion:
    """Return the registered run that a reference means.

    Parameters
    ----------
    reference
        MLflow's identifier of the run, or the beginning of it; or a model, as `NAME@3`.

    Raises
    ------
    NotFoundError
        There is no such run or model.
    UsageError
        Several runs begin so.
    """
    if "@" in reference or "/" in reference:
        return resolve(lake, reference)
    known = all_registered(lake)
    found = [one for one in known if one.mlflow_run_id.startswith(reference)]
    if not found:
        named = [f"{one.name}@{one.version}" for one in known if one.name == reference]
        if named:
            raise UsageError(f"{reference} is a model. Say which version: {shortened(named)}.")
        raise NotFoundError.of("run", reference, [one.mlflow_run_id for one in known])
    if len({one.mlflow_run_id for one in found}) > 1:
        runs = shortened(sorted({one.mlflow_run_id for one in found}))
        raise UsageError(f"Several runs begin with {reference!r}: {runs}. Write more of it.")
    return found[0]


def differences(lake: Lakehouse, one: ModelVersion, other: ModelVersion) -> list[dict[str, Any]]:
    """Return what differs between two runs, each as `what`, `one` and `other`.

    A metric is a mapping of `value`, `low` and `high`, its 95 % interval; a value that one of them
    lacks is None.
    """
    mine, theirs = (dict(_facts(lake, run)) for run in (one, other))
    return [
        {"what": what, "one": mine.get(what), "other": theirs.get(what)}
        for what in dict.fromkeys([*mine, *theirs])
        if not _equal(mine.get(what), theirs.get(what))
    ]


def _equal(one: Any, other: Any) -> bool:
    """Whether two JSON-like values are equal; NaN is equal to NaN.

    >>> _equal({"missing": float("nan")}, {"missing": float("nan")})
    True
    """
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _facts(lake: Lakehouse, run: ModelVersion) -> Iterator[tuple[str, Any]]:
    yield "experiment", run.experiment
    yield "role", run.role
    yield from _flat("config", run.record.get("config", {}))
    yield from _flat("model", _of_trainer(run.record.get("params", {})))
    yield from _data(lake, run)
    intervals = run.record.get("intervals", {})
    for name, value in run.metrics.items():
        low, high = intervals.get(name, (None, None))
        yield f"metrics.{name}", {"value": value, "low": low, "high": high}
    yield from _flat("confusion", run.record.get("confusion", {}))
    yield from _flat("environment", run.record.get("environment", {}))


def _of_trainer(params: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out parameters that only repeat the experiment's settings."""
    return {name: value for name, value in params.items() if not name.startswith("split.")}


def _data(lake: Lakehouse, run: ModelVersion) -> Iterator[tuple[str, Any]]:
    yield "data.training_set", f"{run.training_set}@v{run.training_set_version}"
    try:
        record = training_set_of(lake, run).record
    except SoloLakehouseError:
        return
    if record is None:
        return
    yield "data.digest", record.manifest.digest
    yield "data.rows", record.manifest.rows
    for source in sorted(record.inputs, key=lambda source: source.table):
        yield f"data.{source.table}", f"v{source.version}"
    yield "code revision", record.code_revision


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Walk down mappings: names are joined by dots."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(f"{prefix}.{name}", inner)
    else:
        yield prefix, value
