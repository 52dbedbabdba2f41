"""What buyers do: fill carts, order, pay, get their parcels, send things back."""

import asyncio
from collections.abc import Mapping, Sequence

from ops.demo.accounts import Accounts, Bucket
from ops.demo.contacts import contact, customer_id
from ops.demo.errands import SHIPPING_ENDS
from ops.demo.fresh_reads import FreshReads
from ops.demo.price_lists import Basket
from ops.demo.provider import Provider
from ops.demo.sales import CURRENCY_CODE, Line
from ops.demo.shop import Shop
from ops.wire import rpcs
from ops.wire.calls import Refused
from shopkeeper.cart.v1.cart_command_service_pb2 import (
    AddCartLineRequest,
    CreateCartRequest,
    RemoveCartLineRequest,
)
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_ORDERED, Cart, CartLine
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.ordering.v1.ordering_command_service_pb2 import (
    FulfillOrderLinesRequest,
    PlaceOrderRequest,
    PlaceOrderResponse,
    ReturnedUnits,
    ReturnOrderLinesRequest,
)
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderLineUnits
from shopkeeper.payment.v1.payment_command_service_pb2 import (
    RefundPaymentRequest,
    StartPaymentRequest,
)
from shopkeeper.payment.v1.payment_pb2 import CAPTURE_MODE_AT_ONCE, CAPTURE_MODE_WHEN_HELD

ACTOR = "buyer"

LINES_PER_HAND = 100
"""A cart of several hundred lines is no person's: its programs add a line each at the same time, one for
each hundred lines, so that one invoice does not take longer than all others together."""

PLACINGS_MAX = 100
"""Each placing but the last finds some line short; more than 100 means that something is wrong."""

PARCELS_TWO_ONE_IN = 5
DECLINED_ONE_IN = 10
DAMAGED_ONE_IN = 3
"""Every third line that comes back is damaged: refunded, not put back on the shelf."""


