"""What a replay says of each table and column: clean, leaks, not covered, not deterministic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from sololakehouse.replay.clipping import Mode
from sololakehouse.replay.comparing import Difference, Example
from sololakehouse.replay.splits import SetFinding

State = Literal["clean", "leaks", "not covered", "not deterministic"]
Kind = Literal["feature table", "training set"]


@dataclass(frozen=True)
class SourceRow:
    """A row of a source of which something became known after a cutoff, with what it says.

    Attributes
    ----------
    known_at
        When it was known; None: at no moment.
    columns
        The values that became known later than the row, and that the change takes; empty: it is
        the row itself.
    """

    table: str
    known_at: datetime | None
    values: Mapping[str, Any]
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cause:
    """What was seen to change a value: rows that were revealed, and the value then.

    Attributes
    ----------
    rows
        The first of these rows.
    count
        How many there are.
    is_smallest
        Whether the change takes all of them. Otherwise the recomputations were used up, and some
        of them may be innocent.
    """

    rows: tuple[SourceRow, ...]
    value: Any
    count: int
    is_smallest: bool

    @property
    def said_of_rows(self) -> str:
        """Say how many more rows there are, and whether some may be innocent; empty if neither.

        Examples
        --------
        >>> Cause((), 1, 7, is_smallest=True).said_of_rows
        'and 7 more rows: it takes all of them.'
        """
        more = self.count - len(self.rows)
        told = f"and {more:,} more row{'' if more == 1 else 's'}" if more else ""
        if self.is_smallest:
            return f"{told}: it takes all of them." if told else ""
        innocent = (
            "Some of these rows may be innocent: the recomputations were used up. Allow more with "
            "--cause-runs, or ask for less with --select."
        )
        return f"{told}. {innocent}" if told else innocent


@dataclass(frozen=True)
class Leak:
    """One column at one cutoff that knows what came later.

    Attributes
    ----------
    causes
        For each example: the source rows after the cutoff that change its value; None if none were
        found.
    """

    cutoff: datetime
    mode: Mode
    difference: Difference
    causes: tuple[Cause | None, ...] = ()


@dataclass(frozen=True)
class ColumnVerdict:
    """What is known of one column.

    Attributes
    ----------
    state
        `clean`: at every cutoff the same. `not deterministic`: it differed without any clipping.
    reason
        Why it is not covered; None otherwise.
    """

    column: str
    state: State
    leaks: tuple[Leak, ...] = ()
    reason: str | None = None

    @property
    def rows(self) -> int:
        """The greatest number of rows that differed at one cutoff."""
        return max((leak.difference.rows for leak in self.leaks), default=0)

    @property
    def earliest(self) -> datetime | None:
        """The first moment of a row that differed."""
        moments = [leak.difference.earliest for leak in self.leaks]
        return min((moment for moment in moments if moment), default=None)


@dataclass(frozen=True)
class TableVerdict:
    """What is known of a table.

    Attributes
    ----------
    rows
        Rows that were compared, over all cutoffs and modes.
    cutoffs
        How many slices were compared.
    uncovered
        Why it is vouched for only in part, or not at all; None if all its sources say when they
        were known.
    """

    table: str
    kind: Kind
    columns: tuple[ColumnVerdict, ...]
    rows: int
    cutoffs: int
    uncovered: str | None

    @property
    def state(self) -> State:
        """The worst that is known of its columns."""
        states = {column.state for column in self.columns}
        for state in ("leaks", "not deterministic"):
            if state in states:
                return state
        return "not covered" if self.uncovered or "not covered" in states else "clean"

    @property
    def leaking(self) -> tuple[ColumnVerdict, ...]:
        """The columns that leak."""
        return tuple(column for column in self.columns if column.state == "leaks")


@dataclass(frozen=True)
class SourceCoverage:
    """How a source is declared, and how much of it becomes known over time."""

    table: str
    known_at: str
    columns: Mapping[str, str]
    rows: int
    never_known: int


@dataclass(frozen=True)
class ReplayReport:
    """All that a replay found.

    Attributes
    ----------
    steps
        Fingerprints of the definitions of all tables that lead to what was compared.
    findings
        What was checked of splits and labels.
    runs, cause_runs
        Runs of the pipeline at the cutoffs and for the noise floor; recomputations of tables that
        leak, to find the source rows that make it.
    seconds
        Seconds on the clock.
    """

    project: str
    engine: str
    cutoffs: tuple[datetime, ...]
    modes: tuple[Mode, ...]
    seed: int
    sources: tuple[SourceCoverage, ...]
    tables: tuple[TableVerdict, ...]
    steps: Mapping[str, str]
    runs: int
    cause_runs: int
    seconds: float
    findings: tuple[SetFinding, ...] = ()
    replayed_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def leaking(self) -> tuple[TableVerdict, ...]:
        """The tables that leak."""
        return tuple(table for table in self.tables if table.state == "leaks")

    def table(self, name: str) -> TableVerdict | None:
        """Return what is known of a table; None if it was not replayed."""
        return next((one for one in self.tables if one.table == name), None)


def as_json(report: ReplayReport) -> dict[str, Any]:
    """Return the report as plain values, for `--json`, the certificate and the model's run."""
    return {
        "project": report.project,
        "replayed_at": _moment(report.replayed_at),
        "engine": report.engine,
        "cutoffs": [_moment(cutoff) for cutoff in report.cutoffs],
        "modes": list(report.modes),
        "seed": report.seed,
        "pipeline_runs": report.runs,
        "cause_runs": report.cause_runs,
        "seconds": round(report.seconds, 2),
        "sources": [
            {
                "table": one.table,
                "known_at": one.known_at,
                "columns": dict(one.columns),
                "rows": one.rows,
                "never_known": one.never_known,
            }
            for one in report.sources
        ],
        "tables": [table_json(table) for table in report.tables],
        "splits_and_labels": [asdict(finding) for finding in report.findings],
        "steps": dict(report.steps),
    }


