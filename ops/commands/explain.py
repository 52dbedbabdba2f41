"""`explain`: any number of the shop, as the facts that add up to it."""

import asyncio
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import grpc
import typer
from rich.text import Text

from ops.commands.options import DATA_DIR, LOOK, Address, DataDir, console
from ops.explanations import (
    available_text,
    happenings_table,
    ledger_differences,
    stock_accounts,
    stock_table,
    total_table,
)
from ops.failures import Problem, visible
from ops.rpc import CALL_SECONDS_MAX, address_of, channel_to
from shopkeeper.cart.v1.cart_history_service_pb2 import (
    ExplainCartTotalRequest,
    ExplainCartTotalResponse,
)
from shopkeeper.cart.v1.cart_history_service_pb2_grpc import CartHistoryServiceStub
from shopkeeper.inventory.v1.inventory_history_service_pb2 import (
    ExplainStockRequest,
    ExplainStockResponse,
)
from shopkeeper.inventory.v1.inventory_history_service_pb2_grpc import InventoryHistoryServiceStub
from shopkeeper.ordering.v1.ordering_history_service_pb2 import (
    ExplainOrderRequest,
    ExplainOrderTotalRequest,
    ExplainOrderTotalResponse,
    OrderHappening,
    SearchOrdersRequest,
)
from shopkeeper.ordering.v1.ordering_history_service_pb2_grpc import OrderingHistoryServiceStub

app = typer.Typer()
explain = typer.Typer(
    name="explain",
    no_args_is_help=True,
    help="Tell why: the facts behind a stock number, an order or a total, and their sum.",
)
app.add_typer(explain, rich_help_panel=LOOK)

PAGE_ROWS = 1_000
MOVEMENTS_SHOWN = 50

OrderName = Annotated[str, typer.Argument(metavar="ORDER", help="Its id, or its number.")]


class Priced(StrEnum):
    """What has a total."""

    ORDER = "order"
    CART = "cart"


@explain.command()
def stock(
    sku: Annotated[str, typer.Argument(metavar="SKU", help="Its id.")],
    location: Annotated[str, typer.Option(help="Only this location.")] = "",
    at: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d"],
            metavar="TIME",
            help="As it was then: 2026-11-21, 2026-11-21T15:00:00 (UTC), 2026-11-21T15:00:00+0100.",
        ),
    ] = None,
    last: Annotated[
        int,
        typer.Option(min=0, help="Movements to list for each location; those before become one row."),
    ] = MOVEMENTS_SHOWN,
    address: Address = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """List the movements that add up to a SKU's stock, now or at a past time.

    Exit status 1 if a counter is not the sum of its movements; `repair stock` puts that right.
    """
    request = ExplainStockRequest(sku_id=sku, location_id=location, page_size=PAGE_ROWS)
    if at is not None:
        request.at_time.FromDatetime(at if at.tzinfo else at.replace(tzinfo=UTC))
    pages = asyncio.run(_stock_pages(address_of("history_service", address, data_dir), request))
    _print_stock(pages, last)


@explain.command()
def order(order: OrderName, address: Address = None, data_dir: DataDir = DATA_DIR) -> None:
    """List what happened to an order, oldest first."""
    where = address_of("history_service", address, data_dir)
    console.print(happenings_table(asyncio.run(_order_history(where, order))))


@explain.command()
def total(
    kind: Annotated[
        Priced, typer.Argument(metavar="order|cart", help="What it is.", show_default=False)
    ],
    name: Annotated[str, typer.Argument(metavar="ID", help="A cart's id; an order's id or number.")],
    address: Address = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """List every step from list prices to a total."""
    where = address_of("history_service", address, data_dir)
    if kind is Priced.CART:
        _print_total(asyncio.run(_cart_total(where, name)))
    else:
        _print_total(asyncio.run(_order_total(where, name)))


async def _stock_pages(address: str, request: ExplainStockRequest) -> list[ExplainStockResponse]:
    pages: list[ExplainStockResponse] = []
    async with channel_to(address) as channel:
        ask = InventoryHistoryServiceStub(channel).ExplainStock
        while not pages or pages[-1].next_page_token:
            request.page_token = pages[-1].next_page_token if pages else ""
            pages.append(await ask(request, timeout=CALL_SECONDS_MAX))
    return pages


def _print_stock(pages: list[ExplainStockResponse], shown_count_max: int) -> None:
    accounts = stock_accounts(pages, shown_count_max=shown_count_max)
    explained = pages[-1].stock
    console.print(Text(f"SKU {visible(explained.sku_id)}: {explained.available} available"))
    for level in explained.levels:
        if level.location_id in accounts:
            console.print(stock_table(accounts[level.location_id]))
            console.print(f"  {available_text(level)}", highlight=False, soft_wrap=True)
    wrong = [*pages[0].differences, *ledger_differences(explained.levels, accounts)]
    if wrong:
        raise Problem("a counter is not the sum of its movements:\n  " + "\n  ".join(wrong))


async def _order_history(address: str, name: str) -> list[OrderHappening]:
    happenings: list[OrderHappening] = []
    async with channel_to(address) as channel:
        stub = OrderingHistoryServiceStub(channel)
        request = ExplainOrderRequest(order_id=await _order_id(stub, name), page_size=PAGE_ROWS)
        while True:
            page = await stub.ExplainOrder(request, timeout=CALL_SECONDS_MAX)
            happenings.extend(page.happenings)
            if not page.next_page_token:
                return happenings
            request.page_token = page.next_page_token


async def _cart_total(address: str, cart_id: str) -> ExplainCartTotalResponse:
    async with channel_to(address) as channel:
        ask = CartHistoryServiceStub(channel).ExplainCartTotal
        return await ask(ExplainCartTotalRequest(cart_id=cart_id), timeout=CALL_SECONDS_MAX)


async def _order_total(address: str, name: str) -> ExplainOrderTotalResponse:
    async with channel_to(address) as channel:
        stub = OrderingHistoryServiceStub(channel)
        request = ExplainOrderTotalRequest(order_id=await _order_id(stub, name))
        return await stub.ExplainOrderTotal(request, timeout=CALL_SECONDS_MAX)


async def _order_id(stub: OrderingHistoryServiceStub, name: str) -> str:
    """The id of the order of that number; the name itself if no order has such a number."""
    try:
        request = SearchOrdersRequest(order_number=name)
        found = await stub.SearchOrders(request, timeout=CALL_SECONDS_MAX)
    except grpc.aio.AioRpcError as error:
        # An id can be longer than any number, or have letters.
        if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
            raise
        return name
    return found.orders[0].order_id if found.orders else name


def _print_total(explained: ExplainCartTotalResponse | ExplainOrderTotalResponse) -> None:
    console.print(total_table(explained.steps, explained.total))
    console.print(f"  rounding: {explained.rounding_rule}", highlight=False, soft_wrap=True)
    if sum(step.amount_minor for step in explained.steps) != explained.total.amount_minor:
        raise Problem(
            f"the steps do not add up to the total, {explained.total.amount_minor} minor units"
        )
