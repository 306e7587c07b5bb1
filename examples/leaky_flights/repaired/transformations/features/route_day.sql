-- The repair: the same day, but stamped three days after it began. By then each flight of the day has
-- arrived or is cancelled for sure (24 hours after its time).
CREATE MATERIALIZED VIEW features.route_day
COMMENT 'Arrival delay of a route on a local day'
TBLPROPERTIES (
  'feature.keys' = 'origin,dest',
  'feature.timestamp' = 'feature_ts'
)
AS
SELECT
  origin,
  dest,
  to_utc_timestamp(CAST(local_date AS TIMESTAMP) + INTERVAL '3' DAY, 'America/New_York') AS feature_ts,
  count(*) AS flights_on_day,
  CAST(sum(arrival_delay) AS DOUBLE) / nullif(count(arrival_delay), 0) AS mean_delay_on_day,
  CAST(sum(CAST(is_late AS INT)) AS DOUBLE) / count(*) AS late_share_on_day
FROM silver.flights
GROUP BY origin, dest, local_date
