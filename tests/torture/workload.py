"""Buyers and readers; staff is apart. Each has chance of its own, drawn from the seed, to decide by."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1 import cart_query_service_pb2 as carts_pb
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.catalog.v1 import catalog_query_service_pb2 as catalogs_pb
from shopkeeper.inventory.v1 import inventory_history_service_pb2 as past_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1 import ordering_query_service_pb2 as orders_pb
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderState
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1 import payment_query_service_pb2 as payments_pb
from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_AT_ONCE,
    CAPTURE_MODE_ON_COMMAND,
    CAPTURE_MODE_WHEN_HELD,
    PAYMENT_FLOW_EMBEDDED,
    PAYMENT_FLOW_HOSTED,
    Payment,
)
from shopkeeper.pricing.v1 import pricing_query_service_pb2 as prices_pb
from shopkeeper.types.v1.money_pb2 import Money
from tests.system.client import sku
from tests.torture.calls import Caller

SKU_IDS = [f"sku-{number}" for number in range(6)]
"""Few, so that buyers meet; the first one is scarce, so that it is sold out most of the time."""
SCARCE = SKU_IDS[0]
OPENING_STOCK = 40
HOLD_SECONDS_MIN, HOLD_SECONDS_MAX = 2, 6
"""Of an unpaid order: many expire while things go wrong."""
SHIP_QUEUE_MAX = 200
THINK_SECONDS_MAX = 0.05
ORDERS_PER_CUSTOMER = 10
"""So that all of them stand on the first page of a list."""
RECENT = 50
"""Carts, orders and payments that readers ask for are among so many."""
MERGE_PROBABILITY = 0.1
COUPON_PROBABILITY = 0.4
COUPON_REMOVED_PROBABILITY = 0.2
PRICE_MINOR_MIN, PRICE_MINOR_MAX = 100, 10_000_000
"""So many that none comes twice in a row; an order of the dearest is one that a provider takes."""
COUPONS_MAX = 5
"""That buyers know: so few that several want the last use of one."""
TO_CAPTURE_MAX = 10
"""So few that none of them waits for long: its order expires within seconds."""
ORDERS_PER_PAGE = 20
"""Of those in a state: some of these lists fit, some go on for ever."""
ORDER_STATES = [state for state in OrderState.values() if state]


class Till(Protocol):
    """Where customers pay at the provider."""

    async def act(self, payment: Payment, act: str) -> None:
        """What the customer does there; the provider may not let them."""
        ...

    def newest_refund(self, order_id: str) -> tuple[str, int] | None:
        """The provider's name for the order's newest refund there, and how much it was."""
        ...


@dataclass(slots=True)
class Market:
    """What buyers, staff and readers know of each other. newest_token: of the last answer to anybody."""

    till: Till
    to_ship: list[Order] = field(default_factory=list)
    to_return: list[Order] = field(default_factory=list)
    to_capture: deque[Payment] = field(default_factory=partial(deque, maxlen=TO_CAPTURE_MAX))
    coupons: deque[str] = field(default_factory=partial(deque, maxlen=COUPONS_MAX))
    carts: deque[str] = field(default_factory=partial(deque, maxlen=RECENT))
    orders: deque[Order] = field(default_factory=partial(deque, maxlen=RECENT))
    payments: deque[Payment] = field(default_factory=partial(deque, maxlen=RECENT))
    paid_online: deque[Payment] = field(default_factory=partial(deque, maxlen=RECENT))
    newest_token: str = ""
    is_over: bool = False

    @property
    def position(self) -> int:
        """How far the log has come, as far as anybody was told."""
        return max(0, _position(self.newest_token))

    def hear(self, token: str) -> None:
        """Remembers a token, if it is newer than what was known."""
        if token and _position(token) > _position(self.newest_token):
            self.newest_token = token


def _position(token: str) -> int:
    return int(token.rpartition(".")[2] or -1)


class Person:
    """Somebody who does one thing after the other until the market is over."""

    def __init__(self, caller: Caller, market: Market) -> None:
        self._caller = caller
        self._chance = caller.chance
        self._market = market

    async def live(self) -> None:
        """Goes on until it is over."""
        while not self._market.is_over:
            await self.act()
            await asyncio.sleep(self._chance.uniform(0.0, THINK_SECONDS_MAX))

    async def act(self) -> None:
        """Does one thing."""
        raise NotImplementedError

    def new_id(self) -> str:
        """An id of this seed's: the same run makes the same."""
        return new_id(self._chance)

    async def command(self, request: Any, **options: Any) -> Any:
        """The response, or None if there was none."""
        operation, response = await self._caller.command(request, **options)
        self._market.hear(operation.token)
        return response


