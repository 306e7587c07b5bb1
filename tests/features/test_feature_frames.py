from __future__ import annotations

import polars as pl
import pytest

from sololakehouse.errors import FeatureLookupError
from sololakehouse.features.frames import as_polars

from .flights import LABELS


@pytest.mark.parametrize("convert", ["clone", "lazy", "to_arrow", "to_pandas"])
def test_frames_of_every_kind_become_the_same(convert):
    assert as_polars(getattr(LABELS, convert)(), "the labels").equals(LABELS)


def test_instants_become_utc_microseconds():
    local = pl.col("predict_at").dt.convert_time_zone("America/New_York").dt.cast_time_unit("ns")
    frame = as_polars(LABELS.with_columns(local), "the labels")
    assert frame.schema["predict_at"] == pl.Datetime("us", "UTC")
    assert frame.equals(LABELS)


def test_a_timestamp_without_a_zone_is_refused_even_if_no_lookup_uses_it():
    naive = LABELS.with_columns(other=pl.col("predict_at").dt.replace_time_zone(None))
    with pytest.raises(FeatureLookupError, match="'other' of the rows has no time zone"):
        as_polars(naive, "the rows")
