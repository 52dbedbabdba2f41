"""What clients do, drawn for each seed: few commands, that meet on the same few rows."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from random import Random
from typing import Any

from command_service.inventory.commands import (
    AdjustStock,
    ReceiveStock,
    SetStockPolicy,
    TransferStock,
    UpsertLocations,
)
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

# As those read them who only share them.
LOCATIONS = {
    "main": Location("main", "Main", 0, True, is_empty=False),
    "annex": Location("annex", "Annex", 1, True, is_empty=False),
}


NEED_A_RESERVATION = range(5, 10)
"""Of the kinds of commands below; as a first one they would mostly be refused, and meet nobody."""


def stock_of(sku_id: str, *on_hand: int) -> Stock:
    levels = (
        Level(location.location_id, location.rank, quantity)
        for location, quantity in zip(LOCATIONS.values(), on_hand, strict=False)
    )
    return Stock(sku_id, tuple(sorted(levels, key=lambda level: level.location_id)))


def stock_workload(chance: Random, *, is_opening: bool) -> Workload:
    """Clients hold, give back, ship and count the same few units.

    is_opening: one of the SKUs has its first stock only when it is asked for already, or a location is
    closed and opened that others are filling.
    """
    draw = chance.random
    sku_ids = ["mug", "pot"] if is_opening or draw() < 0.7 else ["mug"]
    closes = is_opening and draw() < 0.4
    rows: dict[Place, Any] = {(LOCATION.rank, key): place for key, place in LOCATIONS.items()}
    for sku_id in sku_ids:
        on_hand, elsewhere = 1 + int(draw() * 5), 0 if closes else int(draw() * 3)
        rows[STOCK.rank, sku_id] = stock_of(sku_id, on_hand, elsewhere)
    if is_opening and draw() < 0.7:
        del rows[STOCK.rank, sku_ids[1 - int(draw() * 1.3)]]
    first_stocks = [sku_id for sku_id in sku_ids if (STOCK.rank, sku_id) not in rows]
    expires = draw() < 0.3
    command_count = 1 + int(draw() * 2)

    def client(number: int) -> Client:
        async def act(shop: Shop) -> None:
            if draw() < 0.5:
                for sku_id in first_stocks:
                    await shop.carry_out(shop.request(_first_stock(chance, sku_id)))
            for command in _stock_commands(chance, sku_ids, number, command_count, expires=expires):
                if closes and draw() < 0.6:
                    command = _command_of_annex(chance, sku_ids[0])
                request = shop.request(command, is_doubled=draw() < 0.15, is_hurried=draw() < 0.05)
                await shop.carry_out(request)

        return act

    return Workload(rows, [client(number) for number in range(2 + int(draw() * 3))], expires)


def _stock_commands(
    chance: Random, sku_ids: list[str], client: int, count: int, *, expires: bool
) -> Iterator[Command[Any]]:
    draw = chance.random
    for number in range(count):
        # One name for two clients: what one of them holds the other may give back.
        reservation_id = f"r{client if draw() < 0.7 else int(draw() * 4)}"
        sku_id = sku_ids[int(draw() * len(sku_ids))]
        kind = int(draw() * 12)
        if number == 0 and kind in NEED_A_RESERVATION and draw() < 0.75:
            kind = 0
        if kind < 5:
            wanted = [each for each in sku_ids if each == sku_id or draw() < 0.8]
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


def _first_stock(chance: Random, sku_id: str) -> Command[Any]:
    """Of a SKU that has none; whoever comes second adds to it."""
    kind = int(chance.random() * 4)
    if kind == 0:
        return SetStockPolicy(sku_id, "annex", 0, 1 + int(chance.random() * 2))
    if kind == 1:
        return AdjustStock(sku_id, "main", 1 + int(chance.random() * 3), 0, "count")
    return ReceiveStock((StockRow(sku_id, "main", 1 + int(chance.random() * 3)),), "delivery")


def _command_of_annex(chance: Random, sku_id: str) -> Command[Any]:
    """Closes the annex, which only an empty one can be, opens it, fills it or empties it."""
    kind = int(chance.random() * 6)
    if kind < 3:
        return UpsertLocations((replace(LOCATIONS["annex"], active=kind == 0),))
    if kind == 3:
        return TransferStock(sku_id, "main", "annex", 1, "transfer")
    if kind == 4:
        return TransferStock(sku_id, "annex", "main", 1, "transfer")
    return ReceiveStock((StockRow(sku_id, "annex", 1),), "delivery")


def _staff_command(chance: Random, sku_id: str) -> Command[Any]:
    kind = int(chance.random() * 3)
    if kind == 0:
        return ReceiveStock((StockRow(sku_id, "main", 1 + int(chance.random() * 3)),), "delivery")
    if kind == 1:
        quantity = int(chance.random() * 5)
        return AdjustStock(sku_id, "main", quantity, int(chance.random() * 5), "count")
    return SetStockPolicy(sku_id, "main", int(chance.random() * 2), int(chance.random() * 3))
