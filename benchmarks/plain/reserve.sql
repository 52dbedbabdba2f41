-- One unit of the hot SKU, in one transaction. The contended row comes last: its lock is held for the
-- UPDATE and the COMMIT alone, which is the best that a plain transaction can do.
\set reservation random(1, 9000000000000000000)
BEGIN;
INSERT INTO requests (request_id, method, fingerprint, code, response, position, create_time)
VALUES (gen_random_uuid(), '/shopkeeper.inventory.v1.InventoryCommandService/ReserveStock',
    sha256('request'), 0, convert_to(repeat('x', :answer_bytes), 'UTF8'), 0, clock_timestamp());
INSERT INTO reservations (reservation_id, version, is_of_order, reference, state, expire_time)
VALUES (:reservation::text, 1, false, 'benchmark', 1, clock_timestamp() + interval '7 days');
INSERT INTO reservation_lines
    (reservation_id, sku_id, location_id, quantity, shipped_quantity, returned_quantity)
VALUES (:reservation::text, 'SKU-000000', 'main', 1, 0, 0);
INSERT INTO stock_movements (position, recorded_time, sku_id, location_id, kind, on_hand, reserved,
    allocated, safety_stock, backorder_limit, shortage, cause, actor)
VALUES (nextval('positions'), clock_timestamp(), 'SKU-000000', 'main', 2, 0, 1, 0, 0, 0, 0,
    :reservation::text, 'benchmark');
INSERT INTO events (position, recorded_time, context, type, key, payload, actor, request_id)
VALUES
    (nextval('positions'), clock_timestamp(), 'inventory', 'shopkeeper.inventory.v1.StockMoved',
        'SKU-000000', convert_to(repeat('x', :event_bytes), 'UTF8'), 'benchmark', gen_random_uuid()),
    (nextval('positions'), clock_timestamp(), 'inventory', 'shopkeeper.inventory.v1.ReservationMade',
        :reservation::text, convert_to(repeat('x', :event_bytes), 'UTF8'), 'benchmark',
        gen_random_uuid());
UPDATE stock_levels SET reserved = reserved + 1
WHERE sku_id = 'SKU-000000' AND location_id = 'main' AND on_hand - reserved - allocated >= 1;
COMMIT;
