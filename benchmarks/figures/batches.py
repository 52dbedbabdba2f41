"""Lookups of a hundred SKUs beside MGET of the same keys."""

from dataclasses import replace
from random import Random

from benchmarks.bench import Bench
from benchmarks.load import Load, Measured, MgetLoad, spent_of
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shoppers import sku_id
from read_models.partitions import key_of
from read_models.views import STOCK

BATCH_GET_STOCK = "/shopkeeper.inventory.v1.InventoryQueryService/BatchGetStock"
BATCH_SIZE = 100
REQUEST_COUNT = 500
SEED = 1


async def batches(bench: Bench) -> list[Figure]:
    """batch_lookup_vs_mget."""
    sku_count = bench.extent.sku_count
    arguments = {
        "request_count": REQUEST_COUNT,
        "sku_count": sku_count,
        "batch_size": BATCH_SIZE,
        "seed": SEED,
    }
    address = bench.shop.query_address
    load = Load(address, BATCH_GET_STOCK, "stock_batches", arguments, is_repeatable=True)
    load = replace(load, in_flight_count=16)
    plain = MgetLoad(bench.shop.servers.redis_url, _keys(await bench.serving_generation(), sku_count))
    results = await bench.rounds(
        {"batch lookups": lambda: bench.turn(load), "mget": lambda: bench.turn(plain)}
    )
    ours, plain_ones = results["batch lookups"], results["mget"]
    return [
        Figure.beside(
            *("batch_lookup_vs_mget", "SKUs/s", Reach(Bound.AT_LEAST, 0.5)),
            Compared.of(_sku_rates(ours), _sku_rates(plain_ones)),
            against="redis-py MGET of the same keys, one process",
            told={
                **spent_of(ours),
                "answer_bytes": ours[0].answer_bytes_each,
                "p99_ms": [each.latency_ms(0.99) for each in ours],
            },
        )
    ]


def _sku_rates(measured: list[Measured]) -> list[float]:
    return [each.per_second * BATCH_SIZE for each in measured]


def _keys(generation: int, sku_count: int) -> list[list[str]]:
    """Where the views of the same SKUs stand, request by request."""
    chance = Random(SEED)  # As shoppers.stock_batches draws them.
    return [
        [_key(generation, chance.randrange(sku_count)) for _ in range(BATCH_SIZE)]
        for _ in range(REQUEST_COUNT)
    ]


def _key(generation: int, number: int) -> str:
    address = STOCK.address(sku_id(number))
    return key_of(generation, address.partition, address.name)
