from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from sololakehouse.conformance import Contestant, check_join, oracle, our_contestant
from sololakehouse.conformance.drawing import batches
from sololakehouse.conformance.traps import OPTIONS, TRAPS

from .wrong_joins import WRONG, right

BY_NAME = {trap.name: trap for trap in TRAPS}


def _name(value):
    # The address in a function's text would give each worker of a parallel run tests of its own.
    return getattr(value, "__name__", str(value))


def check_trap(name, join, cases=60, **options):
    (result,) = check_join(
        Contestant("a join", join, **options), cases, traps=[BY_NAME[name]]
    ).results
    return result


@pytest.mark.parametrize("engine", ["polars", "embedded"])
def test_our_joins_hold(engine, conformance_cases):
    cases = conformance_cases or 440
    with our_contestant(engine) as contestant:
        report = check_join(contestant, cases)
    assert {result.trap: result.verdict for result in report.results} == dict.fromkeys(
        BY_NAME, "holds"
    )
    assert report.cases >= cases


@pytest.mark.parametrize(("trap", "mistake", "join"), WRONG, ids=_name)
def test_a_trap_shows_the_mistake_that_it_is_there_for(trap, mistake, join):
    assert check_trap(trap, right).verdict == "holds"
    result = check_trap(trap, join)
    assert result.verdict == "differs"
    assert 0 < result.failed <= result.cases
    assert len(result.example.case.labels) <= 2
    # A join by the clock sees ties where there are none, and takes one or the other each time.
    assert len(result.example.case.features) <= 3


@pytest.mark.parametrize(
    ("join", "traps"),
    [
        (
            lambda *given: right(*given).drop_nulls("row"),
            ["no match", "NULL in labels", "no feature rows"],
        ),
        (lambda *given: right(*given).unique(maintain_order=True), ["repeated labels"]),
        (lambda *given: right(*given).reverse(), ["order of labels"]),
    ],
)
def test_one_mistake_shows_in_its_traps_and_in_no_other(join, traps):
    report = check_join(Contestant("wrong", join), 440)
    differing = [result.trap for result in report.results if result.verdict == "differs"]
    assert differing == [*traps, "all at once"]


def test_every_trap_has_a_mistake():
    assert {trap for trap, _, _ in WRONG} == set(BY_NAME)


def test_the_oracle_has_at_most_thirty_lines():
    assert len(Path(oracle.__file__).read_text("utf-8").splitlines()) <= 30


def test_the_example_is_as_small_as_can_be():
    _, _, exclusive = next(one for one in WRONG if one[0] == "lookback")
    example = check_trap("lookback", exclusive).example
    (label,), (row,) = example.case.labels, example.case.features
    assert label.event - row.feature_ts == example.rule.lookback.microseconds
    assert [answer.row for answer in example.expected] == [0]
    assert [answer.row for answer in example.got] == [None]


@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_not_supported_is_neither_asked_nor_passed(option):
    def join(labels, features, rule):
        asked = {
            "known_at": rule.known_at is not None and rule.known_as_of is None,
            "known_as_of": rule.known_as_of is not None,
            "lookback": rule.lookback is not None,
            "strict": not rule.allow_exact_match,
            "plain_lookup": rule.timestamp is None,
        }
        assert not asked[option]
        return right(labels, features, rule)

    report = check_join(Contestant("less", join, frozenset({option})), 210)
    verdicts = {result.trap: result.verdict for result in report.results}
    assert verdicts == {
        trap.name: "not supported" if option in trap.needs else "holds" for trap in TRAPS
    }
    assert all(not r.cases and not r.failed for r in report.results if r.verdict == "not supported")


def test_only_the_cases_on_which_a_join_fails_are_counted():
    def join(labels, features, rule):
        if labels["event_ts"].null_count():
            raise ValueError("no NULL, please\n  at line 7")
        return right(labels, features, rule)

    trap = BY_NAME["NULL in labels"]
    drawn = [case for batch in batches(trap, (), 60, 1) for case in batch.cases]
    failing = [case for case in drawn if any(label.event is None for label in case.labels)]
    result = check_trap("NULL in labels", join)
    assert (result.cases, result.failed) == (60, len(failing))
    assert result.example.got == "ValueError: no NULL, please"
    assert len(result.example.case.labels) == 1
    assert result.example.as_dict()["got"] == "ValueError: no NULL, please"


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda rows: rows.drop("row"), "ValueError: the answer has no column row"),
        (
            lambda rows: rows.with_columns(case_id=-1),
            "ValueError: the answer has a row with case_id=-1, and no label has it",
        ),
        (len, "UsageError: int cannot be read as the answer."),
        (
            lambda rows: rows.with_columns(pl.col("event_ts").dt.replace_time_zone(None)),
            "FeatureLookupError: The timestamp 'event_ts' of the answer has no time zone.",
        ),
        (
            lambda rows: rows.with_columns(pl.col("event_ts").cast(pl.String)),
            "ValueError: event_ts of the answer is String, and was a timestamp",
        ),
    ],
)
def test_an_answer_that_is_none_is_a_difference(spoil, said):
    result = check_trap("no match", lambda *given: spoil(right(*given)))
    assert result.failed > result.cases / 2
    assert result.example.got.startswith(said)


@pytest.mark.parametrize(
    "convert", [pl.DataFrame.to_pandas, pl.DataFrame.to_arrow, pl.DataFrame.lazy]
)
def test_an_answer_may_be_any_frame_in_any_order_of_rows_and_columns(convert):
    def join(*given):
        rows = right(*given)
        return convert(rows.select(rows.columns[::-1]).reverse())

    for name in ("no match", "NULL in labels", "NULL values", "clock changes"):
        assert check_trap(name, join).verdict == "holds"
    assert check_trap("order of labels", join).verdict == "differs"


def test_a_case_that_differs_only_among_others_is_shown_as_it_is():
    def join(labels, features, rule):
        alone = labels["case_id"].n_unique() < 5
        rows = right(labels, features, rule)
        return rows if alone else rows.with_columns(row=pl.lit(None))

    result = check_trap("latest row", join)
    drawn = [case for batch in batches(BY_NAME["latest row"], (), 60, 1) for case in batch.cases]
    assert result.failed
    assert result.example.case in drawn


def test_the_same_seed_draws_the_same_cases():
    def drawn(seed):
        return [list(batches(trap, (), 20, seed)) for trap in TRAPS]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_feature_rows_are_unique_and_labels_have_them():
    matched = total = 0
    for trap in TRAPS:
        for batch in batches(trap, (), 60, 1):
            for case in batch.cases:
                keys = [row[:3] for row in case.features]
                assert len(set(keys)) == len(keys)
                total += len(case.labels)
                matched += sum(one.row is not None for one in case.expected(batch.rule))
    assert matched > total / 3
