"""Numbers of versions that were given anew: by an MLflow store in the place of another one.

A registry counts the versions of a model up, and gives no number twice. So a number that comes
again shows that the store was replaced, deleted or put back from a backup, and that the versions
which it had from that number on are gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sololakehouse.models.versions import ModelVersion


def versions_there(registered: Iterable[ModelVersion], store: str) -> list[ModelVersion]:
    """Return the versions of one model that its registry still counts, by number.

    Of two versions with one number that one is there which was registered in `store`, or else the
    one that was registered last. Versions of another store stay, unless a number says that it is
    not the same registry under another address.

    Parameters
    ----------
    registered
        All that was ever registered under the model's name.
    store
        The address of the store that the project has now.
    """
    by_store: dict[str | None, list[ModelVersion]] = {}
    for version in sorted(registered, key=lambda one: one.registered_at):
        by_store.setdefault(version.store, []).append(version)
    newest_first = sorted(
        by_store.items(),
        key=lambda item: (item[0] == store, item[1][-1].registered_at),
        reverse=True,
    )
    there: dict[int, ModelVersion] = {}
    for _, versions in newest_first:
        counted = _counted_last(versions)
        again = min(there.keys() & counted.keys(), default=None)
        there |= {n: one for n, one in counted.items() if again is None or n < again}
    return [there[number] for number in sorted(there)]


def _counted_last(versions: Iterable[ModelVersion]) -> dict[int, ModelVersion]:
    """Count through versions in the order of their registration; a number begins its count anew."""
    counted: dict[int, ModelVersion] = {}
    for version in versions:
        if version.version in counted:
            counted = {n: one for n, one in counted.items() if n < version.version}
        counted[version.version] = version
    return counted


def version_meant(
    registered: Mapping[tuple[str, int], Sequence[ModelVersion]],
    name: str,
    number: int,
    mlflow_run_id: str | None,
    at: datetime,
) -> ModelVersion | None:
    """Return the version that a row or a commit tells of; None if nothing is known of it.

    Parameters
    ----------
    registered
        By name and number what was ever registered so, the oldest first.
    mlflow_run_id
        The run that trained it; None in what an older release wrote: then it is the version that
        had the number at that moment.
    at
        When the row or commit was written, in UTC.
    """
    same = registered.get((name, number), ())
    if mlflow_run_id is not None:
        return next((one for one in same if one.mlflow_run_id == mlflow_run_id), None)
    earlier = [one for one in same if one.registered_at <= at]
    return next(iter([*reversed(earlier), *same]), None)
