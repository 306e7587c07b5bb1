-- What the provider delivered, without what cannot be an order.
CREATE MATERIALIZED VIEW silver.orders
COMMENT 'One row per order; ordered_at in UTC'
TBLPROPERTIES (
  'expect_or_fail.order_id is set' = 'order_id IS NOT NULL',
  'expect.amount is plausible' = 'amount < 1000'
)
AS SELECT
  order_id,
  customer_id,
  ordered_at,
  amount
FROM bronze.orders
WHERE amount >= 0;
