"""What counts as drift: each limit at its boundary, and just below it."""

from __future__ import annotations

from math import nextafter

import pytest

from sololakehouse.config.drift import DriftSettings
from sololakehouse.lake import Snapshot
from sololakehouse.models.registry import ModelVersion
from sololakehouse.monitoring.comparison import Comparison
from sololakehouse.monitoring.drift import Drift
from sololakehouse.monitoring.judgement import Pair, _fallen, judged, judged_rows

SETTINGS = DriftSettings(
    significance=0.02,
    least_rows=50,
    psi_warn=0.2,
    psi_alarm=0.4,
    missing=0.1,
    unseen=0.03,
    performance=0.25,
)


def below(value: float) -> float:
    return nextafter(value, 0)


def above(value: float) -> float:
    return nextafter(value, 1)


def pair(
    *,
    psi: float = 0.0,
    missing: float = 0.0,
    reference_missing: float = 0.0,
    unseen: float | None = None,
    rows: int = 100,
    reference_rows: int = 100,
    earlier: str | None = None,
) -> Pair:
    compared = Comparison(
        psi, 0.0, None, 1.0, missing, reference_missing, 1.0, unseen, ("new", "newer"), ()
    )
    return Pair("2026-01", earlier, "wind", rows, reference_rows, None, None, compared)


@pytest.mark.parametrize(
    ("psi", "q_value", "state"),
    [
        (0.2, 0.02, "warning"),
        (below(0.2), 0.0, "stable"),
        (below(0.4), 0.0, "warning"),
        (0.4, 0.02, "alarm"),
        (0.4, above(0.02), "stable"),
    ],
)
def test_another_distribution_counts_from_its_limits_on_if_it_is_no_chance(psi, q_value, state):
    found, why = judged(pair(psi=psi), q_value, 1.0, SETTINGS)
    assert found == state
    assert why == (None if state == "stable" else f"other distribution (PSI {psi:.2f})")


def test_missing_values_alone_make_a_distribution_another_one():
    assert judged(pair(psi=0.4), 1.0, 0.02, SETTINGS)[0] == "alarm"
    assert judged(pair(psi=0.4), 1.0, above(0.02), SETTINGS)[0] == "stable"


@pytest.mark.parametrize(
    ("missing", "before", "q_value", "state"),
    [
        (0.1, 0.0, 0.02, "alarm"),
        (0.0, 0.1, 0.02, "alarm"),
        (below(0.1), 0.0, 0.0, "stable"),
        (0.1, 0.0, above(0.02), "stable"),
    ],
)
def test_a_share_of_missing_values_may_neither_rise_nor_fall(missing, before, q_value, state):
    one = pair(missing=missing, reference_missing=before)
    found, why = judged(one, 1.0, q_value, SETTINGS)
    assert found == state
    assert why == (f"missing in {missing:.1%}, was {before:.1%}" if state == "alarm" else None)


def test_texts_that_training_never_saw_are_an_alarm_against_training_alone():
    seen = judged(pair(unseen=0.03), 1.0, 1.0, SETTINGS)
    assert seen == ("alarm", "3.0% never seen in training: new, newer")
    assert judged(pair(unseen=below(0.03)), 1.0, 1.0, SETTINGS) == ("stable", None)
    assert judged(pair(unseen=0.5, earlier="2025-12"), 1.0, 1.0, SETTINGS) == ("stable", None)


def test_all_reasons_are_said_and_the_worst_one_decides():
    found, why = judged(pair(psi=0.2, missing=0.3), 0.0, 0.0, SETTINGS)
    assert found == "alarm"
    assert why == "missing in 30.0%, was 0.0%; other distribution (PSI 0.20)"


@pytest.mark.parametrize(("rows", "reference_rows"), [(49, 100), (100, 49)])
def test_few_rows_on_either_side_are_not_judged(rows, reference_rows):
    one = pair(psi=9.0, rows=rows, reference_rows=reference_rows)
    assert judged(one, 0.0, 0.0, SETTINGS) == ("too few rows", "fewer than 50 rows")
    assert judged(pair(psi=9.0, rows=50, reference_rows=50), 0.0, 0.0, SETTINGS)[0] == "alarm"


def test_a_column_has_its_own_limits_and_else_those_of_all():
    own = SETTINGS.model_copy(update={"features": {"wind": {"psi_alarm": 0.3}}})
    assert judged(pair(psi=0.3), 0.0, 1.0, own)[0] == "alarm"
    assert judged(pair(psi=below(0.2)), 0.0, 1.0, own)[0] == "stable"
    other = SETTINGS.model_copy(update={"features": {"humid": {"psi_warn": 9, "psi_alarm": 9}}})
    assert judged(pair(psi=0.4), 0.0, 1.0, other)[0] == "alarm"


def test_a_row_is_judged_by_the_corrected_value_and_not_by_its_own():
    sure = Comparison(0.5, 0.0, None, 0.015, 0.0, 0.0, 1.0, None, (), ())
    one = Pair("2026-01", None, "wind", 100, 100, None, None, sure)
    alone, *_ = judged_rows([one], {}, SETTINGS)
    assert (alone["q_value"], alone["state"]) == (pytest.approx(0.03), "stable")


def fallen(value: float | None, high: float | None, reference: float | None, rows: int = 50):
    found = _fallen({"rows": rows, "value": value}, high, reference, SETTINGS)
    return found["state"], found["why"]


def test_performance_falls_only_with_its_whole_interval():
    assert fallen(0.5, 0.75, 0.75) == ("stable", None)
    assert fallen(0.5, below(0.75), 0.75) == ("alarm", "roc_auc 0.500, was 0.750")
    assert fallen(above(0.5), 0.6, 0.75) == ("warning", "roc_auc 0.500, was 0.750")
    assert fallen(0.9, 0.95, 0.75) == ("stable", None)
    assert fallen(0.5, 0.6, None) == ("stable", None)


def test_performance_on_few_labels_is_not_judged():
    assert fallen(0.1, 0.2, 0.75, rows=49) == ("too few rows", "49 labels are known")
    assert fallen(None, None, 0.75) == ("too few rows", "50 labels are known")


def drift_of(*rows: tuple[str, str], snapshot: Snapshot, model: ModelVersion) -> Drift:
    told = tuple({"period": period, "state": state} for period, state in rows)
    return Drift(told, snapshot, False, model)


def test_the_newest_period_that_could_be_judged_raises_the_alarm(trained):
    project, outcome = trained
    about = {"snapshot": project.lake.read("gold.labels"), "model": outcome.runs[0]}
    seen = drift_of(
        ("2026-01", "alarm"), ("2026-02", "stable"), ("2026-03", "too few rows"), **about
    )
    assert (seen.newest_period, seen.alarms) == ("2026-02", [])
    seen = drift_of(("2026-01", "stable"), ("2026-02", "alarm"), ("2026-02", "warning"), **about)
    assert [row["state"] for row in seen.alarms] == ["alarm"]
