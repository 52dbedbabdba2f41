"""What is new while carts name it: a SKU with its price and stock, a coupon; and a sale for a while."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from command_service.catalog.commands import UpsertSkus
from command_service.catalog.domain import PRODUCT, SKU, Product
from command_service.inventory.commands import ReceiveStock
from command_service.inventory.movements import StockRow
from command_service.pricing.commands import PriceRow, UpsertCoupons, UpsertPrices
from command_service.pricing.domain import (
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    PRICE_LIST,
    PROMOTION,
    SKU_PRICES,
    Coupon,
    PriceTier,
)
from command_service.world import Command
from tests.command_service.checkout.shop_in_memory import add, apply, reprice
from tests.simulation.database import OPENING, Place

SALE_SECONDS_MAX = 1.5
"""Until it begins, and while it lasts: histories are not much longer."""


def put_on_offer(chance: Random, rows: dict[Place, Any]) -> None:
    """Adds a sale of all that has a price, which opens and closes at some time, and a bare product."""
    draw = chance.random
    book = rows[PRICE_BOOK.rank, PRICE_BOOK_KEY]
    start = OPENING + timedelta(seconds=SALE_SECONDS_MAX * draw() ** 3)
    end = start + timedelta(seconds=SALE_SECONDS_MAX * draw() ** 2)
    sale = replace(
        book.price_lists["retail"],
        price_list_id="sale",
        title="Sale",
        priority=1,
        start_time=start,
        end_time=end,
    )
    rows[PRICE_LIST.rank, "sale"] = sale
    rows[PRICE_BOOK.rank, PRICE_BOOK_KEY] = replace(book, price_lists={**book.price_lists, "sale": sale})
    for place, prices in list(rows.items()):
        if place[0] is SKU_PRICES.rank:
            [retail] = prices.tiers_by_list["retail"]
            tiers = (replace(retail, unit_price_minor=retail.unit_price_minor * 4 // 5),)
            rows[place] = replace(prices, tiers_by_list={**prices.tiers_by_list, "sale": tiers})
    rows[PRODUCT.rank, "jug"] = Product("jug", "Jug", {}, active=True)
    rows[PROMOTION.rank, "tenth"] = book.promotions["tenth"]


def offering(chance: Random, rows: dict[Place, Any], cart_id: str) -> Iterator[Command[Any]]:
    """Staff bring something new, and a buyer who has heard of it wants it, whichever comes first."""
    draw = chance.random
    jug = replace(rows[SKU.rank, "mug"], sku_id="jug", product_id="jug", title="a jug")
    new: list[Command[Any]] = [
        UpsertSkus((jug,)),
        UpsertPrices("retail", (PriceRow("jug", (PriceTier(1, 400),)),)),
        ReceiveStock((StockRow("jug", "main", 1 + int(draw() * 2)),), "delivery"),
        UpsertCoupons((Coupon("NEW", "tenth", 1, None, active=True, used_count=0),)),
    ]
    yield from (command for command in new if draw() < 0.6)
    if draw() < 0.6:
        yield add("jug", cart_id=cart_id)
    if draw() < 0.3:
        yield apply("NEW", cart_id=cart_id)
    yield reprice(cart_id=cart_id)
