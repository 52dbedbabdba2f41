"""A customer's patience: the same request again until it is answered."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import grpc

from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1.payment_pb2 import Payment
from tests.system.client import Client, new_id, reason_of

AnswerT = TypeVar("AnswerT")

REFUSALS = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.NOT_FOUND,
}
"""Answers: the same request would only be answered so again."""

PAUSE_SECONDS = 0.3


class PatientClient:
    """Orders and pays at a shop whose processes and providers may be away. heard: what came instead."""

    def __init__(self, address: str, heard: Counter[str]) -> None:
        self._address = address
        self._heard = heard

    async def order(self, quantity_by_sku: dict[str, int]) -> Order:
        """An order over so much."""
        cart = None
        while cart is None:
            # A new cart each time: whether a lost one was made does not matter here.
            with suppress(grpc.aio.AioRpcError):
                async with Client(self._address) as client:
                    cart = await client.fill_cart(quantity_by_sku)
        request = ordering_pb.PlaceOrderRequest(
            request_id=new_id(), cart_id=cart.cart_id, etag=cart.etag, expected_total=cart.total
        )
        placed = await self._insist(lambda client: client.ordering.PlaceOrder(request, timeout=20))
        assert placed is not None
        return placed.order

    async def start(self, order: Order, **wish: Any) -> Payment | None:
        """A payment; None when the order does not want money any more."""
        request = payment_pb.StartPaymentRequest(
            request_id=new_id(),
            order_id=order.order_id,
            customer_return_url="https://shop.example/paid",
            **wish,
        )
        started = await self._insist(lambda client: client.payment.StartPayment(request, timeout=30))
        return None if started is None else started.payment

    async def cancel(self, order: Order) -> None:
        """Calls the order off, if it is not too late."""
        request = ordering_pb.CancelOrderRequest(request_id=new_id(), order_id=order.order_id)
        await self._insist(lambda client: client.ordering.CancelOrder(request, timeout=20))

    async def _insist(self, call: Callable[[Client], Awaitable[AnswerT]]) -> AnswerT | None:
        """Sends the same request until it is answered; None when it is refused."""
        while True:
            try:
                async with Client(self._address) as client:
                    return await call(client)
            except grpc.aio.AioRpcError as error:
                if error.code() in REFUSALS:
                    self._heard[f"refused {reason_of(error)}"] += 1
                    return None
                self._heard[error.code().name] += 1
            await asyncio.sleep(PAUSE_SECONDS)
