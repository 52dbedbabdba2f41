"""Reservations of one SKU, beside the same over many, PostgreSQL by itself and gRPC by itself."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import count
from statistics import median
from typing import Any

from benchmarks.bench import Bench, Turn
from benchmarks.echo_server import PATH as ECHO
from benchmarks.load import WARM_UP_SECONDS, Load, Measured, spent_of
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import echo
from benchmarks.written_rows import rows_of, written_by

RESERVE_STOCK = "/shopkeeper.inventory.v1.InventoryCommandService/ReserveStock"
SCRIPT = "reserve.sql"
RATE_MAX = 6_000
"""Requests made for each second: more than any machine answers."""
PLAIN_CLIENT_COUNTS = (16, 128)

VS_PGBENCH, VS_SPREAD, VS_ECHO = "hot_sku_vs_pgbench", "hot_sku_vs_spread", "hot_sku_vs_echo"

REACHES = {VS_PGBENCH: 1.5, VS_SPREAD: 0.9, VS_ECHO: 0.6}
AGAINST = {
    VS_PGBENCH: "pgbench, the better of 16 and 128 clients",
    VS_SPREAD: "the same over all SKUs",
    VS_ECHO: "grpc.aio echo of the same bytes",
}


async def hot_sku(bench: Bench) -> list[Figure]:
    """hot_sku_vs_pgbench, hot_sku_vs_spread and hot_sku_vs_echo, as far as they are wanted."""
    loads = Reservations(bench)
    told: dict[str, Any] = {}
    subjects: dict[str, Turn] = {"hot": lambda: bench.turn(loads.over(1))}
    async with AsyncExitStack() as stack:
        if VS_PGBENCH in bench.wanted:
            subjects |= await _plain_subjects(bench, loads, told)
        if VS_SPREAD in bench.wanted:
            subjects["spread"] = lambda: bench.turn(loads.over(bench.extent.sku_count))
        if VS_ECHO in bench.wanted:
            answer_bytes = (await bench.first_look(loads.over(1))).answer_bytes_each
            server = await stack.enter_async_context(echo(answer_bytes, bench.shop.worker_count))
            subjects["echo"] = partial(bench.turn, loads.over(1).to(server.address, ECHO), server.pids)
        results = await bench.rounds(subjects)
    return list(_figures(results, told))


class Reservations:
    """Loads of reservations, no two of which send the same."""

    def __init__(self, bench: Bench) -> None:
        self._address = bench.shop.command_address
        self._request_count = round(RATE_MAX * (bench.extent.span_seconds + WARM_UP_SECONDS))
        self._seeds = count(1)

    def over(self, sku_count: int) -> Load:
        """Each of one of so many SKUs."""
        arguments = {
            "request_count": self._request_count,
            "sku_count": sku_count,
            "seed": next(self._seeds),
        }
        return Load(self._address, RESERVE_STOCK, "reservations", arguments, is_repeatable=False)


async def _plain_subjects(bench: Bench, loads: Reservations, told: dict[str, Any]) -> dict[str, Turn]:
    """Pgbench with different numbers of clients; told: what both write, which should be the same."""
    plain = await bench.plain_shop()
    written = await written_by(bench.shop.servers.database_url, lambda: bench.first_look(loads.over(1)))
    run = partial(plain.run, SCRIPT, variables=written.sizes)
    plain_row_count = await rows_of(plain.url, lambda: run(span_seconds=1, client_count=16))
    told |= {"rows": written.row_count, "plain_rows": plain_row_count}
    return {
        _plain_name(client_count): partial(
            run, span_seconds=bench.extent.span_seconds, client_count=client_count
        )
        for client_count in PLAIN_CLIENT_COUNTS
    }


def _plain_name(client_count: int) -> str:
    return f"pgbench, {client_count} clients"


def _figures(results: Mapping[str, Sequence[Any]], told: Mapping[str, Any]) -> list[Figure]:
    rates = {name: [each.per_second for each in those] for name, those in results.items()}
    told = {**told, **_told(results)}
    plain = [rates[name] for name in map(_plain_name, PLAIN_CLIENT_COUNTS) if name in rates]
    baselines = {
        # Chosen once: the better of each round would be the luckier of each round.
        VS_PGBENCH: max(plain, key=median, default=None),
        VS_SPREAD: rates.get("spread"),
        VS_ECHO: rates.get("echo"),
    }
    return [
        Figure.beside(
            *(name, "reservations/s", Reach(Bound.AT_LEAST, REACHES[name])),
            Compared.of(rates["hot"], baseline),
            against=AGAINST[name],
            told=told,
        )
        for name, baseline in baselines.items()
        if baseline
    ]


def _told(results: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    hot: Sequence[Measured] = results["hot"]
    echoes = {"echo_us": spent_of(results["echo"])["echo_us"]} if "echo" in results else {}
    return {**spent_of(hot), **echoes, "p99_ms": [each.latency_ms(0.99) for each in hot]}
