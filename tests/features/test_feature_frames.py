from __future__ import annotations

from datetime import time, timedelta

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from sololakehouse.errors import FeatureLookupError, UsageError
from sololakehouse.features.frames import as_polars, without_rows

from .flights import LABELS, weather


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


UNSIGNED = {
    pl.UInt8: (255, pl.Int16),
    pl.UInt16: (2**16 - 1, pl.Int32),
    pl.UInt32: (2**32 - 1, pl.Int64),
    pl.UInt64: (2**63 - 1, pl.Int64),
}


@pytest.mark.parametrize("kind", UNSIGNED)
def test_a_table_of_unsigned_numbers_can_be_read_again(project, kind):
    greatest, signed = UNSIGNED[kind]
    rows = pl.DataFrame({"k": [greatest, 1], "many": [[greatest], None]})
    rows = rows.cast({"k": kind, "many": pl.List(kind)})
    made = project.client.create_table(name="features.unsigned", primary_keys="k", df=rows)
    stored = made.snapshot.to_polars()
    assert stored.schema == {"k": signed, "many": pl.List(signed)}
    assert stored.rows() == [(1, None), (greatest, [greatest])]
    labels = rows.select("k", is_late=pl.lit(1))
    lookup = weather(table_name="features.unsigned", lookup_key="k", timestamp_lookup_key=None)
    found = project.client.create_training_set(df=labels, feature_lookups=[lookup], label="is_late")
    assert found.to_polars()["many"].to_list() == [[greatest], None]


def test_categories_become_text_and_arrays_lists():
    frame = pl.DataFrame(
        {"c": ["a"], "e": ["b"], "a": [[1, 2]], "s": [{"u": 7}]},
        schema={
            "c": pl.Categorical,
            "e": pl.Enum(["b"]),
            "a": pl.Array(pl.UInt8, 2),
            "s": pl.Struct({"u": pl.UInt8}),
        },
    )
    found = as_polars(frame, "the rows")
    kinds = [pl.String(), pl.String(), pl.List(pl.Int16), pl.Struct({"u": pl.Int16})]
    assert found.dtypes == kinds
    assert found.rows() == [("a", "b", [1, 2], {"u": 7})]


@pytest.mark.parametrize(
    ("values", "instead"),
    [
        (pl.Series([1], dtype=pl.Int128), r"Decimal\(38, 0\)"),
        (pl.Series([timedelta(1)]), "text"),
        (pl.Series([time(8)]), "text"),
        (pl.Series([[time(8)]]), "text"),
        (pl.Series([object()], dtype=pl.Object), "text"),
    ],
)
def test_a_type_that_delta_does_not_have_is_refused(values, instead):
    message = (
        rf"The column 'x' of the rows is .*, which Delta does not have\. Cast it.* to {instead}"
    )
    with pytest.raises(UsageError, match=message):
        as_polars(pl.DataFrame({"x": values}), "the rows")


def test_a_number_that_delta_cannot_hold_is_refused():
    frame = pl.DataFrame({"x": pl.Series([2**63], dtype=pl.UInt64)})
    with pytest.raises(
        UsageError, match=r"cannot hold as BIGINT: 'x' \(UInt64\)\. Cast it to pl\.D"
    ):
        as_polars(frame, "the rows")


def test_names_that_differ_in_case_alone_are_refused():
    with pytest.raises(UsageError) as said:
        as_polars(pl.DataFrame({"temp": [1], "Temp": [2]}), "the rows")
    assert str(said.value) == (
        "The columns 'temp' and 'Temp' of the rows differ in nothing but upper and lower case, and "
        "Delta takes them for one. Give one of them another name."
    )


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (lambda: pd.DataFrame({"x": [1, "one"]}), "Could not convert 'one' with type str"),
        (lambda: pd.DataFrame([[1, 2]], columns=["x", "x"]), "unique"),
        (lambda: pa.table([pa.array([1])] * 2, names=["x", "x"]), "more than once"),
        (lambda: LABELS.lazy().select("flihgt"), 'unable to find column "flihgt"'),
    ],
)
def test_a_frame_that_cannot_be_read_is_an_error_of_one_line(frame, reason):
    with pytest.raises(UsageError) as said:
        as_polars(frame(), "the labels")
    assert " cannot be read as the labels: " in str(said.value)
    assert reason in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("schema", [["shop"], "shop STRING", {"shop": "string"}])
def test_a_schema_without_types_is_refused(schema):
    with pytest.raises(
        UsageError, match=r"cannot be read as the schema of the rows\. Give a Spark"
    ):
        without_rows(schema, "the rows")