def table_json(table: TableVerdict) -> dict[str, Any]:
    """Return what is known of a table as plain values."""
    return {
        "table": table.table,
        "kind": table.kind,
        "verdict": table.state,
        "slices": table.cutoffs,
        "rows_compared": table.rows,
        "not_covered": table.uncovered,
        "columns": [_column_json(column) for column in table.columns],
    }


def _column_json(column: ColumnVerdict) -> dict[str, Any]:
    told: dict[str, Any] = {"column": column.column, "verdict": column.state}
    if column.reason:
        told["reason"] = column.reason
    if column.leaks:
        told["rows"] = column.rows
        told["earliest"] = _moment(column.earliest)
        told["leaks"] = [_leak_json(leak) for leak in column.leaks]
    return told


def _leak_json(leak: Leak) -> dict[str, Any]:
    examples = leak.difference.examples
    causes = leak.causes or (None,) * len(examples)
    return {
        "cutoff": _moment(leak.cutoff),
        "mode": leak.mode,
        "rows": leak.difference.rows,
        "earliest": _moment(leak.difference.earliest),
        "examples": [
            _example_json(example, cause) for example, cause in zip(examples, causes, strict=True)
        ],
    }


def _example_json(example: Example, cause: Cause | None) -> dict[str, Any]:
    told = {
        "key": {name: plain(value) for name, value in example.key.items()},
        "full": plain(example.full),
        "replayed": plain(example.replayed),
    }
    if cause:
        told["changed_by"] = [
            {
                "table": row.table,
                "known_at": _moment(row.known_at),
                "columns": list(row.columns),
                "values": {name: plain(value) for name, value in row.values.items()},
            }
            for row in cause.rows
        ]
        told["changed_by_rows"] = cause.count
        told["may_hold_innocent_rows"] = not cause.is_smallest
        told["with_them"] = plain(cause.value)
    return told


def plain(value: Any) -> Any:
    """Return a value as JSON has it: moments as ISO 8601, what else JSON lacks as text."""
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return str(value)
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _moment(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        return moment.isoformat()
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
