"""What is raced for: a SKU of the shop with the stock that it has, or one made for the race."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from ops.failures import Problem
from ops.race.shop import Shop
from ops.wire.calls import Refused
from ops.wire.rpcs import (
    ADJUST_STOCK,
    GET_PRICES,
    GET_SKU,
    RECEIVE_STOCK,
    UPSERT_LOCATIONS,
    UPSERT_PRICE_LISTS,
    UPSERT_PRICES,
    UPSERT_PRODUCTS,
    UPSERT_SKUS,
    CommandRequestT,
    Rpc,
)
from shopkeeper.catalog.v1.catalog_command_service_pb2 import UpsertProductsRequest, UpsertSkusRequest
from shopkeeper.catalog.v1.catalog_pb2 import SALE_STATE_ON_SALE, Product, Sku
from shopkeeper.catalog.v1.catalog_query_service_pb2 import GetSkuRequest
from shopkeeper.inventory.v1.inventory_command_service_pb2 import (
    AdjustStockRequest,
    ReceiveStockRequest,
    StockRow,
    UpsertLocationsRequest,
)
from shopkeeper.inventory.v1.inventory_pb2 import Location
from shopkeeper.pricing.v1.pricing_command_service_pb2 import (
    PriceRow,
    UpsertPriceListsRequest,
    UpsertPricesRequest,
)
from shopkeeper.pricing.v1.pricing_pb2 import PriceList, PriceTier, SkuPrices
from shopkeeper.pricing.v1.pricing_query_service_pb2 import GetPricesRequest
from shopkeeper.types.v1.row_outcome_pb2 import RowOutcome

TITLE = "shopkeeper race"
CURRENCY_CODE = "GBP"
PRICE_MINOR = 100
LAST_RANK = 1_000_000
"""Of a location that is asked after all others."""


@dataclass(frozen=True, slots=True)
class Stake:
    """What is raced for. is_ours: it was made for the race, and is put away after it.

    price_list_id: what carts must name; empty for a SKU that has a price for everybody.
    """

    sku_id: str
    currency_code: str
    price_list_id: str
    is_ours: bool = False


async def found_stake(shop: Shop, sku_id: str, currency_code: str | None) -> Stake:
    """A SKU of the shop, in that currency, or in the one of its first price.

    Raises:
        Problem: there is no such SKU, or it has no price that anybody could buy it at.
    """
    found = await _prices(shop, sku_id)
    wanted = [
        price
        for price in found.prices
        if not price.customer_group and currency_code in {None, price.currency_code}
    ]
    if not wanted:
        raise Problem(f"SKU {sku_id} has no price{_in(currency_code)} that is everybody's")
    # A list that carts must name is taken only where nothing else prices the SKU.
    best = min(wanted, key=lambda price: price.named_only)
    return Stake(sku_id, best.currency_code, best.price_list_id if best.named_only else "")


async def _prices(shop: Shop, sku_id: str) -> SkuPrices:
    """Those of the SKU, none if it never had any. Raises Problem: there is no such SKU."""
    try:
        return (await shop.query(GET_PRICES, GetPricesRequest(sku_id=sku_id))).prices
    except Refused as refusal:
        if refusal.reason != "PRICES_NOT_FOUND":
            raise
    try:
        await shop.query(GET_SKU, GetSkuRequest(sku_id=sku_id))
    except Refused as refusal:
        if refusal.reason != "SKU_NOT_FOUND":
            raise
        raise Problem(f"there is no SKU {sku_id}") from refusal
    return SkuPrices()


def _in(currency_code: str | None) -> str:
    return f" in {currency_code}" if currency_code else ""


async def made_stake(shop: Shop, units: int, currency_code: str | None) -> Stake:
    """A SKU made for the race, with a price, a location and units of its own.

    Raises:
        Problem: the shop refuses it.
    """
    name = f"race-{uuid4().hex[:12]}"
    code = currency_code or CURRENCY_CODE
    listed = _price_list(name, code)
    price = PriceRow(sku_id=name, tiers=[PriceTier(min_quantity=1, unit_price_minor=PRICE_MINOR)])
    stock = StockRow(sku_id=name, location_id=name, quantity=units)
    # First what may be refused: a currency.
    await _enter(shop, UPSERT_PRICE_LISTS, UpsertPriceListsRequest(price_lists=[listed]))
    await _enter(shop, UPSERT_PRODUCTS, UpsertProductsRequest(products=[_product(name, active=True)]))
    await _enter(shop, UPSERT_SKUS, UpsertSkusRequest(skus=[_sku(name, active=True)]))
    await _enter(shop, UPSERT_PRICES, UpsertPricesRequest(price_list_id=name, rows=[price]))
    await _enter(
        shop, UPSERT_LOCATIONS, UpsertLocationsRequest(locations=[_location(name, active=True)])
    )
    await _enter(shop, RECEIVE_STOCK, ReceiveStockRequest(rows=[stock], reference=TITLE))
    return Stake(name, code, name, is_ours=True)


async def put_away(shop: Shop, stake: Stake, units: int) -> None:
    """Takes what was made for the race off the shelf and off sale; its ledger stays, as all do.

    Raises:
        Refused, Problem: the shop would not.
    """
    name = stake.sku_id
    count = AdjustStockRequest(
        sku_id=name, location_id=name, counted_quantity=0, expected_on_hand=units, reference=TITLE
    )
    await shop.command(ADJUST_STOCK, count)
    ended = _price_list(name, stake.currency_code)
    ended.end_time.CopyFrom(_now())
    await _enter(shop, UPSERT_PRICE_LISTS, UpsertPriceListsRequest(price_lists=[ended]))
    await _enter(shop, UPSERT_SKUS, UpsertSkusRequest(skus=[_sku(name, active=False)]))
    await _enter(shop, UPSERT_PRODUCTS, UpsertProductsRequest(products=[_product(name, active=False)]))
    await _enter(
        shop, UPSERT_LOCATIONS, UpsertLocationsRequest(locations=[_location(name, active=False)])
    )


async def _enter(shop: Shop, rpc: Rpc[CommandRequestT, Any], request: CommandRequestT) -> None:
    """A bulk command of which every row must be taken."""
    try:
        response = await shop.command(rpc, request)
    except Refused as refusal:
        raise Problem(str(refusal)) from refusal
    for outcome in response.outcomes:
        if outcome.state == RowOutcome.STATE_REFUSED:
            raise Problem(f"{outcome.reason}: {outcome.message}")


def _product(name: str, *, active: bool) -> Product:
    return Product(product_id=name, title=TITLE, active=active)


def _sku(name: str, *, active: bool) -> Sku:
    return Sku(sku_id=name, product_id=name, title=TITLE, active=active, sale_state=SALE_STATE_ON_SALE)


def _price_list(name: str, currency_code: str) -> PriceList:
    # Named only: no other cart of the shop may come by it.
    return PriceList(price_list_id=name, title=TITLE, currency_code=currency_code, named_only=True)


def _location(name: str, *, active: bool) -> Location:
    return Location(location_id=name, title=TITLE, rank=LAST_RANK, active=active)


def _now() -> Timestamp:
    now = Timestamp()
    now.FromDatetime(datetime.now(UTC))
    return now
