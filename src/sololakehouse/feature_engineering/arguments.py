"""What people write as arguments of the client, read into what the lakehouse means by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sololakehouse.errors import FeatureLookupError, UsageError
from sololakehouse.features.function import FeatureFunction
from sololakehouse.features.lookup import FeatureLookup
from sololakehouse.lake.contract import FeatureContract


def names_in(given: str | Sequence[str]) -> tuple[str, ...]:
    """Return one name or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def declared_contract(
    name: str,
    primary_keys: str | Sequence[str],
    timeseries_columns: str | Sequence[str] | None,
    known_at: str | None,
) -> FeatureContract:
    """Return the contract of a table that is to be created.

    Raises
    ------
    UsageError
        There is no key beside the timestamp, more than one timestamp, a column is named twice, or
        `known_at` comes without a timestamp.
    """
    times = names_in(timeseries_columns or ())
    if len(times) > 1:
        raise UsageError(
            f"{name}: a feature table has one timestamp, and timeseries_columns names "
            f"{len(times)}: {', '.join(times)}."
        )
    timestamp = times[0] if times else None
    keys = tuple(key for key in names_in(primary_keys or ()) if key != timestamp)
    if not keys:
        beside = f" beside the timestamp {timestamp!r}" if timestamp else ""
        raise UsageError(
            f"{name}: primary_keys names no key{beside}. Name the columns that tell one thing from "
            "another, as in primary_keys=['origin', 'feature_ts']."
        )
    if known_at and timestamp is None:
        raise UsageError(
            f"{name}: known_at needs timeseries_columns: the moment from which a value may be used."
        )
    unusual = [key for key in (*keys, *times) if "," in key or key != key.strip()]
    if unusual:
        raise UsageError(
            f"{name}: the key {unusual[0]!r} has a comma, or a space at an end. Give the column "
            "another name."
        )
    contract = FeatureContract(keys, timestamp, known_at)
    twice = [column for column in contract.identity if contract.identity.count(column) > 1]
    if twice:
        raise UsageError(f"{name}: the keys and times name {twice[0]!r} twice.")
    return contract


def declared_tags(name: str, tags: Mapping[str, str] | None) -> dict[str, str]:
    """Return the tags of a table that is to be created.

    Raises
    ------
    UsageError
        They are not texts by name.
    """
    texts = isinstance(tags, Mapping) and all(
        isinstance(one, str) for item in tags.items() for one in item
    )
    if tags is not None and not texts:
        raise UsageError(f"{name}: tags are texts by name, as in tags={{'team': 'weather'}}.")
    return dict(tags or {})


def one_label(label: Any) -> str:
    """Return the label's column, which may be the only one of a list.

    Raises
    ------
    FeatureLookupError
        There is none, or there are several.
    """
    named = [label] if isinstance(label, str) else label
    if isinstance(named, list | tuple) and len(named) == 1 and isinstance(named[0], str):
        return named[0]
    raise FeatureLookupError(
        f"create_training_set: a training set has one label, and label is {label!r}. Name one "
        "column of df."
    )


def lookups_in(given: Any) -> list[FeatureLookup | FeatureFunction]:
    """Return one lookup or function, or several.

    Raises
    ------
    FeatureLookupError
        Something is neither.
    """
    kinds = (FeatureLookup, FeatureFunction)
    listed = list(given) if isinstance(given, list | tuple) else [given]
    for one in listed:
        if not isinstance(one, kinds):
            raise FeatureLookupError(
                "create_training_set: feature_lookups takes a list of FeatureLookup and "
                f"FeatureFunction, not {type(one).__name__}."
            )
    return listed
