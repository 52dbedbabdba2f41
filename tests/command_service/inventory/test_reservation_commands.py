"""Reservations for outside references, against PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from command_service.errors import (
    OutOfStock,
    ReservationAlreadyExists,
    ReservationNotCommitted,
    ReservationNotExpired,
    ReservationNotFound,
    ReservationNotHeld,
    ReservationOwnedByOrder,
    UnitsNotHeld,
)
from command_service.inventory.domain import Demand, HeldLine, Level, Reservation, ReservationState
from command_service.inventory.reservation_commands import (
    CommitReservation,
    ExpireReservation,
    ExtendReservation,
    ReleaseReservation,
    ReserveStock,
    ShipReservation,
)
from command_service.world import Command
from shopkeeper.inventory.v1.inventory_events_pb2 import ReservationShipped
from tests.command_service.conftest import CarryOut
from tests.command_service.inventory.warehouse import (
    HOUR,
    NORTH,
    SOUTH,
    assert_ledger_adds_up,
    assert_refused,
    committed,
    counted,
    held,
    level,
    open_warehouse,
    policy,
    stored,
    time_runs_out,
)

EVERY_CHANGE: Sequence[Command[Reservation]] = (
    ExtendReservation("r", hold_duration=HOUR),
    ReleaseReservation("r"),
    CommitReservation("r"),
    ShipReservation("r"),
    ExpireReservation("r"),
)


async def test_a_hold_reserves_units_and_is_stored_with_its_lines(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    reservation = await held(carry_out, "r", Demand("mug", 2))
    assert reservation.state is ReservationState.HELD
    assert reservation.lines == (HeldLine("mug", NORTH, 2),)
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5, reserved=2)
    assert await carry_out.fetch("SELECT version, is_of_order, reference, state FROM reservations") == [
        (1, False, "outside", 1)
    ]
    assert await carry_out.fetch("SELECT * FROM reservation_lines") == [("r", "mug", NORTH, 2, 0, 0)]
    await assert_ledger_adds_up(carry_out)


async def test_a_hold_lasts_for_its_duration_from_the_database_clock(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    reservation = await held(carry_out, "r", Demand("mug", 2))
    [(recorded_time,)] = await carry_out.fetch("SELECT recorded_time FROM events WHERE key = 'r'")
    assert reservation.expire_time == recorded_time + HOUR


async def test_a_hold_of_more_than_there_is_holds_nothing(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5, ("cup", NORTH): 1})
    command = ReserveStock("r", "x", (Demand("mug", 5), Demand("cup", 1), Demand("cup", 1)), HOUR)
    await assert_refused(carry_out, command, OutOfStock, shortages="cup: 2 wanted, 1 available")
    # The key row that its id left behind does not stand in the way of a better attempt.
    assert (await held(carry_out, "r", Demand("cup", 1))).lines == (HeldLine("cup", NORTH, 1),)


async def test_a_reservation_id_is_used_once(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await held(carry_out, "r", Demand("mug", 2))
    command = ReserveStock("r", "again", (Demand("mug", 1),), HOUR)
    await assert_refused(carry_out, command, ReservationAlreadyExists, reservation_id="r")


async def test_one_batch_sees_each_hold_before_the_next(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2})
    racers = [ReserveStock(f"r{n}", "race", (Demand("mug", 1),), HOUR) for n in range(5)]
    answers = await carry_out.together(racers)
    assert [type(answer) for answer in answers] == [Reservation] * 2 + [OutOfStock] * 3
    assert (await level(carry_out, "mug")).reserved == 2
    await assert_ledger_adds_up(carry_out)


async def test_a_whole_life_fits_into_one_batch(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2})
    answers = await carry_out.together(
        [ReserveStock("r", "x", (Demand("mug", 2),), HOUR), CommitReservation("r"), ShipReservation("r")]
    )
    assert answers[-1].lines == (HeldLine("mug", NORTH, 2, shipped_quantity=2),)
    assert await carry_out.fetch("SELECT * FROM reservation_lines") == [("r", "mug", NORTH, 2, 2, 0)]
    assert await level(carry_out, "mug") == Level(NORTH, 0)
    await assert_ledger_adds_up(carry_out)


async def test_a_demand_is_split_over_locations_when_none_has_it_all(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2, ("mug", SOUTH): 3})
    reservation = await held(carry_out, "r", Demand("mug", 4))
    assert reservation.lines == (HeldLine("mug", NORTH, 2), HeldLine("mug", SOUTH, 2))
    shipped = await committed_and_shipped(carry_out, "r")
    assert shipped.lines == (HeldLine("mug", NORTH, 2, 2), HeldLine("mug", SOUTH, 2, 2))
    assert await level(carry_out, "mug", SOUTH) == Level(SOUTH, 0, on_hand=1)


async def committed_and_shipped(carry_out: CarryOut, reservation_id: str) -> Reservation:
    await carry_out(CommitReservation(reservation_id))
    return await carry_out(ShipReservation(reservation_id))


async def test_committing_turns_reserved_into_allocated(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    reservation = await committed(carry_out, "r", Demand("mug", 2))
    assert reservation.state is ReservationState.COMMITTED
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5, allocated=2)


async def test_committing_twice_is_refused(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await committed(carry_out, "r", Demand("mug", 2))
    await assert_refused(carry_out, CommitReservation("r"), ReservationNotHeld, state="COMMITTED")


async def test_releasing_a_hold_gives_its_units_back(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await held(carry_out, "r", Demand("mug", 2))
    released = await carry_out(ReleaseReservation("r"))
    assert released.state is ReservationState.RELEASED
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5)
    await assert_refused(carry_out, ReleaseReservation("r"), ReservationNotHeld, state="RELEASED")


async def test_releasing_a_commitment_gives_its_units_back(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await committed(carry_out, "r", Demand("mug", 2))
    await carry_out(ReleaseReservation("r"))
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5)
    await assert_ledger_adds_up(carry_out)


async def test_what_was_shipped_cannot_be_released(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await committed(carry_out, "r", Demand("mug", 2))
    await carry_out(ShipReservation("r"))
    await assert_refused(carry_out, ReleaseReservation("r"), ReservationNotHeld, state="SHIPPED")


async def test_only_what_is_committed_can_be_shipped(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await held(carry_out, "r", Demand("mug", 2))
    await assert_refused(carry_out, ShipReservation("r"), ReservationNotCommitted, state="HELD")


async def test_backordered_units_are_shipped_once_they_are_there(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 1})
    await policy(carry_out, "mug", backorder_limit=3)
    await committed(carry_out, "r", Demand("mug", 4))
    shortages = "mug: 4 to ship, 1 on hand"
    await assert_refused(carry_out, ShipReservation("r"), OutOfStock, shortages=shortages)
    await counted(carry_out, "mug", 4, expected=1)
    await carry_out(ShipReservation("r"))
    assert await level(carry_out, "mug") == Level(NORTH, 0, backorder_limit=3)
    await assert_ledger_adds_up(carry_out)


# --- shipped in parts -----------------------------------------------------------------------------


async def test_what_was_not_lost_can_be_shipped_and_the_rest_released(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2, ("lamp", NORTH): 1})
    await committed(carry_out, "r", Demand("mug", 2), Demand("lamp", 1))
    await counted(carry_out, "lamp", 0, expected=1)
    shortages = "lamp: 1 to ship, 0 on hand"
    await assert_refused(carry_out, ShipReservation("r"), OutOfStock, shortages=shortages)
    shipped = await carry_out(ShipReservation("r", (Demand("mug", 2),)))
    assert shipped.state is ReservationState.COMMITTED
    assert shipped.lines == (HeldLine("lamp", NORTH, 1), HeldLine("mug", NORTH, 2, 2))
    assert await level(carry_out, "lamp") == Level(NORTH, 0, allocated=1, shortage=1)
    released = await carry_out(ReleaseReservation("r"))
    assert released.state is ReservationState.RELEASED
    assert released.lines == shipped.lines
    assert await level(carry_out, "lamp") == Level(NORTH, 0)
    assert await level(carry_out, "mug") == Level(NORTH, 0)
    await assert_refused(carry_out, ShipReservation("r"), ReservationNotCommitted, state="RELEASED")
    await assert_ledger_adds_up(carry_out)


async def test_a_reservation_is_shipped_with_the_last_of_its_units(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2, ("mug", SOUTH): 3})
    await committed(carry_out, "r", Demand("mug", 5))
    part = await carry_out(ShipReservation("r", (Demand("mug", 1, SOUTH), Demand("mug", 1, SOUTH))))
    assert part.lines == (HeldLine("mug", NORTH, 2), HeldLine("mug", SOUTH, 3, 2))
    assert part.state is ReservationState.COMMITTED
    await assert_refused(carry_out, CommitReservation("r"), ReservationNotHeld, state="COMMITTED")
    rest = await carry_out(ShipReservation("r"))
    assert rest.lines == (HeldLine("mug", NORTH, 2, 2), HeldLine("mug", SOUTH, 3, 3))
    assert rest.state is ReservationState.SHIPPED
    await assert_refused(carry_out, ShipReservation("r"), ReservationNotCommitted, state="SHIPPED")
    payloads = await carry_out.fetch(
        "SELECT payload FROM events WHERE type LIKE '%%ReservationShipped' ORDER BY position"
    )
    told = [ReservationShipped.FromString(payload) for (payload,) in payloads]
    assert [event.complete for event in told] == [False, True]
    await assert_ledger_adds_up(carry_out)


@pytest.mark.parametrize(
    ("units", "held_quantity"),
    [
        (Demand("mug", 3), "2"),
        (Demand("mug", 2, SOUTH), "1"),
        (Demand("cup", 1), "0"),
        (Demand("mug", 1, "nowhere"), "0"),
    ],
)
async def test_a_reservation_ships_no_more_than_it_holds(
    carry_out: CarryOut, units: Demand, held_quantity: str
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 9, ("mug", SOUTH): 9, ("cup", NORTH): 9})
    await committed(carry_out, "r", Demand("mug", 1, NORTH), Demand("mug", 2, SOUTH))
    await carry_out(ShipReservation("r", (Demand("mug", 1, SOUTH),)))
    command = ShipReservation("r", (units,))
    await assert_refused(
        carry_out, command, UnitsNotHeld, sku_id=units.sku_id, held_quantity=held_quantity
    )


# --- time -----------------------------------------------------------------------------------------


async def test_a_hold_is_over_at_its_time_whether_swept_or_not(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await held(carry_out, "r", Demand("mug", 2))
    await time_runs_out(carry_out, "r")
    for command in EVERY_CHANGE[:3]:
        await assert_refused(carry_out, command, ReservationNotHeld, state="EXPIRED")
    await assert_refused(carry_out, EVERY_CHANGE[3], ReservationNotCommitted, state="EXPIRED")
    expired = await carry_out(ExpireReservation("r"))
    assert expired.state is ReservationState.EXPIRED
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5)
    await assert_refused(carry_out, ExpireReservation("r"), ReservationNotHeld, state="EXPIRED")
    await assert_ledger_adds_up(carry_out)


def test_a_hold_ends_at_its_expire_time_and_not_a_moment_later() -> None:
    noon = datetime(2010, 12, 1, 12, tzinfo=UTC)
    hold = Reservation("r", False, "ebay", ReservationState.HELD, (), noon)
    assert hold.state_at(noon - timedelta(microseconds=1)) is ReservationState.HELD
    assert hold.state_at(noon) is ReservationState.EXPIRED


async def test_a_hold_is_not_expired_before_its_time(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    reservation = await held(carry_out, "r", Demand("mug", 2))
    expire_time = reservation.expire_time.isoformat()
    await assert_refused(
        carry_out, ExpireReservation("r"), ReservationNotExpired, expire_time=expire_time
    )


async def test_what_is_committed_never_expires(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await committed(carry_out, "r", Demand("mug", 2))
    await time_runs_out(carry_out, "r")
    await assert_refused(carry_out, ExpireReservation("r"), ReservationNotHeld, state="COMMITTED")


async def test_extending_prolongs_and_never_shortens(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    before = await held(carry_out, "r", Demand("mug", 2))
    longer = await carry_out(ExtendReservation("r", hold_duration=2 * HOUR))
    assert longer.expire_time > before.expire_time + HOUR / 2
    unchanged = await stored(carry_out)
    assert await carry_out(ExtendReservation("r", hold_duration=HOUR)) == longer
    assert await stored(carry_out) == unchanged


@pytest.mark.breaks_invariants("inv_order_reservation_lines", "inv_order_reservations")
@pytest.mark.parametrize("command", EVERY_CHANGE, ids=lambda command: type(command).__name__)
async def test_a_reservation_that_an_order_owns_is_left_to_the_order(
    carry_out: CarryOut, command: Command[Reservation]
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await held(carry_out, "r", Demand("mug", 2))
    await carry_out.fetch("UPDATE reservations SET is_of_order = true")
    await assert_refused(carry_out, command, ReservationOwnedByOrder, reservation_id="r")


@pytest.mark.parametrize("command", EVERY_CHANGE, ids=lambda command: type(command).__name__)
async def test_an_unknown_reservation_is_not_found(
    carry_out: CarryOut, command: Command[Reservation]
) -> None:
    await assert_refused(carry_out, command, ReservationNotFound, reservation_id="r")


async def test_a_rehearsal_tells_the_answer_and_changes_nothing(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    before = await stored(carry_out)
    command = ReserveStock("r", "x", (Demand("mug", 2),), HOUR)
    assert (await carry_out.rehearse(command)).lines == (HeldLine("mug", NORTH, 2),)
    assert await stored(carry_out) == before
