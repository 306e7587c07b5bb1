"""Lesson 2: rows that cannot be flights, kept apart with the reason."""

from __future__ import annotations

import hashlib
import random
from functools import reduce
from typing import TYPE_CHECKING

from sololakehouse.lessons.lesson import Check, Files, Finding, Lesson, NotYetError, Seen
from sololakehouse.lessons.work import BRONZE, SILVER, Work, versions_read

if TYPE_CHECKING:
    import polars as pl

_QUARANTINE = f"{SILVER}_quarantine"
_MONTHS = "gold.months"
_SPOILED = "landing/flights/flights_2013-10.csv"
_DEST, _DISTANCE, _DEPARTED, _ARRIVED = 4, 5, 8, 9
_EACH = {"no destination": 9, "no distance": 14, "lands before it leaves": 23, "no row": 3}


def _with_bad_rows(files: Files) -> Files:
    """Spoil some lines of October, always the same ones."""
    header, *lines = files[_SPOILED].splitlines()
    arrived = [number for number, line in enumerate(lines) if line.split(",")[_ARRIVED]]
    chosen = iter(random.Random(2).sample(arrived, sum(_EACH.values())))
    for kind, count in _EACH.items():
        for _ in range(count):
            number = next(chosen)
            lines[number] = ",".join(_spoiled(kind, lines[number].split(",")))
    return files | {_SPOILED: "\n".join([header, *lines, ""])}


def _spoiled(kind: str, fields: list[str]) -> list[str]:
    if kind == "no destination":
        fields[_DEST] = ""
    elif kind == "no distance":
        fields[_DISTANCE] = "-1"
    elif kind == "no row":
        fields[_DISTANCE] = "far"
    else:
        fields[_DEPARTED], fields[_ARRIVED] = fields[_ARRIVED], fields[_DEPARTED]
    return fields


def _reasons() -> dict[str, pl.Expr]:
    """Return what makes a row of bronze no flight; NULL arrivals are cancelled flights and fine."""
    import polars as pl

    return {
        "no destination": pl.col("dest").is_null(),
        "no distance": pl.col("distance") <= 0,
        "lands before it leaves": (pl.col("arrived_at") < pl.col("departed_at")).fill_null(False),
    }


def _bad(work: Work) -> pl.DataFrame:
    """Return the rows of bronze that cannot be flights."""
    wrong = reduce(lambda one, other: one | other, _reasons().values())
    return work.table(BRONZE, "slh ingest").to_polars().filter(wrong)


