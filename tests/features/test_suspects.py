from __future__ import annotations

from itertools import product

import numpy as np
import polars as pl
import pytest

from sololakehouse.features.suspects import Suspicions, suspects

from .flights import LABELS, weather

ROWS = 200
DRAW = np.random.default_rng(3)
LABEL = DRAW.integers(0, 2, ROWS)
FEATURES = {
    "same": LABEL.astype(np.float64),
    "scaled": LABEL * -3.0 + 7,
    "named": np.where(LABEL == 1, "late", "in time"),
    "noise": DRAW.normal(size=ROWS),
    "ids": np.array([f"flight {number}" for number in range(ROWS)]),
    "cities": DRAW.choice(np.array(["a", "b", "c"]), ROWS),
}


def found(**columns) -> dict[str, tuple[str, float]]:
    frame = pl.DataFrame({"y": LABEL, **columns})
    told = suspects(frame, "y", list(columns))
    return {one.feature: (one.measure, round(one.value, 6)) for one in told}


def test_features_that_say_the_label_are_named_with_the_measure():
    assert found(**FEATURES) == {
        "same": ("share of equal values", 1.0),
        "scaled": ("correlation", -1.0),
        "named": ("correlation ratio", 1.0),
    }


@pytest.mark.parametrize("value", [1.5, 3, True, "JFK"])
@pytest.mark.parametrize(("gone", "correlation"), [(1, 1.0), (0, -1.0)])
def test_being_null_may_say_the_label(value, gone, correlation):
    arrival = pl.Series([None if late == gone else value for late in LABEL])
    assert found(arrival=arrival) == {"arrival": ("missing values", correlation)}


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_what_is_not_finite_is_missing_and_hides_nothing(missing):
    telling = LABEL * -3.0 + 7
    telling[[0, 5, 9]] = missing
    assert found(arrival=telling) == {"arrival": ("correlation", -1.0)}
    assert found(arrival=np.where(LABEL == 1, missing, 1.5)) == {"arrival": ("missing values", 1.0)}


@pytest.mark.parametrize("missing", [None, np.nan, -np.inf])
def test_frames_say_what_their_rows_say_together(missing):
    rows = 30_000
    label = DRAW.integers(0, 2, rows)
    telling = pl.Series(label * -3.0 + 1e9)
    noise = pl.Series(DRAW.normal(size=rows))
    places = [0, 1, 8_191, 8_192, 20_000, 20_001, 29_999]
    whole = pl.DataFrame(
        {
            "y": label,
            "telling": telling.scatter(places, missing),
            "noise": noise.scatter(places, missing),
            "copy": pl.Series(label.astype(float)).scatter(places, missing),
            "gone": pl.Series(np.where(label == 1, 1.5, np.nan)).fill_nan(missing),
        }
    )
    features = whole.columns[1:]
    expected = {
        "telling": ("correlation", -1.0),
        "copy": ("share of equal values", round(1 - len(places) / rows, 6)),
        "gone": ("missing values", -1.0),
    }
    for order, size in product((whole, whole.sort("y")), (rows, 20_000, 8_192, 1_001)):
        suspicions = Suspicions("y", features, rows)
        for frame in order.iter_slices(size):
            suspicions.add(frame)
        told = {one.feature: (one.measure, round(one.value, 6)) for one in suspicions.suspects()}
        assert told == expected, size


def test_nothing_is_known_of_a_feature_until_it_is_not_missing():
    unknown = pl.DataFrame(
        {"y": LABEL, "late": [None] * ROWS}, schema_overrides={"late": pl.Float64}
    )
    nan = unknown.with_columns(late=float("nan"))
    known = pl.DataFrame({"y": LABEL, "late": LABEL * 2.0 + 1e9})
    suspicions = Suspicions("y", ["late"], 3 * ROWS)
    for frame in (unknown, nan, known):
        suspicions.add(frame)
    (suspect,) = suspicions.suspects()
    assert (suspect.measure, round(suspect.value, 9)) == ("correlation", 1.0)
    assert found(never=unknown["late"]) == found(never=nan["late"]) == {}


def test_numbers_too_large_to_square_are_no_suspects_and_hide_nothing():
    large = np.where(LABEL == 1, 1e200, -1e200)
    assert found(large=large) == {}
    assert found(large=large, gone=np.where(LABEL == 1, np.nan, large)) == {
        "gone": ("missing values", 1.0)
    }
    assert found(copy=np.where(np.arange(ROWS) < 2, 1e308, LABEL)) == {
        "copy": ("share of equal values", 0.99)
    }


@pytest.mark.parametrize("differing", [0, 20, 21])
def test_equal_values_count_as_long_as_they_can_reach_the_limit(differing):
    label = pl.Series("y", [f"class {number % 3}" for number in range(1_000)])
    copy = pl.concat([pl.Series(["other"] * differing, dtype=pl.String), label[differing:]])
    frame = pl.DataFrame({"y": label, "copy": copy})
    for size in (1_000, 20, 3):
        suspicions = Suspicions("y", ["copy"], 1_000)
        for some in frame.iter_slices(size):
            suspicions.add(some)
        told = [(one.measure, one.value) for one in suspicions.suspects()]
        assert told == ([("share of equal values", 1 - differing / 1000)] if differing < 21 else [])


def test_rows_whose_label_is_null_do_not_count():
    label = pl.Series([None if number % 2 else number % 3 for number in range(ROWS)])
    copy = pl.Series([7 if number % 2 else number % 3 for number in range(ROWS)])
    (suspect,) = suspects(pl.DataFrame({"y": label, "copy": copy}), "y", ["copy"])
    assert (suspect.measure, suspect.value) == ("share of equal values", 1.0)


def test_a_label_that_is_not_finite_equals_nothing():
    label = FEATURES["same"].copy()
    label[7] = np.nan
    (suspect,) = suspects(pl.DataFrame({"y": label, "copy": label}), "y", ["copy"])
    assert (suspect.measure, suspect.value) == ("share of equal values", 0.995)


def test_labels_of_text_and_booleans():
    frame = pl.DataFrame({"y": FEATURES["named"], "copy": FEATURES["named"], "n": LABEL})
    assert [one.feature for one in suspects(frame, "y", ["copy", "n"])] == ["copy"]
    flags = pl.DataFrame({"y": LABEL == 1, "flag": LABEL == 1, "number": LABEL})
    assert [one.feature for one in suspects(flags, "y", ["flag", "number"])] == ["flag", "number"]


@pytest.mark.parametrize("label", [LABEL[:19], np.zeros(ROWS, int)])
def test_too_few_rows_or_one_class_say_nothing(label):
    frame = pl.DataFrame({"y": label, "same": label})
    assert suspects(frame, "y", ["same"]) == ()


def test_a_training_set_records_its_suspects(project):
    labels = pl.concat([LABELS] * 6).with_columns(copy=pl.col("is_late"))
    made = project.client.create_training_set(
        df=labels, feature_lookups=[weather()], label="is_late"
    )
    (suspect,) = (one for one in made.suspects if one.feature == "copy")
    assert str(suspect) == (
        "'copy' says the label nearly alone (share of equal values: 1.000). Is it known at the "
        "label's moment?"
    )
    assert suspect.as_dict() in made.save("copied").record.details["suspects"]
