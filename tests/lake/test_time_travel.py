from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta, timezone

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sololakehouse import Lakehouse, Snapshot
from sololakehouse.engine import Engine
from sololakehouse.errors import NotFoundError, UsageError
from sololakehouse.lake.catalog import ARCHIVED_COMMITS
from sololakehouse.lake.history import HistoryEntry, content_history, instant, version_at
from sololakehouse.pipelines.query import run_query
from sololakehouse.provenance import Change

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def set_moments(snapshot: Snapshot, moments: dict[int, datetime | None]) -> None:
    """Let the commits have been made at other moments; None leaves the moment out."""
    for version, moment in moments.items():
        file = snapshot.log / f"{version:020}.json"
        actions = [json.loads(line) for line in file.read_text().splitlines()]
        (about,) = [action["commitInfo"] for action in actions if "commitInfo" in action]
        about.pop("timestamp")
        if moment is not None:
            about["timestamp"] = int(moment.timestamp() * 1000)
        file.write_text("\n".join(map(json.dumps, actions)))


@pytest.fixture
def lake(make_project) -> Lakehouse:
    """Versions 0 to 3 of silver.t, an hour apart from noon on; version n has n rows."""
    project = make_project()
    for rows in (1, 2, 3):
        frame = pl.DataFrame({"k": list(range(rows))})
        newest = project.writer().write_frame("silver.t", frame, Change("TEST", str(rows)))
    set_moments(newest, {version: NOON + version * HOUR for version in range(4)})
    return project.lake


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        (NOON, 0),
        (NOON + HOUR - timedelta(milliseconds=1), 0),
        (NOON + HOUR, 1),
        (NOON + 2.5 * HOUR, 2),
        (NOON + 30 * HOUR, 3),
        ("2026-01-31T13:00:00Z", 1),
        ("2026-01-31T14:00:00+01:00", 1),
        ((NOON + HOUR).astimezone(timezone(timedelta(hours=9, minutes=30))), 1),
    ],
)
def test_a_moment_is_the_newest_version_at_or_before_it(lake, moment, version):
    assert lake.read("silver.t", timestamp=moment).version == version
    text = moment if isinstance(moment, str) else moment.isoformat()
    assert lake.read(f"silver.t@{text}").version == version


def test_before_the_first_version_the_first_moment_is_said(lake):
    message = (
        r"silver\.t has no version at 2026-01-31T11:59:59Z or before\. "
        r"The first is v0 of 2026-01-31T12:00:00Z\."
    )
    with pytest.raises(NotFoundError, match=message):
        lake.read("silver.t@2026-01-31T11:59:59Z")


def test_a_moment_to_come_has_no_answer_yet(lake):
    later = datetime.now(UTC).replace(microsecond=0) + HOUR
    with pytest.raises(NotFoundError, match=r"is in the future, and silver\.t may have other"):
        lake.read("silver.t", timestamp=later)
    set_moments(lake.read("silver.t"), {3: later})
    assert lake.read("silver.t", timestamp=later).version == 3


@pytest.mark.parametrize("moment", [datetime(2026, 1, 31), "2026-01-31", "2026-01-31T00:00:00"])
def test_a_moment_without_a_zone_is_refused_with_the_reason(lake, moment):
    with pytest.raises(UsageError, match="has no time zone, so it is another moment in another"):
        lake.read("silver.t", timestamp=moment)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("silver.t@3", "'3' is no moment"),
        ("silver.t@v", "Write schema.table, schema.table@v3 or schema.table@2026-01-31T"),
        ("silver.t@latest", "'silver.t@latest' is no table"),
        ("silver.t@2026-02-30T00:00:00Z", "'2026-02-30T00:00:00Z' is no moment"),
        ("@v3", "'@v3' is no table"),
    ],
)
def test_a_reference_that_means_nothing_says_how_to_write_one(lake, reference, message):
    with pytest.raises(UsageError, match=message):
        lake.read(reference)


def test_the_version_is_said_once(lake):
    with pytest.raises(UsageError, match="say which version once"):
        lake.read("silver.t", version=1, timestamp=NOON)
    with pytest.raises(UsageError, match="say which version once"):
        lake.read("silver.t@v1", version=1)


def test_a_clock_that_went_back_does_not_reorder_versions(lake):
    set_moments(lake.read("silver.t"), {2: NOON - 5 * HOUR})
    assert lake.read("silver.t", timestamp=NOON - HOUR * 0).version == 0
    assert lake.read("silver.t", timestamp=NOON + HOUR).version == 2
    with pytest.raises(NotFoundError):
        lake.read("silver.t", timestamp=NOON - HOUR)


def test_a_commit_without_a_moment_has_the_one_of_its_file(lake):
    snapshot = lake.read("silver.t")
    set_moments(snapshot, {1: None})
    moment = (NOON + 1.5 * HOUR).timestamp()
    os.utime(snapshot.log / f"{1:020}.json", (moment, moment))
    assert [entry.timestamp for entry in snapshot.history()][-2] == NOON + 1.5 * HOUR
    assert lake.read("silver.t", timestamp=NOON + 1.4 * HOUR).version == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.integers(-5, 60))
def test_the_version_of_a_moment_is_that_of_plain_python(minutes, asked):
    moments = [NOON + timedelta(minutes=minute) for minute in minutes]
    history = [HistoryEntry(v, m, "WRITE", None) for v, m in enumerate(moments)][::-1]
    moment = NOON + timedelta(minutes=asked)
    expected = max((v for v in range(len(moments)) if max(moments[: v + 1]) <= moment), default=-1)
    try:
        assert version_at("t", history, moment) == expected
    except NotFoundError:
        assert expected == -1


