"""Throughput and latency against load: how many calls are in flight at a time."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from statistics import median

from benchmarks.bench import FIRST_LOOK_SECONDS, Bench
from benchmarks.echo_server import PATH as ECHO
from benchmarks.figures.hot_sku import Reservations
from benchmarks.figures.lookups import stock_load
from benchmarks.figures.orders import Placing
from benchmarks.load import Load, Measured
from benchmarks.points import Curve, Point
from benchmarks.shop_under_test import echo

SPAN_SECONDS_MAX = 0.6

Turn = Callable[[int], Awaitable[Measured]]
"""A turn with so many calls in flight."""


async def curves(bench: Bench) -> dict[str, Curve]:
    """Each load, from one call at a time to more than the servers can work on."""
    span_seconds = min(SPAN_SECONDS_MAX, bench.extent.span_seconds)
    turn = partial(bench.turn, span_seconds=span_seconds)
    reservations, placing = Reservations(bench), await Placing.of(bench, "curve")
    lookups = stock_load(bench)

    async def curve(name: str, take_turn: Turn, requests: Load) -> Curve:
        answer_bytes = (await take_turn(Load.IN_FLIGHT)).answer_bytes_each
        ours, echoes = [], []
        async with echo(answer_bytes, bench.shop.worker_count) as server:
            same = requests.to(server.address, ECHO)
            for count in bench.extent.in_flight_counts:
                own_name, echo_name = (f"{count} in flight, {each}" for each in (name, "echo"))
                results = await bench.rounds(
                    {
                        own_name: partial(take_turn, count),
                        echo_name: partial(turn, same.in_flight(count), server.pids),
                    }
                )
                ours.append(_point(count, results[own_name]))
                echoes.append(_point(count, results[echo_name]))
        return Curve(ours, echoes)

    drawn: dict[str, tuple[Turn, Load]] = {
        "stock lookups": (lambda count: turn(lookups.in_flight(count)), lookups),
        "reservations of one SKU": (
            lambda count: turn(reservations.over(1).in_flight(count)),
            reservations.over(1),
        ),
        "orders of two lines": (
            lambda count: placing.turn_of(span_seconds, count),
            await placing.prepare(FIRST_LOOK_SECONDS),
        ),
    }
    return {name: await curve(name, *subject) for name, subject in drawn.items()}


def _point(in_flight_count: int, rounds: Sequence[Measured]) -> Point:
    return Point(
        in_flight_count,
        median(each.per_second for each in rounds),
        median(each.latency_ms(0.5) for each in rounds),
        median(each.latency_ms(0.99) for each in rounds),
    )
