-- A cart of two lines becomes an order, in one transaction. Each client has carts of its own; the SKUs are
-- of two halves of the shop, so that no two transactions lock them in another order.
\set number :number + 1
\set order random(1, 9000000000000000000)
\set first_sku random(0, :sku_count / 2 - 1)
\set second_sku random(:sku_count / 2, :sku_count - 1)
BEGIN;
SELECT version, state, customer_id, currency_code, coupon_codes, expire_time FROM carts
WHERE cart_id = 'cart-' || :client_id::text || '-' || :number::text FOR NO KEY UPDATE;
SELECT line_id, sku_id, title, quantity, unit_price_minor FROM cart_lines
WHERE cart_id = 'cart-' || :client_id::text || '-' || :number::text ORDER BY ordinal;
SELECT sku_id, on_hand - reserved - allocated FROM stock_levels
WHERE sku_id IN ('SKU-' || lpad(:first_sku::text, 6, '0'), 'SKU-' || lpad(:second_sku::text, 6, '0'));
INSERT INTO requests (request_id, method, fingerprint, code, response, position, create_time)
VALUES (gen_random_uuid(), '/shopkeeper.ordering.v1.OrderingCommandService/PlaceOrder',
    sha256('request'), 0, convert_to(repeat('x', :answer_bytes), 'UTF8'), 0, clock_timestamp());
INSERT INTO orders (order_id, order_number, version, state, customer_id, cart_id, currency_code,
    coupon_codes, subtotal_minor, discount_minor, total_minor, paid_minor, refunded_minor, gifted_minor,
    free_shipping, tax_inclusive, payment_mode, placed_time, update_time, expire_time)
VALUES (:order::text, :order::text, 1, 1, '', 'cart-' || :client_id::text || '-' || :number::text, 'GBP',
    '{}', 500, 0, 500, 0, 0, 0, false, false, 1, clock_timestamp(), clock_timestamp(),
    clock_timestamp() + interval '7 days');
INSERT INTO order_lines (order_id, line_id, ordinal, sku_id, title, quantity, unit_price_minor,
    discount_minor, price_list_id, price_tier_min_quantity, adjustments, fulfilled_quantity,
    returned_quantity, refunded_quantity, cancelled_quantity, refunded_minor)
VALUES
    (:order::text, 'line-0', 0, 'SKU-' || lpad(:first_sku::text, 6, '0'), 'Thing', 1, 250, 0, 'retail',
        1, '[]', 0, 0, 0, 0, 0),
    (:order::text, 'line-1', 1, 'SKU-' || lpad(:second_sku::text, 6, '0'), 'Thing', 1, 250, 0, 'retail',
        1, '[]', 0, 0, 0, 0, 0);
INSERT INTO reservations (reservation_id, version, is_of_order, reference, state, expire_time)
VALUES (:order::text, 1, true, :order::text, 1, clock_timestamp() + interval '7 days');
INSERT INTO reservation_lines
    (reservation_id, sku_id, location_id, quantity, shipped_quantity, returned_quantity)
VALUES
    (:order::text, 'SKU-' || lpad(:first_sku::text, 6, '0'), 'main', 1, 0, 0),
    (:order::text, 'SKU-' || lpad(:second_sku::text, 6, '0'), 'main', 1, 0, 0);
INSERT INTO stock_movements (position, recorded_time, sku_id, location_id, kind, on_hand, reserved,
    allocated, safety_stock, backorder_limit, shortage, cause, actor)
VALUES
    (nextval('positions'), clock_timestamp(), 'SKU-' || lpad(:first_sku::text, 6, '0'), 'main', 2,
        0, 1, 0, 0, 0, 0, :order::text, 'benchmark'),
    (nextval('positions'), clock_timestamp(), 'SKU-' || lpad(:second_sku::text, 6, '0'), 'main', 2,
        0, 1, 0, 0, 0, 0, :order::text, 'benchmark');
INSERT INTO events (position, recorded_time, context, type, key, payload, actor, request_id)
SELECT nextval('positions'), clock_timestamp(), 'ordering', 'shopkeeper.ordering.v1.OrderPlaced',
    :order::text, convert_to(repeat('x', :event_bytes), 'UTF8'), 'benchmark', gen_random_uuid()
FROM generate_series(1, :event_count);
UPDATE carts SET state = 2, version = version + 1, update_time = clock_timestamp()
WHERE cart_id = 'cart-' || :client_id::text || '-' || :number::text AND state = 1;
UPDATE stock_levels SET reserved = reserved + 1
WHERE sku_id = 'SKU-' || lpad(:first_sku::text, 6, '0') AND location_id = 'main'
  AND on_hand - reserved - allocated >= 1;
UPDATE stock_levels SET reserved = reserved + 1
WHERE sku_id = 'SKU-' || lpad(:second_sku::text, 6, '0') AND location_id = 'main'
  AND on_hand - reserved - allocated >= 1;
COMMIT;
