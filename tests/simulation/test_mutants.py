"""The simulation sees: each mistake that is planted is found within a few seeds, none without one."""

import inspect
from collections.abc import Iterator

import pytest

from tests.simulation import mutants
from tests.simulation.mutants import MUTANTS, Plant
from tests.simulation.orders import template
from tests.simulation.simulation import in_silence, simulate

SEED_COUNT_MAX = 2_500
"""Most take less than ten, the rarest one in two hundred. Without a mistake none breaks anything:
test_simulation plays the first of them too."""


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    template()  # no mistake is planted yet: the shop opens as it should
    with in_silence():
        yield


SHOWN_BY: dict[Plant, str] = {
    mutants.take_an_unknown_outcome_for_a_failure: "payments",
    mutants.call_with_a_new_key_each_time: "payments",
    mutants.leave_surplus_money_where_it_is: "payments",
    mutants.forget_the_other_parts_of_a_refund: "payments",
    mutants.count_what_was_recorded_beside_what_is_told: "payments",
    mutants.lock_in_order_of_arrival: "stock",
    mutants.take_what_is_there_for_locked: "openings",
    mutants.fill_locations_without_their_lock: "openings",
    mutants.close_locations_that_are_not_empty: "openings",
    mutants.price_by_lists_that_are_not_open: "offers",
    mutants.charge_what_was_shown: "offers",
    mutants.lose_what_is_new: "offers",
    mutants.expire_orders_before_their_time: "orders",
    mutants.tell_of_all_but_carts: "orders",
    mutants.tell_it_twice: "orders",
}
"""Mistakes that show in few seeds, all of one kind: there a provider is called, or something is new."""


@pytest.mark.parametrize("plant", MUTANTS, ids=[plant.__name__ for plant in MUTANTS])
def test_a_mistake_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    only = SHOWN_BY.get(plant, "")
    assert any(
        is_of_a_promise(violation)
        for seed in range(SEED_COUNT_MAX)
        for violation in simulate(seed, only).violations
    )


def is_of_a_promise(violation: str) -> bool:
    """A mistake that merely fits no more, and so ends in a TypeError, shows nothing."""
    return not ("TypeError" in violation or "AttributeError" in violation)


def test_no_mistake_is_left_out() -> None:
    functions = inspect.getmembers(mutants, inspect.isfunction)
    written = {
        name
        for name, each in functions
        if each.__module__ == mutants.__name__ and not name.startswith("_")
    }
    assert {plant.__name__ for plant in MUTANTS} == written
