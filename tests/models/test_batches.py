"""Training from batches: what memory does not hold is read block by block."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from sololakehouse.config.memory_size import written_size
from sololakehouse.errors import ConfigError, RunError, TrainingError
from sololakehouse.models import batches
from sololakehouse.models.batches import batched_parts, rows_at_once
from sololakehouse.models.evidence import predict
from sololakehouse.models.inputs import model_input
from sololakehouse.models.metrics import compute_metrics
from sololakehouse.models.model_settings import ModelSettings, ThresholdByCost
from sololakehouse.models.model_store import load_model
from sololakehouse.models.split import split_by_time
from sololakehouse.models.trainers import fit, fit_batches, trainer_of
from sololakehouse.models.trainers.decision import innermost, threshold_of
from sololakehouse.models.trainers.network import _Blocks
from sololakehouse.models.trainers.preprocessing import fitted_by_column
from sololakehouse.models.trainers.trainer import Batches
from sololakehouse.rebuild.training import train_again
from tests.rain import labels, make_project

COLUMNS = ("humid", "wind", "cloud", "place")
AT_ONCE = 130
TREES = ModelSettings(
    kind="xgboost", params={"n_estimators": 60, "max_depth": 4}, early_stopping_rounds=5
)
NETWORK = ModelSettings(
    kind="torch",
    params={"hidden": [32], "epochs": 15, "batch_size": 64, "learning_rate": 0.02},
    early_stopping_rounds=4,
)
BATCHED = pytest.mark.parametrize("settings", [TREES, NETWORK], ids=lambda one: one.kind)
BY_BATCHES = (
    "baseline={kind: xgboost, params: {n_estimators: 20, max_depth: 5}}",
    "model={kind: torch, params: {hidden: [8], epochs: 3}, early_stopping_rounds: 2}",
)


@pytest.fixture
def rows() -> pl.DataFrame:
    return labels().with_columns((pl.col("id") % 3 == 0).alias("third"))


@pytest.fixture
def whole(project, rows):
    return split_by_time(rows, project.experiment(), (*COLUMNS, "third"))


@pytest.fixture
def parts(project, rows, tmp_path):
    return in_blocks(rows, project, tmp_path, AT_ONCE)


def in_blocks(rows, project, folder, at_once, columns=(*COLUMNS, "third"), *settings):
    folder.mkdir(exist_ok=True)
    return batched_parts(rows.lazy(), project.experiment(*settings), columns, at_once, folder)


def test_blocks_hold_what_the_split_gives(parts, whole):
    for name, part in parts.items():
        assert part.blocks == -(-len(part.labels) // AT_ONCE) > 1
        frames = list(part.frames())
        assert {len(one) for one in frames[:-1]} == {AT_ONCE}
        pd.testing.assert_frame_equal(pd.concat(frames, ignore_index=True), whole[name].inputs)
        assert np.array_equal(part.labels, whole[name].labels)


def test_blocks_do_not_depend_on_the_files_of_the_training_set(project, rows, tmp_path, parts):
    for number, some in enumerate(rows.iter_slices(177)):
        some.write_parquet(tmp_path / f"rows-{number:03}.parquet", row_group_size=50)
    scan = pl.scan_parquet(sorted(tmp_path.glob("rows-*.parquet")))
    again = in_blocks(scan, project, tmp_path / "again", AT_ONCE)
    for name, part in parts.items():
        pairs = zip(part.frames(), again[name].frames(), strict=True)
        for one, other in pairs:
            pd.testing.assert_frame_equal(one, other)


def test_embargo_and_unknown_labels_are_left_out_as_they_are_of_whole_parts(
    project, rows, tmp_path
):
    known = rows.with_columns(pl.col("at").dt.offset_by("30h").alias("known"))
    settings = ("split.embargo=2d", "training_set.label_known_at=known")
    expected = split_by_time(known, project.experiment(*settings), COLUMNS)
    found = in_blocks(known, project, tmp_path, AT_ONCE, COLUMNS, *settings)
    for name, part in found.items():
        assert (part.unknown, part.embargoed) == (expected[name].unknown, expected[name].embargoed)
        inputs = pd.concat(part.frames(), ignore_index=True)
        pd.testing.assert_frame_equal(inputs, expected[name].inputs)
    assert found["train"].embargoed == 48


@BATCHED
def test_the_preprocessing_is_that_of_all_rows(settings, parts, whole):
    trainer = trainer_of(settings)
    expected = trainer.preprocessing(whole["train"].inputs).fit(whole["train"].inputs)
    found = fitted_by_column(trainer.preprocessing, parts["train"])
    assert list(found.get_feature_names_out()) == list(expected.get_feature_names_out())
    unseen = whole["test"].inputs.head(3).assign(cloud=["new", None, "some"], wind=np.nan)
    for inputs in (whole["test"].inputs, unseen):
        np.testing.assert_allclose(
            found.transform(inputs), expected.transform(inputs), rtol=1e-12, atol=1e-12
        )


@BATCHED
def test_training_twice_gives_the_same_predictions(settings, parts):
    one, two = (
        fit_batches(settings, parts["train"], parts["validation"], seed=1) for _ in range(2)
    )
    for part in parts.values():
        assert np.array_equal(predict(one, part), predict(two, part))


@BATCHED
def test_batches_teach_what_all_rows_at_once_teach(settings, parts, whole):
    batched = fit_batches(settings, parts["train"], parts["validation"], seed=1)
    at_once = fit(settings, whole["train"], whole["validation"], seed=1)
    test = whole["test"]
    ours, theirs = predict(batched, parts["test"]), predict(at_once, test)
    scores = [compute_metrics(["roc_auc"], test.labels, one)["roc_auc"] for one in (ours, theirs)]
    assert min(scores) > 0.8
    assert abs(scores[0] - scores[1]) < 0.03
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9
    assert np.array_equal(ours, predict(batched, test))


def test_trees_stop_on_the_validation_part(parts):
    endless = TREES.with_params({"n_estimators": 2000, "learning_rate": 0.5})
    trees = innermost(fit_batches(endless, parts["train"], parts["validation"], seed=1))
    assert trees.best_iteration < 300
    assert trees.get_booster().num_boosted_rounds() == trees.best_iteration + 6


def test_the_network_stops_on_the_validation_part(parts, whole):
    network = innermost(
        fit_batches(
            NETWORK.with_params({"epochs": 100}), parts["train"], parts["validation"], seed=1
        )
    )
    best = int(np.argmin(network.history_))
    assert len(network.history_) == best + 5 < 100
    model = fit_batches(
        NETWORK.with_params({"epochs": best + 1}), parts["train"], parts["validation"], seed=1
    )
    loss = compute_metrics(
        ["log_loss"], whole["validation"].labels, predict(model, parts["validation"])
    )
    assert loss["log_loss"] == pytest.approx(network.history_[best], rel=1e-5)


@BATCHED
def test_another_seed_takes_the_rows_in_another_order(settings, parts):
    some = settings.with_params({"subsample": 0.5} if settings.kind == "xgboost" else {})
    one, two = (
        fit_batches(some, parts["train"], parts["validation"], seed=seed) for seed in (1, 2)
    )
    assert not np.array_equal(predict(one, parts["test"]), predict(two, parts["test"]))


def test_each_epoch_has_all_rows_in_another_order(parts):
    class Humid:
        def transform(self, inputs):
            return inputs[["humid"]].to_numpy()

    train, order = parts["train"], torch.Generator().manual_seed(1)
    numbers = np.arange(len(train.labels))
    blocks = _Blocks(Batches(train, Humid(), numbers), "cpu", 64)
    epochs = [list(blocks.shuffled(order)) for _ in range(2)]
    orders = [torch.cat([batch[2] for batch in epoch]).numpy().astype(int) for epoch in epochs]
    for found, epoch in zip(orders, epochs, strict=True):
        assert np.array_equal(np.sort(found), numbers)
        assert {len(set((batch[2] // AT_ONCE).tolist())) for batch in epoch} == {1}
        labels = torch.cat([batch[1] for batch in epoch]).numpy()
        assert np.array_equal(labels, train.labels[found])
    within = [found[found < AT_ONCE] for found in orders]
    assert not np.array_equal(*within)
    assert not np.array_equal(*([*dict.fromkeys(found // AT_ONCE)] for found in orders))


@BATCHED
def test_class_weights_and_a_threshold_by_cost(settings, parts, whole):
    cost = {"cost": {"false_positive": 1, "false_negative": 9}}
    careful = settings.model_copy(
        update={
            "class_weight": {0: 1, 1: 9},
            "threshold": ThresholdByCost.model_validate(cost),
        }
    )
    plain = fit_batches(settings, parts["train"], parts["validation"], seed=1)
    model = fit_batches(careful, parts["train"], parts["validation"], seed=1)
    assert predict(model, parts["test"]).mean() > predict(plain, parts["test"]).mean() + 0.1
    assert threshold_of(model) != 0.5
    said = model.predict(whole["test"].inputs)
    assert np.array_equal(said, predict(model, parts["test"]) >= threshold_of(model))


def test_wrong_parameters_are_one_sentence(parts):
    with pytest.raises(ConfigError, match="normalization 'some' is not batch"):
        fit_batches(
            NETWORK.with_params({"normalization": "some"}),
            parts["train"],
            parts["validation"],
            seed=1,
        )
    line = ModelSettings(kind="sklearn", estimator="logistic_regression")
    with pytest.raises(ConfigError, match="logistic_regression is not trained from batches"):
        fit_batches(line, parts["train"], parts["validation"], seed=1)


def test_bad_features_are_refused(project, rows, tmp_path):
    empty = rows.with_columns(pl.lit(None, pl.Float64).alias("wind"))
    with pytest.raises(TrainingError, match=r"Nothing can be learned from wind: NULL in all 1,416"):
        in_blocks(empty, project, tmp_path, AT_ONCE)
    infinite = rows.with_columns(pl.lit(float("inf")).alias("wind"))
    with pytest.raises(RunError, match="'wind' must be finite"):
        in_blocks(infinite, project, tmp_path, AT_ONCE)


@pytest.fixture(scope="module")
def small_memory():
    """As if a value took so much that the training set of 2,160 rows may not be held."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batches, "_COPIES", 10_000)
        patch.setattr(batches, "_VALUES_AT_ONCE", 3000)
        yield