def new_id(chance: Random) -> str:
    """A UUID made by chance that can be repeated."""
    return str(UUID(int=chance.getrandbits(128), version=4))


class Buyer(Person):
    """Fills a cart, orders, and then pays, or does not: another customer every few visits."""

    _visit_count = 0

    async def act(self) -> None:
        """One visit."""
        order = await self._order()
        if order is None:
            return
        self._market.orders.append(order)
        behaviour = self._chance.choices(
            ["pays", "pays online", "leaves", "cancels", "pays and cancels"],
            weights=[35, 35, 10, 5, 15],
        )[0]
        match behaviour:
            case "pays":
                await self._pay(order)
            case "pays online":
                await self._pay_online(order)
            case "cancels":
                await self._cancel(order)
            case "pays and cancels":
                pay = self._chance.choice([self._pay, self._pay_online])
                await asyncio.gather(pay(order), self._cancel(order))

    async def _order(self) -> Order | None:
        wanted = self._chance.sample(SKU_IDS, self._chance.randint(1, 2))
        customer_id = f"{self._caller.actor}, {self._visit_count // ORDERS_PER_CUSTOMER}"
        self._visit_count += 1
        cart = await self._filled(customer_id, wanted)
        if cart is not None and self._chance.random() < MERGE_PROBABILITY:
            cart = await self._merged(cart)
        if cart is not None and self._market.coupons and self._chance.random() < COUPON_PROBABILITY:
            cart = await self._with_coupon(cart)
        if cart is None:
            return None
        hold_seconds = self._chance.randint(HOLD_SECONDS_MIN, HOLD_SECONDS_MAX)
        placed = await self.command(
            ordering_pb.PlaceOrderRequest(
                request_id=self.new_id(),
                cart_id=cart.cart_id,
                etag=cart.etag,
                expected_total=cart.total,
                hold_duration=Duration(seconds=hold_seconds),
            )
        )
        return None if placed is None else placed.order

    async def _filled(self, customer_id: str, wanted: Sequence[str]) -> Cart | None:
        """A new cart. customer_id: "" for a guest's."""
        cart_id = self.new_id()
        made = await self.command(
            cart_pb.CreateCartRequest(
                request_id=self.new_id(), cart_id=cart_id, currency_code="GBP", customer_id=customer_id
            )
        )
        self._market.carts.append(cart_id)
        for sku_id in wanted:
            if made is None:
                return None
            made = await self.command(self._line(cart_id, sku_id))
        return None if made is None else made.cart

    def _line(self, cart_id: str, sku_id: str) -> cart_pb.AddCartLineRequest:
        quantity = self._chance.randint(1, 3)
        return cart_pb.AddCartLineRequest(
            request_id=self.new_id(), cart_id=cart_id, sku_id=sku_id, quantity=quantity
        )

    async def _merged(self, cart: Cart) -> Cart | None:
        """The cart with what its customer had put into another before logging in, or goes on putting."""
        guest = await self._filled("", [self._chance.choice(SKU_IDS)])
        if guest is None:
            return None
        merging = self.command(
            cart_pb.MergeCartsRequest(
                request_id=self.new_id(), from_cart_id=guest.cart_id, into_cart_id=cart.cart_id
            )
        )
        if self._chance.random() < 0.3:
            late_line = self._line(guest.cart_id, self._chance.choice(SKU_IDS))
            merged, _ = await asyncio.gather(merging, self.command(late_line))
        else:
            merged = await merging
        return None if merged is None else merged.cart

    async def _with_coupon(self, cart: Cart) -> Cart | None:
        """The cart as it was where the coupon is refused."""
        coupon: dict[str, Any] = {
            "cart_id": cart.cart_id,
            "coupon_code": self._chance.choice(self._market.coupons),
        }
        applied = await self.command(cart_pb.ApplyCouponRequest(request_id=self.new_id(), **coupon))
        if applied is None or self._chance.random() > COUPON_REMOVED_PROBABILITY:
            return cart if applied is None else applied.cart
        removed = await self.command(cart_pb.RemoveCouponRequest(request_id=self.new_id(), **coupon))
        return None if removed is None else removed.cart

    async def _pay(self, order: Order) -> None:
        paid = await self.command(
            ordering_pb.RecordPaymentRequest(
                request_id=self.new_id(),
                order_id=order.order_id,
                payment_reference=self.new_id(),
                amount=Money(currency_code="GBP", amount_minor=order.total.amount_minor),
            )
        )
        if paid is not None and len(self._market.to_ship) < SHIP_QUEUE_MAX:
            self._market.to_ship.append(order)

    async def _pay_online(self, order: Order) -> None:
        started = await self.command(
            payment_pb.StartPaymentRequest(
                request_id=self.new_id(),
                order_id=order.order_id,
                provider="stripe",
                flow=self._chance.choice([PAYMENT_FLOW_EMBEDDED, PAYMENT_FLOW_HOSTED]),
                capture_mode=self._chance.choice(
                    [CAPTURE_MODE_AT_ONCE, CAPTURE_MODE_WHEN_HELD, CAPTURE_MODE_ON_COMMAND]
                ),
                customer_return_url="https://shop.example/paid",
            )
        )
        if started is None:
            return
        self._market.payments.append(started.payment)
        if not started.payment.provider_reference:
            return
        if self._chance.random() < 0.2:
            await self._market.till.act(started.payment, "decline")
        await self._market.till.act(started.payment, "pay")
        self._market.paid_online.append(started.payment)
        if started.payment.capture_mode == CAPTURE_MODE_ON_COMMAND:
            self._market.to_capture.append(started.payment)
        if len(self._market.to_ship) < SHIP_QUEUE_MAX:
            self._market.to_ship.append(order)

    async def _cancel(self, order: Order) -> None:
        await self.command(
            ordering_pb.CancelOrderRequest(request_id=self.new_id(), order_id=order.order_id)
        )


