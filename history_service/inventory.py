"""What a stock number is made of: InventoryHistoryService."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from event_log.codec import timestamp, to_message
from event_log.units import available_in_all
from history_service.database import Database, Snapshot
from history_service.errors import ReservationNotFound, StockNotFound
from history_service.paging import page_token, read_page_token
from serving.failures import InvalidField
from serving.interceptor import ServicerContext
from shopkeeper.inventory.v1.inventory_history_service_pb2 import (
    ExplainStockRequest,
    ExplainStockResponse,
    GetReservationRequest,
    GetReservationResponse,
    StockMovement,
)
from shopkeeper.inventory.v1.inventory_history_service_pb2_grpc import InventoryHistoryServiceServicer
from shopkeeper.inventory.v1.inventory_pb2 import (
    Reservation,
    ReservationLine,
    Stock,
    StockDeltas,
    StockLevel,
)

PAGE_SIZE_DEFAULT = 100

COUNTERS = ("on_hand", "reserved", "allocated", "safety_stock", "backorder_limit", "shortage")

_SUMS = ", ".join(f"sum({counter})::bigint AS {counter}" for counter in COUNTERS)
_COUNTERS = ", ".join(COUNTERS)

# A SKU's movements are recorded while its stock is locked, so their times rise with their positions.
_OF_THIS_STOCK = """
    sku_id = %(sku_id)s
    AND (%(location_id)s = '' OR location_id = %(location_id)s)
    AND (%(at_time)s::timestamptz IS NULL OR recorded_time <= %(at_time)s::timestamptz)
"""

EXTENT = f"""
SELECT EXISTS (SELECT FROM stock_movements WHERE sku_id = %(sku_id)s) AS is_known,
       coalesce((SELECT max(position) FROM stock_movements WHERE {_OF_THIS_STOCK}), 0) AS position
"""

SUMS = f"""
SELECT location_id, {_SUMS} FROM stock_movements
WHERE {_OF_THIS_STOCK} AND position <= %(through)s
GROUP BY location_id
"""

MOVEMENTS = f"""
SELECT position, recorded_time, location_id, kind, {_COUNTERS}, cause, actor FROM stock_movements
WHERE {_OF_THIS_STOCK} AND position > %(after)s AND position <= %(through)s
ORDER BY position LIMIT %(limit)s
"""

STORED = f"""
SELECT location_id, {_COUNTERS} FROM stock_levels
WHERE sku_id = %(sku_id)s AND (%(location_id)s = '' OR location_id = %(location_id)s)
"""

RESERVATION = """
SELECT reference, state, expire_time FROM reservations
WHERE reservation_id = %(reservation_id)s AND version > 0
"""

RESERVATION_LINES = """
SELECT sku_id, location_id, quantity, shipped_quantity, returned_quantity FROM reservation_lines
WHERE reservation_id = %(reservation_id)s
ORDER BY sku_id COLLATE "C", location_id COLLATE "C"
"""


@dataclass(frozen=True, slots=True)
class _Extent:
    is_known: bool
    position: int


@dataclass(frozen=True, slots=True)
class _Level:
    location_id: str
    on_hand: int
    reserved: int
    allocated: int
    safety_stock: int
    backorder_limit: int
    shortage: int

    def to_message(self) -> StockLevel:
        counters = {counter: getattr(self, counter) for counter in COUNTERS}
        return StockLevel(location_id=self.location_id, available=self.available, **counters)

    @property
    def available(self) -> int:
        return self.on_hand - self.reserved - self.allocated - self.safety_stock + self.backorder_limit


@dataclass(frozen=True, slots=True)
class _Movement:
    position: int
    recorded_time: datetime
    location_id: str
    kind: int
    on_hand: int
    reserved: int
    allocated: int
    safety_stock: int
    backorder_limit: int
    shortage: int
    cause: str
    actor: str

    def to_message(self) -> StockMovement:
        return StockMovement(
            position=self.position,
            recorded_time=timestamp(self.recorded_time),
            location_id=self.location_id,
            kind=self.kind,  # type: ignore[arg-type]  # an enum's number is all that a row holds
            deltas=StockDeltas(**{counter: getattr(self, counter) for counter in COUNTERS}),
            cause=self.cause,
            actor=self.actor,
        )


@dataclass(frozen=True, slots=True)
class _Reservation:
    reference: str
    state: int
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class _Line:
    sku_id: str
    location_id: str
    quantity: int
    shipped_quantity: int
    returned_quantity: int


class InventoryHistoryServicer(InventoryHistoryServiceServicer):
    """Explains stock from its ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ExplainStock(
        self, request: ExplainStockRequest, context: ServicerContext
    ) -> ExplainStockResponse:
        """The movements that add up to each counter, now or at a past time."""
        at_time = _moment(request.at_time) if request.HasField("at_time") else None
        facts: dict[str, object] = {
            "sku_id": request.sku_id,
            "location_id": request.location_id,
            "at_time": at_time,
        }
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            through, after = await _window(snapshot, request, facts)
            limit = request.page_size or PAGE_SIZE_DEFAULT
            window = facts | {"through": through, "after": after, "limit": limit + 1}
            sums = await snapshot.fetch(SUMS, window, _Level)
            opening = await snapshot.fetch(SUMS, facts | {"through": after}, _Level)
            movements = await snapshot.fetch(MOVEMENTS, window, _Movement)
            differences = [] if at_time is not None else await _differences(snapshot, facts)
        page = movements[:limit]
        has_more = len(movements) > limit
        return ExplainStockResponse(
            stock=_stock(request.sku_id, sums),
            opening=[level.to_message() for level in _sorted(opening)],
            movements=[movement.to_message() for movement in page],
            next_page_token=page_token(request, [through, page[-1].position]) if has_more else "",
            differences=differences,
        )

    async def GetReservation(
        self, request: GetReservationRequest, context: ServicerContext
    ) -> GetReservationResponse:
        """Which locations hold the units of an order or an outside reservation."""
        key = {"reservation_id": request.reservation_id}
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            found = await snapshot.fetch_one(RESERVATION, key, _Reservation)
            lines = await snapshot.fetch(RESERVATION_LINES, key, _Line)
        if found is None:
            raise ReservationNotFound(reservation_id=request.reservation_id)
        return GetReservationResponse(
            reservation=Reservation(
                reservation_id=request.reservation_id,
                reference=found.reference,
                state=found.state,  # type: ignore[arg-type]  # an enum's number is all that a row holds
                lines=[to_message(line, ReservationLine) for line in lines],
                expire_time=timestamp(found.expire_time),
            )
        )