@pytest.fixture(scope="module")
def trained(small_memory, tmp_path_factory):
    project = make_project(tmp_path_factory.mktemp("batches") / "rain")
    return project, project.train(*BY_BATCHES)


def test_the_size_and_the_limit_decide(trained):
    project, made = trained
    columns = len(made.training_set.columns)
    needed = made.training_set.rows * columns * 8 * 10_000
    experiment = project.experiment(*BY_BATCHES)
    assert made.rows_at_once == 3000 // columns
    assert rows_at_once(made.training_set, experiment, needed) is None
    assert rows_at_once(made.training_set, experiment, needed - 1) == made.rows_at_once
    for run in made.runs:
        assert run.record["rows_at_once"] == made.rows_at_once
    again = project.train(*BY_BATCHES)
    assert again.up_to_date
    assert not list((project.folder / ".slh").glob("batches-*"))


def test_what_is_registered_predicts_what_was_measured(trained):
    project, made = trained
    experiment = project.experiment(*BY_BATCHES)
    for run in made.runs:
        frame = made.training_set.to_polars()
        test = split_by_time(frame, experiment, run.feature_columns)["test"]
        model = load_model(project.lake.project, run)
        metrics = compute_metrics(["log_loss"], test.labels, predict(model, test))
        assert run.metrics["test_log_loss"] == pytest.approx(metrics["log_loss"], rel=1e-12)
        unseen = frame.head(2).with_columns(cloud=pl.lit("new"), wind=pl.lit(None, pl.Float64))
        chances = model.predict_proba(model_input(unseen, run.feature_columns))
        assert np.isfinite(chances).all()


