"""Change data through whole runs: `create_auto_cdc_flow`, both SCD types."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from sololakehouse.errors import (
    ChangeDataError,
    DefinitionError,
    ExpectationError,
    FeatureTableError,
    RunError,
    StepError,
)
from sololakehouse.pipelines import cdc
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.selection import Selection
from sololakehouse.provenance import Change, content_manifest
from tests.pipelines.cdc_oracle import history, newest
from tests.pipelines.test_changes import deliveries
from tests.pipelines.test_run import define

CONFIG = """\
name: test
sources:
  changes:
    path: landing/*.csv
    table: bronze.changes
    options: {null_value: NA}
    schema: {id: bigint, seq: bigint, op: string, name: string, city: string}
"""
TABLE = 'dp.create_streaming_table("silver.people")\n'
ARGUMENTS = (
    'target="silver.people", source="bronze.changes", keys=["id"], sequence_by="seq", '
    'apply_as_deletes="op = \'D\'", column_list=["id", "name", "city"]'
)
NEWEST = TABLE + f"dp.create_auto_cdc_flow({ARGUMENTS})\n"
OWN = "from sololakehouse.pipelines import create_auto_cdc_flow\n"
HISTORY = OWN + TABLE + f"create_auto_cdc_flow({ARGUMENTS}, stored_as_scd_type=2)\n"
STATE = "silver.people__cdc_state"


def deliver(project, name: str, *rows: str) -> None:
    project.write(f"landing/{name}.csv", "\n".join(["id,seq,op,name,city", *rows, ""]))
    project.ingest("changes")


def people(project) -> list[tuple]:
    return sorted(project.lake.read("silver.people").to_polars().rows(), key=str)


def run(project, **selection):
    with prepare(project.lake, Selection(**selection)) as pipeline:
        return execute(pipeline, project.writer())


def refresh(project):
    return run(project, full_refresh=("silver.people",))


@pytest.fixture
def project(make_project):
    project = make_project(config=CONFIG)
    deliver(project, "1", "1,10,U,Ada,Bern", "2,10,U,Bob,Rome", "1,20,U,Ada,Oslo")
    return project


@pytest.fixture
def current(project):
    define(project, NEWEST, "people.py")
    project.run()
    return project


@pytest.fixture
def kept(project):
    define(project, HISTORY, "people.py")
    project.run()
    return project


def test_the_newest_row_of_each_key(current):
    assert people(current) == [(1, "Ada", "Oslo"), (2, "Bob", "Rome")]
    deliver(current, "2", "2,30,D,NA,NA", "3,30,U,Cyd,Lima", "1,15,U,Ada,Nice")
    current.run()
    assert people(current) == [(1, "Ada", "Oslo"), (3, "Cyd", "Lima")]
    memory = current.lake.read(STATE)
    assert memory.to_polars().sort("id").rows() == [(1, 20, False), (2, 30, True), (3, 30, False)]
    assert memory.record.manifest == content_manifest(memory.scan())


def test_a_late_upsert_does_not_undo_a_delete(current):
    deliver(current, "2", "2,30,D,NA,NA", "9,30,D,NA,NA")
    current.run()
    deliver(current, "3", "2,25,U,Bob,Pisa", "9,29,U,Zoe,Kyiv")
    current.run()
    assert people(current) == [(1, "Ada", "Oslo")]
    deliver(current, "4", "2,31,U,Bob,Pisa")
    current.run()
    assert people(current) == [(1, "Ada", "Oslo"), (2, "Bob", "Pisa")]


def test_the_history_of_each_key(kept):
    deliver(kept, "2", "2,30,D,NA,NA", "1,15,U,Ada,Nice")
    kept.run()
    assert people(kept) == [
        (1, "Ada", "Bern", 10, 15),
        (1, "Ada", "Nice", 15, 20),
        (1, "Ada", "Oslo", 20, None),
        (2, "Bob", "Rome", 10, 30),
    ]
    deliver(kept, "3", "2,35,U,Bob,Rome", "2,20,U,Bob,Rome")
    kept.run()
    assert people(kept)[3:] == [(2, "Bob", "Rome", 10, 30), (2, "Bob", "Rome", 35, None)]


def test_changes_of_other_columns_are_made_in_place(project):
    tracked = HISTORY.replace("_type=2", '_type=2, track_history_column_list=["name"]')
    define(project, tracked, "people.py")
    project.run()
    assert people(project) == [(1, "Ada", "Oslo", 10, None), (2, "Bob", "Rome", 10, None)]
    deliver(project, "2", "1,30,U,Eve,Oslo", "2,20,U,Bob,Pisa", "1,5,U,Ada,Nice")
    project.run()
    assert people(project) == [
        (1, "Ada", "Oslo", 5, 30),
        (1, "Eve", "Oslo", 30, None),
        (2, "Bob", "Pisa", 10, None),
    ]
    define(
        project,
        HISTORY.replace("_type=2", '_type=2, track_history_except_column_list=["city"]'),
        "people.py",
    )
    assert project.plan()["silver.people"] == "up to date"


def test_columns_are_as_the_flow_says(project):
    define(
        project,
        TABLE + "dp.create_auto_cdc_flow('silver.people', 'bronze.changes', [F.col('ID')], "
        "F.struct('seq', 'city'), F.col('op') == 'D', "
        "except_column_list=['op', '_source_file', '_source_line', '_ingested_at', "
        "'_source_sha256'], name='f')",
        "people.py",
    )
    project.run()
    table = project.lake.read("silver.people")
    assert list(table.columns) == ["id", "seq", "name", "city"]
    assert table.to_polars().sort("id").rows() == [(1, 20, "Ada", "Oslo"), (2, 10, "Bob", "Rome")]


@pytest.mark.parametrize("source", [NEWEST, HISTORY])
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(runs=deliveries())
def test_runs_and_orders_do_not_matter(make_project, tmp_path, source, runs):
    import shutil

    for old in ("landing", "warehouse"):
        shutil.rmtree(tmp_path / old, ignore_errors=True)
    project = make_project(config=CONFIG)
    define(project, source, "people.py")
    done = []
    for number, events in enumerate(runs):
        lines = [
            f"{e.key},{e.sequence},{'D' if e.deleted else 'U'},{_text(e.a)},{_text(e.b)}"
            for e in events
        ]
        deliver(project, str(number), *lines)
        project.run()
        done += events
        rows = {tuple(map(_plain, row)) for row in people(project)}
        assert rows == (newest(done) if source is NEWEST else history(done, "ab"))
        table = project.lake.read("silver.people")
        assert table.record.manifest == content_manifest(table.scan())


def _text(value: int | None) -> str:
    return "NA" if value is None else str(value)


def _plain(value: object) -> object:
    return int(value) if isinstance(value, str) else value


@pytest.mark.parametrize("source", [NEWEST, HISTORY])
def test_only_new_events_are_read_and_the_commit_says_so(project, source):
    define(project, source, "people.py")
    project.run()
    assert project.plan() == {"silver.people": "up to date"}
    deliver(project, "2", "7,1,U,Gus,Graz")
    project.run()
    table = project.lake.read("silver.people")
    assert (table.record.operation, table.record.rows_written) == ("STREAMING TABLE", 1)
    assert [str(source) for source in table.record.inputs] == ["bronze.changes@v2"]
    assert table.record.manifest == content_manifest(table.scan())
    assert table.record.details["cdc"]["state"]["table"] == STATE
    (stream,) = table.record.details["streams"].values()
    assert (stream["table"], stream["version"]) == ("bronze.changes", 2)


def test_events_that_change_nothing_are_taken_once(current):
    before = people(current)
    deliver(current, "2", "1,20,U,Ada,Oslo", "1,3,U,Ada,Nice")
    current.run()
    assert people(current) == before
    assert current.lake.read("silver.people").record.rows_written == 0
    assert current.plan() == {"silver.people": "up to date"}


def test_a_full_refresh_reads_all_events_again(current):
    deliver(current, "2", "2,30,D,NA,NA")
    current.run()
    before = current.lake.read("silver.people").record.manifest
    refresh(current)
    assert current.lake.read("silver.people").record.manifest == before
    deliver(current, "3", "2,25,U,Bob,Pisa")
    current.run()
    assert people(current) == [(1, "Ada", "Oslo")]


@pytest.mark.parametrize("source", [NEWEST, HISTORY])
def test_a_run_that_dies_between_the_two_commits_is_made_up_for(project, source, monkeypatch):
    define(project, source, "people.py")
    project.run()
    deliver(project, "2", "2,30,D,NA,NA", "1,30,U,Ada,Graz")
    commit = cdc._commit_memory

    def dying(*arguments):
        commit(*arguments)
        raise OSError("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(cdc, "_commit_memory", dying)
        with pytest.raises(StepError, match="the power went"):
            project.run()
    assert [project.versions()[name] for name in ("silver.people", STATE)] == [1, 2]
    deliver(project, "3", "2,25,U,Bob,Pisa")
    project.run()
    rows = people(project)
    refresh(project)
    assert people(project) == rows
    assert [row[:3] for row in rows if row[-1] in (None, "Graz")] == [(1, "Ada", "Graz")]


def test_a_restored_table_goes_on_with_what_it_knew_then(current):
    from sololakehouse.lake.restore import restore

    deliver(current, "2", "2,30,D,NA,NA")
    current.run()
    restore(current.writer(), "silver.people", 1)
    assert len(people(current)) == 2
    current.run()
    assert people(current) == [(1, "Ada", "Oslo")]
    deliver(current, "3", "2,25,U,Bob,Pisa")
    current.run()
    assert people(current) == [(1, "Ada", "Oslo")]


def test_a_lost_memory_asks_for_a_full_refresh(current):
    import shutil

    shutil.rmtree(current.lake.path(STATE))
    deliver(current, "2", "2,30,D,NA,NA")
    with pytest.raises(RunError, match=r"__cdc_state@v1, which remembers.*--full-refresh silver\."):
        current.run()
    refresh(current)
    assert people(current) == [(1, "Ada", "Oslo")]


def test_files_arranged_anew_do_not_matter(current):
    from sololakehouse.lake.optimize import optimize

    deliver(current, "2", "3,30,U,Cyd,Lima")
    current.run()
    for name in ("silver.people", STATE, "bronze.changes"):
        optimize(current.writer(), name)
    deliver(current, "3", "3,25,D,NA,NA", "2,30,D,NA,NA")
    current.run()
    assert people(current) == [(1, "Ada", "Oslo"), (3, "Cyd", "Lima")]
    assert current.lake.read("silver.people").record.manifest.rows == 2


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("NA,40,U,Eve,Rome", r"the key 'id' is NULL in 1 events.*\n  id=NULL, name=Eve, city=Rome"),
        ("5,NA,U,Eve,Rome", r"'sequence_by' is NULL in 1 events.*\n  id=5, name=Eve"),
        ("1,20,U,Eve,Rome", r"once, different.*differ in name, city\. .*\n  id=1, __sequence=20"),
    ],
)
@pytest.mark.parametrize("source", [NEWEST, HISTORY])
def test_events_without_place_are_refused(project, source, row, message):
    define(project, source, "people.py")
    project.run()
    deliver(project, "2", row)
    with pytest.raises(ChangeDataError, match=f"silver.people: {message}"):
        project.run()
    assert project.versions()["silver.people"] == project.versions()[STATE] == 1


def test_expectations_look_at_the_rows_that_come_in(current):
    properties = """table_properties={"expect_or_fail.near": "city <> 'Lima'"}"""
    table = TABLE.replace('people"', f'people", {properties}')
    define(current, NEWEST.replace(TABLE, table), "people.py")
    deliver(current, "2", "3,30,U,Cyd,Lima")
    with pytest.raises(ExpectationError, match="1 of 1 rows violate 'near'"):
        current.run()
    assert current.versions()["silver.people"] == current.versions()[STATE] == 1


def test_keys_of_a_feature_table_are_checked_over_the_whole_table(project):
    table = TABLE.replace('people"', 'people", table_properties={"feature.keys": "name"}')
    define(project, NEWEST.replace(TABLE, table), "people.py")
    project.run()
    deliver(project, "2", "1,30,U,Ann,Oslo")
    project.run()
    deliver(project, "3", "8,30,U,Bob,Wien")
    with pytest.raises(FeatureTableError, match="name must be unique"):
        project.run()
    assert people(project) == [(1, "Ann", "Oslo"), (2, "Bob", "Rome")]


@pytest.mark.parametrize(
    "change",
    [
        ('["id"]', '["id", "name"]'),
        ('sequence_by="seq"', 'sequence_by="seq + 1"'),
        ("op = 'D'", "op = 'X'"),
        ("dp.create_auto_cdc_flow(", OWN + "create_auto_cdc_flow(stored_as_scd_type=2, "),
    ],
)
def test_another_flow_asks_for_a_full_refresh(current, change):
    define(current, NEWEST.replace(*change), "people.py")
    with pytest.raises(RunError, match=r"other parameters of create_auto.*--full-refresh silver\."):
        current.run()
    refresh(current)
    deliver(current, "3", "2,40,D,Bob,NA")
    current.run()


@pytest.mark.parametrize(
    ("given", "other"),
    [
        ("_type=2", '_type=2, track_history_column_list=["name"]'),
        ('["id"]', '["id", "name"]'),
        ('by="seq"', 'by="seq + 1"'),
        ("op = 'D'", "op = 'X'"),
        ('"name", "city"]', '"name"]'),
        ("create_auto_cdc_flow(target", "dp.create_auto_cdc_flow(target"),
    ],
)
def test_the_fingerprint_covers_all_parameters(project, given, other):
    definitions = set()
    for source in (HISTORY, HISTORY.replace(given, other)):
        if "dp.create_auto" in source:
            source = source.replace(", stored_as_scd_type=2", "")
        define(project, source, "people.py")
        with prepare(project.lake) as pipeline:
            definitions |= {step.node.definition for step in pipeline.steps}
    assert len(definitions) == 2


def test_a_table_goes_from_appending_to_change_data_and_back_only_by_a_full_refresh(project):
    appending = "CREATE STREAMING TABLE silver.people AS SELECT id FROM STREAM(bronze.changes)"
    define(project, appending, "people.sql")
    project.run()
    (project.folder / "transformations/people.sql").unlink()
    define(project, NEWEST, "people.py")
    with pytest.raises(RunError, match="was filled by flows that append, and now by change data"):
        project.run()
    refresh(project)
    assert len(people(project)) == 2
    (project.folder / "transformations/people.py").unlink()
    define(project, appending, "people.sql")
    with pytest.raises(RunError, match="was filled by change data, and its flow now appends"):
        project.run()


def test_the_source_may_be_a_streaming_table_and_the_target_is_read_as_a_table(project):
    define(
        project,
        "CREATE STREAMING TABLE silver.clean AS SELECT id, seq, op, upper(name) AS name, city "
        "FROM STREAM(bronze.changes) WHERE id IS NOT NULL;\n"
        "CREATE MATERIALIZED VIEW gold.cities AS SELECT city, count(*) AS people "
        "FROM silver.people GROUP BY city",
        "clean.sql",
    )
    define(project, NEWEST.replace("bronze.changes", "clean"), "people.py")
    project.run()
    deliver(project, "2", "NA,1,U,NA,NA", "2,30,U,Bob,Oslo")
    results = project.run()
    assert [r.step.name for r in results] == ["silver.clean", "silver.people", "gold.cities"]
    assert people(project) == [(1, "ADA", "Oslo"), (2, "BOB", "Oslo")]
    assert project.lake.read("gold.cities").to_polars().rows() == [("Oslo", 2)]


@pytest.mark.parametrize(
    ("name", "view"),
    [
        (
            "v.py",
            "@dp.temporary_view\n@expect_or_drop('set', 'id IS NOT NULL')\ndef v():\n"
            "    changes = spark.readStream.table('bronze.changes')\n"
            "    return changes.withColumn('name', F.upper('name'))",
        ),
        (
            "v.sql",
            "CREATE TEMPORARY VIEW v AS SELECT id, seq, op, upper(name) AS name, city "
            "FROM STREAM(bronze.changes) WHERE id IS NOT NULL",
        ),
    ],
)
@pytest.mark.parametrize("flow", [NEWEST, HISTORY])
def test_the_source_may_be_a_temporary_view_of_a_stream(project, name, view, flow):
    define(project, view, name)
    define(project, flow.replace("bronze.changes", "v"), "people.py")
    project.run()
    deliver(project, "2", "NA,1,U,NA,NA", "2,30,D,NA,NA", "1,5,U,Ada,Nice")
    project.run()
    (stream,) = project.lake.read("silver.people").record.details["streams"].values()
    assert (stream["table"], stream["version"]) == ("bronze.changes", 2)
    assert {row[:4] for row in people(project)} == {
        NEWEST: {(1, "ADA", "Oslo")},
        HISTORY: {
            (1, "ADA", "Nice", 5),
            (1, "ADA", "Bern", 10),
            (1, "ADA", "Oslo", 20),
            (2, "BOB", "Rome", 10),
        },
    }[flow]
    assert project.plan() == {"silver.people": "up to date"}


def test_a_rewritten_source_asks_for_a_full_refresh(current):
    rows = current.lake.read("bronze.changes").to_polars()
    current.writer().write_frame("bronze.changes", rows, Change("X", "x"))
    with pytest.raises(RunError, match=r"changed or removed rows.*--full-refresh silver\.people"):
        current.run()


def test_types_survive(project):
    define(
        project,
        "CREATE STREAMING TABLE silver.typed AS SELECT id, seq, op, "
        "CAST(seq AS DECIMAL(12,3)) AS d, CAST(id AS SMALLINT) AS s, "
        "CAST('2026-01-01' AS DATE) AS day, _ingested_at AS at, array(seq, NULL) AS many, "
        "named_struct('x', id, 'y', name) AS nested, CAST(name AS BINARY) AS raw, "
        "CAST(id AS FLOAT) AS f, id > 1 AS b FROM STREAM(bronze.changes)",
        "typed.sql",
    )
    define(
        project,
        HISTORY.replace("bronze.changes", "typed").replace(
            'column_list=["id", "name", "city"]', 'except_column_list=["op"]'
        ),
        "people.py",
    )
    project.run()
    deliver(project, "2", "1,30,D,NA,NA", "2,30,U,Bob,Oslo")
    project.run()
    typed, table = project.lake.read("silver.typed"), project.lake.read("silver.people")
    given = {column.name: column.type for column in typed.fields if column.name != "op"}
    assert {c.name: c.type for c in table.fields} == given | {
        "__START_AT": "bigint",
        "__END_AT": "bigint",
    }
    assert table.rows == 4
    assert isinstance(table.to_polars(), pl.DataFrame)


MISTAKES = [
    (('["id"]', '["idd"]'), r"'keys': bronze.changes has no column 'idd'. Did you mean 'id'\?"),
    (('["id"]', "[]"), "'keys' is empty"),
    (('["id"]', '[F.expr("id + 1")]'), "'keys' takes the names of columns, not the expression"),
    (('by="seq"', 'by="sequ"'), r"'sequence_by': .* no column 'sequ'. Did you mean 'seq'\?"),
    (('by="seq"', 'by="sequ + 1"'), r"'sequence_by': .* no column 'sequ'. Did you mean 'seq'\?"),
    (('by="seq"', 'by=F.array("seq")'), r"'sequence_by' has the type array<.*no order"),
    (("op = 'D'", "oq = 'D'"), r"'apply_as_deletes': .* no column 'oq'. Columns: "),
    (("\"op = 'D'\"", '"op"'), "'apply_as_deletes' is a condition, .* type string"),
    (('"city"]', '"town"]'), r"'column_list': .* no column 'town'"),
    (('"city"]', '"city"], except_column_list=["op"]'), "give 'column_list' or 'except_column_l"),
    (('["id", "name", "city"]', '["name"]'), "the key 'id' is not among the columns"),
    (("bronze.changes", "bronze.change"), r"'bronze.change', which is neither declared"),
    (('target="silver.people"', 'target="silver.peple"'), "target 'silver.peple' is not defined"),
    (("op = 'D'", "rand() < 0.5"), r"uses rand\(\)"),
]


@pytest.mark.parametrize(("change", "message"), MISTAKES)
@pytest.mark.parametrize("source", [NEWEST, HISTORY])
def test_mistakes_are_said_with_file_and_line(project, source, change, message):
    assert change[0] in source
    define(project, source.replace(*change), "people.py")
    with pytest.raises(DefinitionError, match=message) as caught:
        project.plan()
    assert "transformations/people.py:" in str(caught.value)
    assert not project.lake.exists("silver.people")


OTHER_MISTAKES = [
    (
        NEWEST.replace("(target", "(stored_as_scd_type=2, target"),
        "SCD type 1 only.* sololakehouse.",
    ),
    (
        HISTORY.replace("_type=2", "_type=3"),
        r"py:7: silver.people: stored_as_scd_type is 1 or 2, n",
    ),
    (
        HISTORY.replace("_type=2", '_type=1, track_history_column_list=["name"]'),
        "only SCD type 2 has a history",
    ),
    (
        HISTORY.replace("_type=2", "_type=2, ignore_null_updates=True"),
        "py:7: silver.people: 'ignore_null_updates' is not supported: an event here is the whole",
    ),
    (
        HISTORY.replace("_type=2", "_type=2, apply_as_truncates='id = 0'"),
        "'apply_as_truncates' is not supported: nothing here empties a table",
    ),
    (
        HISTORY.replace("_type=2", "_type=2, once=True"),
        "'once' is not supported",
    ),
    (
        HISTORY.replace("_type=2", '_type=2, track_history_column_list=["nam"]'),
        r"'track_history_column_list': .* no column 'nam'. Did you mean 'name'\?",
    ),
    (
        HISTORY.replace(
            "_type=2",
            '_type=2, track_history_column_list=["name"], track_history_except_column_list=[]',
        ),
        "give 'track_history_column_list' or 'track_history_except_column_list'",
    ),
    (
        NEWEST.replace(TABLE, "")
        + '@dp.materialized_view(name="silver.people")\n'
        + 'def p():\n    return spark.sql("SELECT 1")\n',
        r"silver.people is a materialized view; change data needs a streaming table",
    ),
    (
        NEWEST.replace(TABLE, "")
        + '@dp.table(name="silver.people")\ndef p():\n'
        + '    return spark.readStream.table("bronze.changes")\n',
        r"has one flow, and this one has 2: transformations/people.py:6, transformations/",
    ),
    (
        NEWEST + '@dp.table(name="gold.p")\ndef p():\n'
        '    return spark.readStream.table("silver.people")\n',
        "gold.p streams from silver.people, whose rows are changed in place",
    ),
    (
        NEWEST.replace("bronze.changes", "v")
        + '@dp.temporary_view\ndef v():\n    return spark.table("bronze.changes")\n',
        "the flow 'silver.people' of the streaming table silver.people reads no stream",
    ),
]


@pytest.mark.parametrize(("source", "message"), OTHER_MISTAKES)
def test_other_mistakes(project, source, message):
    define(project, source, "people.py")
    with pytest.raises(DefinitionError, match=message) as caught:
        project.plan()
    assert "transformations/people.py:" in str(caught.value)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE FLOW f AS AUTO CDC INTO silver.people FROM STREAM(bronze.changes) KEYS (id) "
        "SEQUENCE BY seq STORED AS SCD TYPE 1",
        "APPLY CHANGES INTO silver.people FROM STREAM(bronze.changes) KEYS (id) SEQUENCE BY seq",
    ],
)
def test_the_sql_of_databricks_is_refused(project, statement):
    define(project, f"CREATE STREAMING TABLE silver.people;\n{statement}", "people.sql")
    with pytest.raises(
        DefinitionError, match=r"people.sql:2: AUTO CDC in SQL is .*dp.create_auto_"
    ):
        project.plan()
