from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.errors import ConfigError, NotFoundError, TrainingError
from sololakehouse.features.saved import build_training_set
from sololakehouse.models.experiment import Experiment, load_experiment
from sololakehouse.models.model_settings import with_source
from sololakehouse.models.split import split_by_time
from sololakehouse.models.trainers import check_settings
from tests.rain import EXPERIMENT, ModelProject, labels, sky


def test_the_file_is_read_with_its_overrides(project):
    experiment = project.experiment("model.params.max_depth=8", "seed=3")
    assert experiment.model.params == {"n_estimators": 40, "max_depth": 8}
    assert experiment.seed == 3
    assert experiment.split.train.begin is None


CUDA = "device: cuda\n"
MISTAKES = {
    "unknown key": (
        ("seed: 7", "seed: 7\nmodell: 1"),
        "unknown key 'modell'. Did you mean 'model'",
    ),
    "unknown metric": (("log_loss", "log_los"), "No metric 'log_los'. Did you mean 'log_loss'?"),
    "naive time": (
        ("until: 2026-04-01T00:00:00Z", "until: 2026-04-01T00:00:00"),
        "has no time zone",
    ),
    "a date": (("until: 2026-04-01T00:00:00Z", "until: 2026-04-01"), "has no time zone"),
    "a number": (("until: 2026-04-01T00:00:00Z", "until: 2026"), "2026 is no moment"),
    "a month too many": (
        ("until: 2026-04-01T00:00:00Z", "until: 2026-13-01"),
        "rain.yml is not valid YAML: month must be in 1..12. Write a moment as in 2013-09-01T",
    ),
    "no name of a model": (
        ("register_as: rain", "register_as: rain today"),
        "register_as: 'rain today' is no model's name. Write letters, digits, _ and -, first a l",
    ),
    "ends early": (
        ("train: {until", "train: {from: 2026-04-01T00:00:00Z, until"),
        "train ends before it begins",
    ),
    "split by an excluded column": (("[id]", "[id, at]"), "'at' must stay, the data is split by"),
    "label_known_at excluded": (
        ("exclude_columns: [id]", "label_known_at: id\n  exclude_columns: [id]"),
        "'id' must stay, the data is split by",
    ),
    "overlap": (("{from: 2026-03-01", "{from: 2026-02-01"), "validation begins at 2026-02-01T"),
    "no beginning": (("from: 2026-03-15T00:00:00Z, ", ""), "test has no 'from', but must begin"),
    "unknown kind": (
        ("kind: xgboost", "kind: xgbost"),
        "model.kind: no kind 'xgbost'. Did you mean 'xgboost'? Kinds: lightgbm, python, sklearn",
    ),
    "an estimator too many": (
        ("{kind: xgboost,", "{kind: xgboost, estimator: x,"),
        "kind xgboost has no 'estimator'",
    ),
    "no function": (("{kind: xgboost,", "{kind: python,"), "kind python needs a 'function', such"),
    "a function too many": (
        ("{kind: xgboost,", "{kind: torch, function: 'a:b',"),
        "kind torch has no 'function'",
    ),
    "stops early": (
        ("logistic_regression}", "random_forest, early_stopping_rounds: 5}"),
        "early_stopping_rounds is only for hist_gradient_boosting, lightgbm, torch, xgboost: leave",
    ),
    "one weight": (
        ("early_stopping_rounds: 5", "class_weight: {1: 5}"),
        "model.class_weight: write 'balanced', or positive numbers for both, as in {0: 1, 1: 5}",
    ),
    "a weight below 0": (
        ("early_stopping_rounds: 5", "class_weight: {0: 1, 1: -5}"),
        "model.class_weight: write 'balanced', or positive numbers for both",
    ),
    "threshold 1": (
        ("early_stopping_rounds: 5", "threshold: 1"),
        "model.threshold: 1 is no threshold. Write a number between 0 and 1, f1, or {cost: {",
    ),
    "half a cost": (
        ("early_stopping_rounds: 5", "threshold: {cost: {false_positive: 1}}"),
        "model.threshold: cost.false_negative: Field required",
    ),
    "calibration": (
        ("early_stopping_rounds: 5", "calibration: platt"),
        "model.calibration: Input should be 'isotonic' or 'sigmoid'",
    ),
    "a clock": (
        ("early_stopping_rounds: 5", "search: {timeout: 60, params: {}}"),
        "'timeout' would end the search elsewhere each time, so the model could not be made again.",
    ),
    "half a range": (
        ("early_stopping_rounds: 5", "search: {trials: 2, params: {gamma: {low: 0}}}"),
        "model.search.params.gamma: write either 'choices', or 'low' and 'high'",
    ),
    "a range backwards": (
        ("early_stopping_rounds: 5", "search: {trials: 2, params: {gamma: {low: 2, high: 1}}}"),
        "model.search.params.gamma: low 2 must be below high 1",
    ),
    "the logarithm of 0": (
        (
            "early_stopping_rounds: 5",
            "search: {trials: 2, params: {gamma: {low: 0, high: 1, log: true}}}",
        ),
        "model.search.params.gamma: 'log' needs a 'low' above 0, and no 'step'",
    ),
    "said twice": (
        (
            "early_stopping_rounds: 5",
            "search: {trials: 2, params: {max_depth: {low: 1, high: 2}}}",
        ),
        "model: 'max_depth' is in 'params' and in 'search': say it once",
    ),
    "a search for nothing": (
        (
            "early_stopping_rounds: 5",
            "search: {trial: 2, params: {max_depth: {low: 1, high: 2}}}",
        ),
        "unknown key 'model.search.trial'. Did you mean 'trials'?",
    ),
    "one fold": (("seed: 7", "seed: 7\ncross_validation: {folds: 1}"), "cross_validation.folds: "),
    "cuda for nothing": (
        ("{kind: xgboost, params: {n_estimators: 40, max_depth: 3}", "{kind: lightgbm"),
        "'device: cuda' is for the kinds torch and xgboost, and the models are of kind sklearn and",
    ),
    "estimator missing": ((", estimator: logistic_regression", ""), "needs an 'estimator'"),
    "no timestamp to split by": (("  timestamp: at\n", ""), "'timestamp' must name the column"),
    "no metrics": (("[roc_auc, log_loss, f1]", "[]"), "metrics"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_its_place(project, mistake):
    (old, new), message = MISTAKES[mistake]
    with pytest.raises((ConfigError, NotFoundError), match=re.escape(message)):
        project.experiment(text=EXPERIMENT.replace(old, new) + CUDA * ("cuda" in mistake))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "write KEY=VALUE"),
        ("modle.params.x=1", "there is no section 'modle'"),
        ("model.kindd=1", "unknown key 'model.kindd'"),
        (
            "modle.kind=1",
            "Did you mean 'model'? Sections: baseline, gates, model, split, training_set.",
        ),
        ("model.params={", "'{' is not valid YAML. Quote a text: --set 'model.params=\"...\"'."),
        ("split.test.until=2026-13-01", "month must be in 1..12. Write a moment as in 2013-09-01T"),
        ("metrics=[acuracy]", "No metric 'acuracy'. Did you mean 'accuracy'?"),
        ("split.embargo=soon", "'soon' is no length of time. Write one such as 90min, 6h or 28d"),
        ("cross_validation.folds=1", "cross_validation.folds"),
    ],
)
def test_an_override_that_does_not_fit(project, override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        project.experiment(override)


def test_an_override_may_begin_a_section_that_the_file_lacks(project):
    assert project.experiment("cross_validation.folds=3").cross_validation.folds == 3


def test_a_file_and_an_override_say_what_is_visible(project):
    as_it_is = project.experiment().training_set
    strict = project.experiment("training_set.allow_exact_match=false").training_set
    text = EXPERIMENT.replace("  name: tr", "  allow_exact_match: false\n  name: tr")
    assert project.experiment(text=text).training_set == strict
    seen, unseen = (
        build_training_set(project.lake, project.writer(), recipe)[0].to_polars()
        for recipe in (as_it_is, strict)
    )
    published = seen["at"].is_in(sky()["feature_ts"].to_list())
    assert seen["light"].ne_missing(unseen["light"]).equals(published)


def test_the_day_of_knowledge_needs_a_time_zone(project):
    day = "training_set.known_as_of=2026-03-01T00:00:00"
    assert project.experiment(f"{day}Z").training_set.known_as_of == datetime(
        2026, 3, 1, tzinfo=UTC
    )
    with pytest.raises(ConfigError, match=r"training_set\.known_as_of: .* no time zone"):
        project.experiment(day)


def test_a_missing_file_is_named_with_those_that_are_there(project):
    with pytest.raises(ConfigError, match=r"none\.yml cannot be read.*There is no experiment yet"):
        load_experiment(project.lake.project, Path("none.yml"))
    (project.folder / "experiments").mkdir()
    (project.folder / "experiments" / "wind.yml").write_text(EXPERIMENT)
    with pytest.raises(ConfigError, match=r"read: .*\. Experiments: experiments/wind\.yml\.$"):
        load_experiment(project.lake.project, Path("experiments/none.yml"))


def test_a_file_that_is_no_text_is_refused(project):
    (project.folder / "picture.yml").write_bytes(b"\xff\xd8")
    with pytest.raises(ConfigError, match=r"picture\.yml is no experiment file: it is no text"):
        load_experiment(project.lake.project, Path("picture.yml"))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "baseline.estimator=logistic_regresion",
            "No estimator 'logistic_regresion'. Did you mean",
        ),
        ("baseline.params={Cc: 1}", "logistic_regression has no parameter 'Cc'."),
        ("model.params={max_dept: 1}", "xgboost has no parameter 'max_dept'. Did you mean"),
        ("model.params={random_state: 1}", "The experiment's 'seed' sets it."),
        ("model.params={early_stopping_rounds: 1}", "Write it beside 'params'."),
        ("model.params={device: cuda}", "The experiment's 'device' sets it."),
        (
            "model={kind: lightgbm, params: {num_leafs: 3}}",
            "lightgbm has no parameter 'num_leafs'. Did you mean 'num_leaves'?",
        ),
        ("model={kind: torch, params: {layers: 3}}", "torch has no parameter 'layers'."),
        ("model={kind: torch, params: {patience: 3}}", "torch has no parameter 'patience'."),
        (
            "model={kind: xgboost, search: {trials: 1, params: {depth: {low: 1, high: 2}}}}",
            "xgboost has no parameter 'depth'. Did you mean 'max_depth'?",
        ),
    ],
)
def test_an_unknown_estimator_or_parameter_has_candidates(project, override, message):
    section = override.split("=")[0].split(".")[0]
    settings = getattr(project.experiment(override), section)
    with pytest.raises((ConfigError, NotFoundError), match=re.escape(message)):
        check_settings(settings)


