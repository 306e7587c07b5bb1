"""Drawing cases: seeded, so that the same seed gives the same cases everywhere."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random

from sololakehouse.conformance.batches import CASE, EVENT, FEATURE_TS, KNOWN_AT, Batch
from sololakehouse.conformance.cases import MICROSECOND, Case, Feature, Label, instant
from sololakehouse.conformance.oracle import Key
from sololakehouse.conformance.traps import Option, Shape, Trap
from sololakehouse.features.asof import AsOf

# Cases of a batch: an engine takes about as long for one as for many, but they have one rule.
_LEAST, _MOST = 10, 50


def batches(trap: Trap, lacks: Collection[Option], cases: int, seed: int) -> Iterator[Batch]:
    """Draw so many cases of a trap, in batches, each with a rule of its own.

    Parameters
    ----------
    lacks
        Options that the rules must do without.
    """
    size = min(_MOST, max(_LEAST, -(-cases // 8)))
    for first in range(0, cases, size):
        random = Random(f"{seed} {trap.name} {first}")
        yield draw_batch(trap.shape, lacks, min(size, cases - first), random)


def draw_batch(shape: Shape, lacks: Collection[Option], cases: int, random: Random) -> Batch:
    """Draw a rule without what is lacking, and cases for it."""
    origin, zone = random.choice(shape.places)
    width = random.choice(shape.widths)
    replayed = random.choice(shape.known_as_of) and "known_as_of" not in lacks
    known_at = random.choice(shape.known_at) and (replayed or "known_at" not in lacks)
    lookback = None if "lookback" in lacks else random.choice(shape.lookbacks)
    rule = AsOf(
        keys=(CASE, *(f"key_{number}" for number in range(1, width + 1))),
        timestamp=EVENT if shape.timed else None,
        feature_timestamp=FEATURE_TS if shape.timed else None,
        known_at=KNOWN_AT if known_at else None,
        known_as_of=instant(origin + random.choice(shape.known_slots)) if replayed else None,
        lookback=None if lookback is None else lookback * MICROSECOND,
        allow_exact_match=random.choice(shape.exact) or "strict" in lacks,
    )
    drawn = (_case(shape, rule, origin, random) for _ in range(cases))
    return Batch(rule, zone, tuple(drawn))


def _case(shape: Shape, rule: AsOf, origin: int, random: Random) -> Case:
    texts = random.choice(shape.texts)
    width = len(rule.keys) - 1
    features = _features(shape, rule, origin, texts, random)
    keys = [row.key for row in features] or [texts[:1] * width]
    drawn = (
        _label(shape, random.choice(keys), (*texts, *shape.strangers), origin, random)
        for _ in range(random.randint(0, shape.labels))
    )
    labels = list(dict.fromkeys(drawn))
    again = random.choices(labels, k=random.randint(0, shape.again)) if labels else []
    labels += again
    random.shuffle(labels)
    return Case(tuple(labels), features)


def _features(
    shape: Shape, rule: AsOf, origin: int, texts: tuple[str, ...], random: Random
) -> tuple[Feature, ...]:
    """Draw rows whose key and times are unique together."""
    width = len(rule.keys) - 1
    rows: dict[tuple[Key, int, int], Feature] = {}
    for number in range(random.randint(0, shape.features)):
        key = tuple(random.choices(texts, k=width))
        feature_ts = origin + random.choice(shape.feature_slots) if shape.timed else 0
        known_at = origin + random.choice(shape.known_slots) if rule.known_at else feature_ts
        value = None if random.random() < shape.null_values else float(number)
        rows[key, feature_ts, known_at] = Feature(key, feature_ts, known_at, value)
    return tuple(random.sample(list(rows.values()), len(rows)))


def _label(shape: Shape, key: Key, texts: tuple[str, ...], origin: int, random: Random) -> Label:
    """Draw a label with the given key or any other."""
    event = origin + random.choice(shape.label_slots) if shape.timed else 0
    if random.random() < 0.5:
        key = tuple(random.choices(texts, k=len(key)))
    parts = (None if random.random() < shape.null_labels else part for part in key)
    unknown = shape.timed and random.random() < shape.null_labels
    return Label(tuple(parts), None if unknown else event)
