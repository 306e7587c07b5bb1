from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from sololakehouse.features.suspects import suspects

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


def test_being_null_may_say_the_label():
    cancelled = pl.Series([None if late else 1.5 for late in LABEL])
    assert found(arrival=cancelled) == {"arrival": ("missing values", 1.0)}


@pytest.mark.parametrize("missing", [np.nan, np.inf])
def test_what_is_not_finite_is_missing_and_hides_nothing(missing):
    telling = LABEL * -3.0 + 7
    telling[[0, 5, 9]] = missing
    assert found(arrival=telling) == {"arrival": ("correlation", -1.0)}
    assert found(arrival=np.where(LABEL == 1, missing, 1.5)) == {"arrival": ("missing values", 1.0)}


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
