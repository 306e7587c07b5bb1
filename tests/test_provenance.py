from __future__ import annotations

import contextlib
import math
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sololakehouse.provenance import Manifest, code_revision, content_manifest, fingerprint

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.text(max_size=5),
        st.none() | st.floats(),
        st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    ),
    max_size=8,
)
SCHEMA = {"i": pl.Int64, "s": pl.String, "f": pl.Float64, "t": pl.Datetime("us", "UTC")}


def frame(rows) -> pl.LazyFrame:
    return pl.DataFrame(rows, schema=SCHEMA, orient="row").lazy()


def canonical(rows) -> list:
    def plain(value):
        if isinstance(value, float):
            return "nan" if math.isnan(value) else value + 0.0
        return value

    return sorted(repr(tuple(plain(value) for value in row)) for row in rows)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.randoms())
def test_order_does_not_matter(rows, random):
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert content_manifest(frame(rows)) == content_manifest(frame(shuffled))


@settings(max_examples=150, deadline=None)
@given(ROWS, ROWS)
def test_equal_manifests_mean_equal_rows(left, right):
    same = content_manifest(frame(left)) == content_manifest(frame(right))
    assert same == (canonical(left) == canonical(right))


@settings(max_examples=50, deadline=None)
@given(ROWS, ROWS)
def test_manifests_add_up(left, right):
    both = content_manifest(frame([*left, *right]))
    assert content_manifest(frame(left)) + content_manifest(frame(right)) == both


def manifest_of(**columns) -> Manifest:
    return content_manifest(pl.DataFrame(columns).lazy())


def test_zero_has_one_sign_and_nan_one_form():
    negative_nan = -float("nan")
    assert manifest_of(x=[0.0, float("nan")]) == manifest_of(x=[-0.0, negative_nan])
    numbers = [float(n) for n in range(100)]
    assert manifest_of(x=numbers) == manifest_of(x=[-0.0, *numbers[1:]])


def test_the_width_of_a_number_does_not_matter_but_its_kind_does():
    wide = manifest_of(x=pl.Series([1], dtype=pl.Int64))
    assert manifest_of(x=pl.Series([1], dtype=pl.Int32)) == wide
    signed = manifest_of(x=pl.Series([-1, 127], dtype=pl.Int64))
    for narrow in (pl.Int8, pl.Int16, pl.Int32):
        assert manifest_of(x=pl.Series([-1, 127], dtype=narrow)) == signed
    assert manifest_of(x=[1.0]) != wide
    assert manifest_of(x=["1"]) != wide


def test_an_instant_is_the_same_in_every_zone_and_unit():
    moment = datetime(2013, 7, 1, 12, tzinfo=UTC)
    utc = manifest_of(x=pl.Series([moment]).dt.cast_time_unit("us"))
    there = pl.Series([moment]).dt.convert_time_zone("America/New_York").dt.cast_time_unit("ns")
    assert manifest_of(x=there) == utc
    assert manifest_of(x=[moment + timedelta(microseconds=1)]) != utc


@pytest.mark.parametrize(
    "values",
    [
        [Decimal("1.10"), None],
        [[1, 2], None],
        [{"a": 1, "b": "x"}, {"a": None, "b": "y"}],
        [b"\x00", None],
        [True, None],
        [datetime(2020, 1, 1).date(), None],
        [timedelta(seconds=1), None],
    ],
)
def test_every_type_has_a_hash_that_sees_each_value(values):
    whole = manifest_of(x=values)
    assert whole == manifest_of(x=values[::-1])
    assert whole.columns["x"] != manifest_of(x=[values[0], values[0]]).columns["x"]


def test_values_that_change_places_between_columns_are_seen():
    assert manifest_of(a=[1], b=[2]).row_sum != manifest_of(a=[2], b=[1]).row_sum


def test_rows_that_swap_values_are_seen_though_the_columns_are_equal():
    one, two = manifest_of(a=[1, 2], b=[1, 2]), manifest_of(a=[1, 2], b=[2, 1])
    assert one.columns == two.columns
    assert one.digest != two.digest


def test_known_value_so_that_no_release_changes_the_hash_unnoticed():
    manifest = manifest_of(a=[1, None], b=["x", "y"], c=[0.5, -0.0])
    assert manifest.digest == "2f10b10bf97c98f61e9cbf03b91a886b"


