CREATE MATERIALIZED VIEW features.origin_weather
COMMENT 'Weather at the origin, from the moment when it was surely observed'
TBLPROPERTIES (
  'feature.keys' = 'origin',
  'feature.timestamp' = 'feature_ts',
  'expect_or_fail.has_key_and_time' = 'origin IS NOT NULL AND feature_ts IS NOT NULL'
)
AS
SELECT
  origin,
  -- The file gives the hour in which the station reported (as a rule at minute 51), not the
  -- minute: only at the end of that hour is the value surely known.
  observed_hour + INTERVAL '1' HOUR AS feature_ts,
  temp,
  dewp,
  humid,
  wind_dir,
  wind_speed,
  wind_gust,
  precip,
  pressure,
  visib
FROM silver.weather
