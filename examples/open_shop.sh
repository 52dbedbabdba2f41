#!/bin/sh
# Puts one teapot on sale in a shop that `shopkeeper up` runs. Repeating it changes nothing: each
# request has a fixed request_id, and the same id gives the same answer.
set -eu
cd "$(dirname "$0")/.."
call() { .venv/bin/shopkeeper call "$@"; }

call CatalogCommandService/UpsertProducts '{
  "request_id": "00000000-0000-4000-8000-000000000001",
  "products": [{"product_id": "teapots", "title": "Teapots", "active": true}]}'
call CatalogCommandService/UpsertSkus '{
  "request_id": "00000000-0000-4000-8000-000000000002",
  "skus": [{"sku_id": "TEAPOT", "product_id": "teapots", "title": "Regency teapot", "active": true,
            "sale_state": "SALE_STATE_ON_SALE"}]}'
call PricingCommandService/UpsertPriceLists '{
  "request_id": "00000000-0000-4000-8000-000000000003",
  "price_lists": [{"price_list_id": "retail", "title": "Retail", "currency_code": "GBP",
                   "tax_inclusive": true}]}'
call PricingCommandService/UpsertPrices '{
  "request_id": "00000000-0000-4000-8000-000000000004",
  "price_list_id": "retail",
  "rows": [{"sku_id": "TEAPOT", "tiers": [{"min_quantity": 1, "unit_price_minor": 1295}]}]}'
call InventoryCommandService/UpsertLocations '{
  "request_id": "00000000-0000-4000-8000-000000000005",
  "locations": [{"location_id": "main", "title": "Warehouse", "active": true}]}'
call InventoryCommandService/ReceiveStock '{
  "request_id": "00000000-0000-4000-8000-000000000006",
  "rows": [{"sku_id": "TEAPOT", "location_id": "main", "quantity": 3}],
  "reference": "delivery 1"}'
