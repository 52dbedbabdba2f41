"""Orders of two lines from carts that are there."""

from benchmarks.bench import FIRST_LOOK_SECONDS, Bench
from benchmarks.cart_supply import CartSupply
from benchmarks.echo_server import PATH as ECHO
from benchmarks.load import WARM_UP_SECONDS, Measured
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import echo

LINE_COUNT = 2


async def orders(bench: Bench) -> list[Figure]:
    """place_order_cpu_vs_echo."""
    supply = CartSupply(
        bench.shop.command_address,
        line_count=LINE_COUNT,
        sku_count=bench.extent.sku_count,
        prefix="order",
    )

    async def place(span_seconds: float = bench.extent.span_seconds) -> Measured:
        load = await supply.orders(span_seconds + WARM_UP_SECONDS)
        measured = await bench.turn(load, span_seconds=span_seconds)
        supply.used(measured)
        return measured

    answer_bytes = (await place(FIRST_LOOK_SECONDS)).answer_bytes_each
    async with echo(answer_bytes, bench.shop.worker_count) as server:
        load = (await supply.orders(FIRST_LOOK_SECONDS)).to(server.address, ECHO)
        results = await bench.rounds({"orders": place, "echo": lambda: bench.turn(load, server.pids)})
    ours, echoes = results["orders"], results["echo"]
    return [
        Figure.beside(
            *("place_order_cpu_vs_echo", "us CPU", Reach(Bound.UNDER, 3)),
            Compared.of(
                [each.processor_us("command_service") for each in ours],
                [each.processor_us("echo") for each in echoes],
            ),
            against="grpc.aio echo of the same bytes",
            told={
                "orders_per_second": sorted(each.per_second for each in ours),
                "postgres_us": sorted(each.processor_us("postgres") for each in ours),
                "p99_ms": sorted(each.latency_ms(0.99) for each in ours),
            },
        )
    ]
