from __future__ import annotations

import math
from collections import Counter
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake.diff import TableDiff, diff
from sololakehouse.provenance import Change

SCHEMA = {"k": pl.Int64, "j": pl.String, "v": pl.Float64, "l": pl.List(pl.Int64)}
ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, None]),
        st.sampled_from(["a", "b", None]),
        st.sampled_from([0.0, -0.0, 1.5, math.nan, None]),
        st.sampled_from([None, [], [1], [1, None]]),
    ),
    max_size=12,
)


@pytest.fixture
def project(make_project):
    return make_project()


def write(project, frame, *, mode="overwrite", properties=None, left_out=()):
    change = Change("TEST", "f", left_out=left_out)
    return project.writer().write_frame("silver.t", frame, change, mode=mode, properties=properties)


def compared(project, old: Any, new: Any, keys=(), **options: Any) -> TableDiff:
    one, two = write(project, old, **options), write(project, new, **options)
    return diff(one, two, keys)


def plain(row: tuple) -> tuple:
    """A row in which NaN and the two zeros are what they are in a table."""
    return tuple(
        "NaN"
        if isinstance(v, float) and math.isnan(v)
        else str(v or 0.0)
        if v in (0.0,)
        else str(v)
        for v in row
    )


def oracle(old: list[tuple], new: list[tuple], keys: tuple[int, ...]) -> tuple[int, int, int]:
    before, after = Counter(map(plain, old)), Counter(map(plain, new))
    more, less = after - before, before - after
    changed = 0
    for key in {tuple(row[i] for i in keys) for row in more} if keys else ():
        ours = [
            Counter({r: n for r, n in side.items() if tuple(r[i] for i in keys) == key})
            for side in (more, less)
        ]
        if "None" not in key and all(side.total() == 1 for side in ours):
            changed += 1
    return more.total() - changed, less.total() - changed, changed


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(old=ROWS, new=ROWS, keys=st.sampled_from([(), (0,), (0, 1), (1,)]))
def test_it_counts_as_plain_python_does(project, old, new, keys):
    frames = [pl.DataFrame(rows, SCHEMA, orient="row") for rows in (old, new)]
    found = compared(project, *frames, keys=[list(SCHEMA)[i] for i in keys])
    assert (found.added, found.removed, found.changed) == oracle(old, new, keys)
    assert len(found.changed_examples) == min(found.changed, 5)
    assert found.is_empty == (Counter(map(plain, old)) == Counter(map(plain, new)))
    assert (found.rows_old, found.rows_new) == (len(old), len(new))


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(old=ROWS, new=ROWS)
def test_files_of_both_versions_are_not_needed_to_count(project, old, new):
    base = write(project, pl.DataFrame(old, SCHEMA, orient="row"))
    after = write(project, pl.DataFrame(new, SCHEMA, orient="row"), mode="append")
    found = diff(base, after, ["k"])
    assert (found.added, found.removed, found.changed) == (len(new), 0, 0)
    back = diff(after, base, ["k"])
    assert (back.added, back.removed, back.changed) == (0, len(new), 0)


def test_a_changed_row_shows_key_and_both_values(project):
    old = pl.DataFrame({"k": [1, 2, 3], "v": ["a", "b", "c"], "w": [1, 1, 1]})
    new = pl.DataFrame({"k": [3, 2, 4], "v": ["c", "B", "d"], "w": [1, 1, 1]})
    found = compared(project, old, new, ["k"])
    assert (found.added, found.removed, found.changed) == (1, 1, 1)
    assert found.added_examples == ({"k": 4, "v": "d", "w": 1},)
    assert found.removed_examples == ({"k": 1, "v": "a", "w": 1},)
    (changed,) = found.changed_examples
    assert (changed.key, changed.columns) == ({"k": 2}, {"v": ("b", "B")})
    assert found.changed_columns == {"v": 1}


@pytest.mark.parametrize(
    ("old", "new"), [(["a", "b"], ["b", "b"]), (["a", "a"], ["a", "b"]), (["b", "a"], ["b", "b"])]
)
def test_a_changed_row_beside_an_equal_one_of_its_key(project, old, new):
    frames = [pl.DataFrame({"k": [1, 1], "v": values}) for values in (old, new)]
    found = compared(project, *frames, keys=["k"])
    assert (found.added, found.removed, found.changed) == (0, 0, 1)
    assert found.changed_columns == {"v": 1}
    assert [row.columns for row in found.changed_examples] == [{"v": ("a", "b")}]


def test_examples_are_the_first_by_key(project):
    old = pl.DataFrame({"k": list(range(50)), "v": [0] * 50})
    found = compared(project, old, old.with_columns(v=pl.col("k")).sample(fraction=1), ["k"])
    assert found.changed == 49
    assert [row.key["k"] for row in found.changed_examples] == [1, 2, 3, 4, 5]
    assert [row.columns for row in found.changed_examples][:2] == [{"v": (0, 1)}, {"v": (0, 2)}]


