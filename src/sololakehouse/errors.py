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
    """Base of every error that a person can do something about.

    What to do: catch this one in a program that shall go on, whatever was wrong; the command
    line does.
    """

    exit_code: ClassVar[int] = 1


class UsageError(SoloLakehouseError):
    """What was asked for or declared is wrong; nothing was run.

    What to do: correct the command or the file that the message names, and start again.
    """

    exit_code: ClassVar[int] = 2


class ConfigError(UsageError):
    """A configuration file is missing or does not validate.

    What to do: correct the keys that the message lists; it names those that are known.
    """

    @classmethod
    def missing_file(cls, name: str, folder: Path, hint: str) -> ConfigError:
        """No file `name` in `folder` or any folder above it."""
        return cls(f"No {name} in {folder} or any folder above it. {hint}")


class NotFoundError(UsageError):
    """A name that does not exist, with the names that do.

    What to do: use one of the names in the message. `slh tables`, `slh models` and `slh runs`
    list what there is.
    """

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
    """A pipeline source file defines something that cannot be planned.

    What to do: go to the lines that the message lists; `slh run --dry-run` checks again without
    running.
    """

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
    """A feature table that is used would get another definition, and nobody said why.

    What to do: say why with `slh run --redefine TABLE --reason WHY`, or give the new features a
    table of their own.
    """


class FeatureLookupError(UsageError):
    """A feature lookup that cannot be joined to the labels.

    What to do: make the names, types and time zones of the labels fit those of the feature
    table, or rename what collides with `rename_outputs`.
    """


class RequestError(UsageError):
    """A request to the server of a model is wrong; the message names the field.

    What to do: correct that field. `/openapi.json` of the server tells what it takes.
    """


class FeatureFunctionError(UsageError):
    """A feature function that is not found, not typed, or does not fit its columns.

    What to do: annotate the function's parameters and its result, and bind each parameter to a
    column.
    """


class RunError(SoloLakehouseError):
    """A run met data or a condition that it cannot work with.

    What to do: look at the rows or the condition that the message names. What was committed
    before stays.
    """


class BusyError(RunError):
    """Another process is at work in the project; nothing was done.

    What to do: wait until it is done, then start the command again.
    """

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
    """A Spark Connect server that cannot be reached, or cannot compute for this machine.

    What to do: start the server, or correct the address in `lakehouse.yml`; `--engine embedded`
    needs none.
    """


class IngestError(RunError):
    """A landing file that does not fit its source; the bronze table is as it was.

    What to do: correct the file, or say in the source what is allowed: `schema_policy`,
    `on_change`, `max_quarantined`.
    """


class RewrittenError(RunError):
    """A table that is read as a stream did more than grow since it was read.

    What to do: read all of it again with `slh run --full-refresh TABLE`.
    """


class ChangeDataError(RunError):
    """Change data that no key or order can be told of; the table is as it was.

    What to do: correct the rows that the message shows: keys that are NULL, or two changes of
    one key with one `sequence_by`.
    """


class StepError(RunError):
    """A pipeline step that the engine could not execute; its table is as it was.

    What to do: correct the query at the place that the message names. The next run goes on from
    there.
    """


class ExpectationError(RunError):
    """Rows that violate an `expect_or_fail`; the table is as it was.

    What to do: look at the example rows, and correct the source or the expectation.
    """


class FeatureTableError(RunError):
    """A feature table whose keys and timestamp are not unique or not set.

    What to do: let the query give one row for each key and timestamp; the message shows three
    that collide.
    """


class FunctionFailedError(RunError):
    """A feature function that failed on a row, or gave what it does not declare.

    What to do: make the function take the row that the message shows; NULLs arrive as None.
    """


class GateError(RunError):
    """A model version that gates keep out of production; `gates` is what each of them said.

    What to do: train a better model, or promote it nevertheless with `--force --reason`, which
    is recorded.
    """

    gates: Sequence[Any] = ()


class UnreachableError(RunError):
    """An MLflow server that does not answer; what was to be logged is kept.

    What to do: once the server answers again, `slh runs sync` sends what waits.
    """


class RunFailedError(RunError):
    """Several steps of one run failed; their tables are as they were.

    What to do: correct what is said of each step; the next run computes only what is missing.
    """

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
    """Labels or a split that nothing can be learned from.

    What to do: give each part of the split rows of both classes, or other borders.
    """


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
    same = [candidate for candidate in candidates if candidate.lower() == name.lower()]
    near = same or difflib.get_close_matches(name, candidates, n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def shortened(names: Sequence[str], limit: int = 12) -> str:
    """Join names with commas, and say how many were left out."""
    rest = len(names) - limit
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")
