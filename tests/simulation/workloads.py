"""What clients do, drawn for each seed: few commands, that meet on the same few rows."""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Any

from command_service.inventory.commands import AdjustStock, ReceiveStock, SetStockPolicy, TransferStock
from command_service.inventory.domain import LOCATION, STOCK, Demand, Level, Location, Stock
from command_service.inventory.movements import StockRow
from command_service.inventory.reservation_commands import (
    CommitReservation,
    ExtendReservation,
    ReleaseReservation,
    ReserveStock,
    ShipReservation,
)
from command_service.world import Command
from tests.simulation.database import Place
from tests.simulation.shop import Client, Shop, Workload

LONG = timedelta(minutes=15)

# As those read them who only share them; nobody closes one here.
LOCATIONS = {
    "main": Location("main", "Main", 0, True, is_empty=False),
    "annex": Location("annex", "Annex", 1, True, is_empty=False),
}


def stock_of(sku_id: str, *on_hand: int) -> Stock:
    levels = (
        Level(location.location_id, location.rank, quantity)
        for location, quantity in zip(LOCATIONS.values(), on_hand, strict=False)
    )
    return Stock(sku_id, tuple(sorted(levels, key=lambda level: level.location_id)))


def stock_workload(chance: Random) -> Workload:
    """Clients hold, give back, ship and count the same few units."""
    draw = chance.random
    sku_ids = ["mug", "pot"][: 1 + int(draw() * 2)]
    rows: dict[Place, Any] = {(LOCATION.rank, key): place for key, place in LOCATIONS.items()}
    for sku_id in sku_ids:
        rows[STOCK.rank, sku_id] = stock_of(sku_id, 1 + int(draw() * 5), int(draw() * 3))
    expires = draw() < 0.3
    command_count = 1 + int(draw() * 2)

    def client(number: int) -> Client:
        async def act(shop: Shop) -> None:
            for command in _stock_commands(chance, sku_ids, number, command_count, expires=expires):
                request = shop.request(command, is_doubled=draw() < 0.15, is_hurried=draw() < 0.05)
                await shop.carry_out(request)

        return act

    return Workload(rows, [client(number) for number in range(2 + int(draw() * 3))], expires)


def _stock_commands(
    chance: Random, sku_ids: list[str], client: int, count: int, *, expires: bool
) -> Iterator[Command[Any]]:
    draw = chance.random
    for _ in range(count):
        # One name for two clients: what one of them holds the other may give back.
        reservation_id = f"r{client if draw() < 0.7 else int(draw() * 4)}"
        sku_id = sku_ids[int(draw() * len(sku_ids))]
        kind = int(draw() * 12)
        if kind < 5:
            wanted = [each for each in sku_ids if each == sku_id or draw() < 0.6]
            if draw() < 0.5:
                wanted.reverse()
            demands = [Demand(each, 1 + int(draw() * 3)) for each in wanted]
            hold = timedelta(seconds=draw() * 2) if expires and draw() < 0.7 else LONG
            yield ReserveStock(reservation_id, "client", tuple(demands), hold)
        elif kind == 5:
            yield ReleaseReservation(reservation_id)
        elif kind < 8:
            yield CommitReservation(reservation_id)
        elif kind == 8:
            yield ShipReservation(reservation_id)
        elif kind == 9:
            yield ExtendReservation(reservation_id, hold_duration=timedelta(seconds=1 + draw()))
        elif kind == 10:
            yield _staff_command(chance, sku_id)
        else:
            yield TransferStock(sku_id, "main", "annex", 1, "transfer")


def _staff_command(chance: Random, sku_id: str) -> Command[Any]:
    kind = int(chance.random() * 3)
    if kind == 0:
        return ReceiveStock((StockRow(sku_id, "main", 1 + int(chance.random() * 3)),), "delivery")
    if kind == 1:
        quantity = int(chance.random() * 5)
        return AdjustStock(sku_id, "main", quantity, int(chance.random() * 5), "count")
    return SetStockPolicy(sku_id, "main", int(chance.random() * 2), int(chance.random() * 3))
