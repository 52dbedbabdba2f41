"""How stock moves, and what that does to the shortage."""

from dataclasses import replace

import pytest

from command_service.errors import OutOfStock, QuantityTooLarge, StockNotFound, UnitsNotHeld
from command_service.inventory.domain import (
    COUNTER_MAX,
    Demand,
    HeldLine,
    Level,
    Location,
    MovementKind,
    Stock,
    StockChange,
    StockDeltas,
)
from command_service.inventory.events import StockMoved
from command_service.inventory.movements import (
    StockRow,
    commit,
    deallocate,
    hold,
    release,
    shelve,
    ship,
    transfer,
)
from tests.command_service.counted_steps import steps_of

FULL = Level("a", 1, on_hand=5)


def cups(*levels: Level) -> dict[str, Stock | None]:
    return {"cup": Stock("cup", levels)}


def only_level(change: StockChange) -> Level:
    [level] = change.stocks["cup"].levels
    return level


def movement(kind: MovementKind, deltas: StockDeltas, after: Level) -> StockMoved:
    return StockMoved("cup", kind, deltas, after, "o1")


def test_holding_reserves_and_tells_where() -> None:
    change = hold(cups(FULL), [Demand("cup", 2), Demand("cup", 1)], cause="o1")
    after = replace(FULL, reserved=3)
    assert only_level(change) == after
    assert change.lines == (HeldLine("cup", "a", 3),)
    assert change.events == [movement(MovementKind.RESERVED, StockDeltas(reserved=3), after)]


def test_only_stocks_that_change_are_changed() -> None:
    stocks = {**cups(FULL), "mug": Stock("mug", (FULL,))}
    assert set(hold(stocks, [Demand("cup", 2)], cause="o1").stocks) == {"cup"}


def test_releasing_is_the_reverse_of_holding() -> None:
    held = hold(cups(FULL), [Demand("cup", 2)], cause="o1")
    change = release(held.stocks, held.lines, cause="o1", kind=MovementKind.EXPIRED)
    assert only_level(change) == FULL
    assert change.events == [movement(MovementKind.EXPIRED, StockDeltas(reserved=-2), FULL)]


def test_committing_moves_reserved_to_allocated() -> None:
    held = hold(cups(FULL), [Demand("cup", 2)], cause="o1")
    change = commit(held.stocks, held.lines, cause="o1")
    after = replace(FULL, allocated=2)
    assert only_level(change) == after
    deltas = StockDeltas(reserved=-2, allocated=2)
    assert change.events == [movement(MovementKind.COMMITTED, deltas, after)]


def test_deallocating_gives_back_only_what_was_not_shipped() -> None:
    stocks = cups(replace(FULL, allocated=2))
    lines = [HeldLine("cup", "a", 5, shipped_quantity=3), HeldLine("cup", "b", 1, shipped_quantity=1)]
    change = deallocate(stocks, lines, cause="o1")
    assert only_level(change) == FULL
    assert len(change.events) == 1


def test_shipping_takes_units_off_the_shelf_and_tells_all_lines() -> None:
    stocks = {**cups(replace(FULL, allocated=3)), "mug": Stock("mug", (FULL,))}
    lines = (HeldLine("cup", "a", 3), HeldLine("mug", "a", 1))
    change = ship(stocks, lines, [Demand("cup", 2)], cause="o1")
    after = replace(FULL, on_hand=3, allocated=1)
    assert only_level(change) == after
    assert change.lines == (HeldLine("cup", "a", 3, shipped_quantity=2), HeldLine("mug", "a", 1))
    deltas = StockDeltas(on_hand=-2, allocated=-2)
    assert change.events == [movement(MovementKind.SHIPPED, deltas, after)]


def test_shipping_part_of_a_split_sku_goes_where_units_are_on_hand() -> None:
    stocks = cups(
        Level("a", 1, on_hand=1, allocated=3, backorder_limit=2), Level("b", 2, on_hand=2, allocated=2)
    )
    lines = (HeldLine("cup", "a", 3), HeldLine("cup", "b", 2))
    change = ship(stocks, lines, [Demand("cup", 2)], cause="o1")
    assert change.lines == (HeldLine("cup", "a", 3, 1), HeldLine("cup", "b", 2, 1))


