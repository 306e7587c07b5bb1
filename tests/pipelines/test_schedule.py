"""Which step may begin when, against an oracle; and real pipelines, side by side."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sololakehouse.errors import ExpectationError, RunFailedError, StepError
from sololakehouse.pipelines.events import RunEnded, RunStarted, StepEnded, StepStarted
from sololakehouse.pipelines.plan import Step
from sololakehouse.pipelines.run import execute, prepare
from sololakehouse.pipelines.schedule import Capacity, Schedule, free_memory
from tests.conftest import ProjectFolder

STATES = ("run", "run", "run", "view", "up to date", "not selected")


def a_step(name: str, reads=(), state: str = "run") -> Step:
    return Step(SimpleNamespace(name=name, reads=tuple(reads)), state, "", ())


@st.composite
def plans(draw):
    steps = []
    for number in range(draw(st.integers(1, 10))):
        reads = draw(st.sets(st.sampled_from([s.name for s in steps]))) if steps else set()
        steps.append(a_step(f"t{number}", sorted(reads), draw(st.sampled_from(STATES))))
    return steps


def blocked(step: Step, steps: dict[str, Step], broken: set[str]) -> set[str]:
    """Return the failed steps that a step depends on, found anew from the plan alone."""
    if step.state not in ("run", "view"):
        return set()
    found = set()
    for name in step.node.reads:
        upstream = blocked(steps[name], steps, broken)
        found |= upstream or ({name} & broken)
    return found


@given(plans(), st.data())
def test_steps_begin_after_what_they_read_and_failures_reach_what_depends_on_them(steps, data):
    by_name = {step.name: step for step in steps}
    working = [step.name for step in steps if step.state in ("run", "view")]
    broken = data.draw(st.sets(st.sampled_from(working))) if working else set()
    schedule, ended, running, causes = Schedule(steps), set(), [], {}
    while schedule.is_active:
        while (step := schedule.next()) is not None and len(running) < 3:
            schedule.begun(step)
            assert set(step.node.reads) <= ended
            causes[step.name] = schedule.causes(step)
            running.append(step)
        step = running.pop(data.draw(st.integers(0, len(running) - 1)))
        ended.add(step.name)
        if causes[step.name] or step.name in broken:
            schedule.failed(step, causes[step.name])
        else:
            schedule.ended(step)
    assert ended == by_name.keys()
    assert causes == {s.name: tuple(sorted(blocked(s, by_name, broken))) for s in steps}


def test_the_longest_chain_goes_first():
    steps = [a_step("a"), a_step("b"), a_step("c", ["b"]), a_step("d", ["c"])]
    schedule = Schedule(steps)
    order = []
    while (step := schedule.next()) is not None:
        order.append(step.name)
        schedule.begun(step)
        schedule.ended(step)
    assert order == ["b", "c", "a", "d"]


@pytest.mark.parametrize(
    ("at_once", "step_bytes", "free", "admitted"),
    [
        (2, None, 0, [0, 1]),
        (3, 2**31, 2**31, [0, 1, 2]),
        (3, 2**31, 2**31 - 1, [0]),
        (1, 1, 9, [0]),
    ],
)
def test_another_step_needs_a_place_and_memory(monkeypatch, at_once, step_bytes, free, admitted):
    monkeypatch.setattr("sololakehouse.pipelines.schedule.free_memory", lambda: free)
    capacity = Capacity(at_once, step_bytes)
    assert [running for running in range(5) if capacity.admits(running)] == admitted


def test_free_memory_is_that_of_the_machine_or_of_the_container(tmp_path):
    meminfo = tmp_path / "meminfo"
    assert free_memory(meminfo, tmp_path) is None
    meminfo.write_text("MemTotal:  9 kB\nMemAvailable:    5000 kB\n")
    assert free_memory(meminfo, tmp_path) == 5_120_000
    for name, text in {
        "max": "3000000",
        "current": "1000000",
        "stat": "anon 5\ninactive_file 24",
    }.items():
        (tmp_path / f"memory.{name}").write_text(text)
    assert free_memory(meminfo, tmp_path) == 2_000_024
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory(meminfo, tmp_path) == 5_120_000


HEAD = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession, functions as F
from sololakehouse.quality import expect, expect_or_drop, expect_or_fail
spark = SparkSession.active()
"""
WIDE = (
    HEAD
    + """
@dp.materialized_view(name="silver.base")
def base():
    numbers = spark.range(20_000).selectExpr("id AS n")
    return spark.table("bronze.sales").crossJoin(numbers)

@dp.temporary_view(name="early")
def early():
    return spark.table("silver.base").where("n < 15000")

for number in range(6):
    @dp.materialized_view(name=f"gold.sums_{number}")
    @expect("not many", "total < 100")
    @expect_or_drop("some", "shop <> 'east'")
    def sums(number=number):
        session = SparkSession.active()
        return session.table("early").groupBy("shop").agg((F.sum("n") + number).alias("total"))

    @dp.table(name=f"gold.stream_{number}")
    @expect_or_drop("few", "n < 9000")
    def stream(number=number):
        return spark.readStream.table("silver.base").selectExpr("id", f"n + {number} AS n")
"""
)


def run_at_once(project, at_once: int, listeners=()):
    with prepare(project.lake) as pipeline:
        return execute(pipeline, project.writer(), listeners, Capacity(at_once))