def test_many_changed_rows_are_compared_in_parts(project, monkeypatch):
    monkeypatch.setattr("sololakehouse.lake.diff._PAIRS_AT_ONCE", 7)
    old = pl.DataFrame({"k": list(range(50)), "v": [0] * 50, "w": [1] * 50})
    found = compared(project, old, old.with_columns(v=pl.col("k") % 2), ["k"])
    assert (found.changed, found.changed_columns) == (25, {"v": 25})
    assert [row.key["k"] for row in found.changed_examples] == [1, 3, 5, 7, 9]


def test_the_keys_are_those_of_the_feature_contract(project):
    contract = {"feature.keys": "k"}
    old, new = pl.DataFrame({"k": [1], "v": [1]}), pl.DataFrame({"k": [1], "v": [2]})
    found = compared(project, old, new, properties=contract)
    assert (found.keys, found.changed) == (("k",), 1)


def test_without_keys_nothing_is_changed(project):
    found = compared(project, pl.DataFrame({"k": [1]}), pl.DataFrame({"k": [2]}))
    assert (found.keys, found.added, found.removed, found.changed) == ((), 1, 1, 0)


def test_rows_with_a_null_key_never_pair_and_are_counted(project):
    old = pl.DataFrame({"k": [None], "v": [1]}, {"k": pl.Int64, "v": pl.Int64})
    new = pl.DataFrame({"k": [None], "v": [2]}, {"k": pl.Int64, "v": pl.Int64})
    found = compared(project, old, new, ["k"])
    assert (found.added, found.removed, found.changed, found.unkeyed) == (1, 1, 0, 2)


def test_equal_content_is_told_by_the_manifests_without_reading(project):
    frame = pl.DataFrame({"k": [1, 2]})
    one, two = write(project, frame), write(project, frame.reverse())
    for version in (one, two):
        for file in version.file_uris():
            project.folder.joinpath(file).unlink()
    found = diff(one, two)
    assert found.is_empty
    assert found.by_manifest


def test_columns_that_came_went_and_changed_type(project):
    old = pl.DataFrame({"k": [1, 2], "gone": [1, 1], "n": ["1", "2"], "w": [1, 2]})
    old = old.with_columns(pl.col("w").cast(pl.Int32))
    new = pl.DataFrame({"k": [1, 2], "came": [1, 1], "n": [1, 2], "w": [1, 3]})
    found = compared(project, old, new, ["k"])
    assert found.columns_added == {"came": "bigint"}
    assert found.columns_removed == {"gone": "bigint"}
    assert found.columns_retyped == {"n": ("string", "bigint"), "w": ("int", "bigint")}
    assert found.not_compared == {"n": "has another type"}
    assert (found.changed, found.changed_columns) == (1, {"w": 1})


def test_a_column_added_by_an_append_is_null_before(project):
    one = write(project, pl.DataFrame({"k": [1]}))
    writer = project.writer()
    with writer.staging() as staged:
        pl.DataFrame({"k": [2], "extra": ["x"]}).write_parquet(staged / "a.parquet")
        pl.DataFrame({"k": [3], "extra": ["y"]}).write_parquet(staged / "b.parquet")
        from deltalake import DeltaTable, write_deltalake

        write_deltalake(
            DeltaTable(one.path), pl.read_parquet(staged), mode="append", schema_mode="merge"
        )
    two = project.lake.read("silver.t")
    three = write(project, pl.DataFrame({"k": [1, 2], "extra": [None, "x"]}))
    assert (diff(one, two).added, diff(one, two).columns_added) == (2, {"extra": "string"})
    assert (diff(two, three, ["k"]).removed, diff(two, three).removed) == (1, 1)


def test_moments_of_a_run_are_not_compared(project):
    old = pl.DataFrame({"k": [1, 2], "at": [1, 1]})
    new = pl.DataFrame({"k": [1, 3], "at": [2, 2]})
    found = compared(project, old, new, left_out=("at",))
    assert found.not_compared == {"at": "differs from run to run"}
    assert (found.added, found.removed) == (1, 1)


def test_partitioned_tables_of_other_writers(project):
    from deltalake import write_deltalake

    path = project.lake.path("silver.t")
    path.mkdir(parents=True)
    frame = pl.DataFrame({"p": ["a", "a", "b"], "k": [1, 2, 3]})
    write_deltalake(path, frame, partition_by=["p"])
    write_deltalake(path, frame.with_columns(k=pl.col("k") * 2), mode="overwrite")
    found = diff(project.lake.read("silver.t@v0"), project.lake.read("silver.t"), ["p", "k"])
    assert (found.added, found.removed) == (2, 2)


def test_the_same_version_and_two_tables_are_refused(project):
    one = write(project, pl.DataFrame({"k": [1]}))
    with pytest.raises(UsageError, match="version 1 is the same as version 1"):
        diff(one, project.lake.read("silver.t@v1"))
    other = project.writer().write_frame("silver.u", pl.DataFrame({"k": [1]}), Change("T", "f"))
    with pytest.raises(UsageError, match=r"silver\.t and silver\.u are two tables"):
        diff(one, other)


def test_a_key_that_is_no_column_has_candidates(project):
    with pytest.raises(NotFoundError, match=r"@v1 and @v2: No column 'kk'. Did you mean 'k'\?"):
        compared(project, pl.DataFrame({"k": [1]}), pl.DataFrame({"k": [2]}), ["kk"])