async def _window(
    snapshot: Snapshot, request: ExplainStockRequest, facts: dict[str, object]
) -> tuple[int, int]:
    """The last position to explain, the same for all pages, and the one that the page follows."""
    if request.page_token:
        through, after = read_page_token(request, request.page_token, (int, int))
        return int(through), int(after)
    extent = await snapshot.fetch_one(EXTENT, facts, _Extent)
    if extent is None or not extent.is_known:
        raise StockNotFound(sku_id=request.sku_id)
    return extent.position, 0


async def _differences(snapshot: Snapshot, facts: dict[str, object]) -> list[str]:
    """Where the stored counters are not the sums of the whole ledger, as of the same snapshot."""
    everything = await snapshot.fetch_one(EXTENT, facts, _Extent)
    assert everything is not None, "EXTENT is a row, whatever there is"
    stored = await snapshot.fetch(STORED, facts, _Level)
    ledger = await snapshot.fetch(SUMS, facts | {"through": everything.position}, _Level)
    return differing(stored, ledger)


def differing(stored: Sequence[_Level], ledger: Sequence[_Level]) -> list[str]:
    """One sentence for each counter that is not what its ledger says."""
    stored_by_location = {level.location_id: level for level in stored}
    ledger_by_location = {level.location_id: level for level in ledger}
    sentences = []
    for location_id in sorted(stored_by_location | ledger_by_location):
        for counter in COUNTERS:
            has = getattr(stored_by_location.get(location_id), counter, 0)
            should_have = getattr(ledger_by_location.get(location_id), counter, 0)
            if has != should_have:
                sentences.append(f"{location_id}: {counter} is {has}, its ledger says {should_have}")
    return sentences


def _stock(sku_id: str, levels: Iterable[_Level]) -> Stock:
    messages = [level.to_message() for level in _sorted(levels)]
    available = available_in_all(message.available for message in messages)
    return Stock(sku_id=sku_id, available=available, levels=messages)


def _sorted(levels: Iterable[_Level]) -> list[_Level]:
    """In the order of ids, which the database's collation may see otherwise."""
    return sorted(levels, key=lambda level: level.location_id)


def _moment(time: Timestamp) -> datetime:
    try:
        return time.ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidField(field="at_time", description="is no moment of the years 1 to 9999") from error
