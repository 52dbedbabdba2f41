"""Carts in any number: the shop fills one, the others are its copies with other SKUs."""

import asyncio
from dataclasses import dataclass

import grpc
import psycopg

from benchmarks.bulk import Event, analyze, append_events, copy_rows
from benchmarks.filling import CALL_SECONDS_MAX
from benchmarks.shoppers import (
    CURRENCY,
    SKU_STRIDE,
    cart_id,
    new_id,
    sku_id,
)
from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_command
from shopkeeper.cart.v1 import cart_command_service_pb2_grpc as cart_grpc
from shopkeeper.cart.v1.cart_events_pb2 import CartCreated
from shopkeeper.cart.v1.cart_pb2 import Cart

TABLES = ("carts", "cart_lines")


@dataclass(frozen=True, slots=True)
class CartCopies:
    """A series of carts. template: the one that the shop has filled, with SKUs 1, 2, 3, ..."""

    database_url: str
    template: Cart
    prefix: str
    sku_count: int

    @classmethod
    async def of(
        cls, database_url: str, command_address: str, prefix: str, *, line_count: int, sku_count: int
    ) -> "CartCopies":
        """Has the shop fill the first cart of a series."""
        async with grpc.aio.insecure_channel(command_address) as channel:
            stub = cart_grpc.CartCommandServiceStub(channel)
            name = f"{prefix}-template"
            request = cart_command.CreateCartRequest(
                request_id=new_id(), cart_id=name, currency_code=CURRENCY
            )
            cart = (await stub.CreateCart(request, timeout=CALL_SECONDS_MAX)).cart
            for ordinal in range(line_count):
                line = cart_command.AddCartLineRequest(
                    request_id=new_id(), cart_id=name, sku_id=sku_id(1 + ordinal), quantity=1
                )
                cart = (await stub.AddCartLine(line, timeout=CALL_SECONDS_MAX)).cart
        return cls(database_url, cart, prefix, sku_count)

    @property
    def line_count(self) -> int:
        """Lines of each."""
        return len(self.template.lines)

    async def make(self, numbers: range) -> None:
        """Makes the carts of these numbers, rows and events."""
        if numbers:
            await asyncio.to_thread(self._make, numbers)

    def sku_number(self, number: int, ordinal: int) -> int:
        """The SKU of a line: others in each cart, and never one twice."""
        return SKU_STRIDE * (number * self.line_count + ordinal) % self.sku_count

    def _make(self, numbers: range) -> None:
        template_id, first = self.template.cart_id, numbers.start
        with psycopg.connect(self.database_url) as connection:
            name = f"'{self.prefix}-' || lpad(({first} + number)::text, 8, '0')"
            copies = {"cart_id": name}
            copy_rows(connection, "carts", {"cart_id": template_id}, copies, len(numbers))
            place = f"({first} + number)::bigint * {self.line_count} + template.ordinal - 1"
            sku = f"'SKU-' || lpad(({SKU_STRIDE} * ({place}) %% {self.sku_count})::text, 6, '0')"
            copies |= {"sku_id": sku, "title": f"'Thing ' || {sku}"}
            copy_rows(connection, "cart_lines", {"cart_id": template_id}, copies, len(numbers))
            append_events(connection, map(self._event, numbers))
        analyze(self.database_url, TABLES)

    def _event(self, number: int) -> Event:
        """One that tells the whole cart at once, as it is when a cart is made of another."""
        cart = Cart()
        cart.CopyFrom(self.template)
        cart.cart_id = cart_id(self.prefix, number)
        for ordinal, line in enumerate(cart.lines):
            line.sku_id = sku_id(self.sku_number(number, ordinal))
            line.title = f"Thing {line.sku_id}"
        payload = CartCreated(cart=cart).SerializeToString(deterministic=True)
        return Event("cart", CartCreated.DESCRIPTOR.full_name, cart.cart_id, payload)
