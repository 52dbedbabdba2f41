"""Which locations fill a demand."""

import pytest

from command_service.errors import OutOfStock
from command_service.inventory.allocation import allocate
from command_service.inventory.domain import COUNTER_MAX, Demand, HeldLine, Level, Stock


def stock(sku_id: str, **on_hand_by_location: int) -> Stock:
    """Stock at locations a, b, c, ... of rank 1, 2, 3, ..."""
    levels = [
        Level(location_id, rank=ord(location_id), on_hand=on_hand)
        for location_id, on_hand in sorted(on_hand_by_location.items())
    ]
    return Stock(sku_id, tuple(levels))


def stocks(*each: Stock) -> dict[str, Stock | None]:
    return {one.sku_id: one for one in each}


def test_one_location_that_has_everything_serves_all_of_it() -> None:
    found = allocate(
        stocks(stock("cup", a=9, b=1, c=2), stock("mug", b=9, c=1)), [Demand("cup", 1), Demand("mug", 1)]
    )
    assert found == (HeldLine("cup", "b", 1), HeldLine("mug", "b", 1))


def test_among_locations_that_have_everything_the_lowest_rank_serves() -> None:
    assert allocate(stocks(stock("cup", b=5, a=5)), [Demand("cup", 5)]) == (HeldLine("cup", "a", 5),)


def test_equal_ranks_are_taken_in_the_order_of_ids() -> None:
    levels = (Level("a", rank=7, on_hand=5), Level("b", rank=7, on_hand=5))
    assert allocate({"cup": Stock("cup", levels)}, [Demand("cup", 1)]) == (HeldLine("cup", "a", 1),)


def test_each_sku_comes_from_one_location_where_no_location_has_all_skus() -> None:
    found = allocate(
        stocks(stock("cup", a=1, b=2), stock("mug", a=2)), [Demand("cup", 2), Demand("mug", 2)]
    )
    assert found == (HeldLine("cup", "b", 2), HeldLine("mug", "a", 2))


def test_a_location_that_ships_anyway_is_preferred_to_a_lower_rank() -> None:
    demands = [Demand("cup", 1, location_id="c"), Demand("mug", 1)]
    found = allocate(stocks(stock("cup", c=1), stock("mug", a=1, c=1)), demands)
    assert found == (HeldLine("cup", "c", 1), HeldLine("mug", "c", 1))


def test_a_sku_that_no_location_has_enough_of_is_split_by_rank() -> None:
    found = allocate(stocks(stock("cup", a=1, b=2, c=2)), [Demand("cup", 4)])
    assert found == (HeldLine("cup", "a", 1), HeldLine("cup", "b", 2), HeldLine("cup", "c", 1))


def test_the_demand_of_several_lines_is_summed_before_it_is_checked() -> None:
    with pytest.raises(OutOfStock) as refused:
        allocate(stocks(stock("cup", a=2)), [Demand("cup", 2), Demand("cup", 1)])
    assert refused.value.facts == {"shortages": "cup: 3 wanted, 2 available", "short_count": "1"}


def test_fixed_and_free_demand_of_a_sku_do_not_use_a_unit_twice() -> None:
    demands = [Demand("cup", 2), Demand("cup", 2, location_id="a")]
    assert allocate(stocks(stock("cup", a=3, b=1)), demands) == (
        HeldLine("cup", "a", 3),
        HeldLine("cup", "b", 1),
    )
    with pytest.raises(OutOfStock) as refused:
        allocate(stocks(stock("cup", a=3)), demands)
    assert refused.value.violations == [("cup", "2 wanted, 1 available")]


def test_every_short_sku_is_named_with_what_there_is() -> None:
    demands = [Demand("mug", 1), Demand("cup", 2), Demand("jug", 1), Demand("pot", 9, location_id="b")]
    with pytest.raises(OutOfStock) as refused:
        allocate(
            {**stocks(stock("cup", a=1), stock("jug", a=1), stock("pot", a=9)), "mug": None}, demands
        )
    assert refused.value.facts == {
        "shortages": "cup: 2 wanted, 1 available; mug: 1 wanted, 0 available;"
        " pot: 9 wanted at b, 0 available",
        "short_count": "3",
    }
    assert refused.value.violations == [
        ("cup", "2 wanted, 1 available"),
        ("mug", "1 wanted, 0 available"),
        ("pot", "9 wanted at b, 0 available"),
    ]


