"""Throughput and latency against load: how many calls are in flight at a time."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

from benchmarks.bench import Bench
from benchmarks.echo_server import PATH as ECHO
from benchmarks.figures.hot_sku import Reservations
from benchmarks.figures.lookups import stock_load
from benchmarks.figures.orders import Placing
from benchmarks.load import Load, Measured
from benchmarks.points import ECHO_NAME, Point
from benchmarks.shop_under_test import echo

SPAN_SECONDS_MAX = 1.0

Turn = Callable[[int], Awaitable[Measured]]


async def curves(bench: Bench) -> dict[str, list[Point]]:
    """Each load, from one call at a time to more than the servers can work on."""
    reservations, placing = Reservations(bench), await Placing.of(bench, "curve")
    lookups = stock_load(bench)
    span_seconds = min(SPAN_SECONDS_MAX, bench.extent.span_seconds)

    def turn(load: Load, **more: Any) -> Awaitable[Measured]:
        return bench.turn(load, span_seconds=span_seconds, **more)

    async with AsyncExitStack() as stack:
        answer_bytes = (await bench.first_look(lookups)).answer_bytes_each
        server = await stack.enter_async_context(echo(answer_bytes, bench.shop.worker_count))
        echoes = lookups.to(server.address, ECHO)
        subjects: dict[str, Turn] = {
            ECHO_NAME: lambda count: turn(echoes.in_flight(count), pids=server.pids),
            "stock lookups": lambda count: turn(lookups.in_flight(count)),
            "reservations of one SKU": lambda count: turn(reservations.over(1).in_flight(count)),
            "orders of two lines": lambda count: placing.turn_of(span_seconds, count),
        }
        found: dict[str, list[Point]] = {name: [] for name in subjects}
        for count in bench.extent.in_flight_counts:
            for name, take_turn in subjects.items():
                measured = await take_turn(count)
                bench.say(f"{count} in flight, {name}: {measured}")
                found[name].append(_point(count, measured))
    return found


def _point(in_flight_count: int, measured: Measured) -> Point:
    return Point(
        in_flight_count,
        measured.per_second,
        measured.latency_ms(0.5),
        measured.latency_ms(0.99),
    )
