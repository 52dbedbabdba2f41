"""A shop with things to sell, made through the API as anybody would."""

import grpc

from benchmarks.shoppers import CURRENCY, PRICE_MINOR, new_id, product_id, sku_id
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog
from shopkeeper.catalog.v1 import catalog_command_service_pb2_grpc as catalog_grpc
from shopkeeper.catalog.v1.catalog_pb2 import SALE_STATE_ON_SALE, Product, Sku
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory
from shopkeeper.inventory.v1 import inventory_command_service_pb2_grpc as inventory_grpc
from shopkeeper.inventory.v1.inventory_pb2 import Location
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing
from shopkeeper.pricing.v1 import pricing_command_service_pb2_grpc as pricing_grpc
from shopkeeper.pricing.v1.pricing_pb2 import PriceList, PriceTier

LOCATION, PRICE_LIST = "main", "retail"
STOCK_OF_EACH = 1_000_000
CALL_SECONDS_MAX = 60.0


async def open_shop(command_address: str, sku_numbers: range) -> None:
    """Has a few SKUs for sale at one price, a million units of each at one location."""
    async with grpc.aio.insecure_channel(command_address) as channel:
        await _make_foundations(channel)
        await _sell(channel, sku_numbers)


async def _make_foundations(channel: grpc.aio.Channel) -> None:
    retail = PriceList(price_list_id=PRICE_LIST, title="Retail", currency_code=CURRENCY)
    await pricing_grpc.PricingCommandServiceStub(channel).UpsertPriceLists(
        pricing.UpsertPriceListsRequest(request_id=new_id(), price_lists=[retail]),
        timeout=CALL_SECONDS_MAX,
    )
    await inventory_grpc.InventoryCommandServiceStub(channel).UpsertLocations(
        inventory.UpsertLocationsRequest(
            request_id=new_id(),
            locations=[Location(location_id=LOCATION, title="Main", active=True)],
        ),
        timeout=CALL_SECONDS_MAX,
    )


async def _sell(channel: grpc.aio.Channel, numbers: range) -> None:
    sku_ids = [sku_id(number) for number in numbers]
    await catalog_grpc.CatalogCommandServiceStub(channel).UpsertProducts(
        catalog.UpsertProductsRequest(request_id=new_id(), products=map(_product, numbers)),
        timeout=CALL_SECONDS_MAX,
    )
    await catalog_grpc.CatalogCommandServiceStub(channel).UpsertSkus(
        catalog.UpsertSkusRequest(request_id=new_id(), skus=map(_sku, numbers)),
        timeout=CALL_SECONDS_MAX,
    )
    await pricing_grpc.PricingCommandServiceStub(channel).UpsertPrices(
        pricing.UpsertPricesRequest(
            request_id=new_id(), price_list_id=PRICE_LIST, rows=map(_price, sku_ids)
        ),
        timeout=CALL_SECONDS_MAX,
    )
    await inventory_grpc.InventoryCommandServiceStub(channel).ReceiveStock(
        inventory.ReceiveStockRequest(request_id=new_id(), rows=map(_delivery, sku_ids)),
        timeout=CALL_SECONDS_MAX,
    )


def _product(number: int) -> Product:
    return Product(product_id=product_id(number), title="Things", active=True)


def _sku(number: int) -> Sku:
    return Sku(
        sku_id=sku_id(number),
        product_id=product_id(number),
        title=f"Thing {sku_id(number)}",
        active=True,
        sale_state=SALE_STATE_ON_SALE,
    )


def _price(name: str) -> pricing.PriceRow:
    return pricing.PriceRow(sku_id=name, tiers=[PriceTier(min_quantity=1, unit_price_minor=PRICE_MINOR)])


def _delivery(name: str) -> inventory.StockRow:
    return inventory.StockRow(sku_id=name, location_id=LOCATION, quantity=STOCK_OF_EACH)
