-- Carts of two lines, so many for each client.
INSERT INTO carts (cart_id, version, state, currency_code, subtotal_minor, priced_time, create_time,
    update_time, expire_time)
SELECT 'cart-' || client || '-' || number, 3, 1, 'GBP', 500, now(), now(), now(), now() + interval '30 days'
FROM generate_series(0, %(client_count)s - 1) AS client,
    generate_series(%(first)s::int, %(last)s::int) AS number;
INSERT INTO cart_lines (cart_id, line_id, ordinal, sku_id, title, quantity, unit_price_minor,
    discount_minor, price_list_id, price_tier_min_quantity, adjustments)
SELECT 'cart-' || client || '-' || number, 'line-' || ordinal, ordinal, 'SKU-000000', 'Thing', 1, 250, 0,
    'retail', 1, '[]'
FROM generate_series(0, %(client_count)s - 1) AS client,
    generate_series(%(first)s::int, %(last)s::int) AS number, generate_series(0, 1) AS ordinal;
