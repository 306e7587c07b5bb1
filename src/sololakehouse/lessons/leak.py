"""Lesson 4: a feature that is too good, found by replay and repaired."""

from __future__ import annotations

from sololakehouse.lessons.lesson import Check, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.replayed import require_clean
from sololakehouse.lessons.work import EXPERIMENT, Work
from sololakehouse.models.versions import ModelVersion

LEAKY = "features.route_day"
_COLUMNS = ("mean_delay_on_day", "late_share_on_day")
_LABELS = "gold.flight_labels"
_METRIC = "test_roc_auc"
_LEAST_KNOWN = 0.9


def _found(work: Work) -> Finding:
    work.versions()
    times = work.replays(LEAKY, "leaks")
    if not times:
        raise NotYetError(
            "system.replays",
            f"No replay has seen {LEAKY} leak yet.",
            "Ask before you change anything: slh replay --cutoffs 3. It ends with exit code 1.",
        )
    return Finding("system.replays", f"A replay saw {LEAKY} leak.")


def _same_question(work: Work) -> Finding:
    """Hold the labels of the newest training against the flights themselves."""
    newest = work.versions()[-1]
    recipe = newest.recipe
    place = f"the recipe of version {newest.version}, {_LABELS}"
    if recipe.get("label") != "is_late" or recipe.get("labels") != _LABELS:
        raise NotYetError(
            place,
            f"It predicts {recipe.get('label')!r} of {recipe.get('labels')!r} now.",
            f"A leak is repaired in the feature. Let {EXPERIMENT} predict is_late of {_LABELS}.",
        )
    rows = work.require_all_labels(newest)
    return Finding(place, f"It still asks which of {rows:,} flights are late.")


def _still_used(work: Work) -> Finding:
    newest = work.versions()[-1]
    place = f"the features of version {newest.version}"
    missing = [name for name in _COLUMNS if name not in newest.feature_columns]
    if missing:
        raise NotYetError(
            place,
            f"{', '.join(missing)} is not among them. The leak is gone because the feature is.",
            f"Repair it instead: what was the route like on the last day that was over? Look "
            f"{LEAKY} up again in {EXPERIMENT}, and train.",
        )
    rows = work.lake.read(newest.training_set, newest.training_set_version).to_polars()
    known = 1 - rows[_COLUMNS[1]].null_count() / max(rows.height, 1)
    if known < _LEAST_KNOWN or rows[_COLUMNS[1]].n_unique() < 3:
        raise NotYetError(
            place,
            f"{_COLUMNS[1]} is known of {known:.0%} of the flights, with "
            f"{rows[_COLUMNS[1]].n_unique()} different values: it tells nothing any more.",
            "Keep the values as they are, and say in feature_ts when they were known.",
        )
    return Finding(place, f"It still learns from {' and '.join(_COLUMNS)}.")


def _clean(work: Work) -> Finding:
    return require_clean(
        work,
        work.versions()[-1],
        "still knows what came later.",
        "From which moment on was the last flight of the day down, or cancelled for sure? Stamp "
        f"the row of {LEAKY} with that. Then slh run, slh train {EXPERIMENT}, slh replay.",
    )


def _leaky_model(work: Work) -> ModelVersion:
    """Return the first model that was trained; the leak was in the project from the start."""
    models = [version for version in work.versions() if version.role == "model"]
    return models[0]


def _honest(work: Work) -> Finding:
    first, newest = _leaky_model(work), work.versions()[-1]
    if newest.version == first.version:
        raise NotYetError(
            "system.training_runs",
            f"One training so far, with {_METRIC} {first.metrics[_METRIC]:.3f}.",
            f"Repair {LEAKY}, slh run, and train again: slh train {EXPERIMENT}.",
        )
    return Finding(
        "system.training_runs",
        f"{_METRIC} was {first.metrics[_METRIC]:.3f}, and is {newest.metrics[_METRIC]:.3f}.",
    )


def _two_scores(work: Work) -> Seen:
    rows = [
        {
            "model": f"delay@{version.version}",
            "features": said,
            _METRIC: version.metrics[_METRIC],
            "test_log_loss": version.metrics["test_log_loss"],
        }
        for version, said in (
            (_leaky_model(work), "know the evening in the morning"),
            (work.versions()[-1], "know what was known"),
        )
    ]
    return Seen(
        "The first score is what a notebook promises. The second one is what production gets.",
        ["model", "features", _METRIC, "test_log_loss"],
        rows,
    )


LEAK = Lesson(
    number=4,
    slug="leak",
    title="Find the leak",
    ends_in="the two scores: with the leak, and without",
    layers=("flights", "silver", "labels", "features", "leak"),
    landed=("2013-09", "2013-10", "2013-11"),
    checks=(
        Check(
            "A replay has found the leak",
            _found,
            "slh replay goes back to a few moments, cuts the sources down to what was known by "
            "then, builds the features again, and compares. It needs a trained experiment to look "
            "at the training set: slh train first.",
        ),
        Check(
            "It is the same question as before",
            _same_question,
            "The label and its rows are the question. Leave gold.flight_labels, and 'labels' and "
            "'label' in the experiment, as they were.",
        ),
        Check(
            "The feature is still there, and says something",
            _still_used,
            "The values are right: they are only stamped too early. Change feature_ts and nothing "
            "else.",
        ),
        Check(
            "Trained again, for an honest score",
            _honest,
            "slh run computes the feature table by its new definition, slh train makes a new "
            "training set of it. If a run asks for a reason, a model in a stage counts on the old "
            "definition: slh run --redefine features.route_day --reason '...'.",
        ),
        Check(
            "A replay of the repaired features is clean",
            _clean,
            "The longest delay is 21 hours, and a flight that has not arrived a day after its time "
            "is taken as cancelled. So the row of a day may be used three days after the day "
            "began: local_day + INTERVAL '3' DAY inside of to_utc_timestamp.",
        ),
    ),
    seen=_two_scores,
)