def test_what_is_promised_but_not_on_the_shelf_cannot_be_shipped() -> None:
    stocks = cups(Level("a", 1, on_hand=1, allocated=3, shortage=2))
    with pytest.raises(OutOfStock) as refused:
        ship(stocks, (HeldLine("cup", "a", 3),), [Demand("cup", 3)], cause="o1")
    assert refused.value.violations == [("cup", "3 to ship, 1 on hand")]


def test_more_than_is_held_and_unshipped_is_not_shipped() -> None:
    stocks = cups(replace(FULL, allocated=1))
    with pytest.raises(UnitsNotHeld) as refused:
        ship(stocks, (HeldLine("cup", "a", 3, shipped_quantity=2),), [Demand("cup", 2)], cause="o1")
    assert refused.value.facts == {
        "sku_id": "cup",
        "location_id": "any location",
        "quantity": "2",
        "held_quantity": "1",
    }


TWO_SHELVES = cups(Level("a", 2, on_hand=5, allocated=2), Level("b", 1, on_hand=5, allocated=2))
HELD_ON_BOTH = (HeldLine("cup", "a", 2), HeldLine("cup", "b", 2))


def test_without_a_location_units_leave_by_rank() -> None:
    change = ship(TWO_SHELVES, HELD_ON_BOTH, [Demand("cup", 3)], cause="o1")
    assert change.lines == (HeldLine("cup", "a", 2, 1), HeldLine("cup", "b", 2, 2))


def test_units_leave_the_location_that_is_named() -> None:
    change = ship(TWO_SHELVES, HELD_ON_BOTH, [Demand("cup", 1, "a")], cause="o1")
    assert change.lines == (HeldLine("cup", "a", 2, 1), HeldLine("cup", "b", 2))
    assert [event.level.location_id for event in change.events if isinstance(event, StockMoved)] == ["a"]


def test_units_from_a_named_location_and_from_anywhere_are_not_taken_twice() -> None:
    units = [Demand("cup", 2), Demand("cup", 2, "b")]
    change = ship(TWO_SHELVES, HELD_ON_BOTH, units, cause="o1")
    assert change.lines == (HeldLine("cup", "a", 2, 2), HeldLine("cup", "b", 2, 2))
    with pytest.raises(UnitsNotHeld) as refused:
        ship(TWO_SHELVES, HELD_ON_BOTH, [*units, Demand("cup", 1)], cause="o1")
    assert (refused.value.facts["quantity"], refused.value.facts["held_quantity"]) == ("3", "2")


def test_a_location_ships_no_more_than_it_holds_for_the_order() -> None:
    with pytest.raises(UnitsNotHeld) as refused:
        ship(TWO_SHELVES, HELD_ON_BOTH, [Demand("cup", 3, "a")], cause="o1")
    assert refused.value.message == "3 units of SKU cup are not held at a: 2 are."


def test_a_location_ships_no_more_than_is_on_its_shelf() -> None:
    stocks = cups(
        Level("a", 1, on_hand=1, allocated=2, shortage=1), Level("b", 2, on_hand=9, allocated=2)
    )
    with pytest.raises(OutOfStock) as refused:
        ship(stocks, HELD_ON_BOTH, [Demand("cup", 2, "a")], cause="o1")
    assert refused.value.violations == [("cup", "2 to ship at a, 1 on hand")]


def test_shipping_what_there_is_leaves_the_shortage_to_the_rest() -> None:
    stocks = cups(Level("a", 1, on_hand=1, allocated=3, shortage=2))
    change = ship(stocks, (HeldLine("cup", "a", 3),), [Demand("cup", 1)], cause="o1")
    assert only_level(change) == Level("a", 1, on_hand=0, allocated=2, shortage=2)


def test_a_shortage_falls_with_the_promise_that_it_was_for() -> None:
    stocks = cups(Level("a", 1, on_hand=1, allocated=3, shortage=2))
    change = deallocate(stocks, [HeldLine("cup", "a", 3, shipped_quantity=2)], cause="o1")
    after = Level("a", 1, on_hand=1, allocated=2, shortage=1)
    assert only_level(change) == after
    deltas = StockDeltas(allocated=-1, shortage=-1)
    assert change.events == [movement(MovementKind.DEALLOCATED, deltas, after)]


