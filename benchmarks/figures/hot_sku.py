"""Reservations of one SKU, beside the same over many, PostgreSQL by itself and gRPC by itself."""

from itertools import count

from benchmarks.bench import Bench
from benchmarks.echo_server import PATH as ECHO
from benchmarks.load import WARM_UP_SECONDS, Load, Measured
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import echo

RESERVE_STOCK = "/shopkeeper.inventory.v1.InventoryCommandService/ReserveStock"
RATE_MAX = 6_000
"""Requests made for each second: more than any machine answers."""


async def hot_sku(bench: Bench) -> list[Figure]:
    """hot_sku_vs_spread and hot_sku_vs_echo."""
    seeds = count(1)

    def load(sku_count: int) -> Load:
        arguments = {
            "request_count": round(RATE_MAX * (bench.extent.span_seconds + WARM_UP_SECONDS)),
            "sku_count": sku_count,
            "seed": next(seeds),
        }
        address = bench.shop.command_address
        return Load(address, RESERVE_STOCK, "reservations", arguments, is_repeatable=False)

    answer_bytes = (await bench.first_look(load(1))).answer_bytes_each
    async with echo(answer_bytes, bench.shop.worker_count) as server:
        echo_load = load(1).to(server.address, ECHO)
        results = await bench.rounds(
            {
                "hot": lambda: bench.turn(load(1)),
                "spread": lambda: bench.turn(load(bench.extent.sku_count)),
                "echo": lambda: bench.turn(echo_load, server.pids),
            }
        )
    return [
        _beside(results, "spread", Reach(Bound.AT_LEAST, 0.9)),
        _beside(results, "echo", Reach(Bound.AT_LEAST, 0.6)),
    ]


def _beside(results: dict[str, list[Measured]], name: str, reach: Reach) -> Figure:
    hot = results["hot"]
    return Figure.beside(
        *(f"hot_sku_vs_{name}", "reservations/s", reach),
        Compared.of([each.per_second for each in hot], [each.per_second for each in results[name]]),
        against=name,
        told={
            "command_us": sorted(each.processor_us("command_service") for each in hot),
            "postgres_us": sorted(each.processor_us("postgres") for each in hot),
            "p99_ms": sorted(each.latency_ms(0.99) for each in hot),
        },
    )
