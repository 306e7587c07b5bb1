-- The files know only flights out of New York, so this is the last leg out of New York; the way
-- back is not seen.
CREATE MATERIALIZED VIEW features.aircraft_last_leg
COMMENT 'The last leg of an aircraft, known when it has arrived'
TBLPROPERTIES (
  'pipelines.incremental.source' = 'silver.flights.arrived_at',
  'pipelines.incremental.lookback' = '0d',
  'feature.keys' = 'tailnum',
  'feature.timestamp' = 'feature_ts',
  'expect_or_fail.has_key_and_time' = 'tailnum IS NOT NULL AND feature_ts IS NOT NULL'
)
AS
SELECT
  tailnum,
  arrived_at AS feature_ts,
  origin AS leg_origin,
  dest AS leg_dest,
  departure_delay AS leg_departure_delay,
  arrival_delay AS leg_arrival_delay,
  air_time AS leg_air_time,
  distance AS leg_distance
FROM arrivals AS leg
WHERE
  tailnum IS NOT NULL
  -- Once (N710TW, 18 April) one tail number lands at two airports in the same minute: the leg
  -- that departed later is taken as the last one.
  AND NOT EXISTS (
    SELECT 1
    FROM arrivals AS later
    WHERE later.tailnum = leg.tailnum
      AND later.arrived_at = leg.arrived_at
      AND later.departed_at > leg.departed_at
  )
