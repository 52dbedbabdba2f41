"""Buyers, staff and readers. Each has chance of its own, drawn from the seed, to decide by."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Protocol
from uuid import UUID

from google.protobuf.duration_pb2 import Duration

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1 import cart_query_service_pb2 as carts_pb
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_pb
from shopkeeper.catalog.v1 import catalog_query_service_pb2 as catalogs_pb
from shopkeeper.catalog.v1.catalog_pb2 import Product
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_history_service_pb2 as past_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1.inventory_pb2 import ReservationLine
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1 import ordering_query_service_pb2 as orders_pb
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderLineUnits, OrderState
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1 import payment_query_service_pb2 as payments_pb
from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_AT_ONCE,
    CAPTURE_MODE_WHEN_HELD,
    PAYMENT_FLOW_EMBEDDED,
    PAYMENT_FLOW_HOSTED,
    Payment,
)
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1 import pricing_query_service_pb2 as prices_pb
from shopkeeper.pricing.v1.pricing_pb2 import PriceTier
from shopkeeper.types.v1.money_pb2 import Money
from tests.system.client import LOCATION, PRICE_LIST, sku
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
PRICE_MINOR_MIN, PRICE_MINOR_MAX = 100, 10_000_000
"""So many that none comes twice in a row; an order of the dearest is one that a provider takes."""
ORDERS_PER_PAGE = 20
"""Of those in a state: some of these lists fit, some go on for ever."""
ORDER_STATES = [state for state in OrderState.values() if state]


class Till(Protocol):
    """Where customers pay at the provider."""

    async def act(self, payment: Payment, act: str) -> None:
        """What the customer does there; the provider may not let them."""
        ...


@dataclass(slots=True)
class Market:
    """What buyers, staff and readers know of each other. newest_token: of the last answer to anybody."""

    till: Till
    to_ship: list[Order] = field(default_factory=list)
    to_return: list[Order] = field(default_factory=list)
    carts: deque[str] = field(default_factory=partial(deque, maxlen=RECENT))
    orders: deque[Order] = field(default_factory=partial(deque, maxlen=RECENT))
    payments: deque[Payment] = field(default_factory=partial(deque, maxlen=RECENT))
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
        cart_id = self.new_id()
        customer_id = f"{self._caller.actor}, {self._visit_count // ORDERS_PER_CUSTOMER}"
        self._visit_count += 1
        made = await self.command(
            cart_pb.CreateCartRequest(
                request_id=self.new_id(), cart_id=cart_id, currency_code="GBP", customer_id=customer_id
            )
        )
        self._market.carts.append(cart_id)
        for sku_id in wanted:
            if made is None:
                return None
            quantity = self._chance.randint(1, 3)
            made = await self.command(
                cart_pb.AddCartLineRequest(
                    request_id=self.new_id(), cart_id=cart_id, sku_id=sku_id, quantity=quantity
                )
            )
        if made is None:
            return None
        hold_seconds = self._chance.randint(HOLD_SECONDS_MIN, HOLD_SECONDS_MAX)
        placed = await self.command(
            ordering_pb.PlaceOrderRequest(
                request_id=self.new_id(),
                cart_id=cart_id,
                etag=made.cart.etag,
                expected_total=made.cart.total,
                hold_duration=Duration(seconds=hold_seconds),
            )
        )
        return None if placed is None else placed.order

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
                capture_mode=self._chance.choice([CAPTURE_MODE_AT_ONCE, CAPTURE_MODE_WHEN_HELD]),
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
        if len(self._market.to_ship) < SHIP_QUEUE_MAX:
            self._market.to_ship.append(order)

    async def _cancel(self, order: Order) -> None:
        await self.command(
            ordering_pb.CancelOrderRequest(request_id=self.new_id(), order_id=order.order_id)
        )


class Clerk(Person):
    """Receives goods, ships what is paid, takes back what is sent, puts things aside, and labels."""

    async def act(self) -> None:
        """One thing to do."""
        deeds = [self._receive, self._ship, self._take_back, self._put_aside, self._label]
        [deed] = self._chance.choices(deeds, weights=[25, 40, 10, 19, 6])
        await deed()

    async def _receive(self) -> None:
        wanted = self._chance.sample(SKU_IDS, self._chance.randint(1, 3))
        units = {
            sku_id: self._chance.randint(1, 2 if sku_id == SCARCE else 12) for sku_id in sorted(wanted)
        }
        rows = [
            inventory_pb.StockRow(sku_id=sku_id, location_id=LOCATION, quantity=quantity)
            for sku_id, quantity in units.items()
        ]
        request = inventory_pb.ReceiveStockRequest(request_id=self.new_id(), rows=rows)
        await self.command(request, units=units)

    async def _ship(self) -> None:
        if not self._market.to_ship:
            return
        order = self._market.to_ship.pop(self._chance.randrange(len(self._market.to_ship)))
        lines = [OrderLineUnits(line_id=each.line_id, quantity=each.quantity) for each in order.lines]
        shipped = await self.command(
            ordering_pb.FulfillOrderLinesRequest(
                request_id=self.new_id(), order_id=order.order_id, lines=lines
            ),
            units={sku_id: -quantity for sku_id, quantity in units_of(order).items()},
        )
        if shipped is not None and len(self._market.to_return) < SHIP_QUEUE_MAX:
            self._market.to_return.append(order)

    async def _take_back(self) -> None:
        if not self._market.to_return:
            return
        order = self._market.to_return.pop(self._chance.randrange(len(self._market.to_return)))
        lines = [
            ordering_pb.ReturnedUnits(
                line_id=each.line_id, quantity=each.quantity, restock=True, location_id=LOCATION
            )
            for each in order.lines
        ]
        await self.command(
            ordering_pb.ReturnOrderLinesRequest(
                request_id=self.new_id(), order_id=order.order_id, lines=lines
            ),
            units=units_of(order),
        )

    async def _put_aside(self) -> None:
        """A reservation for nobody in particular, given back or left to expire."""
        reservation_id = self.new_id()
        sku_id, quantity = self._chance.choice(SKU_IDS), self._chance.randint(1, 3)
        made = await self.command(
            inventory_pb.ReserveStockRequest(
                request_id=self.new_id(),
                reservation_id=reservation_id,
                reference="put aside",
                lines=[ReservationLine(sku_id=sku_id, quantity=quantity)],
                hold_duration=Duration(seconds=self._chance.randint(1, HOLD_SECONDS_MAX)),
            )
        )
        if made is not None and self._chance.random() < 0.5:
            await self.command(
                inventory_pb.ReleaseReservationRequest(
                    request_id=self.new_id(), reservation_id=reservation_id
                )
            )

    async def _label(self) -> None:
        """Another title or price, under which somebody is about to order."""
        sku_id, title = self._chance.choice(SKU_IDS), f"Things, print {self._chance.getrandbits(32)}"
        labelled = sku(sku_id)
        labelled.title = title
        price_minor = self._chance.randint(PRICE_MINOR_MIN, PRICE_MINOR_MAX)
        priced = pricing_pb.PriceRow(
            sku_id=sku_id, tiers=[PriceTier(min_quantity=1, unit_price_minor=price_minor)]
        )
        product = Product(product_id=labelled.product_id, title=title, active=True)
        requests = [
            catalog_pb.UpsertProductsRequest(request_id=self.new_id(), products=[product]),
            catalog_pb.UpsertSkusRequest(request_id=self.new_id(), skus=[labelled]),
            pricing_pb.UpsertPricesRequest(
                request_id=self.new_id(), price_list_id=PRICE_LIST, rows=[priced]
            ),
        ]
        await self.command(self._chance.choice(requests))


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


def units_of(order: Order) -> dict[str, int]:
    """What was ordered, by SKU."""
    found: dict[str, int] = {}
    for line in order.lines:
        found[line.sku_id] = found.get(line.sku_id, 0) + line.quantity
    return found


async def give_back(caller: Caller, surplus_minor: Mapping[str, int]) -> None:
    """Staff returns what customers paid at the counter for orders that are closed, by order."""
    for order_id, amount_minor in sorted(surplus_minor.items()):
        await caller.command(
            ordering_pb.RecordRefundRequest(
                request_id=new_id(caller.chance),
                order_id=order_id,
                refund_reference=new_id(caller.chance),
                amount=Money(currency_code="GBP", amount_minor=amount_minor),
            )
        )
