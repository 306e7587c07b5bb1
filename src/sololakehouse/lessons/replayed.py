"""Whether what a model learned from was replayed, under true declarations, and is clean."""

from __future__ import annotations

from typing import Any

import yaml

from sololakehouse.features.certificates import REPLAYS, certificate_of
from sololakehouse.lessons.lesson import Finding, NotYetError
from sololakehouse.lessons.work import Work
from sololakehouse.models.versions import ModelVersion

_CONFIG = "lakehouse.yml"


def require_clean(work: Work, version: ModelVersion, leaks: str, repair: str) -> Finding:
    """Look for a clean replay of a version's training set that still counts.

    Parameters
    ----------
    leaks, repair
        What to say if something leaks, after the names of the columns, and what to do then.

    Raises
    ------
    NotYetError
        Nothing was replayed under these definitions, something leaks, or it is not covered.
    """
    place = f"{REPLAYS}, for the training set of version {version.version}"
    _require_declarations(work)
    training_set = work.lake.read(version.training_set, version.training_set_version)
    certificate = certificate_of(work.lake, training_set)
    if certificate is None:
        raise NotYetError(
            place,
            "Nothing was replayed under these definitions.",
            "slh replay --cutoffs 2, when its training set is the newest one.",
        )
    if certificate.leaking:
        raise NotYetError(place, f"{', '.join(certificate.leaking)} {leaks}", repair)
    if not certificate.is_clean:
        raise NotYetError(
            place,
            f"The verdict is {certificate.verdict!r}: {certificate.uncovered}.",
            "What has no declaration under known_at is never taken as safe. Declare it.",
        )
    return Finding(place, f"Clean: {certificate.rows_compared:,} rows were compared.")


def _require_declarations(work: Work) -> None:
    """Refuse other declarations than those of the start: a replay believes what they say."""
    declared = _known_at((work.folder / _CONFIG).read_text("utf-8"))
    for table, known in _known_at(work.original[_CONFIG]).items():
        if declared.get(table) != known:
            raise NotYetError(
                f"known_at in {_CONFIG}",
                f"It says something else of {table} than at the start. A replay believes it; the "
                "flights still land when they land.",
                "Bring known_at back as it was, and replay.",
            )


def _known_at(text: str) -> dict[str, Any]:
    return dict((yaml.safe_load(text) or {}).get("known_at") or {})
