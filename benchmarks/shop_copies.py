"""A shop of any size: it makes one SKU, one order and one reservation; the others are their copies."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import grpc
import psycopg
from google.protobuf.duration_pb2 import Duration

from benchmarks.bulk import Connection, analyze, append_events, copy_rows, events_of, in_copies
from benchmarks.cart_copies import CartCopies
from benchmarks.filling import CALL_SECONDS_MAX, open_shop
from benchmarks.shoppers import CURRENCY, HOLD_SECONDS, PRICE_MINOR, new_id, product_id, sku_id
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory
from shopkeeper.inventory.v1 import inventory_command_service_pb2_grpc as inventory_grpc
from shopkeeper.inventory.v1.inventory_pb2 import ReservationLine
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering
from shopkeeper.ordering.v1 import ordering_command_service_pb2_grpc as ordering_grpc
from shopkeeper.types.v1.money_pb2 import Money

SKU_TABLES = ("skus", "sku_price_roots", "prices", "stock_items", "stock_levels")
"""Those that have rows of a SKU, in the order of their foreign keys; movements are of the ledger."""

TEMPLATE_SKU_COUNT = 3
"""The hot one, and two for the template's order."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of everything."""

    sku_count: int
    order_count: int = 0
    reservation_count: int = 0


async def fill_shop(database_url: str, command_address: str, size: Size) -> None:
    """Has the shop made: what it makes itself, and the copies."""
    await open_shop(command_address, range(TEMPLATE_SKU_COUNT))
    await asyncio.to_thread(_copy_skus, database_url, size.sku_count - TEMPLATE_SKU_COUNT)
    if size.order_count:
        order_id = await place_template_order(database_url, command_address, size.sku_count)
        await asyncio.to_thread(_copy_orders, database_url, order_id, size.order_count)
    if size.reservation_count:
        reservation_id = await _reserve(command_address)
        count = size.reservation_count
        await asyncio.to_thread(_copy_reservations, database_url, reservation_id, count)


async def place_template_order(database_url: str, command_address: str, sku_count: int) -> str:
    """Places the order of a cart of two lines; the order's id."""
    copies = await CartCopies.of(
        *(database_url, command_address, "model"), line_count=2, sku_count=sku_count
    )
    request = ordering.PlaceOrderRequest(
        request_id=new_id(),
        cart_id=copies.template.cart_id,
        etag=copies.template.etag,
        expected_total=Money(currency_code=CURRENCY, amount_minor=2 * PRICE_MINOR),
        hold_duration=Duration(seconds=HOLD_SECONDS),
    )
    async with grpc.aio.insecure_channel(command_address) as channel:
        stub = ordering_grpc.OrderingCommandServiceStub(channel)
        answer = await stub.PlaceOrder(request, timeout=CALL_SECONDS_MAX)
    return str(answer.order.order_id)


async def _reserve(command_address: str) -> str:
    request = inventory.ReserveStockRequest(
        request_id=new_id(),
        reservation_id=new_id(),
        reference="benchmark",
        lines=[ReservationLine(sku_id=sku_id(1), quantity=1)],
        hold_duration=Duration(seconds=HOLD_SECONDS),
    )
    async with grpc.aio.insecure_channel(command_address) as channel:
        stub = inventory_grpc.InventoryCommandServiceStub(channel)
        await stub.ReserveStock(request, timeout=CALL_SECONDS_MAX)
    return request.reservation_id


def _copy_skus(database_url: str, count: int) -> None:
    first, sku, product = TEMPLATE_SKU_COUNT, sku_id(0), product_id(0)
    digits = f"lpad(({first} + number)::text, 6, '0')"
    copies = {"sku_id": f"'SKU-' || {digits}", "product_id": f"'PRO-' || {digits}"}
    with psycopg.connect(database_url) as connection:
        copy_rows(connection, "products", {"product_id": product}, copies, count)
        for table in SKU_TABLES:
            copy_rows(connection, table, {"sku_id": sku}, copies, count)
        numbers = range(first, first + count)
        names = ({sku: sku_id(number), product: product_id(number)} for number in numbers)
        append_events(connection, in_copies(events_of(connection, [product, sku]), names))
    analyze(database_url, ("products", *SKU_TABLES))


def _copy_orders(database_url: str, order_id: str, count: int) -> None:
    """Orders with their reservations."""
    copied = {
        "order_id": _numbered_id("order_id"),
        "order_number": "'copy-' || number",
        "cart_id": "'copy-' || number",
    }
    with psycopg.connect(database_url) as connection:
        for table in ("orders", "order_lines"):
            copy_rows(connection, table, {"order_id": order_id}, copied, count)
        _copy_reservation_rows(connection, order_id, count)
    analyze(database_url, ("orders", "order_lines", "reservations", "reservation_lines"))


def _copy_reservations(database_url: str, reservation_id: str, count: int) -> None:
    with psycopg.connect(database_url) as connection:
        _copy_reservation_rows(connection, reservation_id, count)
    analyze(database_url, ("reservations", "reservation_lines"))


def _copy_reservation_rows(connection: Connection, reservation_id: str, count: int) -> None:
    copied: Mapping[str, str] = {"reservation_id": _numbered_id("reservation_id")}
    for table in ("reservations", "reservation_lines"):
        copy_rows(connection, table, {"reservation_id": reservation_id}, copied, count)


def _numbered_id(column: str) -> str:
    """A UUID whose first digits are the number."""
    return f"lpad(to_hex(number), 8, '0') || substr(template.{column}, 9)"
