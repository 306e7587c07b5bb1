from __future__ import annotations

import shutil
from datetime import UTC, datetime
from html.parser import HTMLParser

import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from sololakehouse.config import ScoringJob
from sololakehouse.errors import ConfigError, NotFoundError, TrainingError, UsageError
from sololakehouse.inference.batch import score
from sololakehouse.models.inputs import model_input
from sololakehouse.models.registry import load_model, resolve
from sololakehouse.monitoring import Predictions, evaluate_job
from sololakehouse.monitoring.evaluation_report import evaluation_html
from sololakehouse.monitoring.stored_rows import append_rows
from sololakehouse.provenance import Change
from tests.monitoring.conftest import JOB
from tests.rain import ModelProject, make_project


def run(project, job: ScoringJob = JOB, against: str | None = None):
    return evaluate_job(project.lake, project.writer(), job, against)


@pytest.fixture(scope="module")
def evaluated(watched):
    return run(watched)


@pytest.fixture(scope="module")
def joined(watched) -> pl.DataFrame:
    """Give predictions beside their labels, joined by another way than the room's."""
    predictions = watched.lake.read("inference.rain").to_polars()
    return predictions.with_columns(week=pl.col("at").dt.week())


def part(evaluation, **of):
    (row,) = [row for row in evaluation.rows if all(row[k] == v for k, v in of.items())]
    return row


def test_each_part_is_measured_as_scikit_learn_measures_it(evaluated, joined):
    parts = {
        (None, None, None): joined,
        ("2026-W10", None, None): joined.filter(pl.col("week") == 10),
        (None, "place", "hill"): joined.filter(pl.col("place") == "hill"),
        (None, "cloud", None): joined.filter(pl.col("cloud").is_null()),
    }
    for (period, column, value), rows in parts.items():
        found = part(evaluated, period=period, slice=column, value=value)
        truth, probability = rows["wet"].to_numpy(), rows["probability"].to_numpy()
        assert found["rows"] == rows.height > 0
        assert found["roc_auc"] == pytest.approx(roc_auc_score(truth, probability))
        assert found["brier"] == pytest.approx(brier_score_loss(truth, probability))
        assert found["roc_auc_low"] < found["roc_auc"] < found["roc_auc_high"]
        assert sum(one["rows"] for one in found["calibration"]) == rows.height


def test_precision_recall_and_cost_at_the_threshold(watched, joined):
    settings = {"threshold": 0.3, "cost_false_positive": 1.0, "cost_false_negative": 5.0}
    job = JOB.model_copy(update={"evaluation": JOB.evaluation.model_copy(update=settings)})
    found = part(run(watched, job), period=None, slice=None)
    chosen, wet = joined["probability"] >= 0.3, joined["wet"] == 1
    right, wrong, missed = (chosen & wet).sum(), (chosen & ~wet).sum(), (~chosen & wet).sum()
    assert found["precision"] == pytest.approx(right / (right + wrong))
    assert found["recall"] == pytest.approx(right / (right + missed))
    assert found["cost"] == pytest.approx((wrong + 5 * missed) / joined.height)


def test_the_same_is_evaluated_once(watched, evaluated):
    again = run(watched)
    assert (again.up_to_date, again.rows) == (True, evaluated.rows)
    assert again.snapshot.version >= evaluated.snapshot.version
    weeks = [row["period"] for row in evaluated.periods]
    assert weeks == [f"2026-W{week:02}" for week in range(9, 15)]


def test_labels_that_are_not_known_are_counted_and_come_in_later(watched, evaluated):
    known = watched.lake.read("gold.labels").to_polars()
    half = known.with_columns(wet=pl.when(pl.col("id") % 2 == 0).then("wet"))
    watched.writer().write_frame("gold.half", half.filter(pl.col("id") % 4 < 3), Change("T", "1"))
    job = JOB.model_copy(update={"labels": "gold.half"})
    first = part(run(watched, job), period=None, slice=None)
    assert first["unknown"] == first["rows"] // 2
    assert first["roc_auc"] != part(evaluated, period=None, slice=None)["roc_auc"]
    watched.writer().write_frame("gold.half", known, Change("T", "2"))
    late = part(run(watched, job), period=None, slice=None)
    assert late["unknown"] == 0
    assert late["roc_auc"] == part(evaluated, period=None, slice=None)["roc_auc"]


def test_a_part_without_any_label_has_no_metric(watched):
    known = watched.lake.read("gold.labels").to_polars()
    later = pl.col("at") >= datetime(2026, 3, 16, tzinfo=UTC)
    none = known.with_columns(wet=pl.when(~later).then("wet"))
    watched.writer().write_frame("gold.early", none, Change("T", "early"))
    found = run(watched, JOB.model_copy(update={"labels": "gold.early"}))
    last = part(found, period="2026-W13")
    assert (last["unknown"], last["roc_auc"], last["brier"]) == (last["rows"], None, None)
    assert "2026-W13" in evaluation_html(found.rows)