def digests(project) -> dict[str, str]:
    lake = project.lake
    return {name: lake.read(name).record.manifest.digest for name in lake.table_names()}


def test_content_is_the_same_whatever_runs_side_by_side(sales, tmp_path_factory):
    def made(name: str, at_once: int) -> dict[str, str]:
        project = ProjectFolder(
            shutil.copytree(sales.folder, tmp_path_factory.mktemp("copy") / name)
        )
        run_at_once(project, at_once)
        return digests(project)

    sales.write("transformations/wide.py", WIDE)
    one = made("one", 1)
    assert len(one) == 14
    assert made("two", 2) == one
    assert made("eight", 8) == one


@pytest.mark.parametrize("at_once", [1, 3])
def test_at_most_so_many_steps_are_at_work(sales, at_once):
    sales.write("transformations/wide.py", WIDE)
    heard = []
    run_at_once(sales, at_once, [heard.append])
    at_work, most = 0, 0
    for event in heard:
        at_work += isinstance(event, StepStarted) - isinstance(event, StepEnded)
        most = max(most, at_work)
    assert (most, at_work) == (at_once, 0)
    assert (type(heard[0]), type(heard[-1])) == (RunStarted, RunEnded)
    assert [result.name for result in heard[-1].results] == [s.name for s in heard[0].steps]


BROKEN = """\
CREATE MATERIALIZED VIEW silver.good AS SELECT id, shop FROM bronze.sales;
CREATE MATERIALIZED VIEW silver.broken AS SELECT CAST(shop AS INT) AS n FROM bronze.sales;
CREATE TEMPORARY VIEW seen AS SELECT * FROM silver.broken;
CREATE MATERIALIZED VIEW gold.behind AS SELECT n FROM seen;
CREATE MATERIALIZED VIEW gold.last AS SELECT n FROM gold.behind;
CREATE MATERIALIZED VIEW gold.beside AS SELECT count(*) AS n FROM silver.good;
"""


@pytest.fixture
def broken(sales):
    sales.write("transformations/broken.sql", BROKEN)
    return sales


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_failure_stops_only_what_depends_on_it(broken, at_once):
    heard = []
    with pytest.raises(StepError) as error:
        run_at_once(broken, at_once, [heard.append])
    assert str(error.value).startswith("silver.broken (transformations/broken.sql:2): ")
    assert str(error.value).endswith(" The table is as it was.")
    assert error.value.__notes__ == [
        "Skipped, because they depend on it: seen, gold.behind, gold.last.",
        "2 other tables were computed and committed. Once this is mended, 'slh run' goes on from "
        "there.",
    ]
    assert broken.versions() == {"bronze.sales": 1, "silver.good": 1, "gold.beside": 1}
    ended = heard[-1]
    assert isinstance(ended, RunEnded)
    assert {result.name: (result.state, result.causes) for result in ended.results} == {
        "silver.good": ("computed", ()),
        "silver.broken": ("failed", ()),
        "seen": ("skipped", ("silver.broken",)),
        "gold.behind": ("skipped", ("silver.broken",)),
        "gold.last": ("skipped", ("silver.broken",)),
        "gold.beside": ("computed", ()),
    }


def test_the_next_run_goes_on_from_there(broken):
    with pytest.raises(StepError):
        broken.run()
    broken.write("transformations/broken.sql", BROKEN.replace("CAST(shop AS INT)", "id"))
    assert {r.name: r.state for r in broken.run()} == {
        "silver.good": "up to date",
        "gold.beside": "up to date",
        "silver.broken": "computed",
        "seen": "view",
        "gold.behind": "computed",
        "gold.last": "computed",
    }


def test_a_table_that_is_up_to_date_is_not_skipped(sales):
    sales.write("transformations/a.sql", BROKEN.replace("CAST(shop AS INT)", "id"))
    sales.run()
    sales.write("transformations/a.sql", BROKEN)
    with pytest.raises(StepError):
        sales.run()
    assert sales.plan()["gold.beside"] == "up to date"
    assert sales.versions()["gold.behind"] == 1


def test_several_failures_are_one_error_with_all_of_them(broken):
    broken.write(
        "transformations/strict.py",
        HEAD
        + """
@dp.materialized_view(name="gold.strict")
@expect_or_fail("is north", "shop = 'north'")
def strict():
    return spark.table("silver.good")
""",
    )
    with pytest.raises(RunFailedError) as error:
        broken.run()
    first, cast, strict, example, *_ = str(error.value).splitlines()
    assert first == "2 steps failed."
    assert strict == (
        "  gold.strict (transformations/strict.py:6): 1 of 3 rows violate 'is north' "
        "(shop = 'north'). The table is as it was. Examples:"
    )
    assert "shop='south'" in example
    assert cast.startswith("  silver.broken (transformations/broken.sql:2): ")
    assert cast.count("silver.broken") == 1


def test_an_error_without_a_place_gets_it_as_a_note(sales):
    sales.write(
        "transformations/strict.sql",
        "CREATE MATERIALIZED VIEW gold.strict (CONSTRAINT c EXPECT (id < 2) "
        "ON VIOLATION FAIL UPDATE) AS SELECT id FROM bronze.sales",
    )
    with pytest.raises(ExpectationError) as error:
        sales.run()
    assert error.value.__notes__[0] == "gold.strict is defined at transformations/strict.sql:1."
