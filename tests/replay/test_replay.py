"""Replaying a pipeline: what is clean stays clean, and what leaks is named with its cause."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.errors import ConfigError, DefinitionError, NotFoundError, RunError, UsageError
from sololakehouse.features.certificates import REPLAYS, certificate_of
from sololakehouse.features.saved import build_training_set
from sololakehouse.models.experiment import load_experiment
from sololakehouse.models.registry import model_versions
from sololakehouse.models.tracking import connected
from sololakehouse.models.training import train
from sololakehouse.provenance import Change
from sololakehouse.replay.certificate import attach_to_models, write_certificates
from sololakehouse.replay.replay import Replay, ReplayRequest
from sololakehouse.replay.verdicts import ReplayReport
from tests.replay.taxi import CLEAN, CONFIG, LABELS, RIDES, Taxi, rides

LEAD = CLEAN.replace(
    "FROM hourly\n",
    ", lead(arrivals) OVER (PARTITION BY place ORDER BY feature_ts) AS next\nFROM hourly\n",
).replace("AS arrivals_3h\n,", "AS arrivals_3h,")


def states(report: ReplayReport) -> dict[str, str]:
    return {table.table: table.state for table in report.tables}


def columns_of(report: ReplayReport, table: str) -> dict[str, str]:
    found = report.table(table)
    assert found is not None
    return {column.column: column.state for column in found.columns}


def test_a_clean_pipeline_is_clean_in_both_modes(taxi: Taxi) -> None:
    taxi.run()
    report = taxi.replay(3, modes=("truncate", "perturb"))
    assert states(report) == {"features.place": "clean", "training.taxi": "clean"}
    assert report.runs == 3 * 2
    place = report.table("features.place")
    assert place is not None
    assert (place.cutoffs, place.rows > 100) == (6, True)


def test_a_leak_is_named_with_the_row_that_makes_it(taxi: Taxi) -> None:
    taxi.run(place=LEAD)
    report = taxi.replay(2)
    found = columns_of(report, "features.place")
    assert {name for name, state in found.items() if state == "leaks"} == {"next"}
    assert columns_of(report, "training.taxi")["next"] == "leaks"
    table = report.table("features.place")
    assert table is not None
    leak = next(one for one in table.leaking[0].leaks if one.causes)
    example, cause = leak.difference.examples[0], leak.causes[0]
    assert example.replayed is None
    assert example.full is not None
    assert example.moment is not None
    assert example.moment <= leak.cutoff
    assert cause is not None
    row = cause.rows[0]
    assert row.table == "bronze.rides"
    assert row.values["place"] == example.key["place"]
    assert row.known_at is not None
    assert row.known_at > leak.cutoff
    assert cause.value is not None


def test_what_has_no_declaration_is_not_covered(taxi: Taxi) -> None:
    taxi.write({"lakehouse.yml": CONFIG.split("  bronze.sky")[0] + "experiments: [taxi.yml]\n"})
    light = CLEAN.replace("features.place", "features.light").replace(
        "FROM hourly", ", (SELECT max(light) FROM bronze.sky) AS light FROM hourly"
    )
    taxi.run(light=light)
    report = taxi.replay(1)
    assert states(report)["features.light"] == "not covered"
    assert states(report)["features.place"] == "clean"
    found = report.table("features.light")
    assert found is not None
    assert "bronze.sky" in str(found.uncovered)


def test_a_step_that_is_not_deterministic_is_named_and_no_leak(taxi: Taxi) -> None:
    source = CLEAN.replace("FROM hourly\n", ", rand() AS luck FROM hourly\n").replace(
        "'feature_ts')", "'feature_ts', 'pipelines.deterministic' = 'false')"
    )
    taxi.run(place=source)
    report = taxi.replay(1)
    found = columns_of(report, "features.place")
    assert found.pop("luck") == "not deterministic"
    assert set(found.values()) == {"clean"}


def test_labels_are_judged_where_they_were_known(taxi: Taxi) -> None:
    taxi.run(labels=LABELS.replace("FROM bronze", ", tip AS paid\nFROM bronze"))
    found = columns_of(taxi.replay(2), "training.taxi")
    assert found["paid"] == "leaks"
    assert found["is_long"] == "clean"
    assert found["(rows)"] == "clean"


def test_labels_that_come_only_when_they_are_known_are_clean(taxi: Taxi) -> None:
    taxi.run(labels=LABELS + "WHERE arrived_at IS NOT NULL")
    assert states(taxi.replay(2))["training.taxi"] == "clean"


def test_a_label_without_a_moment_is_not_covered(taxi: Taxi) -> None:
    text = (taxi.folder / "taxi.yml").read_text().replace("  label_known_at: settled_at\n", "")
    text = text.replace("[ride]", "[ride, settled_at]")
    taxi.write({"taxi.yml": text})
    taxi.run()
    report = taxi.replay(1)
    assert columns_of(report, "training.taxi")["is_long"] == "not covered"
    assert states(report)["training.taxi"] == "not covered"


def test_given_cutoffs_are_taken_and_others_refused(taxi: Taxi) -> None:
    taxi.run()
    moment = datetime(2026, 1, 9, 12, tzinfo=UTC)
    report = taxi.replay(at=(moment,), select=("features.*",))
    assert report.cutoffs == (moment,)
    assert states(report) == {"features.place": "clean"}
    with pytest.raises(UsageError, match="Choose a moment from 2026-01-01T"):
        taxi.replay(at=(datetime(2027, 1, 1, tzinfo=UTC),))
    with pytest.raises(NotFoundError, match=r"set 'features\.plce'"):
        taxi.replay(select=("features.plce",))


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("bronze.sky", "bronze.skyy", NotFoundError, "Did you mean 'bronze.sky'"),
        ("tip: coal", "tipp: coal", NotFoundError, "Did you mean 'tip'"),
        (
            "bronze.sky: seen_at",
            "bronze.sky: seen",
            ConfigError,
            "bronze.sky cannot be computed: no column 'seen'. Did you mean 'seen_at'?",
        ),
        (
            "bronze.sky: seen_at",
            "bronze.sky: light * 10",
            ConfigError,
            r"bronze.sky: 'light \* 10' is double, which is no moment",
        ),
        ("bronze.sky: seen_at", "bronze.sky: seen_at +", DefinitionError, "known_at: bronze.sky: "),
        ("bronze.sky: seen_at", "gold.rides: asked_at", ConfigError, "computed by the pipeline"),
        (
            "bronze.sky: seen_at",
            "bronze.sky: {from: SELECT * FROM bronze.sky WHERE light > 0.5, rows: seen_at}",
            ConfigError,
            "must give each of the 480 rows once",
        ),
    ],
)
def test_declarations_are_checked(
    taxi: Taxi, old: str, new: str, error: type[Exception], said: str
) -> None:
    uses_sky = CLEAN.replace(
        "FROM hourly", ", (SELECT max(light) FROM bronze.sky) AS l FROM hourly"
    )
    taxi.run(place=uses_sky)
    taxi.write({"lakehouse.yml": CONFIG.replace(old, new)})
    with pytest.raises(error, match=said):
        taxi.replay(1)


def test_stale_tables_are_refused(taxi: Taxi) -> None:
    taxi.run()
    taxi.write({"transformations/place.sql": LEAD})
    with pytest.raises(RunError, match=r"features.place \(its definition changed\)"):
        taxi.replay(1)


def test_a_certificate_counts_until_a_definition_changes(taxi: Taxi) -> None:
    taxi.run()
    replay = Replay(taxi.lake, ReplayRequest(cutoffs=1))
    report = replay.run()
    spec = replay.plan.training_sets[0].spec
    saved, _ = build_training_set(taxi.lake, taxi.writer(), spec)
    assert certificate_of(taxi.lake, saved) is None
    write_certificates(taxi.writer(), replay.plan, report)
    found = certificate_of(taxi.lake, saved)
    assert found is not None
    assert found.is_clean
    assert found.cutoffs == report.cutoffs
    assert {"features.place", "gold.rides", "bronze.rides"} <= found.steps.keys()
    assert taxi.lake.read(REPLAYS).to_polars()["verdict"].to_list() == ["clean", "clean"]

    taxi.run(place=LEAD)
    anew, _ = build_training_set(taxi.lake, taxi.writer(), spec)
    assert certificate_of(taxi.lake, anew) is None
    assert certificate_of(taxi.lake, saved) is not None

    taxi.write({"lakehouse.yml": CONFIG.replace("tip: coalesce", "tip: greatest")})
    assert certificate_of(taxi.lake, saved) is None


def test_new_rows_leave_a_certificate_valid(taxi: Taxi) -> None:
    taxi.run()
    replay = Replay(taxi.lake, ReplayRequest(cutoffs=1))
    write_certificates(taxi.writer(), replay.plan, replay.run())
    more = taxi.lake.read("bronze.rides").to_polars().with_columns(pl.col("ride") + 5000)
    taxi.writer().write_frame("bronze.rides", more, Change("TEST", "more"), mode="append")
    taxi.run()
    saved, _ = build_training_set(taxi.lake, taxi.writer(), replay.plan.training_sets[0].spec)
    assert certificate_of(taxi.lake, saved) is not None


def test_nothing_is_left_beside_the_project(taxi: Taxi) -> None:
    taxi.run()
    before = taxi.lake.table_names()
    taxi.replay(1)
    assert taxi.lake.table_names() == before
    assert not any((taxi.folder / "warehouse" / "_staging").iterdir())


def test_the_report_goes_with_the_model_that_it_vouches_for(taxi: Taxi) -> None:
    taxi.run()
    experiment = load_experiment(taxi.lake.project, Path("taxi.yml"))
    outcome = train(taxi.lake, taxi.writer(), experiment)
    assert outcome is not None
    replay = Replay(taxi.lake, ReplayRequest(cutoffs=1))
    report = replay.run()
    assert attach_to_models(taxi.lake, report) == 0
    write_certificates(taxi.writer(), replay.plan, report)
    assert attach_to_models(taxi.lake, report) == 1
    newest = model_versions(taxi.lake)[-1]
    with connected(taxi.lake.project) as client:
        names = [file.path for file in client.list_artifacts(newest.mlflow_run_id)]
    assert "replay.json" in names


def test_a_definition_that_fails_on_less_data_is_not_covered(taxi: Taxi) -> None:
    fails = "CAST(CASE WHEN (SELECT count(*) FROM bronze.rides) < 900 THEN 'x' ELSE '1' END AS INT)"
    taxi.run(place=CLEAN.replace("FROM hourly\n", f", {fails} AS one FROM hourly\n"))
    found = taxi.replay(1).table("features.place")
    assert found is not None
    assert found.state == "not covered"
    assert "the pipeline failed (truncate at" in str(found.uncovered)


def test_made_up_values_that_would_have_been_known_are_left_out(taxi: Taxi) -> None:
    """Shorter rides are made up, too: some would have ended before the cutoff."""
    landed = "asked_at + minutes * INTERVAL '1' MINUTE"
    taxi.write({"lakehouse.yml": CONFIG.replace("coalesce(arrived_at,", f"coalesce({landed},")})
    source = CLEAN.replace("arrived_at", f"({landed})")
    labels = LABELS.replace("coalesce(arrived_at,", f"coalesce({landed},")
    taxi.run(place=source, labels=labels)
    report = taxi.replay(8, modes=("perturb",))
    assert states(report) == {"features.place": "clean", "training.taxi": "clean"}
    taxi.run(place=LEAD.replace("arrived_at", f"({landed})"))
    assert states(taxi.replay(4, modes=("perturb",)))["features.place"] == "leaks"


def test_made_up_rows_that_would_have_been_known_are_left_out(taxi: Taxi) -> None:
    """A ride is reported when it ends. With another length it would have ended earlier."""
    landed = "asked_at + minutes * INTERVAL '1' MINUTE"
    known_at = f"known_at:\n  bronze.rides: {{rows: {landed!r}, columns: {{minutes: asked_at}}}}\n"
    taxi.write({"lakehouse.yml": f"name: taxi\n{known_at}experiments: [taxi.yml]\n"})
    taxi.run(place=CLEAN.replace("arrived_at", f"({landed})"))
    report = taxi.replay(4, modes=("perturb",), select=("features.*",))
    assert states(report) == {"features.place": "clean"}
    place = report.table("features.place")
    assert place is not None
    assert place.rows > 100


ALONE = """\
from pyspark import pipelines as dp
from pyspark.sql import SparkSession
from sololakehouse.quality import expect_or_drop

