"""What happened to an order, each event told as a sentence for people."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from event_log.codec import timestamp
from history_service.money_text import money_text
from shopkeeper.ordering.v1 import ordering_events_pb2 as events
from shopkeeper.ordering.v1.ordering_history_service_pb2 import OrderHappening
from shopkeeper.ordering.v1.ordering_pb2 import OrderState
from shopkeeper.payment.v1 import payment_events_pb2 as payment_events
from shopkeeper.payment.v1.payment_pb2 import PaymentState, RefundState


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """A row of the log, of the ordering or the payment context."""

    position: int
    recorded_time: datetime
    type: str
    payload: bytes
    actor: str
    request_id: UUID


def happening(event: RecordedEvent, currency_code: str) -> OrderHappening:
    """The event as a sentence. An event of a type that is not known here is told by its name."""
    name = event.type.rpartition(".")[2]
    teller = TELLERS.get(event.type)
    return OrderHappening(
        position=event.position,
        recorded_time=timestamp(event.recorded_time),
        type=name,
        explanation=teller(event.payload, currency_code) if teller else f"{name}.",
        actor=event.actor,
        request_id=str(event.request_id),
    )


def _placed(event: events.OrderPlaced, currency_code: str) -> str:
    order = event.order
    units = sum(line.quantity for line in order.lines)
    awaits = order.state in (
        OrderState.ORDER_STATE_AWAITING_PAYMENT,
        OrderState.ORDER_STATE_AWAITING_INSTORE_PAYMENT,
    )
    then = f"its stock is held until {_moment(order.expire_time)}" if awaits else _state(order.state)
    amount = money_text(order.total.amount_minor, currency_code)
    return (
        f"Placed as {order.order_number} from cart {order.cart_id}: {_counted(units, 'unit')} on"
        f" {_counted(len(order.lines), 'line')} for {amount}; {then}."
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _paid(event: events.PaymentRecorded, currency_code: str) -> str:
    return (
        f"Received {money_text(event.amount_minor, currency_code)} as payment"
        f" {event.payment_reference}; {_money(event.progress, currency_code)}."
    )


def _refunded(event: events.RefundRecorded, currency_code: str) -> str:
    return (
        f"Gave back {money_text(event.amount_minor, currency_code)} as refund"
        f" {event.refund_reference}; {_money(event.progress, currency_code)}."
    )


def _refund_failed(event: events.RefundFailed, currency_code: str) -> str:
    return (
        f"Refund {event.refund_reference} of {money_text(event.amount_minor, currency_code)} failed:"
        f" the money did not leave; {_money(event.progress, currency_code)}."
    )


def _refund_record_reversed(event: events.RefundRecordReversed, currency_code: str) -> str:
    return (
        f"Counted {money_text(event.amount_minor, currency_code)}, recorded by hand as refund"
        f" {event.refund_reference}, no more: a refund of ours is the same money;"
        f" {_money(event.progress, currency_code)}."
    )


def _hold_extended(event: events.OrderHoldExtended, _currency_code: str) -> str:
    return f"Its stock is now held until {_moment(event.expire_time)}."


def _cancelled(event: events.OrderCancelled, currency_code: str) -> str:
    return f"Called off; {_money(event.progress, currency_code)}."


def _lines_cancelled(event: events.OrderLinesCancelled, currency_code: str) -> str:
    return f"Called off {_units(event.lines)}; {_money(event.progress, currency_code)}."


def _expired(event: events.OrderExpired, currency_code: str) -> str:
    return f"Not paid in time: its stock went back; {_money(event.progress, currency_code)}."


def _fulfilled(event: events.OrderLinesFulfilled, _currency_code: str) -> str:
    return f"Shipped {_units(event.lines)}; it is now {_state(event.progress.state)}."


def _returned(event: events.OrderLinesReturned, currency_code: str) -> str:
    return f"Took back {_units(event.lines)}; {_money(event.progress, currency_code)}."


def _payment_started(event: payment_events.PaymentStarted, currency_code: str) -> str:
    payment = event.payment
    amount = money_text(payment.amount_minor, currency_code)
    return f"Payment {payment.payment_id} of {amount} is begun at {payment.provider}."


def _payment_changed(event: payment_events.PaymentChanged, currency_code: str) -> str:
    payment = event.payment
    told = f"Payment {payment.payment_id}"
    if payment.provider_reference:
        told += f" ({payment.provider_reference})"
    told += f" is {_payment_state(payment.state)}"
    if payment.authorized_minor:
        told += f", {money_text(payment.authorized_minor, currency_code)} authorized"
    if payment.captured_minor:
        told += f", {money_text(payment.captured_minor, currency_code)} captured"
    return told + _because(payment.failure_code)


def _refund_requested(event: payment_events.RefundRequested, currency_code: str) -> str:
    refund = event.refund
    amount = money_text(refund.amount_minor, currency_code)
    return f"Refund {refund.refund_id} of {amount} is asked of {event.payment.provider}."


def _refund_changed(event: payment_events.RefundChanged, currency_code: str) -> str:
    refund = event.refund
    amount = money_text(refund.amount_minor, currency_code)
    state = RefundState.Name(refund.state).removeprefix("REFUND_STATE_")
    return f"Refund {refund.refund_id} of {amount} is {state}{_because(refund.failure_code)}"


def _because(failure_code: str) -> str:
    return f": {failure_code}." if failure_code else "."


def _payment_state(state: Any) -> str:
    return PaymentState.Name(state).removeprefix("PAYMENT_STATE_")


def _money(progress: events.OrderProgress, currency_code: str) -> str:
    """Where the order stands, in words."""
    parts = [
        f"it is now {_state(progress.state)}",
        f"{money_text(progress.paid_minor, currency_code)} received",
    ]
    if progress.refunded_minor:
        given = f"{money_text(progress.refunded_minor, currency_code)} given back"
        if progress.gifted_minor:
            given += f" ({money_text(progress.gifted_minor, currency_code)} of it as a gift)"
        parts.append(given)
    if progress.refund_due_minor:
        parts.append(f"{money_text(progress.refund_due_minor, currency_code)} still to be given back")
    return ", ".join(parts)


def _units(lines: Any) -> str:
    return ", ".join(f"{line.quantity} of line {line.line_id}" for line in lines)


def _state(state: Any) -> str:
    return OrderState.Name(state).removeprefix("ORDER_STATE_")


def _moment(time: Timestamp) -> str:
    return time.ToDatetime(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _teller(message_type: Any, tell: Callable[[Any, str], str]) -> Callable[[bytes, str], str]:
    return lambda payload, currency_code: tell(message_type.FromString(payload), currency_code)


TELLERS: Mapping[str, Callable[[bytes, str], str]] = {
    message_type.DESCRIPTOR.full_name: _teller(message_type, tell)
    for message_type, tell in (
        (events.OrderPlaced, _placed),
        (events.PaymentRecorded, _paid),
        (events.RefundRecorded, _refunded),
        (events.RefundFailed, _refund_failed),
        (events.RefundRecordReversed, _refund_record_reversed),
        (events.OrderHoldExtended, _hold_extended),
        (events.OrderCancelled, _cancelled),
        (events.OrderLinesCancelled, _lines_cancelled),
        (events.OrderExpired, _expired),
        (events.OrderLinesFulfilled, _fulfilled),
        (events.OrderLinesReturned, _returned),
        (payment_events.PaymentStarted, _payment_started),
        (payment_events.PaymentChanged, _payment_changed),
        (payment_events.RefundRequested, _refund_requested),
        (payment_events.RefundChanged, _refund_changed),
    )
}
"""By the payload's full protobuf name; a test asks for one for each event of both contexts."""
