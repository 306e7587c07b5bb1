CREATE MATERIALIZED VIEW gold.months
COMMENT 'Flights, share of late ones and mean arrival delay in minutes, by month in UTC'
AS
SELECT
  date_format(scheduled_departure, 'yyyy-MM') AS month,
  count(*) AS flights,
  round(avg(CAST(is_late AS DOUBLE)), 3) AS late_share,
  round(avg(arrival_delay), 1) AS mean_arrival_delay
FROM silver.flights
GROUP BY date_format(scheduled_departure, 'yyyy-MM')
ORDER BY month
