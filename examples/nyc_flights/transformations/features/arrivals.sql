CREATE TEMPORARY VIEW arrivals
AS
SELECT *
FROM silver.flights
WHERE arrived_at IS NOT NULL
