"""Which locations give up units that were paid for and not shipped."""

import pytest

from command_service.inventory.deallocation import deallocate_units
from command_service.inventory.domain import Demand, HeldLine, Level, MovementKind, Stock
from command_service.inventory.events import StockMoved

HELD = (HeldLine("cup", "a", 2), HeldLine("cup", "b", 3, shipped_quantity=1))
"""Two units at one location; three at another, of which one has left."""


def stocks(at_a: int = 2, at_b: int = 2) -> dict[str, Stock | None]:
    levels = (Level("a", 0, on_hand=at_a, allocated=2), Level("b", 1, on_hand=at_b, allocated=2))
    return {"cup": Stock("cup", levels)}


def rest(quantity: int, on_hand: dict[str, Stock | None]) -> tuple[HeldLine, ...]:
    return deallocate_units(on_hand, HELD, [Demand("cup", quantity)], cause="o1").lines


def test_the_last_location_gives_up_its_units_first() -> None:
    assert rest(1, stocks()) == (HeldLine("cup", "a", 2), HeldLine("cup", "b", 2, 1))
    assert rest(3, stocks()) == (HeldLine("cup", "a", 1), HeldLine("cup", "b", 1, 1))


def test_what_is_missing_from_a_shelf_is_given_up_before() -> None:
    assert rest(1, stocks(at_a=1)) == (HeldLine("cup", "a", 1), HeldLine("cup", "b", 3, 1))
    assert rest(2, stocks(at_a=1)) == (HeldLine("cup", "a", 1), HeldLine("cup", "b", 2, 1))
    # Nowhere more than is held there for this order.
    assert rest(2, stocks(at_a=0, at_b=0)) == (HeldLine("cup", "b", 3, 1),)


def test_what_is_missing_is_reckoned_with_what_others_hold_there() -> None:
    """Whoever holds the units that are there: one of them will get none."""
    at_b = Level("b", 1, on_hand=2, allocated=2)
    reserved = Level("a", 0, on_hand=3, allocated=2, reserved=2, shortage=1)
    assert rest(1, {"cup": Stock("cup", (reserved, at_b))})[0] == HeldLine("cup", "a", 1)
    paid = Level("a", 0, on_hand=0, allocated=6, shortage=6)
    # Six are missing there, and two of them are ours to give up.
    assert rest(3, {"cup": Stock("cup", (paid, at_b))}) == (HeldLine("cup", "b", 2, 1),)


def test_a_line_of_which_nothing_is_left_is_gone_and_what_was_shipped_stays() -> None:
    assert rest(4, stocks()) == (HeldLine("cup", "b", 1, 1),)


def test_each_location_is_told_what_is_free_again() -> None:
    change = deallocate_units(stocks(), HELD, [Demand("cup", 1), Demand("cup", 2)], cause="o1")
    moved = [event for event in change.events if isinstance(event, StockMoved)]
    assert [(event.kind, event.level.location_id, event.deltas.allocated) for event in moved] == [
        (MovementKind.DEALLOCATED, "a", -1),
        (MovementKind.DEALLOCATED, "b", -2),
    ]
    assert [level.allocated for level in change.stocks["cup"].levels] == [1, 0]


def test_no_more_is_given_up_than_is_unshipped() -> None:
    with pytest.raises(ValueError, match="more to give up"):
        rest(5, stocks())
