"""Leaks around a training set that no clipping shows: its split, its labels, its rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from sololakehouse.features.suspects import suspects
from sololakehouse.models.experiment import PARTS, Experiment, Period
from sololakehouse.models.split import LEARNED_FROM

if TYPE_CHECKING:
    import polars as pl

    from sololakehouse.replay.training_sets import SetUnderReplay
    from sololakehouse.replay.verdicts import TableVerdict

State = Literal["clean", "found", "noted", "not covered"]
_PART = "__slh_part"


@dataclass(frozen=True)
class SetFinding:
    """What one check says of a training set.

    Attributes
    ----------
    state
        `found`: look at it. `noted`: it is so, and may be meant. `clean`, `not covered`.
    """

    training_set: str
    check: str
    state: State
    said: str


def findings_of(one: SetUnderReplay, verdict: TableVerdict) -> list[SetFinding]:
    """Check labels, split and rows of a training set.

    Parameters
    ----------
    verdict
        What its replay said, to stand beside a feature that predicts too well.
    """
    found = [*_checked_features(one, verdict)]
    experiment = one.one.experiment
    if experiment is None:
        said = "no experiment of lakehouse.yml learns from it"
        found.append(("split", "not covered", said))
    else:
        parts = _with_parts(one.full, experiment)
        found += [
            *_labels_not_known(parts, experiment),
            *_horizon(one.full, experiment),
            *_groups(parts, experiment),
            *_duplicates(parts, one, experiment),
            *_preprocessing(),
        ]
    return [SetFinding(one.one.name, *told) for told in found]


Told = tuple[str, State, str]


def _checked_features(one: SetUnderReplay, verdict: TableVerdict) -> Iterator[Told]:
    states = {column.column: column.state for column in verdict.columns}
    features = [name for name in one.compared_columns if name not in _no_features(one)]
    close = suspects(one.full, one.one.spec.label, features)
    for suspect in close:
        replayed = states.get(suspect.feature, "not covered")
        yield "single features", "found", f"{suspect} Its replay: {replayed}."
    if not close:
        said = f"none of {len(features)} features says the label nearly alone"
        yield "single features", "clean", said


def _no_features(one: SetUnderReplay) -> set[str]:
    return {one.one.spec.label} | one.one.spec.time_columns


def _with_parts(full: pl.DataFrame, experiment: Experiment) -> pl.DataFrame:
    import polars as pl

    part = pl.lit(None, pl.String)
    for name in PARTS:
        period: Period = getattr(experiment.split, name)
        inside = pl.col(experiment.timestamp) < period.until
        if period.begin is not None:
            inside &= pl.col(experiment.timestamp) >= period.begin
        part = pl.when(inside).then(pl.lit(name)).otherwise(part)
    return full.with_columns(part.alias(_PART)).filter(pl.col(_PART).is_not_null())


def _labels_not_known(parts: pl.DataFrame, experiment: Experiment) -> Iterator[Told]:
    import polars as pl

    column = experiment.training_set.label_known_at
    check = "labels at the split"
    if column is None:
        said = "the recipe does not say when a label was known: add 'label_known_at'"
        yield check, "not covered", said
        return
    for name in LEARNED_FROM:
        rows = parts.filter(pl.col(_PART) == name)
        known = (pl.col(column) <= getattr(experiment.split, name).until).fill_null(value=False)
        late = rows.filter(~known).height
        said = f"{late:,} of {rows.height:,} labels of {name!r} were not known at its end"
        yield check, "clean", f"{said}{'; training leaves them out' if late else ''}"


def _horizon(full: pl.DataFrame, experiment: Experiment) -> Iterator[Told]:
    import polars as pl

    column = experiment.training_set.label_known_at
    split, check = experiment.split, "embargo"
    gaps = [
        later.begin - before.until
        for before, later in ((split.train, split.validation), (split.validation, split.test))
        if later.begin is not None
    ]
    gap = _length(min(gaps))
    if column is None:
        said = f"the parts are {gap} apart, and nobody says how long a label takes to be known"
        yield check, "not covered", said
        return
    took: Any = full.select((pl.col(column) - pl.col(experiment.timestamp)).max()).item()
    said = f"a label takes up to {_length(took)} to be known, and the parts are {gap} apart"
    enough = took is None or min(gaps) >= took
    yield (
        check,
        "clean",
        said if enough else f"{said}: what was not known at the end of a part is left out of it",
    )


def _groups(parts: pl.DataFrame, experiment: Experiment) -> Iterator[Told]:
    import polars as pl

    keys = {tuple(lookup.lookup_key) for lookup in experiment.training_set.feature_lookups}
    for key in sorted(keys):
        rows = parts.select(*key, _PART).drop_nulls()
        seen = rows.filter(pl.col(_PART) == "train").select(key).unique()
        test = rows.filter(pl.col(_PART) == "test")
        both = test.join(seen, on=list(key), how="semi").height
        if test.height:
            share = f"{both / test.height:.1%} of the rows of 'test'"
            said = f"{share} have values of {', '.join(key)} that 'train' has as well"
            yield "groups on both sides", "noted" if both else "clean", said


def _duplicates(parts: pl.DataFrame, one: SetUnderReplay, experiment: Experiment) -> Iterator[Told]:
    import polars as pl

    label = experiment.training_set.label
    features = [name for name in one.compared_columns if name not in _no_features(one)]
    moments = [experiment.timestamp]
    columns = [name for name in (*features, label) if name not in moments]
    train = parts.filter(pl.col(_PART) == "train").select(columns)
    others = parts.filter(pl.col(_PART) != "train").select(columns)
    twice = others.join(train.unique(), on=columns, how="semi", nulls_equal=True).height
    said = f"{twice:,} of {others.height:,} rows outside of 'train' are in it as well"
    yield "duplicates across the split", "found" if twice else "clean", said


def _preprocessing() -> Iterator[Told]:
    said = (
        "'slh train' fits scaling and filling on 'train' alone; of models that a person logs it is "
        "not known"
    )
    yield "preprocessing", "clean", said


def _length(time: timedelta | None) -> str:
    if time is None:
        return "an unknown time"
    hours = time.total_seconds() / 3600
    return f"{hours / 24:.1f} days" if hours >= 72 else f"{hours:.1f} hours"
