"""Traps: what joins get wrong, each with what its cases are drawn from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from sololakehouse.conformance.cases import MICROSECOND, microseconds

Option = Literal["known_at", "known_as_of", "lookback", "strict", "plain_lookup"]
# What a join may say that it does not support. `known_at` is that of each row, at each label's
# moment: with `known_as_of` it is a filter.
OPTIONS: tuple[Option, ...] = get_args(Option)


def _place(moment: str, zone: str) -> tuple[int, str]:
    return microseconds(datetime.fromisoformat(moment)), zone


_NOON = _place("2026-03-01T12:00:00Z", "UTC")
# Two hours before clocks go back or forth: by an hour, in Lord Howe by half an hour.
_CLOCK_CHANGES = (
    _place("2026-11-01T04:00:00Z", "America/New_York"),
    _place("2026-03-08T05:00:00Z", "America/New_York"),
    _place("2026-04-04T14:30:00Z", "Australia/Adelaide"),
    _place("2026-10-03T13:30:00Z", "Australia/Lord_Howe"),
)
_BEFORE_1970 = (
    _place("1874-12-09T02:40:00Z", "UTC"),
    _place("1969-12-31T23:59:59.999998Z", "UTC"),
)
_MICROSECONDS = (0, 1, 2, 10, 11)  # neighbours, whose distances are lookbacks
_LOOKBACKS = (0, 1, 2, 9, 10)
_HALF_HOURS = tuple(number * 1_800_000_000 for number in range(9))
_FAR = 10**12
_HUGE = (_FAR, 10**17, timedelta.max // MICROSECOND)
# Each is equal to another one without regard to case, blanks, the form of a number or an accent.
_TEXTS = (
    ("a", "A", "a ", " a"),
    ("1", "01", "1.0", "+1"),
    ("\u00e9", "e\u0301", "e"),
    ("", " ", "\t"),
)
# Pairs of these are equal once they are glued together, with the separator or without one.
_GLUED = tuple(("", mark, "a", f"a{mark}", f"{mark}a") for mark in "_-|,: ")
_WORDS_FOR_NULL = (("a", "", "None", "NULL"), ("a", "null", "nan", "NaN", "<NA>"))


@dataclass(frozen=True)
class Shape:
    """What the cases of a trap are drawn from; those of a batch have place, width and rule alike.

    Attributes
    ----------
    places
        A moment, from which the others are counted in microseconds, and the labels' time zone.
    texts
        What the keys of a case are made of: those of one of the groups.
    strangers
        Texts that only labels have.
    widths
        Number of key columns.
    labels, again, features
        Greatest number of labels, of those that are repeated, and of feature rows.
    null_labels, null_values
        Share of NULL among the keys and moments of labels, and among feature values.
    """

    places: tuple[tuple[int, str], ...] = (_NOON,)
    label_slots: tuple[int, ...] = _MICROSECONDS
    feature_slots: tuple[int, ...] = _MICROSECONDS
    known_slots: tuple[int, ...] = _MICROSECONDS
    texts: tuple[tuple[str, ...], ...] = (("a", "b"),)
    strangers: tuple[str, ...] = ()
    widths: tuple[int, ...] = (1,)
    labels: int = 12
    again: int = 0
    features: int = 30
    null_labels: float = 0
    null_values: float = 0
    known_at: tuple[bool, ...] = (False,)
    known_as_of: tuple[bool, ...] = (False,)
    lookbacks: tuple[int | None, ...] = (None,)
    exact: tuple[bool, ...] = (True,)
    timed: bool = True


@dataclass(frozen=True)
class Trap:
    """One thing that joins get wrong, which a case differs by, and by nothing else.

    Attributes
    ----------
    rule
        What is right.
    needs
        The options without which there is no trap.
    in_order
        Whether the order of rows counts.
    every_label
        Whether labels count for which there is no feature row: an answer may not lose them.
    """

    name: str
    rule: str
    shape: Shape
    needs: frozenset[Option] = frozenset()
    in_order: bool = False
    every_label: bool = False


_KNOWN = frozenset[Option]({"known_at"})
TRAPS = (
    Trap(
        "latest row",
        "the one with the greatest feature_ts that is not after the label's moment",
        Shape(label_slots=(-10, 10, 30, 50, 70), feature_slots=(0, 20, 40, 60)),
    ),
    Trap(
        "equal timestamps",
        "a row of the label's very moment is visible",
        Shape(label_slots=(0, 1, 2), feature_slots=(0, 1, 2)),
    ),
    Trap(
        "exact match refused",
        "with allow_exact_match=False it is not",
        Shape(label_slots=(0, 1, 2), feature_slots=(0, 1, 2), exact=(False,)),
        frozenset({"strict"}),
    ),
    Trap(
        "lookback",
        "a row of exactly that age counts, and one a microsecond older does not",
        Shape(lookbacks=_LOOKBACKS),
        frozenset({"lookback"}),
    ),
    Trap(
        "huge lookback",
        "also of days, centuries or longer than time itself",
        Shape(label_slots=(0, 1, _FAR, _FAR + 1), feature_slots=(0, 1, _FAR), lookbacks=_HUGE),
        frozenset({"lookback"}),
    ),
    Trap(
        "known later",
        "a row needs known_at <= the label's moment, and late news of the past are no newer",
        Shape(known_at=(True,)),
        _KNOWN,
    ),
    Trap(
        "restatements",
        "of rows with one feature_ts the latest that was known by then",
        Shape(feature_slots=(0, 1), known_at=(True,)),
        _KNOWN,
    ),
    Trap(
        "known as of",
        "with known_as_of, what was known on that day, whatever the label's moment",
        Shape(known_at=(True,), known_as_of=(True,)),
        frozenset({"known_as_of"}),
    ),
    Trap(
        "known as of, no known_at",
        "a row without known_at is known at its feature_ts",
        Shape(known_as_of=(True,)),
        frozenset({"known_as_of"}),
    ),
    Trap(
        "no match",
        "the label stays, with NULL features",
        Shape(strangers=("x", "y"), features=3),
        every_label=True,
    ),
    Trap(
        "repeated labels",
        "all of them stay",
        Shape(labels=6, again=12),
    ),
    Trap(
        "order of labels",
        "rows come in the order of the labels",
        Shape(),
        in_order=True,
    ),
    Trap(
        "NULL in labels",
        "without a key or a moment, the label stays, with NULL features",
        Shape(null_labels=0.3, texts=_WORDS_FOR_NULL, widths=(1, 2)),
        every_label=True,
    ),
    Trap(
        "NULL values",
        "a row is taken as a whole: a NULL in it is not filled from an older one",
        Shape(null_values=0.5),
    ),
    Trap("no labels", "no rows", Shape(labels=0)),
    Trap("no feature rows", "NULL features", Shape(features=0), every_label=True),
    Trap(
        "clock changes",
        "moments are compared, not what clocks show",
        Shape(places=_CLOCK_CHANGES, label_slots=_HALF_HOURS, feature_slots=_HALF_HOURS),
    ),
    Trap(
        "before 1970",
        "negative times are times",
        Shape(places=_BEFORE_1970),
    ),
    Trap(
        "texts as keys",
        "keys are compared letter by letter",
        Shape(texts=_TEXTS),
    ),
    Trap(
        "keys of two columns",
        "keys are compared column by column",
        Shape(texts=_GLUED, widths=(2,)),
    ),
    Trap(
        "plain lookup",
        "without timestamps, the row with the label's key, also if exact matches are refused",
        Shape(timed=False, strangers=("x",), exact=(True, False)),
        frozenset({"plain_lookup"}),
    ),
    Trap(
        "all at once",
        "everything above that the join supports",
        Shape(
            places=(_NOON, *_CLOCK_CHANGES, *_BEFORE_1970),
            texts=(("a", "b"), *_TEXTS, *_GLUED),
            strangers=("x",),
            widths=(1, 2),
            again=3,
            null_labels=0.1,
            null_values=0.2,
            known_at=(False, True),
            known_as_of=(False, True),
            lookbacks=(None, *_LOOKBACKS, *_HUGE),
            exact=(True, False),
        ),
        in_order=True,
        every_label=True,
    ),
)