def _landed_as_it_was(work: Work) -> Finding:
    work.table(BRONZE, "slh ingest")
    landed = work.landed()
    for path, text in work.original.items():
        if path.startswith("landing/") and landed.get(path) != _sha256(text):
            raise NotYetError(
                path,
                "It is not the file that was delivered. What came is evidence: it is never edited.",
                "Start the lesson again in another folder, and take its file.",
            )
    taken = {path: sha256 for path, sha256 in work.taken().items() if landed.get(path) == sha256}
    if taken != landed:
        missing = sorted(landed.keys() - taken.keys())
        raise NotYetError(BRONZE, f"{missing[0]} was not taken.", "slh ingest")
    rows = work.table(BRONZE).rows
    kept = work.table(f"{BRONZE}_quarantine", "slh ingest").rows
    return Finding(
        f"{BRONZE}, {BRONZE}_quarantine",
        f"{rows:,} rows, and {kept} lines that are none, each with its reason.",
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _silver_is_clean(work: Work) -> Finding:
    bad = _bad(work).select("flight_id")
    silver = work.table(SILVER).to_polars()
    there = silver.join(bad, on="flight_id", how="semi")["flight_id"]
    if len(there):
        raise NotYetError(
            SILVER,
            f"{len(there)} of {len(bad)} rows that cannot be flights are in it: {there[0]} and "
            "others.",
            "Put an expectation that drops them on the table: @expect_or_drop in "
            "transformations/silver/flights.py.",
        )
    return Finding(SILVER, f"None of the {len(bad)} rows that cannot be flights is in it.")


def _nothing_good_is_lost(work: Work) -> Finding:
    good = work.table(BRONZE, "slh ingest").to_polars().join(_bad(work), on="flight_id", how="anti")
    missing = good.join(work.table(SILVER).to_polars(), on="flight_id", how="anti")
    if not missing.height:
        return Finding(SILVER, f"All {good.height:,} good flights are in it.")
    never = missing["arrived_at"].null_count()
    why = (
        f" {never:,} of them never arrived: their arrived_at is NULL, and NULL counts as violated. "
        "Cancelled flights are flights; let the condition say so."
        if never
        else ""
    )
    raise NotYetError(
        SILVER,
        f"{missing.height:,} good flights are missing: {missing['flight_id'][0]} and others.{why}",
        "Make the conditions as narrow as LESSON.md says: for example 'arrived_at IS NULL OR ...'.",
    )


def _kept_apart(work: Work) -> Finding:
    bad = _bad(work).select("flight_id")
    work.table(SILVER)
    if not work.lake.exists(_QUARANTINE):
        raise NotYetError(
            _QUARANTINE,
            f"There is no such table: {len(bad)} rows are in bronze, and nothing tells what is "
            "wrong with them.",
            "Let expectations drop them and not a WHERE, and set the table property "
            "'pipelines.quarantine' to 'true'.",
        )
    kept = work.table(_QUARANTINE).to_polars()
    lost = bad.join(kept, on="flight_id", how="anti")["flight_id"]
    if len(lost):
        raise NotYetError(
            _QUARANTINE,
            f"{len(lost)} of {len(bad)} bad rows are neither here nor in {SILVER}: {lost[0]} and "
            "others.",
            "A WHERE in the query drops rows without a trace. Make it an expectation.",
        )
    return Finding(_QUARANTINE, f"All {len(bad)} bad rows are in it, each with what it violates.")


def _gold_follows(work: Work) -> Finding:
    silver, gold = work.table(SILVER), work.table(_MONTHS)
    if not silver.expectations:
        raise NotYetError(
            _MONTHS, f"Nothing is expected of the rows of {SILVER}.", "See what is missing above."
        )
    if silver.version not in versions_read(gold.record, SILVER):
        raise NotYetError(
            _MONTHS, f"It is not computed from {SILVER}@v{silver.version}.", "slh run"
        )
    return Finding(_MONTHS, f"It is computed from {SILVER}@v{silver.version}.")


def _where_the_rows_went(work: Work) -> Seen:
    import polars as pl

    kept = work.table(_QUARANTINE).to_polars()
    counts = [kept.select(pl.col("_violated").list.join(", ")).to_series().value_counts(sort=True)]
    by_reason = [dict(zip(("why", "rows"), row, strict=True)) for row in counts[0].iter_rows()]
    malformed = work.table(f"{BRONZE}_quarantine").rows
    return Seen(
        "Where each line of the files is. Nothing was thrown away.",
        ["table", "rows", "why"],
        [
            {"table": f"{BRONZE}_quarantine", "rows": malformed, "why": "no row of the source"},
            {"table": BRONZE, "rows": work.table(BRONZE).rows, "why": "every row that came"},
            {"table": SILVER, "rows": work.table(SILVER).rows, "why": "what can be a flight"},
            *({"table": _QUARANTINE} | row for row in by_reason),
        ],
    )


MEDALLION = Lesson(
    number=2,
    slug="medallion",
    title="Bad rows into quarantine: medallion layers and expectations",
    ends_in="where each line of the files is",
    layers=("flights",),
    landed=("2013-09", "2013-10"),
    changed=_with_bad_rows,
    checks=(
        Check(
            "Bronze has all that came, as it came",
            _landed_as_it_was,
            "slh ingest takes the files. Lines that are no rows go to bronze.flights_quarantine by "
            "themselves. Nobody edits landing files: what came is evidence.",
        ),
        Check(
            "No bad row is in silver",
            _silver_is_clean,
            "Three kinds of rows cannot be flights: without a destination, with a distance of 0 or "
            "less, and those that land before they leave. In transformations/silver/flights.py, "
            "below @dp.materialized_view: @expect_or_drop('has a destination', 'dest IS NOT "
            "NULL'), and so on.",
        ),
        Check(
            "No good row is lost",
            _nothing_good_is_lost,
            "A condition that is NULL counts as violated. A cancelled flight has no arrived_at, so "
            "'arrived_at >= departed_at' drops it. Say 'arrived_at IS NULL OR arrived_at >= "
            "departed_at'.",
        ),
        Check(
            "What was dropped is kept apart, with the reason",
            _kept_apart,
            "table_properties={'pipelines.quarantine': 'true'} in @dp.materialized_view keeps what "
            "@expect_or_drop drops, in silver.flights_quarantine.",
        ),
        Check(
            "Gold counts flights alone",
            _gold_follows,
            "slh run computes gold.months again when silver.flights has changed.",
        ),
    ),
    seen=_where_the_rows_went,
)
