from __future__ import annotations

import re
from pathlib import Path

import polars as pl
import pytest

from sololakehouse.errors import ConfigError, NotFoundError, TrainingError
from sololakehouse.models.experiment import load_experiment
from sololakehouse.models.split import split_by_time
from sololakehouse.models.trainers import check_settings
from tests.rain import EXPERIMENT, labels


def test_the_file_is_read_with_its_overrides(project):
    experiment = project.experiment("model.params.max_depth=8", "seed=3")
    assert experiment.model.params == {"n_estimators": 40, "max_depth": 8}
    assert experiment.seed == 3
    assert experiment.split.train.begin is None


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
    "estimator missing": ((", estimator: logistic_regression", ""), "needs an 'estimator'"),
    "no timestamp to split by": (("  timestamp: at\n", ""), "'timestamp' must name the column"),
    "no metrics": (("[roc_auc, log_loss, f1]", "[]"), "metrics"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_names_its_place(project, mistake):
    (old, new), message = MISTAKES[mistake]
    with pytest.raises((ConfigError, NotFoundError), match=re.escape(message)):
        project.experiment(text=EXPERIMENT.replace(old, new))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "write KEY=VALUE"),
        ("modle.params.x=1", "there is no section 'modle'"),
        ("model.kindd=1", "unknown key 'model.kindd'"),
        ("modle.kind=1", "Did you mean 'model'? Sections: baseline, model, split, training_set."),
        ("model.params={", "'{' is not valid YAML"),
        ("metrics=[acuracy]", "No metric 'acuracy'. Did you mean 'accuracy'?"),
    ],
)
def test_an_override_that_does_not_fit(project, override, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        project.experiment(override)


def test_a_missing_file_is_named(project):
    with pytest.raises(ConfigError, match=r"none\.yml cannot be read"):
        load_experiment(project.lake.project, Path("none.yml"))


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
    ],
)
def test_an_unknown_estimator_or_parameter_has_candidates(project, override, message):
    section = override.split(".")[0]
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
