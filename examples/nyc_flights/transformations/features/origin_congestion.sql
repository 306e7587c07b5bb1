-- Counted per clock hour and valid from its end on. An hour without a departure has no row: then
-- the last hour with one still stands.
CREATE MATERIALIZED VIEW features.origin_congestion
COMMENT 'Departures of the last hours at the origin'
TBLPROPERTIES (
  'pipelines.incremental.source' = 'silver.flights.departed_at',
  'pipelines.incremental.lookback' = '3h',
  'feature.keys' = 'origin',
  'feature.timestamp' = 'feature_ts',
  'expect_or_fail.has_key_and_time' = 'origin IS NOT NULL AND feature_ts IS NOT NULL',
  'expect_or_fail.windows_nest' = 'departures_3h >= departures_1h AND departures_1h > 0',
  'expect_or_fail.share_is_a_share' = 'delayed_share_1h BETWEEN 0 AND 1'
)
AS
WITH hourly AS (
  SELECT
    origin,
    date_trunc('HOUR', departed_at) + INTERVAL '1' HOUR AS feature_ts,
    count(*) AS departures,
    sum(departure_delay) AS delay_minutes,
    sum(CAST(departure_delay >= 15 AS INT)) AS delayed
  FROM silver.flights
  WHERE departed_at IS NOT NULL
  GROUP BY origin, date_trunc('HOUR', departed_at) + INTERVAL '1' HOUR
),
trailing AS (
  SELECT
    *,
    sum(departures) OVER last_3h AS departures_3h,
    sum(delay_minutes) OVER last_3h AS delay_minutes_3h,
    sum(delayed) OVER last_3h AS delayed_3h
  FROM hourly
  -- The row's own hour and the two hours before it.
  WINDOW last_3h AS (
    PARTITION BY origin ORDER BY unix_seconds(feature_ts)
    RANGE BETWEEN 7200 PRECEDING AND CURRENT ROW
  )
)
SELECT
  origin,
  feature_ts,
  departures AS departures_1h,
  CAST(delay_minutes AS DOUBLE) / departures AS mean_departure_delay_1h,
  CAST(delayed AS DOUBLE) / departures AS delayed_share_1h,
  departures_3h,
  CAST(delay_minutes_3h AS DOUBLE) / departures_3h AS mean_departure_delay_3h,
  CAST(delayed_3h AS DOUBLE) / departures_3h AS delayed_share_3h
FROM trailing
