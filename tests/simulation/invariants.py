"""What must hold at the end of a seed: equal in meaning to the views inv_* of the database."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from operator import add, attrgetter
from typing import Any

from command_service.inventory.domain import COUNTERS, Level, ReservationState, StockDeltas
from command_service.inventory.events import ReservationCommitted, StockMoved
from command_service.ordering.domain import MONEY_RECORD, REFUND_RECORD
from command_service.ordering.events import RefundRecordReversed
from command_service.world import LockRank
from tests.simulation.database import KEY_ROW, Database, Place
from tests.simulation.joins import active_locations, is_empty_location
from tests.simulation.order_invariants import broken_of_orders
from tests.simulation.shop import Request

_counters: Callable[[Level | StockDeltas], tuple[int, ...]] = attrgetter(*COUNTERS)
_NONE = (0,) * len(COUNTERS)


def broken(
    database: Database, first_rows: Mapping[Place, Any], requests: list[Request]
) -> Iterator[str]:
    """What does not hold, in words."""
    yield from _of_log(database)
    yield from _of_requests(database, requests)
    yield from _of_locks(database)
    yield from _of_stock(database, first_rows)
    yield from _of_locations(database)
    if any(rank is LockRank.CART for rank, _ in first_rows):
        yield from broken_of_orders(database)


def _of_log(database: Database) -> Iterator[str]:
    """inv_log_gaps, inv_log_answers, inv_requests_ahead_of_log."""
    for position, logged in enumerate(database.log, start=1):
        if logged.position != position:
            yield f"position {logged.position} stands at {position}"
        known = database.requests.get(logged.told.request_id)
        if known is None or known.answer.code:
            yield f"position {position} is told by a request that was not done"
    last = len(database.log)
    for request_id, known in database.requests.items():
        if known.answer.token.position > last:
            yield f"the answer to {request_id} is ahead of the log"


def _of_requests(database: Database, requests: list[Request]) -> Iterator[str]:
    """What clients were told is what is stored, whoever told them and however often."""
    for request in requests:
        known = database.requests.get(request.request_id)
        for answer in request.answers:
            if known is None:
                yield f"request {request.number} was answered and is not there"
            elif answer != known.answer:
                yield f"request {request.number} was answered {answer} and is stored as {known.answer}"
            elif not answer.code and answer.body not in request.decided:
                yield f"request {request.number} was answered {answer}, which it never decided"


def _of_locks(database: Database) -> Iterator[str]:
    """Nothing is left of anybody's work."""
    if database.locks or database.open or database.making or database.ids:
        yield f"left behind: {list(database.locks)} {len(database.open)} transactions"
    for place, row in database.rows.items():
        if row is KEY_ROW and place not in _of_reversed_records(database):
            yield f"a key row is left: {place}"


def _of_reversed_records(database: Database) -> set[Place]:
    """Places of records that are gone: their rows stay, since somebody may wait for the lock."""
    told = [logged.told.event for logged in database.log]
    names = [each.refund_reference for each in told if isinstance(each, RefundRecordReversed)]
    return {(MONEY_RECORD.rank, (REFUND_RECORD, name)) for name in names}


def _of_stock(database: Database, first_rows: Mapping[Place, Any]) -> Iterator[str]:
    """inv_stock_ledger, _reserved, _allocated, _oversold, _ever_oversold, _shortage."""
    ledger = {
        (row.sku_id, level.location_id): _counters(level)
        for (rank, _), row in first_rows.items()
        if rank is LockRank.STOCK
        for level in row.levels
    }
    for logged in database.log:
        moved = logged.told.event
        if isinstance(moved, StockMoved):
            place = moved.sku_id, moved.level.location_id
            counters = tuple(map(add, ledger.get(place, _NONE), _counters(moved.deltas)))
            ledger[place] = counters
            yield from _oversold(f"{moved.sku_id} at {logged.position}", counters)
        if isinstance(moved, ReservationCommitted):
            reservation = database.rows[LockRank.RESERVATION, moved.reservation_id]
            if logged.now >= reservation.expire_time:
                yield f"{moved.reservation_id} was committed at {logged.now}, when it had expired"
    held, committed = _promised(database)
    for (rank, key), row in database.rows.items():
        if rank is LockRank.STOCK and row is not KEY_ROW:
            for level in row.levels:
                place = (key, level.location_id)
                counters = _counters(level)
                yield from _oversold(str(place), counters)
                if ledger.get(place, _NONE) != counters:
                    yield f"{place} has {_named(counters)}, its ledger {ledger.get(place)}"
                if level.reserved != held.pop(place, 0):
                    yield f"{place} has {level.reserved} reserved, which is not what is held"
                if level.allocated != committed.pop(place, 0):
                    yield f"{place} has {level.allocated} allocated, which is not what is committed"
                if level.shortage > level.uncovered:
                    yield f"{place} has a shortage of more than is uncovered"
    if +held or +committed:
        yield f"held without stock: {held} {committed}"


def _of_locations(database: Database) -> Iterator[str]:
    """What is closed is empty: nobody would find what is left there."""
    for location_id, is_active in active_locations(database.rows).items():
        if not is_active and not is_empty_location(database.rows, location_id):
            yield f"{location_id} is closed and not empty"


def _oversold(what: str, counters: tuple[int, ...]) -> Iterator[str]:
    on_hand, reserved, allocated, _, backorder_limit, shortage = counters
    if reserved + allocated > on_hand + backorder_limit + shortage:
        yield f"{what} is oversold: {_named(counters)}"
    if min(counters) < 0:
        yield f"{what} has less than nothing: {_named(counters)}"


def _named(counters: tuple[int, ...]) -> dict[str, int]:
    return dict(zip(COUNTERS, counters, strict=True))


def _promised(database: Database) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    held, committed = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for (rank, _), row in database.rows.items():
        if rank is LockRank.RESERVATION and row is not KEY_ROW:
            for line in row.lines:
                if row.state is ReservationState.HELD:
                    held[line.place] += line.quantity
                elif row.state is ReservationState.COMMITTED:
                    committed[line.place] += line.quantity - line.shipped_quantity
    return held, committed
