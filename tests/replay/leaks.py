"""Ten known leaks, each as the whole SQL of the small project's feature table or labels."""

from __future__ import annotations

from tests.replay.taxi import CLEAN, KEYS, LABELS

_HEAD = f"CREATE MATERIALIZED VIEW features.place {KEYS} AS\n"


def _with(column: str) -> dict[str, str]:
    return {"place": CLEAN.replace("FROM hourly\n", f", {column} AS leaky\nFROM hourly\n")}


_ARRIVED = "FROM bronze.rides WHERE arrived_at IS NOT NULL"
# What each leak puts in place of the clean sources, by its name.
LEAKS: dict[str, dict[str, str]] = {
    "a window that includes the current row's hour": {
        "place": CLEAN.replace("+ INTERVAL '1' HOUR AS feature_ts", "AS feature_ts").replace(
            "GROUP BY place, date_trunc('HOUR', arrived_at) + INTERVAL '1' HOUR",
            "GROUP BY place, date_trunc('HOUR', arrived_at)",
        )
    },
    "a window that includes the next row": _with(
        "avg(arrivals) OVER (PARTITION BY place ORDER BY feature_ts "
        "ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
    ),
    "lead": _with("lead(arrivals) OVER (PARTITION BY place ORDER BY feature_ts)"),
    "a mean over the whole table": _with("avg(mean_minutes) OVER ()"),
    "a join without a time bound": {
        "place": CLEAN.replace(
            "SELECT *, sum", "SELECT hourly.*, total.rides AS leaky, sum"
        ).replace(
            "FROM hourly\n",
            f"FROM hourly JOIN (SELECT place AS p, count(*) AS rides {_ARRIVED} GROUP BY place) "
            "AS total ON total.p = hourly.place\n",
        )
    },
    "a value joined at its event, known later": {
        "place": _HEAD + "SELECT place, asked_at AS feature_ts, max(tip) AS leaky "
        "FROM bronze.rides GROUP BY place, asked_at"
    },
    "a fill from the future": _with(
        "coalesce(CASE WHEN arrivals > 1 THEN mean_minutes END, lead(mean_minutes) "
        "OVER (PARTITION BY place ORDER BY feature_ts))"
    ),
    "a deduplication that keeps the last version": {
        "place": _HEAD + "SELECT place, date_trunc('DAY', asked_at) AS feature_ts, "
        "max_by(ride, asked_at) AS leaky FROM bronze.rides "
        "GROUP BY place, date_trunc('DAY', asked_at)"
    },
    "a target mean over the whole set": {
        "labels": LABELS.replace(
            "FROM bronze",
            ", avg(CASE WHEN minutes > 30 THEN 1.0 ELSE 0.0 END) OVER (PARTITION BY place) "
            "AS leaky\nFROM bronze",
        )
    },
    "a scaler fitted on everything": _with(
        "(mean_minutes - avg(mean_minutes) OVER ()) / stddev(mean_minutes) OVER ()"
    ),
    "an as-of join on the hour itself, not on when it was seen": {
        "place": _HEAD
        + "SELECT 'hill' AS place, hour AS feature_ts, light AS leaky FROM bronze.sky"
    },
}
