-- THE LEAK: the whole day is counted, and stamped with its first moment. In the morning of a day this
-- table tells how late the flights of its evening were, among them the one to predict.
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
  to_utc_timestamp(CAST(local_date AS TIMESTAMP), 'America/New_York') AS feature_ts,
  count(*) AS flights_on_day,
  CAST(sum(arrival_delay) AS DOUBLE) / nullif(count(arrival_delay), 0) AS mean_delay_on_day,
  CAST(sum(CAST(is_late AS INT)) AS DOUBLE) / count(*) AS late_share_on_day
FROM silver.flights
GROUP BY origin, dest, local_date
