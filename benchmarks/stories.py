"""A long log, made of one story told again and again: a cart is filled and becomes an order."""

from collections.abc import Iterator
from itertools import islice

import psycopg

from benchmarks.bulk import Connection, Event, append_events, in_copies
from benchmarks.filling import open_shop
from benchmarks.shop_copies import TEMPLATE_SKU_COUNT, place_template_order
from benchmarks.shop_under_test import ShopUnderTest
from benchmarks.shoppers import cart_id, sku_id
from event_log.appending import LAST_POSITION

SKU_COUNT = 10_000
TEMPLATE_CART = "model-template"


class Stories:
    """The log of a shop in which one order was placed, and as much more of the same as is wanted."""

    def __init__(self, database_url: str, template: list[Event], order_id: str, number: str) -> None:
        self._database_url = database_url
        self._template = template
        self._order_id = order_id
        self._order_number = number
        self._told = self._tell()

    @classmethod
    async def of(cls, shop: ShopUnderTest) -> "Stories":
        """Has the shop tell the story for the first time."""
        database_url = shop.servers.database_url
        await open_shop(shop.command_address, range(TEMPLATE_SKU_COUNT))
        before = _last_position(database_url)
        order_id = await place_template_order(database_url, shop.command_address, SKU_COUNT)
        with psycopg.connect(database_url) as connection:
            template = _events_after(connection, before)
            [number] = connection.execute(
                "SELECT order_number FROM orders WHERE order_id = %s", [order_id]
            ).fetchone() or [""]
        return cls(database_url, template, order_id, number)

    def extend(self, event_count: int) -> None:
        """Makes the log so long."""
        missing_count = event_count - _last_position(self._database_url)
        with psycopg.connect(self._database_url) as connection:
            append_events(connection, islice(self._told, missing_count))

    def _tell(self) -> Iterator[Event]:
        return in_copies(self._template, map(self._names, range(10**8)))

    def _names(self, number: int) -> dict[str, str]:
        return {
            TEMPLATE_CART: cart_id("model", number),
            self._order_id: f"{number:08x}{self._order_id[8:]}",
            self._order_number: f"{number:08}".rjust(len(self._order_number), "9"),
            sku_id(1): sku_id(2 * number % SKU_COUNT),
            sku_id(2): sku_id((2 * number + 1) % SKU_COUNT),
        }


def _events_after(connection: Connection, position: int) -> list[Event]:
    rows = connection.execute(
        "SELECT context, type, key, payload FROM events WHERE position > %s ORDER BY position",
        [position],
    )
    return [Event(*row) for row in rows]


def _last_position(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(LAST_POSITION.encode()).fetchone()
    assert row is not None
    return int(row[0])