COLUMNS = ("humid", "wind", "cloud")
HOURS_IN_TEST = 90 * 24 - 73 * 24


def test_parts_are_half_open_and_rows_outside_are_left_out(project):
    frame = labels()
    parts = split_by_time(frame, project.experiment(), COLUMNS)
    assert [len(part.labels) for part in parts.values()] == [59 * 24, 14 * 24, HOURS_IN_TEST]
    assert list(parts["train"].inputs.columns) == list(COLUMNS)


def test_an_empty_part_says_what_there_is(project):
    frame = labels().head(24 * 30)
    with pytest.raises(TrainingError, match="The part 'validation' of the split is empty") as error:
        split_by_time(frame, project.experiment(), COLUMNS)
    assert "no at from 2026-03-01T00:00:00Z until 2026-03-15T00:00:00Z" in str(error.value)
    assert "reaches from 2026-01-01T00:00:00Z to 2026-01-30T23:00:00Z" in str(error.value)


def test_a_part_of_one_class_is_refused(project):
    frame = labels().with_columns(wet=pl.lit(0))
    with pytest.raises(TrainingError, match="holds only wet = 0"):
        split_by_time(frame, project.experiment(), COLUMNS)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "training.rain: the label 'wet' must be 0 or 1, but 1 row has a NULL there."),
        (2, "the label 'wet' must be 0 or 1, but it holds 2."),
        (0.5, "the label 'wet' is of type Float64. It must be an integer or a boolean: models"),
    ],
)
def test_a_label_that_is_not_0_or_1_is_refused(project, value, message):
    frame = labels().with_columns(wet=pl.when(pl.col("id") == 5).then(value).otherwise("wet"))
    with pytest.raises(TrainingError, match=re.escape(message)):
        split_by_time(frame, project.experiment(), COLUMNS)