def test_a_sku_that_is_short_in_two_ways_is_named_once() -> None:
    demands = [Demand("cup", 3), Demand("cup", 2, location_id="a"), Demand("cup", 1, location_id="b")]
    with pytest.raises(OutOfStock) as refused:
        allocate(stocks(stock("cup", a=1, b=1)), demands)
    assert refused.value.violations == [("cup", "2 wanted at a, 1 available; 3 wanted, 0 available")]


# --- shelves before backorders --------------------------------------------------------------------


def backordered(on_hand_and_limit: dict[str, tuple[int, int]]) -> dict[str, Stock | None]:
    """Cups at locations that allow backorders: (on_hand, backorder_limit) by location."""
    levels = [
        Level(place, rank=ord(place), on_hand=on_hand, backorder_limit=limit)
        for place, (on_hand, limit) in on_hand_and_limit.items()
    ]
    return {"cup": Stock("cup", tuple(levels))}


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        pytest.param(1, {"b": 1}, id="a unit on a shelf, not a backorder of a lower rank"),
        pytest.param(5, {"b": 5}, id="all from one shelf"),
        pytest.param(7, {"b": 5, "c": 2}, id="split over shelves"),
        pytest.param(8, {"a": 1, "b": 5, "c": 2}, id="every shelf, then a backorder"),
        pytest.param(19, {"a": 10, "b": 5, "c": 4}, id="every shelf, then backorders by rank"),
    ],
)
def test_units_on_any_shelf_are_promised_before_backorders(wanted: int, held: dict[str, int]) -> None:
    found = allocate(backordered({"a": (0, 10), "b": (5, 0), "c": (2, 2)}), [Demand("cup", wanted)])
    assert {line.location_id: line.quantity for line in found} == held


def test_the_location_of_the_only_units_also_takes_the_backorders() -> None:
    found = allocate(backordered({"a": (0, 10), "b": (5, 3)}), [Demand("cup", 7)])
    assert found == (HeldLine("cup", "b", 7),)


def test_a_fixed_location_takes_backorders_while_another_shelf_is_full() -> None:
    demands = [Demand("cup", 2, location_id="a"), Demand("cup", 5)]
    assert allocate(backordered({"a": (1, 10), "b": (5, 0)}), demands) == (
        HeldLine("cup", "a", 2),
        HeldLine("cup", "b", 5),
    )


def test_a_location_with_all_skus_on_its_shelf_is_preferred_to_one_that_backorders() -> None:
    both = backordered({"a": (0, 5), "b": (1, 0)}) | stocks(stock("mug", a=1, b=1))
    found = allocate(both, [Demand("cup", 1), Demand("mug", 1)])
    assert found == (HeldLine("cup", "b", 1), HeldLine("mug", "b", 1))


def test_a_closed_location_promises_nothing() -> None:
    closed = Level("a", 1, on_hand=5, backorder_limit=5, active=False)
    both = {"cup": Stock("cup", (closed, Level("b", 2, on_hand=1)))}
    assert allocate(both, [Demand("cup", 1)]) == (HeldLine("cup", "b", 1),)
    for demand in (Demand("cup", 2), Demand("cup", 1, location_id="a")):
        with pytest.raises(OutOfStock):
            allocate(both, [demand])


# --- bounds ---------------------------------------------------------------------------------------


def test_safety_stock_is_kept_back_and_backorders_are_allowed() -> None:
    level = Level("a", 1, on_hand=5, safety_stock=4, backorder_limit=2)
    assert allocate({"cup": Stock("cup", (level,))}, [Demand("cup", 3)]) == (HeldLine("cup", "a", 3),)
    with pytest.raises(OutOfStock):
        allocate({"cup": Stock("cup", (level,))}, [Demand("cup", 4)])


def test_a_location_that_is_promised_short_does_not_take_from_the_others() -> None:
    short = Level("a", 1, on_hand=0, allocated=5, shortage=5)
    both = Stock("cup", (short, Level("b", 2, on_hand=1)))
    assert both.available == 1
    assert allocate({"cup": both}, [Demand("cup", 1)]) == (HeldLine("cup", "b", 1),)


def test_promises_are_bounded_whatever_the_backorder_limit() -> None:
    level = Level("a", 1, reserved=COUNTER_MAX - 1, on_hand=COUNTER_MAX, backorder_limit=COUNTER_MAX)
    with pytest.raises(OutOfStock) as refused:
        allocate({"cup": Stock("cup", (level,))}, [Demand("cup", 2)])
    assert refused.value.facts["shortages"] == "cup: 2 wanted, 1 available"