def test_a_challenger_predicts_the_same_rows_from_the_same_feature_versions(trained, tmp_path):
    project = ModelProject(shutil.copytree(trained[0].folder, tmp_path / "rain"))
    score(project.lake, project.writer(), JOB)
    sky = project.lake.read("features.sky").to_polars().with_columns(light=-100 * pl.col("light"))
    project.writer().write_frame("features.sky", sky, Change("TEST", "another sky"))
    found = run(project, against="rain@1")
    version = resolve(project.lake, "rain@1")
    rows = project.lake.read("training.rain").to_polars()
    rows = rows.filter(pl.col("at") >= datetime(2026, 3, 1, tzinfo=UTC))
    model = load_model(project.lake.project, version)
    theirs = model.predict_proba(model_input(rows, version.feature_columns))[:, 1]
    expected = roc_auc_score(rows["wet"].to_numpy(), theirs)
    whole = {"period": None, "slice": None}
    champion, challenger, difference = (
        part(found, role=role, **whole) for role in ("champion", "challenger", "difference")
    )
    assert challenger["roc_auc"] == pytest.approx(expected)
    assert difference["roc_auc"] == pytest.approx(champion["roc_auc"] - challenger["roc_auc"])
    width = difference["roc_auc_high"] - difference["roc_auc_low"]
    alone = challenger["roc_auc_high"] - challenger["roc_auc_low"]
    assert difference["roc_auc_low"] > 0
    assert width < 2 * alone
    assert {row["against"] for row in found.rows} == {"rain@1"}


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.loaded += [value for name, value in attrs if name in ("src", "href")]
        assert tag not in ("script", "link", "img", "iframe")


def test_the_report_names_every_part_and_loads_nothing(watched, evaluated):
    page = evaluation_html(run(watched, against="rain@1").rows)
    parser = _Parser()
    parser.feed(page)
    assert parser.loaded == []
    assert "@import" not in page
    assert "url(" not in page
    for text in ("2026-W10", "shore", "challenger", "prefers-color-scheme: dark", "<svg"):
        assert text in page, text


def test_what_a_value_is_called_is_escaped(watched):
    rows = [dict(row) for row in run(watched).rows]
    for row in rows:
        row["value"] = row["value"] and "<script>alert(1)</script>"
    assert "<script>" not in evaluation_html(rows)


def test_without_mlflow_the_evaluation_is_there_and_says_why(watched):
    # The watched project is a copy, whose experiment keeps its files in the original's folder.
    settings = JOB.evaluation.model_copy(update={"threshold": 0.41})
    found = run(watched, JOB.model_copy(update={"evaluation": settings}))
    assert "was moved or copied" in found.not_logged
    assert part(found, period=None, slice=None)["threshold"] == 0.41


def test_mlflow_gets_metrics_by_step_and_the_report(tmp_path):
    from sololakehouse.models.tracking import connected

    project = make_project(tmp_path / "rain")
    project.train()
    score(project.lake, project.writer(), JOB)
    found = run(project)
    assert found.not_logged is None
    with connected(project.lake.project) as client:
        experiment = client.get_experiment_by_name("rain").experiment_id
        (one,) = client.search_runs([experiment], "tags.role = 'evaluation'")
        assert one.data.tags["model"] == "rain@2"
        whole = part(found, period=None, slice=None)
        assert one.data.metrics["roc_auc"] == pytest.approx(whole["roc_auc"])
        history = client.get_metric_history(one.info.run_id, "roc_auc_by_period")
        assert [point.value for point in history] == [row["roc_auc"] for row in found.periods]
        assert [file.path for file in client.list_artifacts(one.info.run_id)] == ["evaluation.html"]


def test_predictions_are_found_by_their_model(trained, tmp_path):
    project = ModelProject(shutil.copytree(trained[0].folder, tmp_path / "rain"))
    with pytest.raises(NotFoundError, match="No table holds predictions of rain version 2"):
        Predictions.of_model(project.lake, "rain@2")
    score(project.lake, project.writer(), JOB)
    assert Predictions.of_model(project.lake, "rain@2").table.name == "inference.rain"
    score(project.lake, project.writer(), JOB.model_copy(update={"output": "inference.other"}))
    with pytest.raises(UsageError, match="Several tables hold predictions of rain version 2"):
        Predictions.of_model(project.lake, "rain@2")
    with pytest.raises(UsageError, match="holds predictions of rain version 2, and rain@1 is"):
        Predictions.of_model(project.lake, "rain@1", "inference.other")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"labels": None}, ConfigError, "have no labels to compare with"),
        ({"keys": ("place",)}, TrainingError, "place is not unique"),
        ({"keys": ("idd",)}, NotFoundError, "No column 'idd'"),
        ({"labels": "gold.label"}, NotFoundError, "Did you mean 'gold.labels'?"),
        ({"evaluation": {"slices": ["plaice"]}}, NotFoundError, "Did you mean 'place'?"),
        ({"labels": "gold.threes"}, TrainingError, "labels must be 0, 1 or NULL, but one is 3"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(watched, evaluated, changes, error, message):
    threes = watched.lake.read("gold.labels").to_polars().with_columns(wet=pl.lit(3))
    if "gold.threes" in changes.values():
        watched.writer().write_frame("gold.threes", threes, Change("T", "3"))
    job = ScoringJob.model_validate(JOB.model_dump() | changes)
    before = watched.lake.read("monitoring.evaluations").version
    with pytest.raises(error, match=message):
        run(watched, job)
    assert watched.lake.read("monitoring.evaluations").version == before


def test_a_table_of_an_older_version_keeps_its_rows(watched):
    old = pl.DataFrame({"month": ["2025-01"], "roc_auc": [0.7]})
    watched.writer().write_frame("monitoring.old", old, Change("EVALUATION", "old"))
    new = pl.DataFrame({"period": ["2026-01"], "roc_auc": [0.8]})
    kept = append_rows(watched.writer(), "monitoring.old", new, Change("EVALUATION", "new"))
    assert kept.to_polars().select("month", "period", "roc_auc").rows() == [
        ("2025-01", None, 0.7),
        (None, "2026-01", 0.8),
    ]
