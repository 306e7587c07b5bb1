"""The one error tree.

SoloLakehouseError
├── UsageError                 what was asked for or declared is wrong: exit code 2
│   ├── ConfigError            lakehouse.yml, spark-pipeline.yml, an experiment file
│   ├── NotFoundError          a table, column, model or metric that does not exist
│   ├── DefinitionError        a pipeline source: cycle, two definitions, no DataFrame, bad SQL
│   ├── RedefinitionError      a feature table that is used would get another definition
│   ├── FeatureLookupError     a lookup that cannot be joined: types, names, time zones
│   ├── FeatureFunctionError   a function that is not found, not typed or does not fit its columns
│   └── RequestError           a request to the server of a model: fields, types, names
└── RunError                   a run met data or a condition that it cannot work with: exit code 1
    ├── BusyError              another process is at work in the project
    ├── EngineError            a Spark Connect server that cannot be reached or used
    ├── IngestError            a landing file that does not fit its source
    ├── RewrittenError         a stream whose table did not only grow
    ├── ChangeDataError        change data that no key or order can be told of
    ├── StepError              a pipeline step that the engine could not execute
    ├── ExpectationError       rows that violate an `expect_or_fail`
    ├── FeatureTableError      a feature table whose keys are not unique or not set
    ├── FunctionFailedError    a feature function that failed on a row
    ├── GateError              a model version that gates keep out of production
    ├── UnreachableError       an MLflow server that does not answer
    ├── RunFailedError         several steps of one run failed, each with an error of its own
    └── TrainingError          labels or a split that nothing can be learned from

The command line catches `SoloLakehouseError` once, prints its message and ends with its exit code.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar


class SoloLakehouseError(Exception):
    """Base of every error that a person can do something about."""

    exit_code: ClassVar[int] = 1


class UsageError(SoloLakehouseError):
    """What was asked for or declared is wrong; nothing was run."""

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A configuration file is missing or does not validate."""

    @classmethod
    def missing_file(cls, name: str, folder: Path, hint: str) -> ConfigError:
        """No file `name` in `folder` or any folder above it."""
        return cls(f"No {name} in {folder} or any folder above it. {hint}")


class NotFoundError(UsageError):
    """A name that does not exist, with the names that do."""

    @classmethod
    def of(
        cls, kind: str, name: str, candidates: Iterable[str], where: str | None = None
    ) -> NotFoundError:
        """Say that `name` is no `kind`, and what the person may have meant.

        Examples
        --------
        >>> str(NotFoundError.of("table", "silver.flihgts", ["silver.flights", "silver.planes"]))
        "No table 'silver.flihgts'. Did you mean 'silver.flights'? Tables: silver.flights, \
silver.planes."
        """
        place = f"{where}: " if where else ""
        return cls(f"{place}No {kind} {name!r}. {suggestion(name, candidates, kind)}")

    @classmethod
    def among(cls, name: str, candidates: Mapping[str, Sequence[str]]) -> NotFoundError:
        """Say that `name` is nothing of several kinds, and what there is of each.

        Examples
        --------
        >>> there = {"table": ["gold.sales"], "model": ["late@1"], "run": []}
        >>> str(NotFoundError.among("gold.sale@v2", there))
        "No table, model or run 'gold.sale@v2'. Did you mean 'gold.sales'? Tables: gold.sales. \
Models: late@1."
        """
        *others, last = candidates
        known = [one for names in candidates.values() for one in names]
        near = _nearest(name, known) or _nearest(name.partition("@")[0], known)
        listed = [
            f"{kind.capitalize()}s: {shortened(names)}."
            for kind, names in candidates.items()
            if names
        ]
        return cls(f"No {', '.join(others)} or {last} {name!r}. {near}{' '.join(listed)}")


class DefinitionError(UsageError):
    """A pipeline source file defines something that cannot be planned."""

    @classmethod
    def of(cls, mistakes: Iterable[SoloLakehouseError]) -> DefinitionError:
        """Say all mistakes at once, each with its place.

        Examples
        --------
        >>> found = [DefinitionError("a.py:1: one"), DefinitionError("b.py:2: two")]
        >>> print(DefinitionError.of(found))
        The pipeline has 2 mistakes; nothing was run.
          a.py:1: one
          b.py:2: two
        """
        messages = list(dict.fromkeys(str(mistake) for mistake in mistakes))
        if len(messages) == 1:
            return cls(messages[0])
        listed = "\n  ".join(messages)
        return cls(f"The pipeline has {len(messages)} mistakes; nothing was run.\n  {listed}")


