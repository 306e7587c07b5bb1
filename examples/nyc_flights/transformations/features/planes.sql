CREATE MATERIALIZED VIEW features.planes
COMMENT 'What an aircraft is; it does not change over time'
TBLPROPERTIES (
  'feature.keys' = 'tailnum',
  'expect_or_fail.has_key' = 'tailnum IS NOT NULL',
  'expect.has_engines' = 'engines BETWEEN 1 AND 4'
)
AS
SELECT tailnum, year_built, seats, engines, type, manufacturer, engine_kind
FROM silver.planes
