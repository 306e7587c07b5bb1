-- What is asked, two hours before the scheduled departure, and the answer. Hour and day are those in
-- New York; the answer is known at the arrival, or a day after its time.
CREATE MATERIALIZED VIEW gold.flight_labels
COMMENT 'Flights with the answer: 15 minutes late or more'
AS
SELECT
  flight_id,
  carrier,
  origin,
  dest,
  scheduled_departure - INTERVAL '2' HOUR AS predict_at,
  hour(from_utc_timestamp(scheduled_departure, 'America/New_York')) AS scheduled_hour,
  (dayofweek(from_utc_timestamp(scheduled_departure, 'America/New_York')) + 5) % 7 + 1 AS day_of_week,
  distance,
  CAST((unix_seconds(scheduled_arrival) - unix_seconds(scheduled_departure)) DIV 60 AS INT)
    AS scheduled_minutes,
  CAST(is_late AS INT) AS is_late,
  coalesce(arrived_at, scheduled_arrival + INTERVAL '24' HOUR) AS label_known_at
FROM silver.flights
