"""Lookups of stock and of carts beside a bare echo of the same bytes."""

from statistics import median
from typing import Any

from benchmarks.bench import Bench
from benchmarks.cart_copies import CartCopies
from benchmarks.echo_server import PATH as ECHO
from benchmarks.load import Load, Measured, spent_of
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import echo
from benchmarks.shoppers import new_id

GET_STOCK = "/shopkeeper.inventory.v1.InventoryQueryService/GetStock"
GET_CART = "/shopkeeper.cart.v1.CartQueryService/GetCart"
REQUEST_COUNT = 20_000
"""Of which each SKU of a shop of 10,000 has its share."""
CART_COUNT, CART_LINE_COUNT = 200, 20


async def stock_lookups(bench: Bench) -> list[Figure]:
    """stock_lookup_vs_echo and stock_lookup_cpu_vs_echo."""
    load = stock_load(bench)
    ours, echoes = await _beside_echo(bench, load)
    return [
        Figure.beside(
            *("stock_lookup_vs_echo", "lookups/s", Reach(Bound.AT_LEAST, 0.75)),
            Compared.of([each.per_second for each in ours], [each.per_second for each in echoes]),
            against="grpc.aio echo",
            told=_told(ours, echoes),
        ),
        _processor_time("stock_lookup_cpu_vs_echo", ours, echoes),
    ]


async def cart_load(bench: Bench) -> Load:
    """Lookups of carts, which it makes."""
    copies = await CartCopies.of(
        bench.shop.servers.database_url,
        bench.shop.command_address,
        f"read-{new_id()[:8]}",
        line_count=CART_LINE_COUNT,
        sku_count=bench.extent.sku_count,
    )
    await copies.make(range(CART_COUNT))
    arguments = {
        "request_count": REQUEST_COUNT,
        "prefix": copies.prefix,
        "cart_count": CART_COUNT,
        "seed": 1,
    }
    return Load(bench.shop.query_address, GET_CART, "cart_lookups", arguments, is_repeatable=True)


def stock_load(bench: Bench) -> Load:
    """Lookups of stock, over all SKUs."""
    arguments = {"request_count": REQUEST_COUNT, "sku_count": bench.extent.sku_count, "seed": 1}
    return Load(bench.shop.query_address, GET_STOCK, "stock_lookups", arguments, is_repeatable=True)


async def cart_lookups(bench: Bench) -> list[Figure]:
    """cart_lookup_cpu_vs_echo."""
    load = await cart_load(bench)
    return [_processor_time("cart_lookup_cpu_vs_echo", *await _beside_echo(bench, load))]


async def _beside_echo(bench: Bench, load: Load) -> tuple[list[Measured], list[Measured]]:
    answer_bytes = (await bench.first_look(load)).answer_bytes_each
    async with echo(answer_bytes, bench.shop.worker_count) as server:
        results = await bench.rounds(
            {
                load.kind: lambda: bench.turn(load),
                "echo": lambda: bench.turn(load.to(server.address, ECHO), server.pids),
            }
        )
    return results[load.kind], results["echo"]


def _processor_time(name: str, ours: list[Measured], echoes: list[Measured]) -> Figure:
    return Figure.beside(
        *(name, "us CPU", Reach(Bound.UNDER, 1.3)),
        Compared.of(
            [each.processor_us("query_service") for each in ours],
            [each.processor_us("echo") for each in echoes],
        ),
        against="grpc.aio echo of the same bytes",
        told=_told(ours, echoes),
    )


def _told(ours: list[Measured], echoes: list[Measured]) -> dict[str, Any]:
    return {
        **spent_of(ours),
        "answer_bytes": ours[0].answer_bytes_each,
        "p99_ms": median(each.latency_ms(0.99) for each in ours),
        "echo_p99_ms": median(each.latency_ms(0.99) for each in echoes),
    }
