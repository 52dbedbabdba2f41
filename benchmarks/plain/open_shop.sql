-- The shop of the baseline: the tables of the migrations, as many SKUs, as much of each.
CREATE SEQUENCE positions;
INSERT INTO locations (location_id, version, title, active) VALUES ('main', 1, 'Main', true);
INSERT INTO stock_items
SELECT 'SKU-' || lpad(number::text, 6, '0') FROM generate_series(0, %(sku_count)s - 1) AS number;
INSERT INTO stock_levels
SELECT sku_id, 'main', 1000000, 0, 0, 0, 0, 0 FROM stock_items;
