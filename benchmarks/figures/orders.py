"""Orders of two lines from carts that are there, beside PostgreSQL by itself and gRPC by itself."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from benchmarks.bench import FIRST_LOOK_SECONDS, Bench, Turn, settle
from benchmarks.cart_copies import CartCopies
from benchmarks.cart_supply import CartSupply
from benchmarks.echo_server import PATH as ECHO
from benchmarks.load import Load, Measured, spent_of
from benchmarks.pgbench import Plain, PlainShop, whole_seconds
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import echo
from benchmarks.written_rows import rows_of, written_by

LINE_COUNT = 2
SCRIPT = "place_order.sql"
PLAIN_CLIENT_COUNT = 16
PLAIN_RATE_MAX = 10_000
"""Carts made for each second of pgbench: more than any machine orders."""

ORDERED_CARTS = "carts WHERE state = 2"

VS_PGBENCH, CPU_VS_ECHO = "place_order_vs_pgbench", "place_order_cpu_vs_echo"


async def orders(bench: Bench) -> list[Figure]:
    """place_order_vs_pgbench and place_order_cpu_vs_echo, as far as they are wanted."""
    placing = await Placing.of(bench)
    told: dict[str, Any] = {}
    subjects: dict[str, Turn] = {"orders": placing.turn}
    async with AsyncExitStack() as stack:
        if VS_PGBENCH in bench.wanted:
            subjects["pgbench"] = await _plain_subject(bench, placing, told)
        if CPU_VS_ECHO in bench.wanted:
            answer_bytes = (await placing.first_look()).answer_bytes_each
            server = await stack.enter_async_context(echo(answer_bytes, bench.shop.worker_count))
            load = (await placing.prepare(FIRST_LOOK_SECONDS)).to(server.address, ECHO)
            subjects["echo"] = partial(bench.turn, load, server.pids)
        results = await bench.rounds(subjects)
    return _figures(results, told)


class Placing:
    """Turns of orders, each from a cart of its own."""

    def __init__(self, bench: Bench, supply: CartSupply) -> None:
        self._bench = bench
        self._supply = supply

    @classmethod
    async def of(cls, bench: Bench, prefix: str = "order") -> "Placing":
        """With carts of a series of their own."""
        copies = await CartCopies.of(
            bench.shop.servers.database_url,
            bench.shop.command_address,
            prefix,
            line_count=LINE_COUNT,
            sku_count=bench.extent.sku_count,
        )
        return cls(bench, CartSupply(bench.shop.command_address, copies))

    async def turn(self) -> Measured:
        """Orders for one span of time."""
        return await self.turn_of(self._bench.extent.span_seconds, Load.IN_FLIGHT)

    async def turn_of(self, span_seconds: float, in_flight_count: int) -> Measured:
        """The same with another extent."""
        load = await self.prepare(span_seconds)
        return await self.place(load.in_flight(in_flight_count), span_seconds)

    async def first_look(self) -> Measured:
        """The same, in short."""
        return await self.place(await self.prepare(FIRST_LOOK_SECONDS), FIRST_LOOK_SECONDS)

    async def prepare(self, span_seconds: float) -> Load:
        """A load that lasts for so long; its carts are there."""
        return await self._supply.orders(span_seconds)

    async def place(self, load: Load, span_seconds: float) -> Measured:
        """Puts such a load on."""
        measured = await self._bench.turn(load, span_seconds=span_seconds)
        self.took(measured)
        return measured

    def took(self, measured: Measured) -> None:
        """Takes note of the carts that are orders now."""
        self._supply.used(measured)


async def _plain_subject(bench: Bench, placing: Placing, told: dict[str, Any]) -> Turn:
    """Orders by pgbench; told: what both write, which should be the same."""
    plain = await bench.plain_shop()
    # The carts are made before, and are no part of what is counted.
    load = await placing.prepare(FIRST_LOOK_SECONDS)
    await settle(bench.shop)
    written = await written_by(
        bench.shop.servers.database_url, lambda: placing.place(load, FIRST_LOOK_SECONDS)
    )
    variables = {**written.sizes, "event_count": round(written.event_count)}
    run = partial(_run_plain, plain, variables, bench.extent.span_seconds)
    number = plain.fill_carts(PLAIN_CLIENT_COUNT, PLAIN_RATE_MAX // 2)
    told |= {
        "rows": written.row_count,
        "plain_rows": await rows_of(plain.url, lambda: run(number=number)),
    }
    return run


async def _run_plain(
    plain: PlainShop, variables: Mapping[str, int], span_seconds: float, number: int | None = None
) -> Plain:
    """number: that before the first cart of each client; they are made if it is not said."""
    if number is None:
        count_each = round(PLAIN_RATE_MAX * whole_seconds(span_seconds) / PLAIN_CLIENT_COUNT)
        number = plain.fill_carts(PLAIN_CLIENT_COUNT, count_each)
    before = plain.count(ORDERED_CARTS)
    done = await plain.run(
        SCRIPT,
        span_seconds,
        client_count=PLAIN_CLIENT_COUNT,
        variables={**variables, "number": number},
    )
    assert plain.count(ORDERED_CARTS) - before == done.count, "an order from a cart that was not there"
    return done


def _figures(results: Mapping[str, Sequence[Any]], told: Mapping[str, Any]) -> list[Figure]:
    ours: Sequence[Measured] = results["orders"]
    told = {**told, **_told(results)}
    figures = []
    if "pgbench" in results:
        rates = [each.per_second for each in ours], [each.per_second for each in results["pgbench"]]
        figures.append(
            Figure.beside(
                *(VS_PGBENCH, "orders/s", Reach(Bound.AT_LEAST, 0.5)),
                Compared.of(*rates),
                against="pgbench, 16 clients",
                told=told,
            )
        )
    if "echo" in results:
        spent = [each.processor_us("command_service") for each in ours]
        echoed = [each.processor_us("echo") for each in results["echo"]]
        figures.append(
            Figure.beside(
                *(CPU_VS_ECHO, "us CPU", Reach(Bound.UNDER, 3)),
                Compared.of(spent, echoed),
                against="grpc.aio echo of the same bytes",
                told=told,
            )
        )
    return figures


def _told(results: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    ours: Sequence[Measured] = results["orders"]
    echoes = {"echo_us": spent_of(results["echo"])["echo_us"]} if "echo" in results else {}
    return {**spent_of(ours), **echoes, "p99_ms": [each.latency_ms(0.99) for each in ours]}