def test_the_text_of_a_function_is_read_with_the_experiment(project):
    folder = project.folder / "risk"
    folder.mkdir()
    (folder / "models.py").write_text("def make(): ...\n")
    model = "model={kind: python, function: 'risk.models:make'}"
    experiment = project.experiment(model)
    assert experiment.model.source == "def make(): ...\n"
    (folder / "models.py").write_text("changed")
    kept = with_source(project.folder, experiment.model.model_dump())
    assert kept["source"] == experiment.model.source
    recorded = experiment.model_dump(mode="json", by_alias=True)
    assert Experiment.model_validate(recorded) == experiment
    with pytest.raises(NotFoundError, match=r"No module 'risk\.model'\. Did you mean"):
        project.experiment("model={kind: python, function: 'risk.model:make'}")
    (folder / "models.py").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match=r"models\.py cannot be read: "):
        project.experiment(model)


def test_what_is_recorded_is_read_again_as_it_was(project):
    experiment = project.experiment(
        "model.class_weight={0: 1, 1: 5}",
        "model.threshold={cost: {false_positive: 1, false_negative: 5}}",
        "model.search={trials: 3, params: {gamma: {low: 0, high: 1.5}, alpha: {choices: [0]}}}",
        "cross_validation={folds: 3, window: sliding}",
        "split.embargo=36h",
        "device=cpu",
    )
    recorded = json.loads(json.dumps(experiment.model_dump(mode="json", by_alias=True)))
    assert Experiment.model_validate(recorded) == experiment
    assert experiment.split.embargo == timedelta(hours=36)
    assert experiment.model.class_weight == {0: 1.0, 1: 5.0}


