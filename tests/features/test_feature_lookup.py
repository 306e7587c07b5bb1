from __future__ import annotations

from datetime import timedelta

import pytest

from sololakehouse.config.yaml_file import load
from sololakehouse.errors import ConfigError, FeatureLookupError
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.features.recipe import Recipe, TrainingSetSpec

SPEC = """\
name: training.delay
labels: gold.labels
label: is_late
timestamp: predict_at
feature_lookups:
  - table_name: features.weather
    lookup_key: [origin]
    timestamp_lookup_key: predict_at
    feature_names: [temp]
    rename_outputs: {temp: origin_temp}
    lookback_window: 3h
"""


def lookup(**fields: object) -> FeatureLookup:
    return FeatureLookup(**{"table_name": "features.weather", "lookup_key": "origin"} | fields)


def test_one_name_is_as_good_as_a_list():
    several = lookup(lookup_key=["origin"], feature_names=["temp"], timestamp_lookup_key=["at"])
    assert lookup(feature_names="temp", timestamp_lookup_key="at") == several
    assert lookup(rename_outputs=None, default_values=None) == lookup()


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("90min", timedelta(minutes=90)),
        ("3h", timedelta(hours=3)),
        ("28d", timedelta(days=28)),
        ("PT3H", timedelta(hours=3)),
        (timedelta(seconds=1), timedelta(seconds=1)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_have_a_short_form(text, window):
    assert lookup(lookback_window=text).lookback_window == window


@pytest.mark.parametrize("window", ["-3h", timedelta(hours=-3)])
def test_a_negative_lookback_is_refused(window):
    with pytest.raises(FeatureLookupError) as raised:
        lookup(lookback_window=window)
    assert str(raised.value) == (
        "Lookup in features.weather: lookback_window: must not be negative, and is -3 h"
    )
    assert raised.value.exit_code == 2


def test_a_duration_without_a_unit_is_refused():
    with pytest.raises(FeatureLookupError, match="a duration needs a unit, such as '3d' or '3h'"):
        lookup(lookback_window=3)


def test_an_unknown_argument_is_refused_with_candidates():
    with pytest.raises(FeatureLookupError) as raised:
        lookup(lookback="3h")
    assert "unknown key 'lookback'. Did you mean 'lookback_window'?" in str(raised.value)


def test_a_training_set_is_read_from_yaml(tmp_path):
    file = tmp_path / "spec.yml"
    file.write_text(SPEC, "utf-8")
    spec = load(file, TrainingSetSpec)
    assert spec.feature_lookups[0].lookback_window == timedelta(hours=3)
    assert TrainingSetSpec.model_validate(spec.model_dump(mode="json")) == spec


def test_one_excluded_column_needs_no_list():
    assert Recipe(label="late", exclude_columns="id").exclude_columns == ("id",)


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("3h", "-3h", "lookback_window: must not be negative, and is -3 h"),
        ("feature_names", "features", "Did you mean 'feature_names'?"),
        ("training.delay", "gold.delay", "is no training set. Write training.NAME"),
        ("label: is_late", "lable: is_late", "unknown key 'lable'. Did you mean 'label"),
    ],
)
def test_a_mistake_in_yaml_names_the_file(tmp_path, right, wrong, message):
    file = tmp_path / "spec.yml"
    file.write_text(SPEC.replace(right, wrong), "utf-8")
    with pytest.raises(ConfigError) as raised:
        load(file, TrainingSetSpec)
    assert str(raised.value).startswith(str(file))
    assert message in str(raised.value)