def test_columns_left_out_are_named_and_do_not_count():
    one = content_manifest(pl.LazyFrame({"a": [1], "at": [1]}), left_out=["at", "nowhere"])
    two = content_manifest(pl.LazyFrame({"a": [1], "at": [2]}), left_out=["at", "nowhere"])
    assert one == two
    assert one.left_out == ("at",)


def test_fingerprints_tell_structure_apart():
    assert fingerprint("a", "b") != fingerprint("ab") != fingerprint(["a", "b"])


def test_code_revision_names_the_commit_and_a_dirty_tree(tmp_path):
    assert code_revision(tmp_path) is None
    git = ["git", "-C", str(tmp_path), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "a"], check=True)
    clean = code_revision(tmp_path)
    assert clean is not None
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert code_revision(tmp_path) == clean + "+dirty"


def test_null_is_no_value_of_any_type():
    for values in ([0, None], [0.0, None], ["", None], [b"", None], [False, None], [[], None]):
        only, null = manifest_of(x=values[:1]), manifest_of(x=pl.Series(values)[1:])
        assert only.columns != null.columns, values
    texts = manifest_of(x=["null", "None"])
    assert texts.columns != manifest_of(x=pl.Series([None, None], dtype=pl.String)).columns


def test_a_decimal_is_its_digits_and_scale():
    def of(text, scale):
        return manifest_of(x=pl.Series([Decimal(text)], dtype=pl.Decimal(20, scale)))

    assert of("1.10", 2) == manifest_of(x=pl.Series([Decimal("1.10")], dtype=pl.Decimal(38, 2)))
    assert of("1.10", 2) != of("1.11", 2)
    assert of("1.1", 1) != of("1.10", 2)


def test_a_timestamp_with_and_without_a_zone_is_its_microseconds():
    moment = datetime(2013, 7, 1, 12, 0, 0, 123456)
    naive = manifest_of(x=pl.Series([moment], dtype=pl.Datetime("us")))
    aware = manifest_of(x=pl.Series([moment.replace(tzinfo=UTC)], dtype=pl.Datetime("us", "UTC")))
    assert naive == aware
    cut = manifest_of(x=pl.Series([moment], dtype=pl.Datetime("ms")))
    assert cut == manifest_of(x=[moment.replace(microsecond=123000)])


def test_nested_values_tell_null_empty_and_order_apart():
    forms = [[1, 2], [2, 1], [1, 2, None], [None], [], None]
    lists = [pl.Series([form], dtype=pl.List(pl.Int64)) for form in forms]
    structs = [{"a": 1, "b": None}, {"a": None, "b": 1}, {"a": None, "b": None}]
    digests = {manifest_of(x=column).digest for column in lists}
    digests |= {manifest_of(x=pl.Series([form])).digest for form in structs}
    assert len(digests) == len(forms) + len(structs)


def test_a_negative_zero_and_a_nan_in_a_list_are_what_their_text_says():
    assert manifest_of(x=[[0.0]]) != manifest_of(x=[[-0.0]])


@pytest.mark.parametrize("rows", [1, 32_767, 32_768, 32_769, 100_000])
def test_blocks_and_chunks_of_rows_do_not_matter(rows):
    frame = pl.DataFrame({"n": range(rows), "f": [None, 0.5] * (rows // 2) + [1.0] * (rows % 2)})
    half = rows // 2
    parts = [frame[:half], frame[half:]]
    whole = content_manifest(frame.lazy())
    assert content_manifest(pl.concat(parts, rechunk=False).lazy()) == whole
    assert content_manifest(parts[0].lazy()) + content_manifest(parts[1].lazy()) == whole


def test_no_rows_and_no_columns_have_a_manifest():
    empty = content_manifest(pl.LazyFrame(schema={"a": pl.Int64}))
    assert (empty.rows, empty.row_sum, empty.columns) == (0, 0, {"a": 0})
    assert content_manifest(pl.LazyFrame({"at": [1]}), left_out=["at"]).columns == {}


def test_an_interrupt_never_gives_the_manifest_of_fewer_rows(tmp_path):
    rows = 2_000_000
    pl.DataFrame({"a": range(rows)}).write_parquet(tmp_path / "a.parquet", row_group_size=50_000)
    scan = pl.scan_parquet(tmp_path / "a.parquet")
    for pause in (0.002, 0.01, 0.03):
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(content_manifest, scan)
            time.sleep(pause)
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            error = found.exception()
        assert isinstance(error, KeyboardInterrupt) or found.result().rows == rows
