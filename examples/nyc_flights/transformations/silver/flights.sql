-- One row per flight, with true instants (UTC). The files hold clock readings (hhmm, 2400 for
-- midnight) at the airport where they were read, and the local date of the scheduled departure.
CREATE MATERIALIZED VIEW silver.flights
COMMENT 'Flights with UTC instants of schedule, departure and arrival'
TBLPROPERTIES (
  'expect_or_fail.airports_have_a_time_zone' =
    'origin_time_zone IS NOT NULL AND dest_time_zone IS NOT NULL',
  'expect_or_fail.departure_hour_is_the_utc_hour_of_the_file' =
    'date_trunc("HOUR", scheduled_departure) = time_hour',
  'expect_or_fail.scheduled_elapsed_time_is_plausible' =
    'scheduled_minutes BETWEEN distance / 10 + 15 AND distance / 6 + 150',
  'expect_or_fail.departure_clock_reads_as_recorded' =
    'is_cancelled OR dep_time % 2400
       = hour(from_utc_timestamp(departed_at, origin_time_zone)) * 100 + minute(departed_at)',
  -- One flight landed at 3:03 in the night when clocks went forward; 2:03 was written down.
  'expect.arrival_clock_reads_as_recorded' =
    'arrived_at IS NULL OR arr_time % 2400
       = hour(from_utc_timestamp(arrived_at, dest_time_zone)) * 100 + minute(arrived_at)',
  'expect_or_fail.elapsed_time_covers_air_time' =
    'arrived_at IS NULL
       OR unix_seconds(arrived_at) - unix_seconds(departed_at) >= air_time * 60'
)
AS
WITH located AS (
  SELECT
    recorded.*,
    origins.time_zone AS origin_time_zone,
    dests.time_zone AS dest_time_zone,
    make_date(year, month, day) AS local_date
  FROM bronze.flights AS recorded
  LEFT JOIN silver.airports AS origins ON origins.airport = recorded.origin
  LEFT JOIN silver.airports AS dests ON dests.airport = recorded.dest
),
clocks AS (
  SELECT
    *,
    CAST(local_date AS TIMESTAMP)
      + (sched_dep_time DIV 100 * 60 + sched_dep_time % 100) * INTERVAL '1' MINUTE
      AS local_departure,
    CAST(local_date AS TIMESTAMP)
      + (sched_arr_time DIV 100 * 60 + sched_arr_time % 100) * INTERVAL '1' MINUTE
      AS local_arrival
  FROM located
),
instants AS (
  SELECT
    *,
    to_utc_timestamp(local_departure, origin_time_zone) AS scheduled_departure,
    to_utc_timestamp(local_arrival, dest_time_zone) AS arrival_same_day,
    to_utc_timestamp(local_arrival + INTERVAL '1' DAY, dest_time_zone) AS arrival_next_day
  FROM clocks
),
scheduled AS (
  -- The date of arrival is not in the file. Exactly one of the two candidates lies within a day
  -- after departure; the expectation on the elapsed time shows that it is the right one.
  SELECT
    *,
    CASE
      WHEN arrival_same_day > scheduled_departure THEN arrival_same_day
      ELSE arrival_next_day
    END AS scheduled_arrival
  FROM instants
)
SELECT
  concat_ws(
    '-', date_format(scheduled_departure, "yyyyMMdd'T'HHmm'Z'"), carrier, flight, origin, dest
  ) AS flight_id,
  carrier,
  flight,
  tailnum,
  origin,
  dest,
  local_date,
  hour(local_departure) AS local_hour,
  distance,
  scheduled_departure,
  scheduled_arrival,
  scheduled_departure + dep_delay * INTERVAL '1' MINUTE AS departed_at,
  scheduled_arrival + arr_delay * INTERVAL '1' MINUTE AS arrived_at,
  CAST((unix_seconds(scheduled_arrival) - unix_seconds(scheduled_departure)) DIV 60 AS INT)
    AS scheduled_minutes,
  dep_delay AS departure_delay,
  arr_delay AS arrival_delay,
  air_time,
  dep_time IS NULL AS is_cancelled,
  dep_time IS NOT NULL AND arr_delay IS NULL AS is_diverted,
  -- The on-time rule of the US DOT: on time is less than 15 minutes late, and a flight that was
  -- cancelled or diverted is not on time.
  coalesce(arr_delay >= 15, TRUE) AS is_late,
  -- What was recorded, kept so that the instants above can be checked against it.
  time_hour,
  dep_time,
  arr_time,
  origin_time_zone,
  dest_time_zone
FROM scheduled
