"""Why a label got the feature values that it has: the chosen row and the rejected ones near it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.features.asof import AsOf, chosen_rows
from sololakehouse.features.computed import PlannedFunction, with_functions
from sololakehouse.features.join import PlannedLookup, with_defaults

if TYPE_CHECKING:
    import polars as pl

Verdict = Literal[
    "chosen",
    "older",
    "lost the tie",
    "expired",
    "not yet known",
    "exact match refused",
    "in the future",
]
NEAR = 3
_RULES: dict[Verdict, str] = {
    "chosen": "the latest row that was visible and known",
    "older": "a later row was visible and known",
    "lost the tie": "of the same moment, but a later restatement was known",
    "expired": "the latest visible row, but older than lookback_window",
    "not yet known": "known only after the label's moment",
    "exact match refused": "of the label's very moment, and allow_exact_match is off",
    "in the future": "after the label's moment",
}


@dataclass(frozen=True)
class Candidate:
    """A feature row with the label's key.

    Attributes
    ----------
    verdict
        Whether the row was chosen, or why it was not.
    feature_ts, known_at
        The row's moments in UTC; None where the table has no such column.
    values
        The looked-up values, by their names in the training set, before defaults.
    """

    verdict: Verdict
    feature_ts: datetime | None
    known_at: datetime | None
    values: Mapping[str, Any]

    @property
    def because(self) -> str:
        """The rule that decided."""
        return _RULES[self.verdict] if self.feature_ts else "the row with the label's key"


@dataclass(frozen=True)
class LookupExplanation:
    """What one lookup found for one label, and what it rejected.

    Attributes
    ----------
    table, version
        The feature table that was read.
    key
        The label's key, by the feature table's names.
    event
        The label's moment, in UTC; None for a lookup without time, or where it is NULL.
    lookback
        Greatest age of a row, inclusive; None: any.
    known_as_of
        The fixed moment of knowledge, if there is one.
    candidates
        The chosen row, and of the others those nearest to the label's moment, by time; none if
        that is NULL.
    left_out
        How many other rows have the key.
    """

    table: str
    version: int
    key: Mapping[str, Any]
    event: datetime | None
    lookback: timedelta | None
    known_as_of: datetime | None
    candidates: tuple[Candidate, ...]
    left_out: int

    @property
    def chosen(self) -> Candidate | None:
        """The row whose values the label has; None if it has NULLs."""
        return next((one for one in self.candidates if one.verdict == "chosen"), None)

    @property
    def summary(self) -> str:
        """One sentence on what was found."""
        if any(value is None for value in self.key.values()):
            return "no row: the label's key is NULL"
        if self.chosen is not None:
            return _found(self.chosen, self.event)
        if not self.candidates and not self.left_out:
            return "no row: the feature table has none with this key"
        if self.event is None:
            return "no row: the label's timestamp is NULL"
        expired = any(one.verdict == "expired" for one in self.candidates)
        return f"no row: {'the latest is expired' if expired else 'none was visible and known'}"


@dataclass(frozen=True)
class FunctionExplanation:
    """What a function gave for one label.

    Attributes
    ----------
    name, place
        The function, and its file and line.
    output
        Its column in the training set.
    arguments
        Parameter to value.
    """

    name: str
    place: str
    output: str
    arguments: Mapping[str, Any]
    value: Any


@dataclass(frozen=True)
class RowExplanation:
    """Where the features of one row of a training set come from.

    Attributes
    ----------
    name
        The training set.
    row
        Number of the row, from 0.
    label
        The label's row.
    lookups
        One explanation for each lookup, in the order of the recipe.
    functions
        What each function gave, in the order of the recipe.
    """

    name: str
    row: int
    label: Mapping[str, Any]
    lookups: tuple[LookupExplanation, ...]
    functions: tuple[FunctionExplanation, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        found = asdict(self)
        for said, lookup in zip(found["lookups"], self.lookups, strict=True):
            said["summary"] = lookup.summary
            said["lookback"] = lookup.lookback and lookup.lookback.total_seconds()
        return found


def explain_lookup(
    plan: PlannedLookup, label: pl.DataFrame, rule: AsOf, near: int = NEAR
) -> LookupExplanation:
    """Explain what a lookup finds for a label.

    The chosen row is the one that the join itself chooses among the rows of the label's key.

    Parameters
    ----------
    label
        One row of labels.
    near
        How many rejected rows to show before the label's moment, and how many after it.
    """
    import polars as pl

    table = plan.table
    keys = dict(zip(table.contract.keys, label.select(rule.keys).row(0), strict=True))
    unknown = any(value is None for value in keys.values())
    equal = [pl.col(name) == value for name, value in keys.items() if value is not None]
    same_key = pl.lit(False) if unknown else pl.all_horizontal(equal)
    columns = [*table.contract.times, *plan.outputs]
    wanted = list(dict.fromkeys([*table.contract.identity, *columns]))
    order = [*table.contract.times]
    rows = table.snapshot.scan().filter(same_key).select(wanted).collect()
    rows = rows.sort(order) if order else rows
    event = label[rule.timestamp][0] if rule.timestamp else None
    chosen = chosen_rows(label, rows, rule)[0]
    is_never = rule.timestamp is not None and event is None
    verdicts = [] if is_never else _verdicts(rows, event, rule, chosen)
    shown = _nearest(verdicts, near)
    return LookupExplanation(
        table=table.name,
        version=table.version,
        key=keys,
        event=_utc(event),
        lookback=rule.lookback,
        known_as_of=_utc(rule.known_as_of),
        candidates=tuple(
            _candidate(plan, row, verdicts[index], rule)
            for index, row in enumerate(rows.iter_rows(named=True))
            if index in shown
        ),
        left_out=rows.height - len(shown),
    )


def explain_functions(
    plans: Sequence[PlannedFunction],
    label: pl.DataFrame,
    lookups: Iterable[tuple[PlannedLookup, LookupExplanation]],
) -> tuple[FunctionExplanation, ...]:
    """Explain what functions give for a label, from what the lookups chose for it."""
    row = label.hstack([column for one in lookups for column in _chosen_values(*one)])
    row = with_functions(row, plans)
    values = row.row(0, named=True)
    return tuple(
        FunctionExplanation(
            name=plan.udf.name,
            place=plan.udf.place,
            output=plan.output,
            arguments={name: values[column] for name, column in plan.bindings.items()},
            value=values[plan.output],
        )
        for plan in plans
    )


def _chosen_values(plan: PlannedLookup, explained: LookupExplanation) -> list[pl.Series]:
    import polars as pl

    chosen = explained.chosen.values if explained.chosen else {}
    schema = {output: plan.table.schema[name] for name, output in plan.outputs.items()}
    found = pl.DataFrame({name: [chosen.get(name)] for name in schema}, schema=schema)
    return with_defaults(found, plan.lookup.default_values).get_columns()


def _verdicts(
    rows: pl.DataFrame, event: datetime | None, rule: AsOf, chosen: int | None
) -> list[Verdict]:
    """Judge rows that are sorted by time and knowledge."""
    if rule.feature_timestamp is None or event is None:
        return ["chosen" if index == chosen else "older" for index in range(rows.height)]
    moments = rows[rule.feature_timestamp].to_list()
    known = rows[rule.known_at].to_list() if rule.known_at else moments
    verdicts = [_alone(*at, event, rule) for at in zip(moments, known, strict=True)]
    best = max((i for i, verdict in enumerate(verdicts) if verdict == "chosen"), default=None)
    for index, verdict in enumerate(verdicts):
        if verdict == "chosen" and index != best:
            tied = best is not None and moments[index] == moments[best]
            verdicts[index] = "lost the tie" if tied else "older"
    if best is not None and chosen is None:
        verdicts[best] = "expired"
    return verdicts


def _alone(moment: datetime, known: datetime, event: datetime, rule: AsOf) -> Verdict:
    """Judge a row as if it were the only one."""
    if moment > event:
        return "in the future"
    if moment == event and rule.strict:
        return "exact match refused"
    return "chosen" if known <= (rule.known_as_of or event) else "not yet known"


def _nearest(verdicts: list[Verdict], near: int) -> set[int]:
    """Return the row that was preferred, and some rows before and after it."""
    rejected_late = ("in the future", "exact match refused")
    after = [i for i, verdict in enumerate(verdicts) if verdict in rejected_late]
    before = [i for i, verdict in enumerate(verdicts) if verdict not in rejected_late]
    preferred = [i for i in before if verdicts[i] in ("chosen", "expired")]
    others = [i for i in before if i not in preferred]
    return {*preferred, *(others[-near:] if near > 0 else []), *after[: max(near, 0)]}


def _candidate(
    plan: PlannedLookup, row: Mapping[str, Any], verdict: Verdict, rule: AsOf
) -> Candidate:
    return Candidate(
        verdict=verdict,
        feature_ts=_utc(row[rule.feature_timestamp]) if rule.feature_timestamp else None,
        known_at=_utc(row[rule.known_at]) if rule.known_at else None,
        values={output: row[name] for name, output in plan.outputs.items()},
    )


def _found(chosen: Candidate, event: datetime | None) -> str:
    if chosen.feature_ts is None or event is None:
        return "the row with the label's key"
    age = event - chosen.feature_ts
    when = f"{_duration(age)} before the label's moment" if age else "the label's very moment"
    return f"the row of {_text(chosen.feature_ts)}, {when}"


def _duration(age: timedelta) -> str:
    days, rest = divmod(age, timedelta(days=1))
    text = str(rest).removesuffix(":00") if not rest.microseconds else str(rest)
    return f"{days} d {text} h" if days else f"{text} h"


def _text(moment: datetime) -> str:
    return moment.isoformat(sep=" ").replace("+00:00", " UTC")


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)
