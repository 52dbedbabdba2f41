"""The projector against real servers: exactly once, whoever else is at work and whatever is lost."""

from collections.abc import Callable

from projections.projector import Projector, begin_generation
from read_models.connections import Connection
from read_models.partitions import PARTITIONS
from read_models.reading import read_checkpoints, read_documents
from read_models.views import STOCK
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockLevel
from tests.projections.shop_events import a_day
from tests.read_side import Log, all_values, serving, settle, stock_moved


async def stock(connection: Connection, sku_id: str) -> Stock | None:
    partition, name = STOCK.address(sku_id)
    found = await read_documents(connection, await serving(connection), [partition], [name])
    return None if found.values[0] is None else Stock.FromString(found.values[0])


async def test_a_movement_in_the_log_becomes_stock_that_is_shown(
    log: Log, connection: Connection, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 3, "west"), stock_moved("MUG", 4, "east"))
    await settle(projector)
    assert await stock(connection, "MUG") == Stock(
        sku_id="MUG",
        available=7,
        levels=[
            StockLevel(location_id="east", on_hand=4, available=4),
            StockLevel(location_id="west", on_hand=3, available=3),
        ],
    )


async def test_every_batch_moves_every_partition(
    log: Log, connection: Connection, projector: Projector
) -> None:
    await settle(projector)
    position = log.record(stock_moved("MUG", 3))
    await settle(projector)
    found = await read_checkpoints(connection, await serving(connection), PARTITIONS)
    assert [str(each) for each in found] == [f"{log.token(position)} complete"] * len(PARTITIONS)


async def test_a_log_longer_than_a_batch_is_read_to_its_end(
    log: Log, connection: Connection, new_projector: Callable[..., Projector]
) -> None:
    log.record(*(stock_moved(f"SKU-{n % 40}", n) for n in range(1, 201)))
    await settle(new_projector(batch_events_max=7))
    for n in range(40):
        shown = await stock(connection, f"SKU-{n}")
        assert shown is not None
        assert shown.available == (160 + n if n else 200)


async def test_an_order_leaves_a_list_also_when_an_earlier_version_wrote_its_entry(
    log: Log, connection: Connection, projector: Projector
) -> None:
    *placing, paying, shipping = a_day(0)
    log.record(*placing)
    await settle(projector)
    first = await serving(connection)
    [name] = [name for name in await all_values(connection, first) if "orders-by-state" in name]
    [member] = await connection.call("ZRANGE", f"g{first}:{name}", 0, -1)
    await connection.call("ZREM", f"g{first}:{name}", member)
    # Field 15, say, which that version knew.
    await connection.call("ZADD", f"g{first}:{name}", 0, member + b"\x78\x01")
    log.record(paying, shipping)
    await settle(projector)
    second = await begin_generation(connection, log.incarnation())
    assert second is not None
    await settle(projector)
    assert await all_values(connection, first) == await all_values(connection, second)
