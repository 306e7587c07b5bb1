-- One row per flight, with the delays in minutes. A flight that never arrived counts as late, as in the
-- on-time rule of the US Department of Transportation.
CREATE MATERIALIZED VIEW silver.flights
COMMENT 'Flights with their delays'
AS
SELECT
  flight_id,
  carrier,
  flight,
  origin,
  dest,
  distance,
  scheduled_departure,
  scheduled_arrival,
  departed_at,
  arrived_at,
  CAST((unix_seconds(departed_at) - unix_seconds(scheduled_departure)) DIV 60 AS INT)
    AS departure_delay,
  CAST((unix_seconds(arrived_at) - unix_seconds(scheduled_arrival)) DIV 60 AS INT) AS arrival_delay,
  coalesce(unix_seconds(arrived_at) - unix_seconds(scheduled_arrival) >= 15 * 60, TRUE) AS is_late
FROM bronze.flights
