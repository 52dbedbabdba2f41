"""What readers notice while orders come in as fast as they can be placed."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from statistics import median
from typing import NamedTuple

from benchmarks.bench import Bench
from benchmarks.figures.lookups import cart_load, stock_load
from benchmarks.figures.orders import Placing
from benchmarks.load import LagWatch, Measured, quantile_ms, spent_of
from benchmarks.reporting import Bound, Figure, Reach

LOOKUPS_PER_SECOND = 300.0
"""Of carts and of stock, each, at fixed times."""

SPAN_FACTOR = 3
"""How much longer a turn is than elsewhere: one call in a thousand takes thousands of calls to tell."""

SHARES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}


class UnderLoad(NamedTuple):
    """One turn of everything at once."""

    orders: Measured
    stock: Measured
    cart: Measured
    lag: Measured

    def __str__(self) -> str:
        return (
            f"{self.orders.per_second:,.0f} orders/s; p99 ms of lag {self.lag.latency_ms(0.99):.0f},"
            f" stock {self.stock.latency_ms(0.99):.1f}, cart {self.cart.latency_ms(0.99):.1f}"
        )


async def under_load(bench: Bench) -> list[Figure]:
    """projection_lag_ms and query_latency_ms, of which each needs the other's load."""
    placing = await Placing.of(bench, "under-load")
    readers = [
        replace(load, calls_per_second=LOOKUPS_PER_SECOND, in_flight_count=0)
        for load in (stock_load(bench), await cart_load(bench))
    ]
    servers, generation = bench.shop.servers, await bench.serving_generation()
    watch = LagWatch(servers.database_url, servers.redis_url, generation)

    async def turn() -> UnderLoad:
        span_seconds = SPAN_FACTOR * bench.extent.span_seconds
        load = await placing.prepare(span_seconds)
        measured = UnderLoad(*await bench.turns([load, *readers, watch], span_seconds=span_seconds))
        placing.took(measured.orders)
        return measured

    results: list[UnderLoad] = (await bench.rounds({"under load": turn}))["under load"]
    rate = median(each.orders.per_second for each in results)
    return [_lag(results, rate), _latency(results, rate)]


def _lag(results: Sequence[UnderLoad], rate: float) -> Figure:
    quantiles = _quantiles("lag", [each.lag for each in results])
    told = {
        **quantiles,
        "p99_of_rounds": [each.lag.latency_ms(0.99) for each in results],
        "orders_per_second": rate,
        **_spent(results),
    }
    reach = Reach(Bound.UNDER, 100)
    return Figure("projection_lag_ms", "ms, p99", reach, quantiles["lag_p99_ms"], told=told)


def _latency(results: Sequence[UnderLoad], rate: float) -> Figure:
    quantiles = _quantiles("stock", [each.stock for each in results])
    quantiles |= _quantiles("cart", [each.cart for each in results])
    worst = max(quantiles["stock_p99.9_ms"], quantiles["cart_p99.9_ms"])
    told = {
        **quantiles,
        "p99.9_of_rounds": [
            max(each.stock.latency_ms(0.999), each.cart.latency_ms(0.999)) for each in results
        ],
        "orders_per_second": rate,
        "lookups_per_second": 2 * LOOKUPS_PER_SECOND,
        **_spent(results),
    }
    reach = Reach(Bound.UNDER, 200)
    return Figure("query_latency_ms", "ms, p99.9", reach, worst, told=told)


def _spent(results: Sequence[UnderLoad]) -> dict[str, list[float]]:
    """Processor time of each server for an order, with the lookups beside it."""
    return spent_of([each.orders for each in results])


def _quantiles(name: str, measured: Sequence[Measured]) -> dict[str, float]:
    """Of the calls of all rounds together."""
    seconds = sorted(chain.from_iterable(each.latencies_seconds for each in measured))
    return {f"{name}_{label}_ms": quantile_ms(seconds, share) for label, share in SHARES.items()}
