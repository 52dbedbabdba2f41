"""ExplainStock: the rows add up to the numbers, now and at every past moment."""

from collections import Counter
from datetime import timedelta
from random import Random

import grpc
import pytest

from event_log.codec import timestamp
from shopkeeper.inventory.v1.inventory_history_service_pb2 import (
    ExplainStockRequest,
    ExplainStockResponse,
    GetReservationRequest,
)
from shopkeeper.inventory.v1.inventory_pb2 import MovementKind, Reservation, ReservationLine, Stock
from tests.history_service.conftest import History, refused
from tests.history_service.stored_shop import COUNTERS, Line, StoredShop

LOCATIONS = ("main", "annex")


def sums(rows: object) -> dict[str, Counter[str]]:
    """Deltas of movements, summed by location."""
    by_location: dict[str, Counter[str]] = {}
    for movement in rows:  # type: ignore[attr-defined]  # a repeated field
        counted = by_location.setdefault(movement.location_id, Counter())
        counted.update({counter: getattr(movement.deltas, counter) for counter in COUNTERS})
    return by_location


def levels(rows: object) -> dict[str, dict[str, int]]:
    return {
        level.location_id: {counter: getattr(level, counter) for counter in COUNTERS}
        for level in rows  # type: ignore[attr-defined]  # a repeated field
    }


def random_history(shop: StoredShop, seed: int) -> list[Counter[tuple[str, str]]]:
    """Thirty movements, a minute apart; returns the counters after each."""
    random, now = Random(seed), Counter[tuple[str, str]]()
    after: list[Counter[tuple[str, str]]] = []
    for minute in range(30):
        location_id = random.choice(LOCATIONS)
        deltas = {"on_hand": random.randint(1, 9), "backorder_limit": random.randint(0, 2)}
        if now[location_id, "on_hand"] - now[location_id, "reserved"] > 2:
            deltas = {"reserved": random.randint(0, 1), "on_hand": -random.randint(0, 1)}
        at = shop.now + timedelta(minutes=minute)
        shop.move("A", 1, location_id=location_id, at=at, cause="chance", **deltas)
        now.update({(location_id, counter): delta for counter, delta in deltas.items()})
        after.append(now.copy())
    return after


@pytest.mark.breaks_invariants("inv_stock_reserved")
@pytest.mark.parametrize("seed", range(3))
async def test_the_rows_add_up_to_the_counters_at_every_past_moment(
    shop: StoredShop, history: History, seed: int
) -> None:
    after = random_history(shop, seed)
    for minute, counters in enumerate(after):
        at_time = timestamp(shop.now + timedelta(minutes=minute, seconds=30))
        explained = await history.inventory.ExplainStock(
            ExplainStockRequest(sku_id="A", at_time=at_time, page_size=1000)
        )
        expected = {
            location_id: {counter: counters[location_id, counter] for counter in COUNTERS}
            for location_id in {place for place, _ in counters}
        }
        assert len(explained.movements) == minute + 1
        assert levels(explained.stock.levels) == expected
        assert sums(explained.movements) == {
            place: Counter(counted) for place, counted in expected.items()
        }


async def pages(history: History, **asked: object) -> list[ExplainStockResponse]:
    """Every page, each asked for with the token of the one before."""
    found, token = [], ""
    while True:
        request = ExplainStockRequest(sku_id="A", page_token=token, **asked)  # type: ignore[arg-type]
        found.append(await history.inventory.ExplainStock(request))
        token = found[-1].next_page_token
        if not token:
            return found


@pytest.mark.breaks_invariants("inv_stock_reserved")
async def test_each_page_begins_with_what_came_before_it(shop: StoredShop, history: History) -> None:
    random_history(shop, 1)
    found = await pages(history, page_size=7)
    assert [len(page.movements) for page in found] == [7, 7, 7, 7, 2]
    so_far: dict[str, Counter[str]] = {}
    for page in found:
        assert {place: Counter(counted) for place, counted in levels(page.opening).items()} == so_far
        assert page.stock == found[0].stock
        for place, counted in sums(page.movements).items():
            so_far.setdefault(place, Counter()).update(counted)
    assert {place: Counter(c) for place, c in levels(found[0].stock.levels).items()} == so_far


async def test_pages_tell_of_one_moment_while_stock_moves_on(shop: StoredShop, history: History) -> None:
    for _ in range(3):
        shop.move("A", on_hand=1)
    first = await history.inventory.ExplainStock(ExplainStockRequest(sku_id="A", page_size=2))
    shop.move("A", on_hand=100)
    second = await history.inventory.ExplainStock(
        ExplainStockRequest(sku_id="A", page_size=2, page_token=first.next_page_token)
    )
    assert [movement.deltas.on_hand for movement in second.movements] == [1]
    assert second.stock == first.stock
    assert second.next_page_token == ""


