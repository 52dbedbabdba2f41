"""Steady load: visitors who come at a fixed rate, whatever becomes of those before them."""

import asyncio
from collections import Counter
from itertools import cycle
from random import Random

import grpc

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.cart.v1.cart_query_service_pb2_grpc import CartQueryServiceStub
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from shopkeeper.inventory.v1.inventory_history_service_pb2_grpc import InventoryHistoryServiceStub
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockRequest
from shopkeeper.inventory.v1.inventory_query_service_pb2_grpc import InventoryQueryServiceStub
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.ordering.v1.ordering_query_service_pb2 import GetOrderRequest
from shopkeeper.ordering.v1.ordering_query_service_pb2_grpc import OrderingQueryServiceStub
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1.payment_pb2 import CAPTURE_MODE_AT_ONCE
from shopkeeper.types.v1.money_pb2 import Money
from tests.system.client import (
    CONNECTION_OF_ITS_OWN,
    DEADLINE_SECONDS,
    Client,
    new_id,
    place_request,
    reason_of,
)
from tests.system.conftest import WholeShop

SKU_IDS = [f"sku-{number}" for number in range(20)]
OPENING_STOCK = 1_000_000
CONNECTION_COUNT = 16
"""Of commands, and of questions. The kernel deals them out among the processes, each of which has to be
in use from the first minute on: what warms up in the second half looks like a leak."""
AT_ONCE_MAX = 200
"""Visitors at a time; one who finds as many is counted as turned away, and the load is not steady."""


class Visits:
    """All visitors of a shop. answers: how often each call ended how; order_count: orders placed."""

    def __init__(self, shop: WholeShop, seed: int) -> None:
        self._chance = Random(seed)
        self._commands = [Client(shop.command_address) for _ in range(CONNECTION_COUNT)]
        self._queries = [
            grpc.aio.insecure_channel(shop.query_address, options=CONNECTION_OF_ITS_OWN)
            for _ in range(CONNECTION_COUNT)
        ]
        self._next_query = cycle(self._queries)
        self._history = grpc.aio.insecure_channel(shop.environment["HISTORY_ADDRESS"])
        self._under_way: set[asyncio.Task[None]] = set()
        self.answers: Counter[str] = Counter()
        self.order_count = 0

    async def open(self) -> None:
        """Makes what is on sale."""
        await self._commands[0].open_shop(SKU_IDS, OPENING_STOCK)

    async def close(self) -> None:
        """Waits for those who are there."""
        await asyncio.gather(*self._under_way)
        for channel in (*(client.channel for client in self._commands), *self._queries, self._history):
            await channel.close()

    async def come(self, *, seconds: float, per_second: float) -> None:
        """Lets visitors in at that rate, for so long."""
        loop = asyncio.get_running_loop()
        begun, count = loop.time(), int(seconds * per_second)
        for number in range(count):
            await asyncio.sleep(begun + number / per_second - loop.time())
            if len(self._under_way) >= AT_ONCE_MAX:
                self.answers["turned away"] += 1
                continue
            task = asyncio.create_task(self._visit(self._commands[number % len(self._commands)]))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _visit(self, client: Client) -> None:
        try:
            cart = await self._fill(client)
            if self._chance.random() < 0.3:
                return
            await self._buy(client, cart)
        except grpc.aio.AioRpcError as error:
            self.answers[f"{error.code().name} {_reason(error)}"] += 1
        else:
            self.answers["OK"] += 1

    async def _fill(self, client: Client) -> Cart:
        """A cart that is edited and looked at."""
        wanted = self._chance.sample(SKU_IDS, self._chance.randint(1, 4))
        cart = await client.fill_cart(dict.fromkeys(wanted, 1))
        more = cart_pb.SetCartLineQuantityRequest(
            request_id=new_id(), cart_id=cart.cart_id, line_id=wanted[0], quantity=2
        )
        edited = await client.cart.SetCartLineQuantity(more, timeout=DEADLINE_SECONDS)
        fresh = GetCartRequest(cart_id=cart.cart_id, at_least_as_fresh=edited.consistency_token)
        await CartQueryServiceStub(next(self._next_query)).GetCart(fresh, timeout=DEADLINE_SECONDS)
        ask = InventoryQueryServiceStub(next(self._next_query)).BatchGetStock
        await ask(BatchGetStockRequest(sku_ids=wanted), timeout=DEADLINE_SECONDS)
        return edited.cart

    async def _buy(self, client: Client, cart: Cart) -> None:
        placed = await client.ordering.PlaceOrder(place_request(cart), timeout=DEADLINE_SECONDS)
        order = placed.order
        self.order_count += 1
        fate = self._chance.choices(
            ["pays", "pays at Stripe", "leaves", "cancels"], weights=[70, 10, 10, 10]
        )[0]
        match fate:
            case "pays":
                await client.pay(order)
                await self._receive(client, order)
            case "pays at Stripe":
                await self._pay_at_stripe(client, order)
            case "cancels":
                request = ordering_pb.CancelOrderRequest(request_id=new_id(), order_id=order.order_id)
                await client.ordering.CancelOrder(request, timeout=DEADLINE_SECONDS)
        look = GetOrderRequest(order_id=order.order_id, at_least_as_fresh=placed.consistency_token)
        await OrderingQueryServiceStub(next(self._next_query)).GetOrder(look, timeout=DEADLINE_SECONDS)

    async def _pay_at_stripe(self, client: Client, order: Order) -> None:
        request = payment_pb.StartPaymentRequest(
            request_id=new_id(),
            order_id=order.order_id,
            provider="stripe",
            capture_mode=CAPTURE_MODE_AT_ONCE,
            payment_method="pm_card_visa",
        )
        await client.payment.StartPayment(request, timeout=DEADLINE_SECONDS)

    async def _receive(self, client: Client, order: Order) -> None:
        """Gets the parcel; one in five sends a unit back and is refunded."""
        shipped = ordering_pb.FulfillOrderLinesRequest(request_id=new_id(), order_id=order.order_id)
        await client.ordering.FulfillOrderLines(shipped, timeout=DEADLINE_SECONDS)
        if self._chance.random() < 0.8:
            return
        line = order.lines[0]
        units = [ordering_pb.ReturnedUnits(line_id=line.line_id, quantity=1, restock=True)]
        returned = ordering_pb.ReturnOrderLinesRequest(
            request_id=new_id(), order_id=order.order_id, lines=units
        )
        await client.ordering.ReturnOrderLines(returned, timeout=DEADLINE_SECONDS)
        refund = ordering_pb.RecordRefundRequest(
            request_id=new_id(),
            order_id=order.order_id,
            refund_reference=new_id(),
            amount=Money(currency_code="GBP", amount_minor=line.unit_price_minor),
        )
        await client.ordering.RecordRefund(refund, timeout=DEADLINE_SECONDS)
        if self._chance.random() < 0.05:
            # It lists every movement of a SKU: rarely asked for, and the longer the ledger the slower.
            explain = ExplainStockRequest(sku_id=line.sku_id, page_size=100)
            ask = InventoryHistoryServiceStub(self._history).ExplainStock
            await ask(explain, timeout=DEADLINE_SECONDS)


def _reason(error: grpc.aio.AioRpcError) -> str:
    """What the service says; of an answer that is none of a service, what gRPC says."""
    trailers = dict(error.trailing_metadata() or ())
    return reason_of(error) if "grpc-status-details-bin" in trailers else str(error.details())
