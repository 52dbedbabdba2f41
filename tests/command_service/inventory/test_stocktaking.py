"""What staff say of stock."""

from dataclasses import replace

import pytest

from command_service.errors import BackorderLimitInUse, StockChanged
from command_service.inventory.domain import (
    Level,
    LevelDrift,
    Location,
    MovementKind,
    Stock,
    StockDeltas,
    StockDrift,
)
from command_service.inventory.events import StockMoved, StockRepaired
from command_service.inventory.stocktaking import (
    REPAIR_CAUSE,
    Count,
    RepairedCounter,
    adjust,
    repair,
    set_policy,
)

A = Location("a", "A", 1, active=True)
B = Location("b", "B", 2, active=True)
NO_STOCK = Stock("cup", ())


def cup(*levels: Level) -> Stock:
    return Stock("cup", levels)


def moved(kind: MovementKind, deltas: StockDeltas, after: Level, cause: str = "count") -> StockMoved:
    return StockMoved("cup", kind, deltas, after, cause)


# --- adjust ---------------------------------------------------------------------------------------


def test_a_count_says_what_is_on_the_shelf() -> None:
    change = adjust(cup(Level("a", 1, on_hand=5, reserved=1)), A, Count(4, 5), cause="count")
    after = Level("a", 1, on_hand=4, reserved=1)
    assert change.stocks == {"cup": cup(after)}
    assert change.events == [moved(MovementKind.ADJUSTED, StockDeltas(on_hand=-1), after)]


def test_a_count_below_what_is_promised_is_a_shortage() -> None:
    change = adjust(cup(Level("a", 1, on_hand=5, allocated=4)), A, Count(1, 5), cause="count")
    after = Level("a", 1, on_hand=1, allocated=4, shortage=3)
    assert change.stocks == {"cup": cup(after)}
    assert after.available == -3
    deltas = StockDeltas(on_hand=-4, shortage=3)
    assert change.events == [moved(MovementKind.ADJUSTED, deltas, after)]


def test_a_backorder_limit_covers_promises_before_a_shortage_is_needed() -> None:
    stock = cup(Level("a", 1, on_hand=5, allocated=4, backorder_limit=2))
    change = adjust(stock, A, Count(1, 5), cause="count")
    assert change.stocks["cup"].levels[0].shortage == 1


def test_a_higher_count_ends_a_shortage() -> None:
    stock = cup(Level("a", 1, on_hand=1, allocated=4, shortage=3))
    change = adjust(stock, A, Count(3, 1), cause="count")
    assert change.stocks["cup"].levels[0] == Level("a", 1, on_hand=3, allocated=4, shortage=1)


def test_a_count_that_started_from_another_number_is_refused() -> None:
    with pytest.raises(StockChanged) as refused:
        adjust(cup(Level("a", 1, on_hand=5)), A, Count(4, 6), cause="count")
    assert refused.value.facts == {
        "sku_id": "cup",
        "location_id": "a",
        "on_hand": "5",
        "expected_on_hand": "6",
    }


def test_a_count_that_finds_what_is_known_changes_nothing() -> None:
    change = adjust(cup(Level("a", 1, on_hand=5)), A, Count(5, 5), cause="count")
    assert (change.stocks, change.events) == ({}, ())


def test_a_first_count_opens_the_level() -> None:
    change = adjust(NO_STOCK, A, Count(2, 0), cause="count")
    after = Level("a", 1, on_hand=2)
    assert change.events == [moved(MovementKind.ADJUSTED, StockDeltas(on_hand=2), after)]


def test_a_first_count_of_nothing_opens_the_level_too() -> None:
    change = adjust(NO_STOCK, A, Count(0, 0), cause="count")
    assert change.stocks == {"cup": cup(Level("a", 1))}
    assert change.events == [moved(MovementKind.OPENED, StockDeltas(), Level("a", 1))]


# --- policy ---------------------------------------------------------------------------------------


def test_a_policy_is_recorded_like_every_change() -> None:
    change = set_policy(NO_STOCK, A, safety_stock=1, backorder_limit=3, cause="count")
    after = Level("a", 1, safety_stock=1, backorder_limit=3)
    deltas = StockDeltas(safety_stock=1, backorder_limit=3)
    assert change.events == [moved(MovementKind.POLICY_SET, deltas, after)]