class RedefinitionError(UsageError):
    """A feature table that is used would get another definition, and nobody said why."""


class FeatureLookupError(UsageError):
    """A feature lookup that cannot be joined to the labels."""


class RequestError(UsageError):
    """A request to the server of a model is wrong; the message names the field."""


class FeatureFunctionError(UsageError):
    """A feature function that is not found, not typed, or does not fit its columns."""


class RunError(SoloLakehouseError):
    """A run met data or a condition that it cannot work with."""


class BusyError(RunError):
    """Another process is at work in the project; nothing was done."""

    @classmethod
    def of(cls, command: str, holder: Mapping[str, object]) -> BusyError:
        """Say who holds the lock that `command` needs.

        Examples
        --------
        >>> print(BusyError.of("slh run", {"command": "slh ingest", "process": 7, "since": "noon"}))
        'slh ingest' (process 7, since noon) is at work in this project. Start 'slh run' again \
when it is done. Nothing was done.
        """
        who = "Another command"
        if holder:
            who = f"'{holder['command']}' (process {holder['process']}, since {holder['since']})"
        return cls(
            f"{who} is at work in this project. Start '{command}' again when it is done. Nothing "
            "was done."
        )


class EngineError(RunError):
    """A Spark Connect server that cannot be reached, or cannot compute for this machine."""


class IngestError(RunError):
    """A landing file that does not fit its source; the bronze table is as it was."""


class RewrittenError(RunError):
    """A table that is read as a stream did more than grow since it was read."""


class ChangeDataError(RunError):
    """Change data that no key or order can be told of; the table is as it was."""


class StepError(RunError):
    """A pipeline step that the engine could not execute; its table is as it was."""


class ExpectationError(RunError):
    """Rows that violate an `expect_or_fail`; the table is as it was."""


class FeatureTableError(RunError):
    """A feature table whose keys and timestamp are not unique or not set."""


class FunctionFailedError(RunError):
    """A feature function that failed on a row, or gave what it does not declare."""


class GateError(RunError):
    """A model version that gates keep out of production; `gates` is what each of them said."""

    gates: Sequence[Any] = ()


class UnreachableError(RunError):
    """An MLflow server that does not answer; what was to be logged is kept."""


class RunFailedError(RunError):
    """Several steps of one run failed; their tables are as they were."""

    @classmethod
    def of(cls, failures: Mapping[str, SoloLakehouseError]) -> RunFailedError:
        """Say each failed step, named with its place, and its error.

        Examples
        --------
        >>> found = {"gold.a (a.sql:1)": StepError("gold.a (a.sql:1): one"),
        ...          "gold.b (b.sql:1)": ExpectationError("gold.b: two")}
        >>> print(RunFailedError.of(found))
        2 steps failed.
          gold.a (a.sql:1): one
          gold.b (b.sql:1): two
        """
        lines = [f"{len(failures)} steps failed."]
        lines += [_named(step, str(error)) for step, error in failures.items()]
        return cls("\n".join(lines).replace("\n", "\n  "))


def _named(step: str, said: str) -> str:
    name = step.split(" ")[0]
    for opening in (f"{step}: ", f"{name}: "):
        said = said.removeprefix(opening)
    return f"{step}: {said}"


class TrainingError(RunError):
    """Labels or a split that nothing can be learned from."""


def suggestion(name: str, candidates: Iterable[str], kind: str = "name") -> str:
    """Name the nearest candidate, then at most twelve of them.

    Examples
    --------
    >>> suggestion("wind_sped", ["temp", "wind_speed"], "column")
    "Did you mean 'wind_speed'? Columns: temp, wind_speed."
    """
    names = sorted(candidates)
    if not names:
        return f"There is no {kind} yet."
    return f"{_nearest(name, names)}{kind.capitalize()}s: {shortened(names)}."


def _nearest(name: str, candidates: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, candidates, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def shortened(names: Sequence[str], limit: int = 12) -> str:
    """Join names with commas, and say how many were left out."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