def test_goods_that_come_in_end_a_shortage_first() -> None:
    stocks = cups(Level("a", 1, on_hand=1, reserved=4, shortage=3))
    change = shelve(
        stocks,
        [StockRow("cup", "a", 10)],
        MovementKind.RECEIVED,
        cause="o1",
        rank_by_location={"a": 1},
    )
    after = Level("a", 1, on_hand=11, reserved=4)
    assert only_level(change) == after
    deltas = StockDeltas(on_hand=10, shortage=-3)
    assert change.events == [movement(MovementKind.RECEIVED, deltas, after)]


def taken_back(stocks: dict[str, Stock | None], *places: str) -> StockChange:
    """A cup comes back to each place."""
    rows = [StockRow("cup", place, 1) for place in places]
    ranks = dict.fromkeys(places, 7)
    return shelve(stocks, rows, MovementKind.RETURNED, cause="o1", rank_by_location=ranks)


def test_taking_back_opens_a_level_where_there_is_none() -> None:
    change = taken_back({"cup": None}, "a")
    after = Level("a", 7, on_hand=1)
    assert only_level(change) == after
    assert change.events == [movement(MovementKind.RETURNED, StockDeltas(on_hand=1), after)]


def test_levels_stay_in_the_order_of_location_ids() -> None:
    change = taken_back(cups(Level("b", 1)), "c", "a")
    assert [level.location_id for level in change.stocks["cup"].levels] == ["a", "b", "c"]


def test_the_shelf_has_a_bound() -> None:
    with pytest.raises(QuantityTooLarge) as refused:
        taken_back(cups(replace(FULL, on_hand=COUNTER_MAX)), "a")
    assert refused.value.facts == {"quantity_max": "1000000000"}


def test_a_promise_at_a_place_without_a_level_is_a_bug() -> None:
    with pytest.raises(LookupError):
        release(cups(FULL), [HeldLine("cup", "nowhere", 1)], cause="o1")


# --- transfer -------------------------------------------------------------------------------------

B = Location("b", "B", 2, active=True)


def test_a_transfer_leaves_one_shelf_and_arrives_at_the_other() -> None:
    change = transfer(Stock("cup", (FULL,)), "a", B, 2, cause="o1")
    left, came = Level("a", 1, on_hand=3), Level("b", 2, on_hand=2)
    assert change.stocks == {"cup": Stock("cup", (left, came))}
    assert change.events == [
        movement(MovementKind.TRANSFERRED_OUT, StockDeltas(on_hand=-2), left),
        movement(MovementKind.TRANSFERRED_IN, StockDeltas(on_hand=2), came),
    ]


def test_what_is_promised_kept_back_or_only_backordered_cannot_be_transferred() -> None:
    level = Level("a", 1, on_hand=9, reserved=2, allocated=3, safety_stock=1, backorder_limit=50)
    stock = Stock("cup", (level,))
    with pytest.raises(OutOfStock) as refused:
        transfer(stock, "a", B, 4, cause="o1")
    assert refused.value.violations == [("cup", "4 wanted at a, 3 to spare")]
    assert transfer(stock, "a", B, 3, cause="o1").stocks["cup"].level_at("b") is not None


def test_a_place_that_is_promised_short_has_nothing_to_spare() -> None:
    level = Level("a", 1, on_hand=1, allocated=3, shortage=2)
    with pytest.raises(OutOfStock) as refused:
        transfer(Stock("cup", (level,)), "a", B, 1, cause="o1")
    assert refused.value.violations == [("cup", "1 wanted at a, 0 to spare")]


def test_nothing_can_be_transferred_from_where_there_never_was_stock() -> None:
    with pytest.raises(StockNotFound):
        transfer(Stock("cup", ()), "a", B, 1, cause="o1")


# --- what it costs --------------------------------------------------------------------------------


def test_holding_paying_and_shipping_four_times_the_skus_is_four_times_the_work() -> None:
    def steps(count: int) -> int:
        stocks: dict[str, Stock | None] = {
            name: Stock(name, (FULL,)) for name in (f"sku{number:04}" for number in range(count))
        }
        demands = [Demand(sku_id, 1) for sku_id in stocks]

        def live() -> None:
            held = hold(stocks, demands, cause="o1")
            committed = commit(held.stocks, held.lines, cause="o1")
            ship(committed.stocks, committed.lines, demands, cause="o1")

        return steps_of(live)

    assert steps(200) < 4.4 * steps(50)
