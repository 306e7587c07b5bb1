"""Lesson 5: a model that is better than its baseline, and may be so."""

from __future__ import annotations

from typing import Any

import yaml

from sololakehouse.lessons.lesson import Check, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.replayed import require_clean
from sololakehouse.lessons.work import EXPERIMENT, Work
from sololakehouse.models.versions import BASELINE as BASELINE_ROLE
from sololakehouse.models.versions import ModelVersion

_METRIC = "test_roc_auc"
_RULES = ("seed", "split", "metrics", "baseline")
_TRAINING_SET_RULES = ("labels", "label", "timestamp", "label_known_at")


def _number_to_beat(work: Work) -> ModelVersion:
    """Return the first baseline: what the schedule alone tells."""
    for version in work.versions():
        if version.role == BASELINE_ROLE:
            return version
    raise NotYetError("system.training_runs", "No baseline was trained.", f"slh train {EXPERIMENT}")


def _trained_as_it_was(work: Work) -> Finding:
    first = _number_to_beat(work)
    tables = [lookup["table_name"] for lookup in first.recipe.get("feature_lookups", ())]
    if tables:
        raise NotYetError(
            "system.training_runs",
            f"The first training looked up {', '.join(tables)} already: nobody knows what the "
            "schedule alone tells.",
            "Begin again in an empty folder, and train the experiment before you change it.",
        )
    return Finding(
        "system.training_runs",
        f"The number to beat, from the schedule alone: {_METRIC} {first.metrics[_METRIC]:.4f}.",
    )


def _same_rules(work: Work) -> Finding:
    model = work.production()
    began: dict[str, Any] = yaml.safe_load(work.original[EXPERIMENT])
    config: dict[str, Any] = dict(model.record.get("config", {}))
    place = f"the recorded settings of version {model.version}"
    first = dict(_number_to_beat(work).record.get("config", {}))
    changed = [name for name in _RULES if config.get(name) != first.get(name)]
    changed += [
        f"training_set.{name}"
        for name in _TRAINING_SET_RULES
        if model.recipe.get(name) != began["training_set"][name]
    ]
    if changed:
        raise NotYetError(
            place,
            f"{', '.join(changed)} is another one than at the start.",
            "Whoever moves the goal scores, and has won nothing: a weaker baseline, an easier "
            f"month or another question. Bring these keys of {EXPERIMENT} back, and train.",
        )
    work.require_all_labels(model)
    return Finding(place, "Seed, split, metrics, baseline and question are those of the start.")


def _by_the_gate(work: Work) -> Finding:
    model = work.production()
    place = f"the move of version {model.version} to production"
    if model.role == BASELINE_ROLE:
        raise NotYetError(
            place,
            "This is a baseline.",
            "Promote a model that beats it: slh promote delay --to production.",
        )
    if model.forced:
        raise NotYetError(
            place,
            f"It was forced past its gates: {model.forced}.",
            "Make it better, until slh promote delay --to production lets it pass by itself.",
        )
    return Finding(place, "Every gate let it pass.")


def _knows_nothing(work: Work) -> Finding:
    model = work.production()
    return require_clean(
        work,
        model,
        f"knows what came later. {_METRIC} {model.metrics[_METRIC]:.3f} is the score of the leak: "
        "two hours before a departure, nobody has that value.",
        f"Take that lookup out of {EXPERIMENT}, train, promote and replay again.",
    )


def _beaten(work: Work) -> Finding:
    first, model = _number_to_beat(work), work.production()
    place = f"{_METRIC} of version {model.version}, and of the first baseline"
    if model.metrics[_METRIC] <= first.metrics[_METRIC]:
        raise NotYetError(
            place,
            f"{model.metrics[_METRIC]:.4f} is not better than {first.metrics[_METRIC]:.4f}.",
            "What is known two hours before departure, besides the schedule? Look up the feature "
            "tables that are there: slh features list.",
        )
    return Finding(place, f"{model.metrics[_METRIC]:.4f} against {first.metrics[_METRIC]:.4f}.")


def _scores(work: Work) -> Seen:
    first, model = _number_to_beat(work), work.production()
    own = next(
        version
        for version in work.versions()
        if version.role == BASELINE_ROLE and version.run_id == model.run_id
    )
    rows = [
        {
            "version": version.version,
            "what": what,
            "validation_roc_auc": version.metrics["validation_roc_auc"],
            _METRIC: version.metrics[_METRIC],
            **dict(zip(("low", "high"), version.record["intervals"][_METRIC], strict=True)),
        }
        for version, what in (
            (first, "baseline, schedule alone"),
            (own, "baseline, with your features"),
            (model, "your model, in production"),
        )
    ]
    return Seen(
        "The same test month for all. 'low' and 'high' are the 95 % interval: read them before you "
        "celebrate.",
        ["version", "what", "validation_roc_auc", _METRIC, "low", "high"],
        rows,
    )


BASELINE = Lesson(
    number=5,
    slug="baseline",
    title="Beat the baseline honestly",
    ends_in="your model between two baselines, with intervals",
    layers=("flights", "silver", "labels", "features", "leak"),
    landed=("2013-09", "2013-10", "2013-11"),
    checks=(
        Check(
            "The number to beat is known",
            _trained_as_it_was,
            "Train the experiment as it came: slh train experiments/delay.yml. Version 1 is its "
            "baseline, and its score on the test month is the number to beat.",
        ),
        Check(
            "A model is in production, by its own strength",
            _by_the_gate,
            "The gate asks whether the model beats the baseline of its own training on the test "
            "month. A tree that is grown deep learns the training rows by heart: fewer and smaller "
            "trees (max_iter: 60, max_leaf_nodes: 4, learning_rate: 0.05) are better at new ones.",
        ),
        Check(
            "It beats the number to beat",
            _beaten,
            "features.carrier_delay by carrier and features.departures by origin tell how the day "
            "is going. Look both up at predict_at.",
        ),
        Check(
            "The rules are those of the start",
            _same_rules,
            "You may change the model, its parameters and the features. Split, metrics, seed, "
            "baseline and label are the rules.",
        ),
        Check(
            "It knows nothing that it could not have known",
            _knows_nothing,
            "slh replay --cutoffs 3 makes a certificate for the newest training set. "
            "features.route_day is the best feature in the project, and lesson 4 tells why.",
        ),
    ),
    seen=_scores,
)
