"""Queries that ask for what was just written, and what they must find.

`at_least_as_fresh` promises that nothing older is answered. A buyer's cart and order are changed by
that buyer alone, so that more can be claimed: what is found is exactly what the command answered.
"""

import asyncio
from collections import Counter

from ops.demo.accounts import Accounts
from ops.demo.sales import Line
from ops.demo.shop import Shop
from ops.wire import rpcs
from shopkeeper.cart.v1.cart_pb2 import Cart, CartState
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockRequest
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_PAID, Order
from shopkeeper.ordering.v1.ordering_query_service_pb2 import GetOrderRequest

PAID_SECONDS_MAX = 300.0
"""For calls that went wrong several times over: each pause is longer than the one before."""
LOOK_SECONDS = 0.05


class FreshReads:
    """Reads what was written and notes in the accounts what is not as it must be."""

    def __init__(self, shop: Shop, accounts: Accounts) -> None:
        self._shop = shop
        self._accounts = accounts

    async def expect_cart(self, written: Cart, token: str) -> None:
        """Expects the cart just as its last command left it."""
        seen = await self._cart(written.cart_id, token)
        self._accounts.expect_seen(f"cart {written.cart_id}", seen=seen.etag == written.etag)
        if seen.etag == written.etag:
            self._accounts.expect_equal(f"the view of cart {written.cart_id}", seen, written)

    async def expect_cart_line(self, cart_id: str, line: Line, token: str) -> None:
        """Expects a line in a cart to which others may be added at the same time."""
        lines = {each.line_id: each for each in (await self._cart(cart_id, token)).lines}
        seen = lines.get(line.line_id)
        self._accounts.expect_seen(f"line {line.number} of {cart_id}", seen=seen is not None)
        if seen is not None:
            actual = (seen.sku_id, seen.quantity, seen.unit_price_minor, seen.total_minor)
            expected = (line.code, line.quantity, line.unit_price_minor, line.amount_minor)
            self._accounts.expect_equal(f"line {line.number} of {cart_id}", actual, expected)

    async def expect_cart_state(self, cart_id: str, state: CartState.ValueType, token: str) -> None:
        """Expects that a cart has come to a state."""
        seen = await self._cart(cart_id, token)
        self._accounts.expect_seen(f"state of {cart_id}", seen=seen.state == state)

    async def expect_order(self, written: Order, token: str) -> None:
        """Expects the order just as its last command left it."""
        request = GetOrderRequest(order_id=written.order_id, at_least_as_fresh=token)
        seen = (await self._shop.query(rpcs.GET_ORDER, request)).order
        self._accounts.expect_seen(f"order {written.order_id}", seen=seen.etag == written.etag)
        if seen.etag == written.etag:
            self._accounts.expect_equal(f"the view of order {written.order_id}", seen, written)

    async def wait_until_paid(self, order: Order) -> None:
        """Looks until the order is paid, which nobody tells its buyer: webhooks and workers see to it.

        Raises:
            TimeoutError: it is not paid.
        """
        request = GetOrderRequest(order_id=order.order_id)
        async with asyncio.timeout(PAID_SECONDS_MAX):
            while True:
                seen = (await self._shop.query(rpcs.GET_ORDER, request)).order
                if seen.state == ORDER_STATE_PAID:
                    return
                await asyncio.sleep(LOOK_SECONDS)

    async def expect_reserved(self, order: Order, token: str) -> None:
        """Expects that the stock says so: until it is paid, nobody else can release its units."""
        ordered: Counter[str] = Counter()
        for line in order.lines:
            ordered[line.sku_id] += line.quantity
        stocks = await self.stocks(list(ordered), token)
        for sku_id, quantity in ordered.items():
            levels = stocks[sku_id].levels if sku_id in stocks else ()
            reserved = sum(level.reserved for level in levels)
            self._accounts.expect_seen(
                f"reservation of {sku_id} by {order.order_id}", seen=reserved >= quantity
            )

    async def stocks(self, sku_ids: list[str], token: str) -> dict[str, Stock]:
        """The stock of up to 1,000 SKUs by id."""
        request = BatchGetStockRequest(sku_ids=sku_ids, at_least_as_fresh=token)
        found = (await self._shop.query(rpcs.BATCH_GET_STOCK, request)).stock
        return {stock.sku_id: stock for stock in found}

    async def _cart(self, cart_id: str, token: str) -> Cart:
        request = GetCartRequest(cart_id=cart_id, at_least_as_fresh=token)
        return (await self._shop.query(rpcs.GET_CART, request)).cart