@given(st.lists(st.none() | st.integers(0, 9), max_size=10))
def test_what_a_restore_took_back_is_left_out(restored):
    targets = [r if r is not None and r < v else None for v, r in enumerate(restored)]
    contents: list[tuple[int, ...]] = []
    for version, target in enumerate(targets):
        base = contents[target] if target is not None else (contents[-1] if contents else ())
        contents.append((*base, version))
    history = [HistoryEntry(v, NOON, "?", None, restored=r) for v, r in enumerate(targets)][::-1]
    kept = tuple(entry.version for entry in content_history(history))[::-1]
    assert kept == (contents[-1] if contents else ())


def archive(lake: Lakehouse, project_writer, versions: list[int]) -> None:
    """Clean up log entries as `slh vacuum` does: their commits are in the archive."""
    from deltalake import DeltaTable

    snapshot = lake.read("silver.t")
    rows = [
        {
            "table": "silver.t",
            "table_id": snapshot.table_id,
            "version": entry.version,
            "timestamp": entry.timestamp,
            "operation": entry.operation,
            "record": entry.record.model_dump_json() if entry.record else None,
        }
        for entry in snapshot.history()
        if entry.version in versions
    ]
    schema = {"timestamp": pl.Datetime("us", "UTC"), "record": pl.String}
    frame = pl.DataFrame(rows, schema_overrides=schema)
    project_writer.write_frame(ARCHIVED_COMMITS, frame, Change("VACUUM", "v"), mode="append")
    DeltaTable(snapshot.path).create_checkpoint()
    for version in versions:
        (snapshot.log / f"{version:020}.json").unlink()


def test_archived_commits_are_part_of_the_history(lake, make_project):
    before = lake.history("silver.t")
    archive(lake, make_project().writer(), [0, 1])
    after = lake.history("silver.t")
    assert [(e.version, e.timestamp, e.record) for e in after] == [
        (e.version, e.timestamp, e.record) for e in before
    ]
    assert [entry.archived for entry in after] == [False, False, True, True]
    assert [entry.version for entry in lake.history("silver.t", limit=3)] == [3, 2, 1]
    assert [entry.version for entry in lake.read("silver.t").history()] == [3, 2]
    assert lake.read("silver.t", timestamp=NOON + 3 * HOUR).version == 3
    with pytest.raises(NotFoundError, match="no version 1 any more: its log entries were cleaned"):
        lake.read("silver.t", timestamp=NOON + HOUR)


def test_the_four_forms_of_a_snapshot_hold_the_same_rows(lake):
    snapshot = lake.read("silver.t@v2")
    assert snapshot.to_arrow().to_pydict() == {"k": [0, 1]}
    assert snapshot.to_polars().rows() == [(0,), (1,)]
    assert snapshot.to_pandas()["k"].tolist() == [0, 1]
    with Engine.start() as engine:
        frame = snapshot.to_spark(engine.session)
        assert frame.schema.names == ["k"]
        assert sorted(row.k for row in frame.collect()) == [0, 1]
        assert lake.read("silver.t@v0").to_spark(engine.session).count() == 0


def test_a_snapshot_knows_its_size_and_its_columns(make_project):
    project = make_project()
    frame = pl.DataFrame({"k": [1], "l": [[1]], "s": [{"a": "x", "b": [1.5]}]})
    snapshot = project.writer().write_frame("silver.t", frame, Change("TEST", "f"))
    (file,) = snapshot.path.glob("*.parquet")
    assert (snapshot.files, snapshot.size_bytes) == (1, file.stat().st_size)
    assert [(column.name, column.type) for column in snapshot.fields] == [
        ("k", "bigint"),
        ("l", "array<bigint>"),
        ("s", "struct<a:string,b:array<double>>"),
    ]
    assert snapshot.comment is None
    empty = project.lake.read("silver.t@v0")
    assert (empty.files, empty.size_bytes) == (0, 0)


def test_instants_are_written_in_utc():
    assert instant(NOON.astimezone(timezone(HOUR))) == "2026-01-31T12:00:00Z"


@pytest.mark.parametrize(
    ("moment", "version"),
    [
        (datetime(2026, 1, 31, 13), 0),
        (datetime(2026, 1, 31, 14), 1),
        ("2026-01-31T15:30:00", 2),
        ("2026-02-01", 3),
        ("2026-01-31T13:00:00Z", 1),
    ],
)
def test_a_moment_without_a_zone_is_one_in_the_projects(lake, moment, version):
    zoned = in_berlin(lake)
    assert zoned.read("silver.t", timestamp=moment).version == version
    text = moment if isinstance(moment, str) else moment.isoformat()
    assert zoned.read(f"silver.t@{text}").version == version
    asked = f"SELECT count(*) AS n FROM silver.t TIMESTAMP AS OF '{text}'"
    assert run_query(zoned, asked)["n"].to_pylist() == [version]


def test_a_moment_that_clocks_of_the_project_show_twice_is_refused(lake):
    with pytest.raises(UsageError) as said:
        in_berlin(lake).read("silver.t@2026-10-25T02:30:00")
    assert str(said.value) == (
        "2026-10-25T02:30:00 has no time zone, and is not one moment in Europe/Berlin: clocks show "
        "it twice. Write it in UTC, as in 2026-01-31T00:00:00Z."
    )


def in_berlin(lake: Lakehouse) -> Lakehouse:
    (lake.project.folder / "lakehouse.yml").write_text("name: x\ntime_zone: Europe/Berlin\n")
    return Lakehouse.open(lake.project.folder)
