"""The state machine: every step from every state."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from command_service.errors import (
    NothingToShip,
    OrderAlreadyClosed,
    OrderAlreadyPaid,
    OrderAlreadyShipped,
    OrderChanged,
    OrderLineNotFound,
    OrderNotExpired,
    OrderNotPaid,
    Refusal,
    TooManyUnits,
)
from command_service.ordering.domain import Order, OrderState
from command_service.ordering.lines import Units
from tests.command_service.ordering.orders import (
    EXPIRES,
    LATER,
    in_state,
    line,
    order,
    paid_order,
    shipped_order,
)

AWAITING_PAYMENT = OrderState.AWAITING_PAYMENT
AWAITING_INSTORE_PAYMENT = OrderState.AWAITING_INSTORE_PAYMENT
PAID = OrderState.PAID
PARTIALLY_FULFILLED = OrderState.PARTIALLY_FULFILLED
FULFILLED = OrderState.FULFILLED
CANCELLED = OrderState.CANCELLED
EXPIRED = OrderState.EXPIRED

ONE = (Units("l1", 1),)


def rest_of(before: Order) -> tuple[Units, ...]:
    return tuple(Units(line.line_id, line.unshipped_quantity) for line in before.lines)


STEPS: dict[str, Callable[[Order], Order]] = {
    "expire": lambda before: before.expire(EXPIRES),
    "cancel": lambda before: before.cancel(LATER),
    "cancel one of three": lambda before: before.cancel_units(ONE, LATER),
    "cancel the rest": lambda before: before.cancel_units(rest_of(before), LATER),
    "fulfill one of three": lambda before: before.fulfill(ONE, LATER),
    "fulfill the rest": lambda before: before.fulfill(before.shippable(), LATER),
    "return one": lambda before: before.take_back(ONE, LATER),
    "receive": lambda before: before.receive(1, LATER),
    "refund one": lambda before: before.receive(1_000, LATER).refund_units(ONE, LATER),
}

TABLE: dict[str, dict[OrderState, OrderState | type[Refusal]]] = {
    "expire": {
        AWAITING_PAYMENT: EXPIRED,
        AWAITING_INSTORE_PAYMENT: EXPIRED,
        PAID: OrderAlreadyPaid,
        PARTIALLY_FULFILLED: OrderAlreadyPaid,
        FULFILLED: OrderAlreadyPaid,
        CANCELLED: OrderAlreadyClosed,
        EXPIRED: OrderAlreadyClosed,
    },
    "cancel": {
        AWAITING_PAYMENT: CANCELLED,
        AWAITING_INSTORE_PAYMENT: CANCELLED,
        PAID: CANCELLED,
        PARTIALLY_FULFILLED: OrderAlreadyShipped,
        FULFILLED: OrderAlreadyShipped,
        CANCELLED: OrderAlreadyClosed,
        EXPIRED: OrderAlreadyClosed,
    },
    "cancel one of three": {
        AWAITING_PAYMENT: OrderNotPaid,
        AWAITING_INSTORE_PAYMENT: OrderNotPaid,
        PAID: PAID,
        PARTIALLY_FULFILLED: PARTIALLY_FULFILLED,
        FULFILLED: OrderAlreadyShipped,
        CANCELLED: OrderAlreadyClosed,
        EXPIRED: OrderAlreadyClosed,
    },
    # Of an order of which nothing was shipped, the command goes on to cancel it.
    "cancel the rest": {
        AWAITING_PAYMENT: OrderNotPaid,
        AWAITING_INSTORE_PAYMENT: OrderNotPaid,
        PAID: PAID,
        PARTIALLY_FULFILLED: FULFILLED,
        FULFILLED: OrderAlreadyShipped,
        CANCELLED: OrderAlreadyClosed,
        EXPIRED: OrderAlreadyClosed,
    },
    "fulfill one of three": {
        AWAITING_PAYMENT: OrderNotPaid,
        AWAITING_INSTORE_PAYMENT: OrderNotPaid,
        PAID: PARTIALLY_FULFILLED,
        PARTIALLY_FULFILLED: PARTIALLY_FULFILLED,
        FULFILLED: OrderAlreadyShipped,
        CANCELLED: OrderNotPaid,
        EXPIRED: OrderNotPaid,
    },
    "fulfill the rest": {
        AWAITING_PAYMENT: OrderNotPaid,
        AWAITING_INSTORE_PAYMENT: OrderNotPaid,
        PAID: FULFILLED,
        PARTIALLY_FULFILLED: FULFILLED,
        FULFILLED: OrderAlreadyShipped,
        CANCELLED: OrderNotPaid,
        EXPIRED: OrderNotPaid,
    },
    "return one": {
        AWAITING_PAYMENT: TooManyUnits,
        AWAITING_INSTORE_PAYMENT: TooManyUnits,
        PAID: TooManyUnits,
        PARTIALLY_FULFILLED: PARTIALLY_FULFILLED,
        FULFILLED: FULFILLED,
        CANCELLED: TooManyUnits,
        EXPIRED: TooManyUnits,
    },
    # Money that exists is recorded whatever the state, and what was paid can be given back.
    "receive": {state: state for state in OrderState},
    "refund one": {state: state for state in OrderState},
}

CASES = [(step, state, TABLE[step][state]) for step in STEPS for state in OrderState]


@pytest.mark.parametrize(
    ("step", "state", "expected"), CASES, ids=[f"{step} when {state.name}" for step, state, _ in CASES]
)
def test_each_step_from_each_state(
    step: str, state: OrderState, expected: OrderState | type[Refusal]
) -> None:
    before = in_state(state)
    if isinstance(expected, OrderState):
        after = STEPS[step](before)
        assert after.state is expected
        assert after.version > before.version
        assert after.total == before.total
    else:
        with pytest.raises(expected):
            STEPS[step](before)


def test_refusals_name_the_state() -> None:
    with pytest.raises(OrderAlreadyShipped) as refused:
        in_state(FULFILLED).cancel(LATER)
    assert refused.value.facts == {"order_id": "o1", "state": "FULFILLED"}


def test_an_order_does_not_expire_before_its_time() -> None:
    with pytest.raises(OrderNotExpired):
        order().expire(LATER)


def test_stock_is_held_up_to_but_not_at_the_expire_time() -> None:
    just_before = EXPIRES.replace(minute=14, second=59, microsecond=999_999)
    assert order().holds_stock(just_before)
    assert not order().holds_stock(EXPIRES)
    assert not paid_order().holds_stock(LATER)


def test_each_step_is_a_new_version_at_its_time() -> None:
    after = order().cancel(LATER)
    assert (after.etag, after.update_time) == ("2", LATER)


def test_a_stale_etag_is_refused_with_the_present_one() -> None:
    with pytest.raises(OrderChanged) as refused:
        order().check_etag("7")
    assert refused.value.facts == {"order_id": "o1", "etag": "1"}
    order().check_etag("1")
    order().check_etag("")


def test_more_units_than_ordered_cannot_be_shipped() -> None:
    with pytest.raises(TooManyUnits) as refused:
        paid_order(line(quantity=3)).fulfill((Units("l1", 2), Units("l1", 2)), LATER)
    assert refused.value.facts == {"line_id": "l1", "quantity_max": "1", "quantity": "2"}


def test_more_units_than_shipped_cannot_come_back() -> None:
    partly = paid_order(line(quantity=3)).fulfill((Units("l1", 2),), LATER)
    with pytest.raises(TooManyUnits) as refused:
        partly.take_back((Units("l1", 3),), LATER)
    assert refused.value.facts == {"line_id": "l1", "quantity_max": "2", "quantity": "3"}


def test_units_of_an_unknown_line_are_refused() -> None:
    with pytest.raises(OrderLineNotFound):
        shipped_order().take_back((Units("l9", 1),), LATER)


def test_shipping_is_complete_when_every_line_is() -> None:
    two_lines = paid_order(line("l1", 1), line("l2", 2))
    partly = two_lines.fulfill((Units("l1", 1), Units("l2", 1)), LATER)
    assert partly.state is PARTIALLY_FULFILLED
    assert partly.shippable() == (Units("l2", 1),)
    assert partly.fulfill(partly.shippable(), LATER).state is FULFILLED


def test_an_order_is_complete_when_each_unit_was_shipped_or_called_off() -> None:
    two_lines = paid_order(line("l1", 1), line("l2", 2))
    partly = two_lines.cancel_units((Units("l2", 1),), LATER)
    assert (partly.state, partly.shippable()) == (PAID, (Units("l1", 1), Units("l2", 1)))
    assert partly.fulfill(partly.shippable(), LATER).state is FULFILLED
    shipped = partly.fulfill((Units("l1", 1),), LATER)
    assert shipped.cancel_units((Units("l2", 1),), LATER).state is FULFILLED


def test_only_an_order_of_which_all_was_called_off_is_all_cancelled() -> None:
    two_lines = paid_order(line("l1", 1), line("l2", 2))
    partly = two_lines.cancel_units((Units("l1", 1), Units("l2", 1)), LATER)
    assert not partly.is_all_cancelled
    last = partly.cancel_units((Units("l2", 1),), LATER)
    assert last.is_all_cancelled
    assert last.cancel(LATER).state is CANCELLED
    assert not partly.fulfill((Units("l2", 1),), LATER).is_all_cancelled


def test_more_units_than_are_left_cannot_be_called_off() -> None:
    partly = paid_order(line(quantity=3)).fulfill(ONE, LATER).cancel_units(ONE, LATER)
    with pytest.raises(TooManyUnits) as refused:
        partly.cancel_units((Units("l1", 2),), LATER)
    assert refused.value.facts == {"line_id": "l1", "quantity_max": "1", "quantity": "2"}
    with pytest.raises(OrderLineNotFound):
        partly.cancel_units((Units("l9", 1),), LATER)


def test_units_called_off_are_not_shipped() -> None:
    partly = paid_order(line(quantity=3)).cancel_units((Units("l1", 2),), LATER)
    with pytest.raises(TooManyUnits) as refused:
        partly.fulfill((Units("l1", 2),), LATER)
    assert refused.value.facts["quantity_max"] == "1"


SHIPPABLE = {
    # (shipped, returned, refunded, called off) of 4 units: units that may still be shipped.
    (0, 0, 0, 0): 4,
    (3, 0, 0, 0): 1,
    (0, 0, 1, 0): 3,
    (0, 0, 4, 0): 0,
    # A refunded unit that was called off is not counted twice.
    (0, 0, 1, 1): 3,
    (0, 0, 2, 1): 2,
    (1, 0, 2, 1): 1,
    # The refund of a unit that came back leaves the others alone.
    (2, 1, 1, 0): 2,
    (2, 2, 2, 0): 2,
    (2, 1, 2, 0): 1,
    # Refunded before it was shipped, or goodwill for one that was: that cannot be told, so it stays.
    (3, 0, 1, 0): 0,
    (2, 0, 1, 0): 1,
    (4, 0, 2, 0): 0,
    (3, 0, 4, 0): 0,
}


@pytest.mark.parametrize(("counts", "shippable"), SHIPPABLE.items())
def test_no_more_is_shipped_than_there_is_money_for(
    counts: tuple[int, int, int, int], shippable: int
) -> None:
    fulfilled, returned, refunded, cancelled = counts
    counted = replace(
        line(quantity=4),
        fulfilled_quantity=fulfilled,
        returned_quantity=returned,
        refunded_quantity=refunded,
        cancelled_quantity=cancelled,
    )
    assert counted.shippable_quantity == shippable


def test_an_order_whose_rest_was_refunded_ships_nothing_more_and_can_be_called_off() -> None:
    partly = paid_order(line("l1", 1), line("l2", 1)).refund_units((Units("l2", 1),), LATER)
    shipped = partly.fulfill(partly.shippable(), LATER)
    assert shipped.state is PARTIALLY_FULFILLED
    with pytest.raises(NothingToShip) as refused:
        shipped.fulfill(shipped.shippable(), LATER)
    assert refused.value.facts == {"order_id": "o1"}
    complete = shipped.cancel_units((Units("l2", 1),), LATER)
    assert (complete.state, complete.refund_due_minor) == (FULFILLED, 0)
