"""Which figures there are, in the order of the table."""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from benchmarks.bench import Bench
from benchmarks.figures.batches import batches
from benchmarks.figures.cart_growth import cart_growth
from benchmarks.figures.growth import growth
from benchmarks.figures.hot_sku import hot_sku
from benchmarks.figures.lookups import cart_lookups, stock_lookups
from benchmarks.figures.orders import orders
from benchmarks.figures.rebuild import rebuild
from benchmarks.figures.under_load import under_load
from benchmarks.reporting import Figure


class Group(NamedTuple):
    """Figures that come of one measurement."""

    names: tuple[str, ...]
    measure: Callable[[Bench], Awaitable[list[Figure]]]


GROUPS = (
    Group(("hot_sku_vs_pgbench", "hot_sku_vs_spread", "hot_sku_vs_echo"), hot_sku),
    Group(("place_order_vs_pgbench", "place_order_cpu_vs_echo"), orders),
    Group(("stock_lookup_vs_echo", "stock_lookup_cpu_vs_echo"), stock_lookups),
    Group(("cart_lookup_cpu_vs_echo",), cart_lookups),
    Group(("batch_lookup_vs_mget",), batches),
    Group(("projection_lag_ms", "query_latency_ms"), under_load),
    Group(("rebuild_vs_copy",), rebuild),
    Group(("growth",), growth),
    Group(("add_to_cart_growth",), cart_growth),
)


def names() -> list[str]:
    """All figures."""
    return [name for group in GROUPS for name in group.names]
