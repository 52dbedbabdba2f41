"""What a request costs in a shop ten times as large."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks.bench import Bench, Turn
from benchmarks.figures.hot_sku import Reservations
from benchmarks.figures.lookups import stock_load
from benchmarks.figures.orders import Placing
from benchmarks.load import Measured
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_copies import Size, fill_shop
from benchmarks.shop_under_test import ShopUnderTest, shop_under_test

FACTOR = 10
ROUND_COUNT = 5
"""The worst of three ratios is told, whose limit is as near as rounds differ."""
COMMANDS, QUERIES = ("command_service", "postgres"), ("query_service", "valkey")

Spent = Callable[[Measured], float]


async def growth(bench: Bench) -> list[Figure]:
    """growth: the worst of reservations, orders and lookups of stock."""
    counts = {"1x": bench.extent.sku_count, "10x": FACTOR * bench.extent.sku_count}
    async with AsyncExitStack() as stack:
        shops: dict[str, ShopUnderTest] = {}
        for name, count in counts.items():
            bench.say(f"filling a shop of {count:,} SKUs, orders and open reservations each")
            # With servers of its own: what its size costs them at any time must count as its own.
            shops[name] = await stack.enter_async_context(shop_under_test(bench.shop.worker_count))
            await fill_shop(
                shops[name].servers.database_url, shops[name].command_address, Size(count, count, count)
            )
        subjects: dict[str, Turn] = {}
        for name, shop in shops.items():
            extent = replace(bench.extent, sku_count=counts[name])
            others = tuple(other for other in shops.values() if other is not shop)
            subjects |= await _subjects(name, replace(bench, shop=shop, extent=extent, others=others))
        in_turns = {key: subjects[key] for key in sorted(subjects)}
        results = await bench.rounds(in_turns, at_least=ROUND_COUNT)
    return [_figure(results)]


async def _subjects(name: str, bench: Bench) -> dict[str, Turn]:
    reservations, placing = Reservations(bench), await Placing.of(bench)
    return {
        f"reservations {name}": lambda: bench.turn(reservations.over(bench.extent.sku_count)),
        f"orders {name}": placing.turn,
        f"lookups {name}": partial(bench.turn, stock_load(bench)),
    }


def _figure(results: Mapping[str, Sequence[Measured]]) -> Figure:
    told: dict[str, Any] = {}
    compared = []
    for kind, names in (("reservations", COMMANDS), ("orders", COMMANDS), ("lookups", QUERIES)):
        spent = {
            size: [each.processor_us(*names) for each in results[f"{kind} {size}"]]
            for size in ("1x", "10x")
        }
        compared.append(Compared.of(spent["10x"], spent["1x"]))
        told |= {f"{kind}_us_{size}": us for size, us in spent.items()}
        told[f"{kind}_ratio"] = compared[-1].ratio
    worst = max(compared, key=lambda each: each.ratio)
    return Figure.beside(
        *("growth", "us CPU", Reach(Bound.UNDER, 1.15)),
        worst,
        against="the same in a shop of a tenth of the size",
        told=told,
    )
