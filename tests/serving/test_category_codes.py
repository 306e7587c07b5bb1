"""Codes of texts from a table are those of the fitted encoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from sololakehouse.serving.category_codes import CategoryCodes

NAN = float("nan")
FORMS = (
    {"unknown_value": NAN, "encoded_missing_value": NAN},
    {"unknown_value": -1},
    {"unknown_value": -1, "encoded_missing_value": -2},
    {"unknown_value": -1, "min_frequency": 2},
    {"unknown_value": NAN, "max_categories": 2},
)
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "A", "nan", "é"]), st.text(max_size=3))
BLOCKS = st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12)


def block(rows: list[tuple[str | None, str | None]]) -> np.ndarray:
    found = np.empty((len(rows), 2), object)
    found[:] = rows
    return found


@pytest.mark.parametrize("form", FORMS, ids=str)
@given(learned=BLOCKS, asked=BLOCKS)
def test_the_table_gives_what_the_encoder_gives(form, learned, asked):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", **form).fit(block(learned))
    codes = CategoryCodes.of(encoder)
    assert codes is not None
    for rows in (learned, asked):
        expected = encoder.transform(block(rows))
        np.testing.assert_array_equal(codes.transform(block(rows)), expected)


@pytest.mark.parametrize(
    "encoder", [OrdinalEncoder(), OneHotEncoder(handle_unknown="ignore")], ids=["refuses", "wide"]
)
def test_an_encoder_that_refuses_texts_or_gives_more_columns_is_asked_itself(encoder):
    assert CategoryCodes.of(encoder.fit(block([("a", "b")]))) is None