class Reader(Person):
    """Asks for what was just written."""

    async def act(self) -> None:
        """One question: half of them insist on the newest answer that anybody had."""
        if self._chance.random() < 0.1:
            await self._caller.query(past_pb.ExplainStockRequest(sku_id=self._chance.choice(SKU_IDS)))
            return
        token = self._market.newest_token if self._chance.random() < 0.5 else ""
        wishes = [
            *([self._stock] * 18 + [self._stocks] * 9 + [self._cart] * 10),
            *([self._order] * 15 + [self._orders] * 9 + [self._orders_in_state] * 12),
            *([self._payment] * 8 + [self._money] * 7),
            *([self._product] * 3 + [self._sku] * 3 + [self._prices_of_one] * 3 + [self._prices] * 3),
        ]
        await self._caller.query(self._chance.choice(wishes)(token))

    def _stock(self, token: str) -> Any:
        sku_id = self._chance.choice(SKU_IDS)
        return stock_pb.GetStockRequest(sku_id=sku_id, at_least_as_fresh=token)

    def _stocks(self, token: str) -> Any:
        return stock_pb.BatchGetStockRequest(sku_ids=SKU_IDS, at_least_as_fresh=token)

    def _order(self, token: str) -> Any:
        if not self._market.orders:
            return self._stock(token)
        order = self._chance.choice(self._market.orders)
        return orders_pb.GetOrderRequest(order_id=order.order_id, at_least_as_fresh=token)

    def _orders(self, token: str) -> Any:
        if not self._market.orders:
            return self._stock(token)
        order = self._chance.choice(self._market.orders)
        return orders_pb.ListCustomerOrdersRequest(
            customer_id=order.customer_id, at_least_as_fresh=token
        )

    def _orders_in_state(self, token: str) -> Any:
        return orders_pb.ListOrdersByStateRequest(
            state=self._chance.choice(ORDER_STATES),
            page_size=ORDERS_PER_PAGE,
            at_least_as_fresh=token,
        )

    def _payment(self, token: str) -> Any:
        if not self._market.payments:
            return self._stock(token)
        payment = self._chance.choice(self._market.payments)
        return payments_pb.GetPaymentRequest(payment_id=payment.payment_id, at_least_as_fresh=token)

    def _money(self, token: str) -> Any:
        if not self._market.payments:
            return self._stock(token)
        payment = self._chance.choice(self._market.payments)
        return payments_pb.GetOrderMoneyRequest(order_id=payment.order_id, at_least_as_fresh=token)

    def _product(self, token: str) -> Any:
        product_id = sku(SCARCE).product_id
        return catalogs_pb.GetProductRequest(product_id=product_id, at_least_as_fresh=token)

    def _sku(self, token: str) -> Any:
        sku_id = self._chance.choice(SKU_IDS)
        return catalogs_pb.GetSkuRequest(sku_id=sku_id, at_least_as_fresh=token)

    def _prices_of_one(self, token: str) -> Any:
        sku_id = self._chance.choice(SKU_IDS)
        return prices_pb.GetPricesRequest(sku_id=sku_id, at_least_as_fresh=token)

    def _prices(self, token: str) -> Any:
        return prices_pb.BatchGetPricesRequest(sku_ids=SKU_IDS, at_least_as_fresh=token)

    def _cart(self, token: str) -> Any:
        if not self._market.carts:
            return self._stock(token)
        cart_id = self._chance.choice(self._market.carts)
        return carts_pb.GetCartRequest(
            cart_id=cart_id, at_least_as_fresh=token, include_stock=self._chance.random() < 0.5
        )
