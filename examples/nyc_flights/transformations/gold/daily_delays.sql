CREATE MATERIALIZED VIEW gold.daily_delays
COMMENT 'Flights, late, cancelled and mean arrival delay per origin, carrier and local date'
TBLPROPERTIES (
  'pipelines.incremental.source' = 'silver.flights.local_date',
  'pipelines.incremental.lookback' = '0d',
  'pipelines.incremental.timestamp' = 'local_date',
  'expect_or_fail.late_covers_not_arrived' = 'late >= cancelled + diverted',
  'expect_or_fail.parts_fit_the_whole' = 'late <= flights',
  'expect.some_flight_arrived' = 'mean_arrival_delay IS NOT NULL'
)
AS
SELECT
  origin,
  carrier,
  local_date,
  count(*) AS flights,
  sum(CAST(is_late AS INT)) AS late,
  sum(CAST(is_cancelled AS INT)) AS cancelled,
  sum(CAST(is_diverted AS INT)) AS diverted,
  -- Over the flights that arrived; an early arrival counts as negative.
  CAST(sum(arrival_delay) AS DOUBLE) / nullif(count(arrival_delay), 0)
    AS mean_arrival_delay
FROM silver.flights
GROUP BY origin, carrier, local_date
