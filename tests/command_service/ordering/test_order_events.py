"""What orders tell the log."""

from dataclasses import replace

import pytest

from command_service.ordering import events
from command_service.ordering.domain import Order, OrderState
from command_service.ordering.events import (
    OrderCancelled,
    OrderEvent,
    OrderExpired,
    OrderHoldExtended,
    OrderLinesCancelled,
    OrderLinesFulfilled,
    OrderLinesReturned,
    OrderPlaced,
    OrderProgress,
    OrderProgressed,
    PaymentRecorded,
    RefundFailed,
    RefundRecorded,
    RefundRecordReversed,
)
from command_service.ordering.lines import Units
from event_log.codec import encode_event, to_message
from shopkeeper.ordering.v1 import ordering_events_pb2, ordering_pb2
from tests.command_service.checkout.order_shop import CONTACT
from tests.command_service.ordering.orders import LATER, line, order, paid_order

PROGRESS = OrderProgress.between(order(), order().receive(5, LATER))
UNITS = (Units("l1", 2),)

EVENTS: list[OrderEvent] = [
    OrderPlaced(order()),
    PaymentRecorded(PROGRESS, "pi_1", 5),
    RefundRecorded(PROGRESS, "re_1", 5),
    RefundFailed(PROGRESS, "re_1", 5),
    RefundRecordReversed(PROGRESS, "re_1", 5),
    OrderHoldExtended(PROGRESS, LATER),
    OrderCancelled(PROGRESS),
    OrderLinesCancelled(PROGRESS, UNITS),
    OrderExpired(PROGRESS),
    OrderLinesFulfilled(PROGRESS, UNITS),
    OrderLinesReturned(PROGRESS, UNITS),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_has_its_twin(event: OrderEvent) -> None:
    name, _ = encode_event(event)
    assert name == f"shopkeeper.ordering.v1.{type(event).__name__}"
    assert event.key == "o1"


def test_no_event_is_left_out() -> None:
    declared = {
        member
        for member in vars(events).values()
        if isinstance(member, type) and issubclass(member, OrderEvent)
    }
    assert declared - {OrderEvent, OrderProgressed} == {type(event) for event in EVENTS}


def test_personal_data_never_enters_the_log() -> None:
    placed = replace(order(), contact=CONTACT)
    _, payload = encode_event(OrderPlaced(placed))
    assert payload == encode_event(OrderPlaced(order()))[1]
    for secret in (CONTACT.email, CONTACT.full_name, CONTACT.phone, CONTACT.notes, "SW1Y"):
        assert secret.encode() not in payload


def test_an_event_tells_only_the_lines_that_changed() -> None:
    before = paid_order(line("l1", 2), line("l2", 2))
    after = before.fulfill((Units("l2", 1),), LATER)
    event = OrderLinesFulfilled(OrderProgress.between(before, after), (Units("l2", 1),))
    message = to_message(event, ordering_events_pb2.OrderLinesFulfilled)
    [changed] = message.progress.changed_lines
    assert (changed.line_id, changed.fulfilled_quantity) == ("l2", 1)
    assert message.progress.state == ordering_pb2.ORDER_STATE_PARTIALLY_FULFILLED
    assert message.progress.etag == after.etag


def test_a_view_can_follow_the_events_of_an_order() -> None:
    """The message of the order equals the one placed, moved along by the progress of each event."""
    one = (Units("l1", 1),)
    shipped = paid_order().cancel_units(one, LATER).fulfill((Units("l1", 2),), LATER)
    after = shipped.take_back(one, LATER).refund_units(one, LATER).refund_amount(1_300, LATER)
    progress = OrderProgress.between(order(), after)
    followed = to_message(order(), ordering_pb2.Order)
    told = to_message(progress, ordering_events_pb2.OrderProgress)
    followed.etag, followed.state = told.etag, told.state
    followed.paid_minor, followed.refunded_minor = told.paid_minor, told.refunded_minor
    followed.refund_due_minor, followed.gifted_minor = told.refund_due_minor, told.gifted_minor
    followed.update_time.CopyFrom(told.update_time)
    for moved in told.changed_lines:
        [kept] = [each for each in followed.lines if each.line_id == moved.line_id]
        kept.fulfilled_quantity = moved.fulfilled_quantity
        kept.returned_quantity = moved.returned_quantity
        kept.refunded_quantity = moved.refunded_quantity
        kept.cancelled_quantity = moved.cancelled_quantity
        kept.refunded_minor = moved.refunded_minor
    assert followed == to_message(after, ordering_pb2.Order)
    assert (followed.gifted_minor, followed.lines[0].refunded_minor) == (300, 1_000)


@pytest.mark.parametrize("state", OrderState)
def test_states_have_the_numbers_of_the_contract(state: OrderState) -> None:
    assert (
        ordering_pb2.OrderState.Name(ordering_pb2.OrderState.ValueType(state))
        == f"ORDER_STATE_{state.name}"
    )


def test_the_message_tells_totals_and_what_is_due() -> None:
    told: Order = paid_order(line(quantity=3, discount_minor=-100)).receive(7, LATER)
    message = to_message(told, ordering_pb2.Order)
    assert (message.subtotal_minor, message.discount_minor) == (3_000, -100)
    assert (message.total.currency_code, message.total.amount_minor) == ("GBP", 2_900)
    assert (message.paid_minor, message.refund_due_minor) == (2_907, 7)
