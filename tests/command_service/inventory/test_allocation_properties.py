"""What holds of every allocation and of everything that is given up again, whatever there is."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from command_service.errors import OutOfStock
from command_service.inventory.allocation import allocate
from command_service.inventory.deallocation import deallocate_units
from command_service.inventory.domain import (
    COUNTERS,
    Demand,
    HeldLine,
    Level,
    MovementKind,
    Place,
    Stock,
    StockChange,
)
from command_service.inventory.events import StockMoved

Stocks = dict[str, Stock | None]

SKUS, PLACES = ("cup", "mug"), ("a", "b", "c")
FEW, FEW_OR_NONE = st.integers(1, 6), st.integers(0, 6)


@st.composite
def levels(draw: st.DrawFn, location_id: str) -> Level:
    """A level as it can be: what is not covered of its promises is its shortage."""
    level = Level(
        location_id,
        rank=draw(st.integers(0, 2)),
        on_hand=draw(FEW_OR_NONE),
        reserved=draw(st.sampled_from((0, 0, 1, 4))),
        allocated=draw(st.sampled_from((0, 0, 2))),
        safety_stock=draw(st.sampled_from((0, 0, 1, 9))),
        backorder_limit=draw(st.sampled_from((0, 0, 2, 5))),
        active=draw(st.sampled_from((True, True, True, False))),
    )
    return replace(level, shortage=level.uncovered)


@st.composite
def stocks(draw: st.DrawFn) -> Stocks:
    """Each SKU at some of the locations; the last one perhaps nowhere."""
    found: Stocks = {}
    for sku_id in SKUS:
        places = draw(st.lists(st.sampled_from(PLACES), min_size=sku_id == SKUS[0], unique=True))
        here = tuple(draw(levels(place)) for place in sorted(places))
        found[sku_id] = Stock(sku_id, here) if here else None
    return found


DEMANDS = st.lists(
    st.builds(Demand, st.sampled_from(SKUS), FEW, st.sampled_from((None, None, None, *PLACES))),
    min_size=1,
    max_size=4,
)


NO_SHELF_HAS_BOTH: Stocks = {
    "cup": Stock("cup", (Level("a", 1, on_hand=1), Level("b", 2, on_hand=2))),
    "mug": Stock("mug", (Level("a", 1, on_hand=2),)),
}


def rooms(found: Stocks) -> dict[Place, int]:
    """Units that each open place can promise."""
    return {
        (stock.sku_id, level.location_id): max(0, level.available)
        for stock in found.values()
        if stock is not None
        for level in stock.levels
        if level.active
    }


def can_be_filled(found: Stocks, demands: Iterable[Demand]) -> bool:
    """Whether there is room for what is fixed where it is fixed, and for the rest anywhere."""
    left, wanted = Counter(rooms(found)), Counter[str]()
    for demand in demands:
        if demand.location_id is None:
            wanted[demand.sku_id] += demand.quantity
        else:
            left[demand.sku_id, demand.location_id] -= demand.quantity
    totals = Counter[str]()
    for (sku_id, _), room in left.items():
        totals[sku_id] += room
    return min(left.values(), default=0) >= 0 and all(totals[sku] >= wanted[sku] for sku in wanted)


def fillable(found: Stocks, demands: Iterable[Demand]) -> list[Demand]:
    """Those of the demands, one after the other, for which there is still room."""
    kept: list[Demand] = []
    for demand in demands:
        if can_be_filled(found, [*kept, demand]):
            kept.append(demand)
    return kept


def held_by_sku(lines: Iterable[HeldLine]) -> Counter[str]:
    held = Counter[str]()
    for line in lines:
        held[line.sku_id] += line.quantity
    return held


def wanted_by_sku(demands: Iterable[Demand]) -> Counter[str]:
    wanted = Counter[str]()
    for demand in demands:
        wanted[demand.sku_id] += demand.quantity
    return wanted


@given(stocks(), DEMANDS)
def test_what_there_is_room_for_is_allocated_exactly(found: Stocks, demands: list[Demand]) -> None:
    wanted = fillable(found, demands)
    lines = allocate(found, wanted)
    assert held_by_sku(lines) == wanted_by_sku(wanted)
    room, taken = rooms(found), {line.place: line.quantity for line in lines}
    assert [place for place, quantity in taken.items() if not 0 < quantity <= room[place]] == []
    assert all(first.place < second.place for first, second in pairwise(lines))
    fixed = Counter[Place]()
    for demand in wanted:
        if demand.location_id is not None:
            fixed[demand.sku_id, demand.location_id] += demand.quantity
    assert fixed <= Counter(taken)


@given(stocks(), DEMANDS)
def test_what_there_is_no_room_for_is_refused_and_each_short_sku_told_once(
    found: Stocks, demands: list[Demand]
) -> None:
    assume(not can_be_filled(found, demands))
    with pytest.raises(OutOfStock) as refused:
        allocate(found, demands)
    named = [sku_id for sku_id, _ in refused.value.violations]
    short = [
        sku_id
        for sku_id in SKUS
        if not can_be_filled(found, [demand for demand in demands if demand.sku_id == sku_id])
    ]
    assert named == short
    assert refused.value.facts["short_count"] == str(len(short))


@given(stocks(), DEMANDS)
def test_units_on_open_shelves_are_used_up_before_any_is_backordered(
    found: Stocks, demands: list[Demand]
) -> None:
    free = fillable(found, [Demand(demand.sku_id, demand.quantity) for demand in demands])
    taken = {line.place: line.quantity for line in allocate(found, free)}
    for sku_id, wanted in wanted_by_sku(free).items():
        stock = found[sku_id]
        assert stock is not None
        spare = {(sku_id, level.location_id): level.spare for level in stock.levels if level.active}
        from_shelves = sum(min(spare[at], taken.get(at, 0)) for at in spare)
        assert from_shelves == min(wanted, sum(spare.values()))


@given(stocks(), DEMANDS)
@example(NO_SHELF_HAS_BOTH, [Demand("cup", 2), Demand("mug", 2)])
def test_one_location_fills_all_of_it_if_one_can_and_a_sku_is_split_only_if_none_can(
    found: Stocks, demands: list[Demand]
) -> None:
    """From what is on its shelf, that is: fewer parcels are no reason to promise what is not there."""
    free = fillable(found, [Demand(demand.sku_id, demand.quantity) for demand in demands])
    wanted, lines = wanted_by_sku(free), allocate(found, free)
    able = {sku_id: shelves_with(found[sku_id], quantity) for sku_id, quantity in wanted.items()}
    used = {sku_id: {line.location_id for line in lines if line.sku_id == sku_id} for sku_id in wanted}
    if wanted and set[str].intersection(*able.values()):
        assert len(set[str].union(*used.values())) == 1
    assert [sku_id for sku_id in wanted if able[sku_id] and len(used[sku_id]) > 1] == []


def shelves_with(stock: Stock | None, quantity: int) -> set[str]:
    """Locations that can take so many units of a SKU from their shelf."""
    levels = stock.levels if stock is not None else ()
    return {level.location_id for level in levels if level.active and level.spare >= quantity}


# --- given up again -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Paid:
    """What an order holds that was paid for and perhaps shipped in part, and the stock then."""

    stocks: Stocks
    lines: tuple[HeldLine, ...]


@st.composite
def paid_orders(draw: st.DrawFn) -> Paid:
    """Units of each SKU at some locations, where others hold some as well; a count may miss any."""
    found: Stocks = {}
    lines: list[HeldLine] = []
    for sku_id in SKUS:
        stock = Stock(sku_id, ())
        for location_id in sorted(draw(st.lists(st.sampled_from(PLACES), unique=True))):
            shipped, unshipped = draw(FEW_OR_NONE), draw(FEW)
            lines.append(HeldLine(sku_id, location_id, shipped + unshipped, shipped))
            level = draw(levels(location_id))
            level = replace(level, allocated=level.allocated + unshipped)
            stock = stock.with_level(replace(level, shortage=level.uncovered))
        found[sku_id] = stock
    return Paid(found, tuple(lines))


def level_of(found: Mapping[str, Stock | None], place: Place) -> Level:
    stock = found[place[0]]
    level = None if stock is None else stock.level_at(place[1])
    assert level is not None
    return level


def given_up(change: StockChange) -> Counter[Place]:
    """Units by place, as the events tell; they tell of nothing else."""
    freed = Counter[Place]()
    for event in change.events:
        assert isinstance(event, StockMoved)
        assert event.kind is MovementKind.DEALLOCATED
        assert (event.deltas.on_hand, event.deltas.reserved) == (0, 0)
        assert event.level == level_of(change.stocks, (event.sku_id, event.level.location_id))
        freed[event.sku_id, event.level.location_id] -= event.deltas.allocated
    assert min(freed.values(), default=1) > 0
    return freed


@st.composite
def orders_and_units(draw: st.DrawFn) -> tuple[Paid, list[Demand]]:
    """A paid order, and units of it that were not shipped."""
    paid = draw(paid_orders())
    unshipped = Counter[str]()
    for line in paid.lines:
        unshipped[line.sku_id] += line.unshipped_quantity
    return paid, [Demand(sku_id, draw(st.integers(0, most))) for sku_id, most in unshipped.items()]


@given(orders_and_units())
def test_what_is_given_up_is_what_was_asked(asked: tuple[Paid, list[Demand]]) -> None:
    paid, units = asked
    change = deallocate_units(paid.stocks, paid.lines, units, cause="o1")
    freed, freed_by_sku = given_up(change), Counter[str]()
    for (sku_id, _), quantity in freed.items():
        freed_by_sku[sku_id] += quantity
    assert freed_by_sku == wanted_by_sku(units)
    rest = {line.place: replace(line, quantity=line.quantity - freed[line.place]) for line in paid.lines}
    assert change.lines == tuple(line for line in rest.values() if line.quantity > 0)
    assert all(line.unshipped_quantity >= 0 for line in rest.values())


@given(orders_and_units())
def test_no_counter_falls_below_zero_and_no_shortage_stays_that_is_none(
    asked: tuple[Paid, list[Demand]],
) -> None:
    paid, units = asked
    change = deallocate_units(paid.stocks, paid.lines, units, cause="o1")
    for place, quantity in given_up(change).items():
        before, after = level_of(paid.stocks, place), level_of(change.stocks, place)
        expected = replace(before, allocated=before.allocated - quantity)
        assert after == replace(expected, shortage=expected.uncovered)
        assert min(getattr(after, name) for name in COUNTERS) >= 0


@given(paid_orders(), st.sampled_from(SKUS), st.data())
def test_units_that_are_not_on_the_shelf_are_given_up_first(
    paid: Paid, sku_id: str, data: st.DataObject
) -> None:
    missing = Counter[Place]()
    for line in paid.lines:
        level = level_of(paid.stocks, line.place)
        if line.sku_id == sku_id:
            missing[line.place] = min(line.unshipped_quantity, max(0, level.promised - level.on_hand))
    units = [Demand(sku_id, data.draw(st.integers(0, missing.total())))]
    freed = given_up(deallocate_units(paid.stocks, paid.lines, units, cause="o1"))
    assert freed.total() == units[0].quantity
    assert freed <= missing
