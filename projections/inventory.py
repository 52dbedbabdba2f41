"""Stock as it is shown: the counters of each location, and what can be ordered."""

from google.protobuf.message import Message

from event_log.units import available_in_all
from projections.retelling import Retelling
from read_models.partitions import DocumentAddress
from read_models.views import STOCK
from shopkeeper.inventory.v1.inventory_events_pb2 import StockMoved, StockRepaired
from shopkeeper.inventory.v1.inventory_pb2 import Stock

NOT_SHOWN = {
    "LocationUpserted": "no query tells about locations",
    "ReservationMade": "its units are told by StockMoved; reservations are read through their maker",
    "ReservationExtended": "moves no units",
    "ReservationReleased": "its units are told by StockMoved",
    "ReservationCommitted": "its units are told by StockMoved",
    "ReservationShipped": "its units are told by StockMoved",
}


def stock_after_movement(view: Stock | None, event: StockMoved) -> Stock:
    """The stock with the location's counters as the movement left them."""
    stock = view if view is not None else Stock(sku_id=event.sku_id)
    moved_id = event.level.location_id
    levels = [level for level in stock.levels if level.location_id != moved_id]
    levels.append(event.level)
    levels.sort(key=lambda level: level.location_id)
    return Stock(
        sku_id=event.sku_id,
        available=available_in_all(level.available for level in levels),
        levels=levels,
    )


def stock_after_repair(_view: Stock | None, event: StockRepaired) -> Stock:
    """The stock as the repair left it."""
    return event.stock


def _of_movement(event: StockMoved) -> DocumentAddress:
    return STOCK.address(event.sku_id)


def _of_repair(event: StockRepaired) -> DocumentAddress:
    return STOCK.address(event.stock.sku_id)


RETELLINGS: dict[type[Message], tuple[Retelling, ...]] = {
    StockMoved: (Retelling(Stock, _of_movement, stock_after_movement),),
    StockRepaired: (Retelling(Stock, _of_repair, stock_after_repair),),
}
