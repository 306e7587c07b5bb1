from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from sololakehouse.errors import ConfigError, RunError, TrainingError
from sololakehouse.models.split import split_by_time
from tests.rain import labels

COLUMNS = ("humid", "wind", "cloud")
MARCH = datetime(2026, 3, 1, tzinfo=UTC)


def test_the_end_of_a_part_is_the_beginning_of_the_next(project):
    frame = labels()
    parts = split_by_time(frame, project.experiment(), ("id", *COLUMNS))
    boundary = frame.filter(pl.col("at") == MARCH)["id"].item()
    assert parts["train"].inputs["id"].max() == boundary - 1
    assert parts["validation"].inputs["id"].min() == boundary


def test_no_row_is_in_two_parts(project):
    parts = split_by_time(labels(), project.experiment(), ("id", *COLUMNS))
    ids = [set(part.inputs["id"]) for part in parts.values()]
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_boolean_labels_are_the_same_as_0_and_1(project):
    experiment = project.experiment()
    ints = split_by_time(labels(), experiment, COLUMNS)
    bools = split_by_time(labels().with_columns(pl.col("wet") == 1), experiment, COLUMNS)
    assert all((ints[name].labels == bools[name].labels).all() for name in ints)


def test_rows_without_a_moment_are_in_no_part(project):
    frame = labels().with_columns(at=pl.when(pl.col("id") >= 10).then("at"))
    parts = split_by_time(frame, project.experiment(), ("id", *COLUMNS))
    assert parts["train"].inputs["id"].min() == 10


def test_a_training_set_without_any_moment_says_so(project):
    frame = labels().with_columns(at=pl.lit(None, pl.Datetime("us", "UTC")))
    with pytest.raises(TrainingError, match="has 2,160 rows, and none with a at"):
        split_by_time(frame, project.experiment(), COLUMNS)


def test_no_features_are_refused(project):
    with pytest.raises(TrainingError, match=r"training\.rain has no features"):
        split_by_time(labels(), project.experiment(), ())


@pytest.mark.parametrize("kind", [pl.Float64, pl.String])
def test_a_feature_without_values_is_named(project, kind):
    early = pl.col("at") < MARCH
    frame = labels().with_columns(
        cloud=pl.when(~early).then(pl.lit(1).cast(kind)), wind=pl.lit(1.0)
    )
    with pytest.raises(TrainingError, match=r"from cloud: NULL in all 1,416 rows of the part"):
        split_by_time(frame, project.experiment(), COLUMNS)


def test_infinity_is_refused_with_its_column(project):
    frame = labels().with_columns(
        humid=pl.when(pl.col("id") < 3).then(float("inf")).otherwise("humid")
    )
    with pytest.raises(RunError, match="'humid' must be finite or NULL, but 3 rows have"):
        split_by_time(frame, project.experiment(), COLUMNS)


@pytest.mark.parametrize("value", [MARCH, MARCH.date(), timedelta(1), [1], b"x"])
def test_a_type_that_no_model_takes_is_named(project, value):
    frame = labels().with_columns(odd=pl.lit(value))
    with pytest.raises(ConfigError, match=r"The feature 'odd' is of type .*exclude_columns"):
        split_by_time(frame, project.experiment(), (*COLUMNS, "odd"))


def knowing(project, known_at):
    """Split with a column that says from when on each label is known."""
    frame = labels().with_columns(known_at=known_at)
    experiment = project.experiment()
    spec = experiment.training_set.model_copy(update={"label_known_at": "known_at"})
    known = experiment.model_copy(update={"training_set": spec})
    return frame, split_by_time(frame, known, ("id", *COLUMNS))


def test_a_label_known_at_the_very_end_of_its_part_is_learned_from(project):
    last = pl.when(pl.col("at") < MARCH).then(pl.lit(MARCH)).otherwise("at")
    for later, unknown in (("0us", 0), ("1us", 1)):
        is_last = pl.col("id") == 59 * 24 - 1
        known_at = pl.when(is_last).then(last.dt.offset_by(later)).otherwise("at")
        _, parts = knowing(project, known_at)
        assert parts["train"].unknown == unknown


def test_rows_whose_label_was_not_known_are_left_out_of_what_is_learned_from(project):
    frame, parts = knowing(project, pl.col("at").dt.offset_by("2d"))
    whole = split_by_time(frame, project.experiment(), ("id", *COLUMNS))
    assert [part.unknown for part in parts.values()] == [47, 47, 0]
    for name in ("train", "validation"):
        ids = set(parts[name].inputs["id"])
        gone = set(whole[name].inputs["id"]) - ids
        assert len(gone) == 47
        assert min(gone) > max(ids)
    assert parts["test"].inputs.equals(whole["test"].inputs)


def test_a_label_of_which_nobody_says_when_it_was_known_is_not_known(project):
    known_at = pl.when(pl.col("id") % 2 == 0).then("at")
    _, parts = knowing(project, known_at)
    assert set(parts["train"].inputs["id"] % 2) == {0}
    assert parts["train"].unknown == 59 * 12


def test_a_part_without_any_known_label_says_so(project):
    with pytest.raises(TrainingError) as said:
        knowing(project, pl.col("at").dt.offset_by("300d"))
    assert str(said.value) == (
        "The part 'train' of the split has 1,416 rows, and the label of none was known by its end, "
        "2026-03-01T00:00:00Z: 'known_at' is later or NULL. Give it more time in 'split'."
    )


def embargoed(project, embargo, frame=None):
    """Split with an embargo."""
    experiment = project.experiment(f"split.embargo={embargo}")
    return split_by_time(labels() if frame is None else frame, experiment, ("id", *COLUMNS))


def test_the_embargo_keeps_rows_apart_its_own_end_included(project):
    parts = embargoed(project, "2h")
    whole = split_by_time(labels(), project.experiment(), ("id", *COLUMNS))
    assert [part.embargoed for part in parts.values()] == [2, 2, 0]
    for name in ("train", "validation"):
        gone = set(whole[name].inputs["id"]) - set(parts[name].inputs["id"])
        assert gone == {max(whole[name].inputs["id"]) - 1, max(whole[name].inputs["id"])}
    assert [part.embargoed for part in embargoed(project, "90min").values()] == [1, 1, 0]


def test_the_embargo_counts_to_where_the_next_part_begins(project):
    later = project.experiment("split.validation.from=2026-03-01T06:00:00Z", "split.embargo=8h")
    assert split_by_time(labels(), later, COLUMNS)["train"].embargoed == 2


def test_an_embargo_that_leaves_nothing_says_so(project):
    message = r"'train' of the split has 1,416 rows, and all of them lie within the embargo of 90 d"
    with pytest.raises(TrainingError, match=message):
        embargoed(project, "90d")
    with pytest.raises(ConfigError, match="embargo: a duration before the next part must not be"):
        embargoed(project, "-1h")


def test_a_part_knows_the_moments_of_its_rows(project):
    _, parts = knowing(project, pl.col("at").dt.offset_by("2d"))
    train = parts["train"]
    assert len(train.moments) == len(train.known_at) == len(train.labels)
    assert train.moments[0] == np.datetime64("2026-01-01T00:00:00")
    assert (train.known_at - train.moments == np.timedelta64(2, "D")).all()
