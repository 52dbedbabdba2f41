"""What staff do: fill the shop before the first order, correct the stock while it sells."""

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_letters
from typing import Any, TypeVar

from ops.demo.errands import Plan
from ops.demo.opening_stock import ANNEX, WAREHOUSE
from ops.demo.sales import CURRENCY_CODE, Line
from ops.demo.shop import Shop
from ops.wire import rpcs
from ops.wire.calls import Refused
from ops.wire.rpcs import CommandRequestT, Rpc
from shopkeeper.catalog.v1.catalog_command_service_pb2 import UpsertProductsRequest, UpsertSkusRequest
from shopkeeper.catalog.v1.catalog_pb2 import SALE_STATE_ON_SALE, Product, Sku
from shopkeeper.inventory.v1.inventory_command_service_pb2 import (
    AdjustStockRequest,
    ReceiveStockRequest,
    StockRow,
    UpsertLocationsRequest,
)
from shopkeeper.inventory.v1.inventory_pb2 import Location
from shopkeeper.inventory.v1.inventory_query_service_pb2 import GetStockRequest
from shopkeeper.pricing.v1.pricing_command_service_pb2 import (
    PriceRow,
    UpsertPriceListsRequest,
    UpsertPricesRequest,
)
from shopkeeper.pricing.v1.pricing_pb2 import PriceList, PriceTier
from shopkeeper.types.v1.row_outcome_pb2 import RowOutcome

ACTOR = "staff"

ROWS_PER_CALL_MAX = 500
"""As many rows as the bulk commands take."""

COUNTS_MAX = 100
"""Counting again because somebody bought meanwhile; more than 100 in a row means something is wrong."""

RowT = TypeVar("RowT")


class RowRefused(Exception):
    """A row of a bulk command was refused: the demo itself is wrong."""


class Staff:
    """Staff with a client of the shop."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    async def fill_shop(self, plan: Plan) -> None:
        """Enters products, SKUs, locations, price lists, prices and the opening stock."""
        await self._enter_catalog(plan.titles)
        await self._enter_prices(plan.price_lists.prices_minor)
        await self._enter_stock(plan.opening_stock.units)

    async def correct_stock(self, line: Line) -> None:
        """Records a count that differs from the counter by the line's quantity.

        The count holds only if nobody took or brought units between looking and counting.
        """
        token = ""
        for _ in range(COUNTS_MAX):
            on_hand = await self._on_hand(line.code, token)
            request = AdjustStockRequest(
                sku_id=line.code,
                location_id=WAREHOUSE,
                counted_quantity=on_hand + line.quantity,
                expected_on_hand=on_hand,
                reference=f"invoice {line.invoice} {line.description}".strip(),
            )
            try:
                await self._shop.command(rpcs.ADJUST_STOCK, request, actor=ACTOR)
            except Refused as refusal:
                if refusal.reason != "STOCK_CHANGED":
                    raise
                token = refusal.token
            else:
                return
        raise TimeoutError(f"{line.code} was sold faster than it could be counted")

    async def _on_hand(self, code: str, token: str) -> int:
        request = GetStockRequest(sku_id=code, at_least_as_fresh=token)
        stock = (await self._shop.query(rpcs.GET_STOCK, request)).stock
        return sum(level.on_hand for level in stock.levels if level.location_id == WAREHOUSE)

    async def _enter_catalog(self, titles: Mapping[str, str]) -> None:
        for products in _chunks(_products(titles)):
            await self._enter(rpcs.UPSERT_PRODUCTS, UpsertProductsRequest(products=products))
        for skus in _chunks([_sku(code, title) for code, title in titles.items()]):
            await self._enter(rpcs.UPSERT_SKUS, UpsertSkusRequest(skus=skus))

    async def _enter_prices(self, prices_minor: Mapping[str, Mapping[str, int]]) -> None:
        lists = [
            PriceList(price_list_id=each, title=each, currency_code=CURRENCY_CODE, named_only=True)
            for each in prices_minor
        ]
        await self._enter(rpcs.UPSERT_PRICE_LISTS, UpsertPriceListsRequest(price_lists=lists))
        for price_list_id, prices in prices_minor.items():
            for rows in _chunks([_price_row(*price) for price in prices.items()]):
                request = UpsertPricesRequest(price_list_id=price_list_id, rows=rows)
                await self._enter(rpcs.UPSERT_PRICES, request)

    async def _enter_stock(self, units: Mapping[tuple[str, str], int]) -> None:
        locations = [
            Location(location_id=WAREHOUSE, title="Warehouse", rank=1, active=True),
            Location(location_id=ANNEX, title="Annex", rank=2, active=True),
        ]
        await self._enter(rpcs.UPSERT_LOCATIONS, UpsertLocationsRequest(locations=locations))
        for rows in _chunks([_stock_row(*place, quantity) for place, quantity in units.items()]):
            request = ReceiveStockRequest(rows=rows, reference="opening stock")
            await self._enter(rpcs.RECEIVE_STOCK, request)

    async def _enter(self, rpc: Rpc[CommandRequestT, Any], request: CommandRequestT) -> None:
        """Carries out a bulk command of which every row must be taken. Raises RowRefused."""
        response = await self._shop.command(rpc, request, actor=ACTOR)
        for outcome in response.outcomes:
            if outcome.state == RowOutcome.STATE_REFUSED:
                raise RowRefused(f"{outcome.key}: {outcome.reason}: {outcome.message}")


def product_id(code: str) -> str:
    """The product that a code is a variant of: 85123A and 85123a are SKUs of 85123."""
    return code.rstrip(ascii_letters)


def _products(titles: Mapping[str, str]) -> list[Product]:
    """A product for each run of digits, titled as its first SKU."""
    product_titles: dict[str, str] = {}
    for code, title in titles.items():
        product_titles.setdefault(product_id(code), title)
    return [Product(product_id=each, title=title, active=True) for each, title in product_titles.items()]


def _sku(code: str, title: str) -> Sku:
    return Sku(
        sku_id=code,
        product_id=product_id(code),
        title=title,
        active=True,
        sale_state=SALE_STATE_ON_SALE,
    )


def _price_row(code: str, price_minor: int) -> PriceRow:
    return PriceRow(sku_id=code, tiers=[PriceTier(min_quantity=1, unit_price_minor=price_minor)])


def _stock_row(code: str, location_id: str, quantity: int) -> StockRow:
    return StockRow(sku_id=code, location_id=location_id, quantity=quantity)


def _chunks(rows: Sequence[RowT]) -> Iterator[Sequence[RowT]]:
    for start in range(0, len(rows), ROWS_PER_CALL_MAX):
        yield rows[start : start + ROWS_PER_CALL_MAX]