def test_a_rebuild_goes_by_batches_as_the_record_says(trained, tmp_path):
    project, made = trained
    trees = made.runs[0]
    again = train_again(trees, made.training_set.scan(), tmp_path / "again", project.folder)
    assert again.record["rows_at_once"] == made.rows_at_once
    assert again.evidence["predictions"] == trees.record["predictions"]
    assert again.evidence["model_content"] == trees.record["model_content"]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("baseline={kind: lightgbm}", "the baseline is lightgbm"),
        ("model={kind: sklearn, estimator: random_forest}", "the model is random_forest"),
        ("model.calibration=sigmoid", "The 'calibration' of the model needs all rows at once"),
        ("cross_validation={folds: 2}", "'cross_validation' needs all rows at once"),
    ],
)
def test_what_needs_all_rows_is_refused_with_the_size(trained, setting, reason):
    project, made = trained
    experiment = project.experiment(*BY_BATCHES, setting)
    with pytest.raises(TrainingError, match=reason) as said:
        rows_at_once(made.training_set, experiment, 10**5)
    needed = f"Training on them takes about {written_size(made.training_set.rows * 7 * 80_000)}"
    assert needed in str(said.value)


def test_what_batches_keep_of_each_row_has_to_fit_too(trained):
    project, made = trained
    experiment = project.experiment(*BY_BATCHES)
    with pytest.raises(TrainingError, match="That is what batches take already"):
        rows_at_once(made.training_set, experiment, 1000)


def test_a_search_goes_by_batches(trained):
    project, _ = trained
    search = "{trials: 2, params: {max_depth: {low: 1, high: 3}}}"
    settings = f"model={{kind: xgboost, params: {{n_estimators: 5}}, search: {search}}}"
    made = project.train(BY_BATCHES[0], settings)
    assert len(made.runs[1].record["search"]["trials"]) == 2
