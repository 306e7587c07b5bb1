-- How late the flights of a route were on a day, in New York.
CREATE MATERIALIZED VIEW features.route_day
COMMENT 'Arrival delay of a route on a day'
TBLPROPERTIES (
  'feature.keys' = 'origin,dest',
  'feature.timestamp' = 'feature_ts'
)
AS
WITH dated AS (
  SELECT
    *,
    date_trunc('DAY', from_utc_timestamp(scheduled_departure, 'America/New_York')) AS local_day
  FROM silver.flights
)
SELECT
  origin,
  dest,
  to_utc_timestamp(local_day, 'America/New_York') AS feature_ts,
  CAST(sum(arrival_delay) AS DOUBLE) / nullif(count(arrival_delay), 0) AS mean_delay_on_day,
  CAST(sum(CAST(is_late AS INT)) AS DOUBLE) / count(*) AS late_share_on_day
FROM dated
GROUP BY origin, dest, local_day
