"""Lesson 6: a model that was forced into production, and the way back."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sololakehouse.lessons.lesson import Check, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.work import Work
from sololakehouse.monitoring.evaluation import EVALUATIONS

if TYPE_CHECKING:
    from sololakehouse.models.versions import Transition

_PREDICTIONS = "inference.december"
_STAGES = "system.model_transitions"
_FORCE = (
    "slh train experiments/deeper.yml && slh promote delay 4 --to production --force --reason '...'"
)


def _bad(work: Work) -> Transition:
    """Return how a version came to production past its gates, after one that had passed them."""
    moves = list(work.moves())
    if not moves:
        raise NotYetError(
            _STAGES, "No version has been in production.", "slh promote delay --to production"
        )
    for before, move in pairwise(moves):
        if move.forced and not before.forced:
            return move
    raise NotYetError(_STAGES, "No version was forced past its gates, after a good one.", _FORCE)


def _good_version(work: Work) -> int:
    bad = _bad(work)
    moves = list(work.moves())
    return moves[moves.index(bad) - 1].model_version


def _was_there(work: Work) -> Finding:
    bad = _bad(work)
    return Finding(_STAGES, f"Version {bad.model_version} was forced there: {bad.reason}.")


def _evaluations(work: Work, version: int) -> list[dict[str, Any]]:
    """Return the whole of what was measured of a version in December, the newest one last."""
    import polars as pl

    rows = work.table(EVALUATIONS, "slh score december && slh evaluate december").to_polars()
    whole = rows.filter(
        pl.col("period").is_null(),
        pl.col("slice").is_null(),
        role="champion",
        predictions=_PREDICTIONS,
        model_version=version,
    )
    return whole.to_dicts()


def _was_measured(work: Work) -> Finding:
    bad = _bad(work).model_version
    measured = _evaluations(work, bad)
    if not measured:
        raise NotYetError(
            EVALUATIONS,
            f"Nobody measured what version {bad} said of December.",
            "While it is in production: slh score december && slh evaluate december. (Is it gone "
            "already? slh promote delay "
            f"{bad} --to production --force --reason '...' brings it back.)",
        )
    return Finding(
        EVALUATIONS, f"Version {bad} has ROC AUC {measured[-1]['roc_auc']:.3f} in December."
    )


def _rolled_back(work: Work) -> Finding:
    bad, good = _bad(work), _good_version(work)
    last = list(work.moves())[-1]
    if last.model_version == bad.model_version:
        raise NotYetError(
            _STAGES,
            f"Version {bad.model_version} is still in production.",
            "slh rollback delay --reason 'worse than the old one in December'",
        )
    if last.action != "rollback":
        how = "was trained anew" if last.model_version != good else "was promoted"
        raise NotYetError(
            _STAGES,
            f"Version {last.model_version} {how}, by '{last.action}'. That asks gates, loads both "
            "models and takes a decision; when something is on fire, you go back first and think "
            "afterwards. And the history does not say that anything was wrong.",
            f"Bring the bad one back for a moment (slh promote delay {bad.model_version} --to "
            "production --force --reason 'exercise'), then slh rollback delay --reason '...'.",
        )
    return Finding(_STAGES, f"A rollback brought version {last.model_version} back: {last.reason}.")


def _predictions_follow(work: Work) -> Finding:
    _rolled_back(work)
    model = work.production()
    table = work.table(_PREDICTIONS, "slh score december")
    made_by = table.record.details.get("model_version") if table.record else None
    if made_by != model.version:
        raise NotYetError(
            _PREDICTIONS,
            f"Its predictions are those of version {made_by}. A rollback changes who is asked from "
            "now on, and not what was said.",
            "slh score december",
        )
    if not _evaluations(work, model.version):
        raise NotYetError(
            EVALUATIONS,
            f"The new predictions, of version {model.version}, were not measured.",
            "slh evaluate december",
        )
    return Finding(
        f"{_PREDICTIONS}, {EVALUATIONS}", f"Both are those of version {model.version} again."
    )


def _december(work: Work) -> Seen:
    bad, good = _bad(work).model_version, _good_version(work)
    versions = {version.version: version for version in work.versions()}
    rows = [
        {
            "version": number,
            "stage": versions[number].stage,
            "train_roc_auc": versions[number].metrics["train_roc_auc"],
            "december_roc_auc": _evaluations(work, number)[-1]["roc_auc"],
            "december_log_loss": _evaluations(work, number)[-1]["log_loss"],
        }
        for number in (good, bad)
    ]
    return Seen(
        "What the colleague looked at, and what December said. Both versions are still there.",
        ["version", "stage", "train_roc_auc", "december_roc_auc", "december_log_loss"],
        rows,
    )


ROLLBACK = Lesson(
    number=6,
    slug="rollback",
    title="Roll back a bad model",
    ends_in="two models, on the rows that they knew and in December",
    layers=("flights", "silver", "labels", "features"),
    landed=("2013-09", "2013-10", "2013-11", "2013-12"),
    checks=(
        Check(
            "A bad version took the place of a good one",
            _was_there,
            "First a model that passes its gates (experiments/delay.yml), then the colleague's "
            "(experiments/deeper.yml), which does not: --force with a --reason.",
        ),
        Check(
            "The damage was measured",
            _was_measured,
            "slh score december lets the model in production predict; slh evaluate december holds "
            "that against the answers.",
        ),
        Check(
            "A rollback brought the good one back",
            _rolled_back,
            "slh rollback delay --reason '...' puts the version into production that was there "
            "before. It asks no gate and trains nothing.",
        ),
        Check(
            "The predictions are those of the good one, and measured",
            _predictions_follow,
            "Predictions are a table: they stay what they are until they are computed again. slh "
            "score december sees that another version is in production.",
        ),
    ),
    seen=_december,
)
