-- airports.csv covers the fifty states. Four destinations of these flights lie in Puerto Rico and
-- the US Virgin Islands; they are supplemented here (positions and altitudes: FAA airport data).
-- Both territories keep Atlantic Standard Time all year.
CREATE MATERIALIZED VIEW silver.airports
COMMENT 'Airports with their time zone; four Caribbean ones supplemented'
TBLPROPERTIES (
  'expect_or_fail.airport_is_a_code' = 'length(airport) = 3',
  'expect.has_time_zone' = 'time_zone IS NOT NULL'
)
AS
WITH supplement AS (
  SELECT * FROM VALUES
    ('BQN', 'Rafael Hernandez', 18.4949D, -67.1294D, 237, 'America/Puerto_Rico'),
    ('PSE', 'Mercedita', 18.0083D, -66.5630D, 29, 'America/Puerto_Rico'),
    ('SJU', 'Luis Munoz Marin Intl', 18.4394D, -66.0018D, 9, 'America/Puerto_Rico'),
    ('STT', 'Cyril E King', 18.3373D, -64.9734D, 23, 'America/Puerto_Rico')
    AS t (airport, name, latitude, longitude, altitude_feet, time_zone)
)
SELECT
  faa AS airport,
  name,
  lat AS latitude,
  lon AS longitude,
  alt AS altitude_feet,
  tzone AS time_zone
FROM bronze.airports
UNION ALL
SELECT supplement.*
FROM supplement
LEFT ANTI JOIN bronze.airports AS given ON given.faa = supplement.airport