def test_a_backorder_limit_that_promises_rest_on_is_not_taken_away() -> None:
    stock = cup(Level("a", 1, on_hand=1, allocated=3, backorder_limit=5))
    with pytest.raises(BackorderLimitInUse) as refused:
        set_policy(stock, A, safety_stock=0, backorder_limit=1, cause="count")
    assert refused.value.facts == {"sku_id": "cup", "location_id": "a", "needed": "2"}
    change = set_policy(stock, A, safety_stock=0, backorder_limit=2, cause="count")
    assert change.stocks["cup"].levels == (Level("a", 1, on_hand=1, allocated=3, backorder_limit=2),)


def test_a_backorder_limit_may_cover_a_shortage_and_is_then_needed() -> None:
    stock = cup(Level("a", 1, on_hand=1, allocated=4, shortage=3))
    covered = set_policy(stock, A, safety_stock=0, backorder_limit=2, cause="count").stocks["cup"]
    assert covered.levels == (Level("a", 1, on_hand=1, allocated=4, backorder_limit=2, shortage=1),)
    with pytest.raises(BackorderLimitInUse):
        set_policy(covered, A, safety_stock=0, backorder_limit=1, cause="count")


def test_safety_stock_may_exceed_what_there_is() -> None:
    change = set_policy(cup(Level("a", 1, on_hand=1)), A, safety_stock=9, backorder_limit=0, cause="c")
    assert change.stocks["cup"].available == 0


# --- repair ---------------------------------------------------------------------------------------


def drift(ledger_minus_stored: StockDeltas, *, active: bool = True) -> StockDrift:
    return StockDrift("cup", (LevelDrift("a", 1, active, ledger_minus_stored),))


def test_a_repair_sets_counters_to_their_ledger_and_writes_no_movement() -> None:
    stock = cup(Level("a", 1, on_hand=7, reserved=1), Level("b", 2, on_hand=1))
    change, repaired = repair(stock, drift(StockDeltas(on_hand=-2, reserved=1)))
    after = cup(Level("a", 1, on_hand=5, reserved=2), Level("b", 2, on_hand=1))
    assert change.stocks == {"cup": after}
    assert change.events == [StockRepaired(after)]
    assert repaired == (RepairedCounter("a", "on_hand", 7, 5), RepairedCounter("a", "reserved", 1, 2))


def test_a_repair_without_differences_changes_nothing() -> None:
    change, repaired = repair(cup(Level("a", 1, on_hand=7)), None)
    assert (change.stocks, change.events, repaired) == ({}, (), ())


def test_a_repair_opens_a_level_that_was_lost() -> None:
    change, repaired = repair(None, drift(StockDeltas(on_hand=2)))
    assert change.stocks == {"cup": cup(Level("a", 1, on_hand=2))}
    assert repaired == (RepairedCounter("a", "on_hand", 0, 2),)


def test_a_level_that_was_lost_at_a_closed_location_is_opened_as_closed() -> None:
    change, _ = repair(None, drift(StockDeltas(on_hand=2), active=False))
    assert change.stocks == {"cup": cup(Level("a", 1, on_hand=2, active=False))}


def test_promises_made_on_a_wrong_counter_become_a_shortage_with_a_movement() -> None:
    wrong = Level("a", 1, on_hand=10, reserved=8)
    change, repaired = repair(cup(wrong), drift(StockDeltas(on_hand=-5)))
    after = Level("a", 1, on_hand=5, reserved=8, shortage=3)
    assert change.events == [
        StockRepaired(cup(after)),
        moved(MovementKind.ADJUSTED, StockDeltas(shortage=3), after, REPAIR_CAUSE),
    ]
    assert repaired == (RepairedCounter("a", "on_hand", 10, 5), RepairedCounter("a", "shortage", 0, 3))


def test_a_ledger_below_zero_is_brought_to_zero_by_a_movement() -> None:
    wrong = Level("a", 1, on_hand=2)
    change, repaired = repair(cup(wrong), drift(StockDeltas(on_hand=-5)))
    after = Level("a", 1, on_hand=0)
    assert change.events == [
        StockRepaired(cup(after)),
        moved(MovementKind.ADJUSTED, StockDeltas(on_hand=3), after, REPAIR_CAUSE),
    ]
    assert repaired == (RepairedCounter("a", "on_hand", 2, 0),)


def test_a_repair_reckons_with_what_its_batch_has_moved_since_the_ledger_was_read() -> None:
    loaded = cup(Level("a", 1, on_hand=7))
    received = replace(loaded, levels=(Level("a", 1, on_hand=17),))
    change, _ = repair(received, drift(StockDeltas(on_hand=-2)))
    assert change.stocks["cup"].levels == (Level("a", 1, on_hand=15),)