@pytest.mark.breaks_invariants("inv_stock_reserved")
async def test_a_movement_tells_when_why_and_by_whom(shop: StoredShop, history: History) -> None:
    position = shop.move("A", 5, cause="order-1", on_hand=3, reserved=1)
    explained = await history.inventory.ExplainStock(ExplainStockRequest(sku_id="A"))
    [movement] = explained.movements
    assert movement.position == position
    assert movement.recorded_time == timestamp(shop.now)
    assert movement.kind == MovementKind.MOVEMENT_KIND_RESERVED
    assert (movement.location_id, movement.cause, movement.actor) == ("main", "order-1", "tester")
    assert explained.stock.available == 2
    assert explained.stock.levels[0].available == 2


async def test_one_location_can_be_asked_for(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=3)
    shop.move("A", on_hand=5, location_id="annex")
    explained = await history.inventory.ExplainStock(
        ExplainStockRequest(sku_id="A", location_id="annex")
    )
    assert [level.location_id for level in explained.stock.levels] == ["annex"]
    assert [movement.deltas.on_hand for movement in explained.movements] == [5]


async def test_before_its_first_movement_a_sku_had_nothing(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=3)
    at_time = timestamp(shop.now - timedelta(days=1))
    explained = await history.inventory.ExplainStock(ExplainStockRequest(sku_id="A", at_time=at_time))
    assert explained == ExplainStockResponse(stock=Stock(sku_id="A"))


@pytest.mark.breaks_invariants("inv_stock_ledger")
async def test_a_counter_that_is_not_its_ledger_is_told(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=3)
    explained = await history.inventory.ExplainStock(ExplainStockRequest(sku_id="A"))
    assert explained.differences == []
    shop.execute("UPDATE stock_levels SET on_hand = 4")
    explained = await history.inventory.ExplainStock(ExplainStockRequest(sku_id="A"))
    assert explained.differences == ["main: on_hand is 4, its ledger says 3"]
    assert explained.stock.levels[0].on_hand == 3


async def test_a_sku_without_movements_is_not_found(history: History) -> None:
    failure = await refused(history.inventory.ExplainStock(ExplainStockRequest(sku_id="A")))
    assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "STOCK_NOT_FOUND")
    assert failure.message == "SKU A never had stock."


@pytest.mark.parametrize("token", ["x", "AAAA", "é", "W10", "A" * 300])
async def test_a_forged_page_token_is_refused(shop: StoredShop, history: History, token: str) -> None:
    shop.move("A", on_hand=3)
    request = ExplainStockRequest(sku_id="A", page_token=token)
    failure = await refused(history.inventory.ExplainStock(request))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == ["page_token"]


async def test_a_page_token_of_another_filter_is_refused(shop: StoredShop, history: History) -> None:
    for sku_id in ("A", "A", "B"):
        shop.move(sku_id, on_hand=1)
    first = await history.inventory.ExplainStock(ExplainStockRequest(sku_id="A", page_size=1))
    request = ExplainStockRequest(sku_id="B", page_size=1, page_token=first.next_page_token)
    failure = await refused(history.inventory.ExplainStock(request))
    assert failure.fields == ["page_token"]


async def test_a_time_that_no_calendar_has_is_refused(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=1)
    request = ExplainStockRequest(sku_id="A")
    request.at_time.seconds = 2**62
    failure = await refused(history.inventory.ExplainStock(request))
    assert failure.fields == ["at_time"]


# --- reservations ---------------------------------------------------------------------------------


@pytest.mark.breaks_invariants("inv_order_reservation_lines", "inv_stock_reserved")
async def test_an_order_tells_where_its_units_are_held(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=3)
    shop.place("o1", [Line("A", 2, 100)], held_for=timedelta(hours=1))
    shop.execute("UPDATE reservations SET reference = '100-000-0005'")
    shop.execute("UPDATE reservation_lines SET shipped_quantity = 1")
    shop.insert(
        "reservation_lines",
        reservation_id="o1",
        sku_id="A",
        location_id="annex",
        quantity=1,
        shipped_quantity=0,
        returned_quantity=0,
    )
    answer = await history.inventory.GetReservation(GetReservationRequest(reservation_id="o1"))
    assert answer.reservation == Reservation(
        reservation_id="o1",
        reference="100-000-0005",
        state=Reservation.STATE_HELD,
        lines=[
            ReservationLine(sku_id="A", location_id="annex", quantity=1),
            ReservationLine(sku_id="A", location_id="main", quantity=2, shipped_quantity=1),
        ],
        expire_time=timestamp(shop.now + timedelta(hours=1)),
    )


async def test_a_reservation_that_was_never_made_is_not_found(
    shop: StoredShop, history: History
) -> None:
    # A key row, made so that its absence could be locked.
    shop.insert("reservations", reservation_id="r1")
    for reservation_id in ("r1", "r2"):
        request = GetReservationRequest(reservation_id=reservation_id)
        failure = await refused(history.inventory.GetReservation(request))
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "RESERVATION_NOT_FOUND")
