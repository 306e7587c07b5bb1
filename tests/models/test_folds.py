from __future__ import annotations

import re
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sololakehouse.errors import TrainingError
from sololakehouse.models.experiment import CrossValidation
from sololakehouse.models.folds import folds_of, spread
from sololakehouse.models.part import Part

HOUR = np.timedelta64(1, "h")
BEGIN = np.datetime64("2026-01-01", "us")


def part(hours, known_after=None) -> Part:
    moments = BEGIN + np.asarray(hours) * HOUR
    known = None if known_after is None else moments + np.timedelta64(known_after, "h")
    labels = np.arange(len(moments)) % 2
    inputs = pd.DataFrame({"row": np.arange(len(moments))})
    return Part("train", inputs, labels, moments=moments, known_at=known)


def rows(one: Part) -> list[int]:
    return one.inputs["row"].tolist()


def test_each_fold_learns_from_what_lies_before_it():
    folds = list(folds_of(part(range(40)), CrossValidation(folds=3)))
    assert [rows(train) for train, _ in folds] == [[*range(end)] for end in (10, 20, 30)]
    assert [rows(held) for _, held in folds] == [[*range(n, n + 10)] for n in (10, 20, 30)]


def test_a_sliding_window_learns_from_the_block_before():
    folds = list(folds_of(part(range(40)), CrossValidation(folds=3, window="sliding")))
    assert [rows(train) for train, _ in folds] == [[*range(n, n + 10)] for n in (0, 10, 20)]


def test_the_embargo_and_what_was_not_known_are_left_out():
    settings = CrossValidation(folds=3)
    hours = part(range(40))
    within = [rows(train)[-1] for train, _ in folds_of(hours, settings, timedelta(hours=2))]
    assert within == [7, 17, 27]
    later = part(range(40), known_after=3)
    assert [rows(train)[-1] for train, _ in folds_of(later, settings)] == [7, 17, 27]
    nobody = part(range(40), known_after="NaT")
    with pytest.raises(TrainingError, match="fold 1 has no rows to learn from"):
        list(folds_of(nobody, settings))


@given(st.lists(st.integers(0, 60), min_size=12), st.integers(2, 4), st.integers(0, 5))
def test_time_only_goes_forward(hours, folds, embargo):
    given_part = part(hours)
    try:
        found = list(folds_of(given_part, CrossValidation(folds=folds), timedelta(hours=embargo)))
    except TrainingError:
        return
    assert len(found) == folds
    moments = given_part.moments
    for train, held in found:
        begin = moments[rows(held)].min()
        assert moments[rows(train)].max() < begin - embargo * HOUR
    measured = [row for _, held in found for row in rows(held)]
    assert len(measured) == len(set(measured))
    first = moments[rows(found[0][1])].min()
    assert sorted(measured) == [row for row in range(len(hours)) if moments[row] >= first]


def test_what_cannot_be_cut_is_said():
    few = part([0] * 30 + [1] * 10)
    with pytest.raises(TrainingError, match="too few moments for 3 folds"):
        list(folds_of(few, CrossValidation(folds=3)))
    one = part(range(40))
    one.labels[20:30] = 1
    message = "cross_validation: fold 2 has only labels 1 to measure on."
    with pytest.raises(TrainingError, match=re.escape(message)):
        list(folds_of(one, CrossValidation(folds=3)))


def test_the_spread_is_that_of_a_sample():
    found = spread([{"f1": 0.5}, {"f1": 0.7}, {"f1": 0.9}])
    assert found == pytest.approx(
        {
            "cross_validation_f1_fold_1": 0.5,
            "cross_validation_f1_fold_2": 0.7,
            "cross_validation_f1_fold_3": 0.9,
            "cross_validation_f1_mean": 0.7,
            "cross_validation_f1_std": 0.2,
        }
    )
