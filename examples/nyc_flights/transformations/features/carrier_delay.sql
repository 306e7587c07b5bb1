CREATE MATERIALIZED VIEW features.carrier_delay
COMMENT 'Arrival delay of a carrier over the last 24 hours and 7 days'
TBLPROPERTIES (
  'pipelines.incremental.source' = 'silver.flights.arrived_at',
  'pipelines.incremental.lookback' = '7d',
  'feature.keys' = 'carrier',
  'feature.timestamp' = 'feature_ts',
  'expect_or_fail.has_key_and_time' = 'carrier IS NOT NULL AND feature_ts IS NOT NULL',
  'expect_or_fail.windows_nest' = 'arrivals_7d >= arrivals_24h AND arrivals_24h > 0',
  'expect_or_fail.share_is_a_share' = 'late_share_7d BETWEEN 0 AND 1'
)
AS
-- Counted per clock hour and valid from its end on: a carrier lands every few minutes, and a row
-- for each landing would say little more. Sums of integers: no order of addition can show.
WITH hourly AS (
  SELECT
    carrier,
    date_trunc('HOUR', arrived_at) + INTERVAL '1' HOUR AS feature_ts,
    count(*) AS arrivals,
    sum(arrival_delay) AS delay_minutes,
    sum(CAST(is_late AS INT)) AS late
  FROM arrivals
  GROUP BY carrier, date_trunc('HOUR', arrived_at) + INTERVAL '1' HOUR
),
trailing AS (
  SELECT
    carrier,
    feature_ts,
    sum(arrivals) OVER last_24h AS arrivals_24h,
    sum(delay_minutes) OVER last_24h AS delay_minutes_24h,
    sum(late) OVER last_24h AS late_24h,
    sum(arrivals) OVER last_7d AS arrivals_7d,
    sum(delay_minutes) OVER last_7d AS delay_minutes_7d,
    sum(late) OVER last_7d AS late_7d
  FROM hourly
  -- The row's own hour and the 23 (167) hours before it.
  WINDOW
    last_24h AS (
      PARTITION BY carrier ORDER BY unix_seconds(feature_ts)
      RANGE BETWEEN 82800 PRECEDING AND CURRENT ROW
    ),
    last_7d AS (
      PARTITION BY carrier ORDER BY unix_seconds(feature_ts)
      RANGE BETWEEN 601200 PRECEDING AND CURRENT ROW
    )
)
SELECT
  carrier,
  feature_ts,
  arrivals_24h,
  CAST(delay_minutes_24h AS DOUBLE) / arrivals_24h AS mean_arrival_delay_24h,
  CAST(late_24h AS DOUBLE) / arrivals_24h AS late_share_24h,
  arrivals_7d,
  CAST(delay_minutes_7d AS DOUBLE) / arrivals_7d AS mean_arrival_delay_7d,
  CAST(late_7d AS DOUBLE) / arrivals_7d AS late_share_7d
FROM trailing
