CREATE MATERIALIZED VIEW silver.airlines
COMMENT 'Airlines by their two-character carrier code'
TBLPROPERTIES (
  'expect_or_fail.carrier_is_a_code' = 'length(carrier) = 2',
  'expect.has_name' = 'name IS NOT NULL'
)
AS
SELECT carrier, name
FROM bronze.airlines
