"""Orders as they are shown: each by id, its customer's, and those in each state."""

from collections.abc import Mapping

from google.protobuf.message import Message

from projections.retelling import Retelling, ViewMissing
from read_models.partitions import Address, DocumentAddress, EntryAddress
from read_models.views import (
    ORDER,
    customer_order_address,
    order_by_state_address,
    order_place,
)
from shopkeeper.ordering.v1.ordering_events_pb2 import (
    OrderCancelled,
    OrderExpired,
    OrderHoldExtended,
    OrderLinesCancelled,
    OrderLinesFulfilled,
    OrderLinesReturned,
    OrderPlaced,
    OrderProgress,
    PaymentRecorded,
    RefundFailed,
    RefundRecorded,
    RefundRecordReversed,
)
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderSummary

NOT_SHOWN: dict[str, str] = {}

Progressed = (
    PaymentRecorded
    | RefundRecorded
    | RefundFailed
    | RefundRecordReversed
    | OrderHoldExtended
    | OrderCancelled
    | OrderLinesCancelled
    | OrderExpired
    | OrderLinesFulfilled
    | OrderLinesReturned
)
"""Events that tell where the order stands."""


def order_after_placing(_view: Order | None, event: OrderPlaced) -> Order:
    """The new order: a copy, since later events change it."""
    order = Order()
    order.CopyFrom(event.order)
    return order


def order_after_progress(view: Order | None, event: Progressed) -> Order:
    """The order where it now stands.

    Raises:
        ViewMissing: there is no such order.
    """
    progress = event.progress
    if view is None:
        raise ViewMissing(f"order {progress.order_id}")
    view.etag = progress.etag
    view.state = progress.state
    view.paid_minor = progress.paid_minor
    view.refunded_minor = progress.refunded_minor
    view.refund_due_minor = progress.refund_due_minor
    view.gifted_minor = progress.gifted_minor
    view.update_time.CopyFrom(progress.update_time)
    if isinstance(event, OrderHoldExtended):
        view.expire_time.CopyFrom(event.expire_time)
    _move_lines(view, progress)
    return view


def summary_after_placing(_view: OrderSummary | None, event: OrderPlaced) -> OrderSummary:
    """The new order in a list."""
    return summary_of(event.order)


def summary_after_progress(view: OrderSummary | None, event: Progressed) -> OrderSummary:
    """The order in a list, where it now stands.

    Raises:
        ViewMissing: the order is not in the list.
    """
    if view is None:
        raise ViewMissing(f"order {event.progress.order_id} of {event.progress.customer_id}")
    view.state = event.progress.state
    return view


def summary_of(order: Order) -> OrderSummary:
    """What a list tells of an order."""
    return OrderSummary(
        order_id=order.order_id,
        order_number=order.order_number,
        customer_id=order.customer_id,
        state=order.state,
        total=order.total if order.HasField("total") else None,
        unit_count=sum(line.quantity for line in order.lines),
        placed_time=order.placed_time,
    )


def entry_by_state(order: Order) -> Mapping[Address, bytes]:
    """The order among those in its state."""
    place = order_place(order.order_id, order.placed_time)
    summary = summary_of(order).SerializeToString(deterministic=True)
    return {order_by_state_address(order.state, place): summary}


def _move_lines(order: Order, progress: OrderProgress) -> None:
    changed = {line.line_id: line for line in progress.changed_lines}
    for line in order.lines:
        moved = changed.get(line.line_id)
        if moved is not None:
            line.fulfilled_quantity = moved.fulfilled_quantity
            line.returned_quantity = moved.returned_quantity
            line.refunded_quantity = moved.refunded_quantity
            line.cancelled_quantity = moved.cancelled_quantity
            line.refunded_minor = moved.refunded_minor


def _placed(event: OrderPlaced) -> DocumentAddress:
    return ORDER.address(event.order.order_id)


def _progressed(event: Progressed) -> DocumentAddress:
    return ORDER.address(event.progress.order_id)


def _placed_by_customer(event: OrderPlaced) -> EntryAddress | None:
    return _of_customer(event.order)


def _progressed_of_customer(event: Progressed) -> EntryAddress | None:
    return _of_customer(event.progress)


def _of_customer(facts: Order | OrderProgress) -> EntryAddress | None:
    """None for a guest's order: it is in nobody's list."""
    if not facts.customer_id:
        return None
    return customer_order_address(facts.customer_id, order_place(facts.order_id, facts.placed_time))


_PLACING = (
    Retelling(Order, _placed, order_after_placing, entry_by_state),
    Retelling(OrderSummary, _placed_by_customer, summary_after_placing),
)
_PROGRESS = (
    Retelling(Order, _progressed, order_after_progress, entry_by_state),
    Retelling(OrderSummary, _progressed_of_customer, summary_after_progress),
)

RETELLINGS: dict[type[Message], tuple[Retelling, ...]] = {
    OrderPlaced: _PLACING,
    PaymentRecorded: _PROGRESS,
    RefundRecorded: _PROGRESS,
    RefundFailed: _PROGRESS,
    RefundRecordReversed: _PROGRESS,
    OrderHoldExtended: _PROGRESS,
    OrderCancelled: _PROGRESS,
    OrderLinesCancelled: _PROGRESS,
    OrderExpired: _PROGRESS,
    OrderLinesFulfilled: _PROGRESS,
    OrderLinesReturned: _PROGRESS,
}