@dp.materialized_view(
    name="features.alone",
    table_properties={"feature.keys": "place", "feature.timestamp": "feature_ts"},
)
@expect_or_drop("alone", "arrivals = 1")
def alone():
    return SparkSession.active().read.table("features.place")
"""
STREAM = "CREATE STREAMING TABLE silver.rides AS SELECT * FROM STREAM(bronze.rides)"


@pytest.mark.parametrize(("source", "state"), [(CLEAN, "clean"), (LEAD, "leaks")])
def test_a_streaming_table_is_computed_from_what_was_known(
    taxi: Taxi, source: str, state: str
) -> None:
    taxi.run(stream=STREAM, place=source.replace("bronze.rides", "silver.rides"))
    later = rides().with_columns(pl.col("ride") + RIDES, pl.col("minutes") + 1)
    taxi.writer().write_frame("bronze.rides", later, Change("TEST", "later"), mode="append")
    taxi.run()
    assert taxi.lake.read("silver.rides").rows == 2 * RIDES
    report = taxi.replay(2, modes=("truncate", "perturb"), select=("features.*",))
    assert states(report) == {"features.place": state}
    place = report.table("features.place")
    assert place is not None
    assert (place.cutoffs, place.rows > 100) == (4, True)


def test_the_noise_floor_is_asked_for_where_something_differs(taxi: Taxi) -> None:
    taxi.run()
    assert taxi.replay(2).runs == 2
    taxi.run(place=LEAD)
    assert taxi.replay(2).runs == 3


def test_rows_that_an_expectation_drops_are_dropped_under_replay(taxi: Taxi) -> None:
    taxi.write({"transformations/alone.py": ALONE})
    taxi.run()
    assert taxi.lake.read("features.alone").to_polars()["arrivals"].max() == 1
    assert states(taxi.replay(2, select=("features.*",))) == {
        "features.alone": "clean",
        "features.place": "clean",
    }


LOCAL = LABELS.replace(
    "asked_at,",
    "CAST(from_utc_timestamp(asked_at, 'Europe/Berlin') AS TIMESTAMP_NTZ) AS asked_at,",
    1,
)
IN_BERLIN = f"time_zone: Europe/Berlin\n{CONFIG}"


def test_labels_without_a_zone_are_read_in_the_projects(taxi: Taxi) -> None:
    taxi.write({"lakehouse.yml": IN_BERLIN})
    taxi.run(labels=LOCAL)
    assert taxi.lake.read("gold.rides").schema["asked_at"] == pl.Datetime("us")
    report = taxi.replay(2, modes=("truncate", "perturb"))
    assert states(report) == {"features.place": "clean", "training.taxi": "clean"}
    assert columns_of(report, "training.taxi")["asked_at"] == "clean"
    taxi.run(place=LEAD)
    assert columns_of(taxi.replay(2), "training.taxi")["next"] == "leaks"


@pytest.mark.parametrize("labels", ["gold.rides", "SELECT * FROM gold.rides"])
def test_a_certificate_counts_for_labels_of_one_zone(taxi: Taxi, labels: str) -> None:
    text = (taxi.folder / "taxi.yml").read_text()
    taxi.write({"lakehouse.yml": IN_BERLIN, "taxi.yml": text.replace("gold.rides", labels)})
    taxi.run(labels=LOCAL)
    replay = Replay(taxi.lake, ReplayRequest(cutoffs=1))
    write_certificates(taxi.writer(), replay.plan, replay.run())
    spec = replay.plan.training_sets[0].spec
    saved, _ = build_training_set(taxi.lake, taxi.writer(), spec)
    assert certificate_of(taxi.lake, saved) is not None
    taxi.write({"lakehouse.yml": IN_BERLIN.replace("Europe/Berlin", "Asia/Kolkata")})
    other, _ = build_training_set(taxi.lake, taxi.writer(), spec)
    assert other.version > saved.version
    assert certificate_of(taxi.lake, other) is None
    assert certificate_of(taxi.lake, saved) is not None