class Buyers:
    """All buyers, with a client of the shop; everything they get or do not get goes to the accounts."""

    def __init__(
        self, shop: Shop, provider: Provider, accounts: Accounts, list_of_cart: Mapping[str, str]
    ) -> None:
        self._shop = shop
        self._provider = provider
        self._accounts = accounts
        self._reads = FreshReads(shop, accounts)
        self._list_of_cart = list_of_cart
        self._order_ids: dict[int, str] = {}
        """The order of each line that was ordered, by the line's number."""

    async def buy(self, basket: Basket) -> None:
        """Takes a basket from cart to parcel; what cannot be had is left out."""
        cart = await self._fill_cart(basket)
        placed = await self._place_order(basket, cart)
        if placed is None:
            return
        self._accounts.order_count += 1
        await self._pay(placed)
        if basket.lines[0].invoiced_time < SHIPPING_ENDS:
            await self._receive_parcels(placed)

    async def bring_back(self, line: Line, sale: Line) -> None:
        """Sends units of an earlier sale back and gets their price, if that sale came about."""
        order_id = self._order_ids.get(sale.number)
        if order_id is None:
            self._accounts.settle(line, Bucket.UNMATCHED_RETURN)
            return
        back = ReturnedUnits(
            line_id=sale.line_id,
            quantity=-line.quantity,
            restock=is_restocked(line),
        )
        request = ReturnOrderLinesRequest(order_id=order_id, lines=[back])
        returned = await self._shop.command(rpcs.RETURN_ORDER_LINES, request, actor=ACTOR)
        await self._reads.expect_order(returned.order, returned.consistency_token)
        await self._be_refunded(order_id, line, sale)
        self._accounts.settle(line, Bucket.RETURNED)

    async def _be_refunded(self, order_id: str, line: Line, sale: Line) -> None:
        request = RefundPaymentRequest(
            order_id=order_id,
            lines=[OrderLineUnits(line_id=sale.line_id, quantity=-line.quantity)],
        )
        answer = await self._shop.command(rpcs.REFUND_PAYMENT, request, actor=ACTOR)
        expected_minor = -line.quantity * sale.unit_price_minor
        refunded_minor = sum(refund.amount_minor for refund in answer.refunds)
        self._accounts.expect_equal(f"refund for line {line.number}", refunded_minor, expected_minor)
        self._accounts.refunded_minor += expected_minor

    # --- carts --------------------------------------------------------------------------------

    async def _fill_cart(self, basket: Basket) -> Cart:
        request = CreateCartRequest(
            cart_id=basket.cart_id,
            customer_id=customer_id(basket.lines[0]),
            currency_code=CURRENCY_CODE,
            price_list_id=self._list_of_cart[basket.cart_id],
        )
        created = await self._shop.command(rpcs.CREATE_CART, request, actor=ACTOR)
        await self._reads.expect_cart(created.cart, created.consistency_token)
        newest = created.cart
        at_once = 1 + len(basket.lines) // LINES_PER_HAND
        for start in range(0, len(basket.lines), at_once):
            carts = await self._add_lines(basket, basket.lines[start : start + at_once])
            # Lines are only added so far: of these answers the one with most lines is the newest.
            newest = max([newest, *carts], key=lambda cart: len(cart.lines))
        return newest

    async def _add_lines(self, basket: Basket, lines: Sequence[Line]) -> list[Cart]:
        """The cart after each line that was taken."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._add_line(basket, line)) for line in lines]
        return [cart for task in tasks if (cart := task.result()) is not None]

    async def _add_line(self, basket: Basket, line: Line) -> Cart | None:
        request = AddCartLineRequest(
            cart_id=basket.cart_id,
            line_id=line.line_id,
            sku_id=line.code,
            quantity=line.quantity,
        )
        try:
            added = await self._shop.command(rpcs.ADD_CART_LINE, request, actor=ACTOR)
        except Refused as refusal:
            # Everything in the file is on sale and has a price: that it is refused is no accident.
            self._accounts.settle(line, Bucket.REFUSED, refusal.reason)
            self._accounts.expect_equal(f"line {line.number}", str(refusal), "taken")
            return None
        await self._reads.expect_cart_line(basket.cart_id, line, added.consistency_token)
        return added.cart

    async def _remove_line(self, cart: Cart, line_id: str) -> Cart:
        request = RemoveCartLineRequest(cart_id=cart.cart_id, etag=cart.etag, line_id=line_id)
        removed = await self._shop.command(rpcs.REMOVE_CART_LINE, request, actor=ACTOR)
        await self._reads.expect_cart(removed.cart, removed.consistency_token)
        return removed.cart

    # --- orders -------------------------------------------------------------------------------

    async def _place_order(self, basket: Basket, cart: Cart) -> Order | None:
        """Places the order, without the lines that are out of stock; None if that leaves nothing."""
        lines = {line.line_id: line for line in basket.lines}
        for _ in range(PLACINGS_MAX):
            if not cart.lines:
                return None
            try:
                placed = await self._try_to_place(basket, cart)
            except Refused as refusal:
                if refusal.reason != "OUT_OF_STOCK":
                    raise
                cart = await self._without_short_lines(cart, lines, refusal)
            else:
                await self._note_placed(placed, cart, lines)
                return placed.order
        raise TimeoutError(f"{cart.cart_id} was sold out again {PLACINGS_MAX} times")

    async def _try_to_place(self, basket: Basket, cart: Cart) -> PlaceOrderResponse:
        request = PlaceOrderRequest(
            cart_id=cart.cart_id,
            etag=cart.etag,
            expected_total=cart.total,
            contact=contact(basket.lines[0]),
            notes=f"invoice {basket.invoice}",
        )
        return await self._shop.command(rpcs.PLACE_ORDER, request, actor=ACTOR)

    async def _without_short_lines(
        self, cart: Cart, lines: Mapping[str, Line], refusal: Refused
    ) -> Cart:
        """Looks at the stock, at least as new as the refusal, and takes out what it cannot fill."""
        sku_ids = list({line.sku_id for line in cart.lines})
        stocks = await self._reads.stocks(sku_ids, refusal.token)
        for line_id in short_line_ids(cart.lines, stocks):
            cart = await self._remove_line(cart, line_id)
            self._accounts.settle(lines[line_id], Bucket.REFUSED, refusal.reason)
        return cart

    async def _note_placed(
        self, placed: PlaceOrderResponse, cart: Cart, lines: Mapping[str, Line]
    ) -> None:
        order, token = placed.order, placed.consistency_token
        for each in order.lines:
            line = lines[each.line_id]
            self._accounts.settle(line, Bucket.ORDERED)
            self._order_ids[line.number] = order.order_id
        expected_minor = sum(lines[each.line_id].amount_minor for each in cart.lines)
        self._accounts.expect_equal(f"total of {cart.cart_id}", order.total.amount_minor, expected_minor)
        await self._reads.expect_order(order, token)
        await self._reads.expect_cart_state(cart.cart_id, CART_STATE_ORDERED, token)
        await self._reads.expect_reserved(order, token)

    async def _pay(self, order: Order) -> None:
        """At the provider, where every tenth buyer's first card is declined; then waits for the shop."""
        if not order.total.amount_minor:
            return
        serial = _serial(order)
        request = StartPaymentRequest(
            order_id=order.order_id,
            provider="stripe",
            capture_mode=CAPTURE_MODE_WHEN_HELD if serial % 2 else CAPTURE_MODE_AT_ONCE,
        )
        started = await self._shop.command(rpcs.START_PAYMENT, request, actor=ACTOR)
        self._accounts.expect_equal(
            f"payment of {order.order_id}", started.payment.amount_minor, order.total.amount_minor
        )
        reference = started.payment.provider_reference
        if serial % DECLINED_ONE_IN == 0:
            await self._provider.decline(reference)
        await self._provider.pay(reference)
        await self._reads.wait_until_paid(order)

    async def _receive_parcels(self, order: Order) -> None:
        """All at once; every fifth order of several lines in two parcels."""
        if _serial(order) % PARCELS_TWO_ONE_IN == 0 and len(order.lines) > 1:
            half = order.lines[: len(order.lines) // 2]
            await self._receive_parcel(
                order, [OrderLineUnits(line_id=line.line_id, quantity=line.quantity) for line in half]
            )
        await self._receive_parcel(order, [])

    async def _receive_parcel(self, order: Order, units: Sequence[OrderLineUnits]) -> None:
        """A parcel with these units; with all that are left if it names none."""
        request = FulfillOrderLinesRequest(order_id=order.order_id, lines=units)
        shipped = await self._shop.command(rpcs.FULFILL_ORDER_LINES, request, actor=ACTOR)
        await self._reads.expect_order(shipped.order, shipped.consistency_token)


def _serial(order: Order) -> int:
    """The number of the order's invoice."""
    return int(order.cart_id.split("-")[1])


def is_restocked(line: Line) -> bool:
    """Whether what came back can be sold again."""
    return line.number % DAMAGED_ONE_IN != 0


def short_line_ids(lines: Sequence[CartLine], stocks: Mapping[str, Stock]) -> list[str]:
    """The lines that are not covered when stock goes to lines in their order."""
    available = {sku_id: stock.available for sku_id, stock in stocks.items()}
    short = []
    for line in lines:
        if line.quantity <= available.get(line.sku_id, 0):
            available[line.sku_id] -= line.quantity
        else:
            short.append(line.line_id)
    return short