@pytest.fixture
def in_berlin(tmp_path):
    (tmp_path / "lakehouse.yml").write_text("name: rain\ntime_zone: Europe/Berlin\n")
    return ModelProject(tmp_path)


def test_moments_without_a_zone_are_those_of_the_projects(in_berlin):
    text = EXPERIMENT.replace("T00:00:00Z", "").replace(
        "timestamp: at\n", "timestamp: at\n  known_as_of: 2026-07-01 12:00:00\n"
    )
    experiment = in_berlin.experiment(text=text)
    assert experiment.split.train.until == datetime(2026, 2, 28, 23, tzinfo=UTC)
    assert experiment.split.test.until == datetime(2026, 3, 31, 22, tzinfo=UTC)
    assert experiment.training_set.known_as_of == datetime(2026, 7, 1, 10, tzinfo=UTC)
    same = in_berlin.experiment("split.test.until=2026-04-01", "seed=3", text=text)
    assert same.split == experiment.split


def test_a_split_at_a_time_that_clocks_skip_is_refused(in_berlin):
    text = EXPERIMENT.replace("2026-03-15T00:00:00Z", "2026-03-29T02:30:00")
    with pytest.raises(ConfigError, match=r"until: 2026-03-29T02:30:00 has no time zone, and"):
        in_berlin.experiment(text=text)
