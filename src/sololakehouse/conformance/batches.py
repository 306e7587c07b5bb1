"""Batches: many cases as one frame of labels and one of features, so that one join answers all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sololakehouse.conformance.cases import Answer, Case
from sololakehouse.conformance.oracle import Key
from sololakehouse.features.asof import AsOf

if TYPE_CHECKING:
    import polars as pl

CASE, EVENT, FEATURE_TS, KNOWN_AT = "case_id", "event_ts", "feature_ts", "known_at"
ROW, VALUE = "row", "value"


@dataclass(frozen=True)
class Batch:
    """Cases that are joined at once, by one rule.

    Attributes
    ----------
    rule
        Its first key, `case_id`, is the number of the case: it keeps the cases apart.
    zone
        Time zone of the labels' moments; those of the features are in UTC.
    """

    rule: AsOf
    zone: str
    cases: tuple[Case, ...]

    def of(self, cases: Iterable[Case]) -> Batch:
        """Return a batch of other cases, with the same rule."""
        return replace(self, cases=tuple(cases))

    def labels(self) -> pl.DataFrame:
        """Return the labels of all cases: keys and, unless the rule has none, `event_ts`."""
        import polars as pl

        rows = [(number, one) for number, case in enumerate(self.cases) for one in case.labels]
        columns = self._keys((number, label.key) for number, label in rows)
        if self.rule.timestamp:
            columns.append(_moments(EVENT, [label.event for _, label in rows], self.zone))
        return pl.DataFrame(columns)

    def features(self) -> pl.DataFrame:
        """Return the feature rows of all cases: keys, times, `row` and `value`.

        `row` is the number of the row within its case.
        """
        import polars as pl

        places = [
            (n, row) for n, case in enumerate(self.cases) for row in range(len(case.features))
        ]
        rows = [self.cases[number].features[row] for number, row in places]
        columns = self._keys((n, row.key) for (n, _), row in zip(places, rows, strict=True))
        if self.rule.timestamp:
            columns.append(_moments(FEATURE_TS, [row.feature_ts for row in rows], "UTC"))
        if self.rule.known_at:
            columns.append(_moments(KNOWN_AT, [row.known_at for row in rows], "UTC"))
        columns.append(pl.Series(ROW, [row for _, row in places], pl.Int64))
        columns.append(pl.Series(VALUE, [row.value for row in rows], pl.Float64))
        return pl.DataFrame(columns)

    def answers(self, found: pl.DataFrame) -> list[list[Answer]]:
        """Return what a join found, case by case, in the order in which it gave the rows.

        Raises
        ------
        ValueError
            A column is missing, or a row belongs to no case.
        """
        wanted = [*self.rule.keys, *filter(None, [self.rule.timestamp]), ROW, VALUE]
        missing = [name for name in wanted if name not in found.columns]
        if missing:
            raise ValueError(f"the answer has no column {', '.join(missing)}")
        answers: list[list[Answer]] = [[] for _ in self.cases]
        for case, *key, event, row, value in _rows(found, self.rule):
            if case not in range(len(answers)):
                raise ValueError(f"the answer has a row with {CASE}={case}, and no label has it")
            answers[case].append(Answer(tuple(key), event, row, value))
        return answers

    def _keys(self, rows: Iterable[tuple[int, Key]]) -> list[pl.Series]:
        import polars as pl

        listed = list(rows)
        parts = enumerate(self.rule.keys[1:])
        return [
            pl.Series(CASE, [number for number, _ in listed], pl.Int64),
            *(pl.Series(name, [key[at] for _, key in listed], pl.String) for at, name in parts),
        ]


def _moments(name: str, moments: Sequence[int | None], zone: str) -> pl.Series:
    import polars as pl

    return pl.Series(name, moments, pl.Int64).cast(pl.Datetime("us", zone))


def _rows(found: pl.DataFrame, rule: AsOf) -> Iterator[tuple[Any, ...]]:
    """Give plain values: moments in microseconds, and NaN as NULL.

    pandas has no other way to say NULL in a column of numbers.
    """
    import polars as pl

    case, *keys = rule.keys
    event = pl.lit(0) if rule.timestamp is None else _in_microseconds(found, rule.timestamp)
    number = pl.col(ROW).cast(pl.Float64).fill_nan(None).cast(pl.Int64)
    value = pl.col(VALUE).cast(pl.Float64).fill_nan(None)
    texts = (pl.col(key).cast(pl.String) for key in keys)
    return found.select(pl.col(case).cast(pl.Int64), *texts, event, number, value).iter_rows()


def _in_microseconds(found: pl.DataFrame, name: str) -> pl.Expr:
    import polars as pl

    kind = found.schema[name]
    if not isinstance(kind, pl.Datetime):
        raise ValueError(f"{name} of the answer is {kind}, and was a timestamp")
    return pl.col(name).dt.cast_time_unit("us").to_physical()
