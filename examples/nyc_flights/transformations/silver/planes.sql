-- The register of the FAA. American (AA) and Envoy (MQ) report fleet numbers in place of tail
-- numbers, so most of their flights find no plane here.
CREATE MATERIALIZED VIEW silver.planes
COMMENT 'Aircraft by tail number'
TBLPROPERTIES (
  'expect_or_fail.has_tailnum' = 'tailnum IS NOT NULL',
  'expect.year_built_is_known' = 'year_built BETWEEN 1940 AND 2013',
  'expect.has_seats' = 'seats > 0'
)
AS
SELECT
  tailnum,
  year AS year_built,
  type,
  manufacturer,
  model,
  engines,
  engine AS engine_kind,
  seats
FROM bronze.planes
