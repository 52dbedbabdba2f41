"""ReturnOrderLines against a model that looks at every held line for every row; and without its cost."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import LocationNotFound, Refusal
from command_service.inventory.domain import LOCATION, RESERVATION, STOCK, HeldLine, Level, Stock
from command_service.inventory.events import StockMoved
from command_service.ordering.domain import ORDER, Order
from command_service.ordering.lines import OrderLine, Units
from command_service.world import Touch, World
from tests.command_service.checkout.order_shop import OrderShop
from tests.command_service.counted_steps import steps_of

Row = tuple[str, str, int]
"""Units of a SKU for the shelf of a location."""

SHOP = OrderShop()
ORDERED = SHOP.pay(SHOP.place(mug=1))
HELD = SHOP.reservation()
OPEN, CLOSED = ("a", "b", "c", "d"), "shut"
"""Nothing was ever held at the last of those that are open."""


def shipped_line(line_id: str, sku_id: str, quantity: int) -> OrderLine:
    [line] = ORDERED.lines
    return replace(line, line_id=line_id, sku_id=sku_id, quantity=quantity, fulfilled_quantity=quantity)


def world_of(lines: Iterable[OrderLine], held: Iterable[HeldLine], places: Iterable[str]) -> World:
    """All that returns of the order may touch; the closed location is there as well."""
    shop, lines, places = OrderShop(), tuple(lines), tuple(places)
    for place in (*places, CLOSED):
        shop.open_location(place, active=place != CLOSED)
    world = shop.world
    world.load(ORDER, {"o1": replace(ORDERED, lines=lines)})
    world.load(RESERVATION, {"o1": replace(HELD, lines=tuple(held))})
    levels = tuple(Level(place, 0) for place in places)
    world.load(STOCK, {line.sku_id: Stock(line.sku_id, levels) for line in lines})
    return world


# --- what comes back where ------------------------------------------------------------------------


def modelled(
    order: Order, held: Sequence[HeldLine], returned: Iterable[ReturnedUnits]
) -> tuple[list[Row], tuple[HeldLine, ...]]:
    """What goes to which shelf, and what is held after it."""
    sku_by_line = {line.line_id: line.sku_id for line in order.lines}
    rows: list[Row] = []
    for each in returned:
        if (sku_id := sku_by_line.get(each.line_id)) is None:
            continue
        left, back = each.quantity, dict.fromkeys(held, 0)
        for line in sorted(held, key=lambda line: line.location_id != each.location_id):
            if line.sku_id == sku_id:
                back[line] = min(left, line.away_quantity)
                left -= back[line]
        if each.restock and each.location_id:
            rows.append((sku_id, each.location_id, each.quantity))
        elif each.restock:
            rows.extend((sku_id, line.location_id, part) for line, part in back.items() if part)
        held = [
            replace(line, returned_quantity=line.returned_quantity + part) for line, part in back.items()
        ]
    return rows, tuple(held)


def expected(order: Order, held: Sequence[HeldLine], returned: Sequence[ReturnedUnits]) -> object:
    rows, lines = modelled(order, held, returned)
    try:
        order.take_back([Units(each.line_id, each.quantity) for each in returned], SHOP.now)
        for _, location_id, _ in rows:
            if location_id == CLOSED:
                raise LocationNotFound(location_id=location_id)
    except Refusal as refusal:
        return touches_of(rows), (refusal.reason, refusal.facts)
    return touches_of(rows), (rows, lines)


def touches_of(rows: Iterable[Row]) -> list[Touch]:
    return [
        touch
        for sku_id, location_id, _ in rows
        for touch in (LOCATION.share(location_id), STOCK.change(sku_id))
    ]


def observed(world: World, returned: tuple[ReturnedUnits, ...]) -> object:
    command = ReturnOrderLines("o1", returned)
    touches = list(command.needs(world))
    try:
        decision = command.decide(world, SHOP.now)
    except Refusal as refusal:
        return touches, (refusal.reason, refusal.facts)
    moves = [event for event in decision.events if isinstance(event, StockMoved)]
    rows = [(move.sku_id, move.level.location_id, move.deltas.on_hand) for move in moves]
    world.apply(decision.changes)
    after = world.get(RESERVATION, "o1")
    assert after is not None
    return touches, (rows, after.lines)


@st.composite
def held_lines(draw: st.DrawFn) -> list[HeldLine]:
    """At most one for each SKU and location, in that order; of some, all units are back by now."""
    places = [(sku_id, location_id) for sku_id in ("cup", "mug") for location_id in OPEN[:-1]]
    held = []
    for sku_id, location_id in sorted(draw(st.sets(st.sampled_from(places)))):
        quantity = draw(st.integers(1, 6))
        shipped = draw(st.integers(0, quantity))
        held.append(HeldLine(sku_id, location_id, quantity, shipped, draw(st.integers(0, shipped))))
    return held


RETURNED = st.builds(
    ReturnedUnits,
    line_id=st.sampled_from(("cup", "cup", "mug", "mug", "engraved", "engraved", "unknown")),
    quantity=st.integers(1, 4),
    restock=st.booleans(),
    location_id=st.sampled_from(("", "", "", "", *OPEN, CLOSED)),
)


@given(held=held_lines(), returned=st.lists(RETURNED, max_size=9), sold_quantity=st.integers(3, 30))
def test_units_return_as_if_every_held_line_were_looked_at_for_each_row(
    held: list[HeldLine], returned: list[ReturnedUnits], sold_quantity: int
) -> None:
    """Two lines are of one SKU. What a line sold is not what is held: nothing may rest on that here."""
    sold = (("cup", "cup"), ("mug", "mug"), ("engraved", "mug"))
    lines = [shipped_line(line_id, sku_id, sold_quantity) for line_id, sku_id in sold]
    world = world_of(lines, held, OPEN)
    order = replace(ORDERED, lines=tuple(lines))
    assert observed(world, tuple(returned)) == expected(order, held, returned)


# --- what it costs --------------------------------------------------------------------------------


def many_lines(count: int) -> tuple[World, ReturnOrderLines]:
    """An order of many SKUs, of which each comes back."""
    names = [f"sku{number:04}" for number in range(count)]
    lines = [shipped_line(name, name, 1) for name in names]
    held = [HeldLine(name, "a", 1, 1) for name in names]
    returned = tuple(ReturnedUnits(name, 1, restock=True, location_id="") for name in names)
    return world_of(lines, held, OPEN), ReturnOrderLines("o1", returned)


def many_places(count: int) -> tuple[World, ReturnOrderLines]:
    """One SKU that many locations shipped, whose units come back one by one."""
    places = [f"place{number:04}" for number in range(count)]
    held = [HeldLine("cup", place, 1, 1) for place in places]
    one = ReturnedUnits("cup", 1, restock=True, location_id="")
    world = world_of([shipped_line("cup", "cup", count)], held, places)
    return world, ReturnOrderLines("o1", (one,) * count)


@pytest.mark.parametrize("returning", [many_lines, many_places])
def test_naming_the_shelves_of_four_times_the_rows_is_four_times_the_work(
    returning: Callable[[int], tuple[World, ReturnOrderLines]],
) -> None:
    def steps(count: int) -> int:
        world, command = returning(count)
        return steps_of(lambda: list(command.needs(world)))

    assert steps(200) < 4.4 * steps(50)


def test_taking_back_four_times_the_lines_is_four_times_the_work() -> None:
    def steps(count: int) -> int:
        world, command = many_lines(count)
        return steps_of(lambda: command.decide(world, SHOP.now))

    assert steps(200) < 4.4 * steps(50)
