"""What happened to orders; each event has a twin of the same name in ordering_events.proto."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from command_service.ordering.domain import Order, OrderState
from command_service.ordering.lines import OrderLine, Units
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class OrderProgress:
    """Where an order stands after a step; fields as in ordering_events.proto.

    The last two are for the ledger of money: kept_change_minor is by how much the step changed what of
    the order's price is ours.
    """

    order_id: str
    customer_id: str
    placed_time: datetime
    etag: str
    state: OrderState
    paid_minor: int
    refunded_minor: int
    refund_due_minor: int
    gifted_minor: int
    changed_lines: tuple[OrderLine, ...]
    update_time: datetime
    currency_code: str
    kept_change_minor: int

    @classmethod
    def between(cls, before: Order, after: Order) -> "OrderProgress":
        """What a view has to learn in order to come from one to the other."""
        return cls(
            order_id=after.order_id,
            customer_id=after.customer_id,
            placed_time=after.placed_time,
            etag=after.etag,
            state=after.state,
            paid_minor=after.paid_minor,
            refunded_minor=after.refunded_minor,
            refund_due_minor=after.refund_due_minor,
            gifted_minor=after.gifted_minor,
            changed_lines=tuple(
                line
                for line, line_before in zip(after.lines, before.lines, strict=True)
                if line != line_before
            ),
            update_time=after.update_time,
            currency_code=after.currency_code,
            kept_change_minor=after.kept_minor - before.kept_minor,
        )


class OrderEvent(Event):
    """An event of the ordering context."""

    __slots__ = ()
    context: ClassVar[str] = "ordering"


@dataclass(frozen=True, slots=True)
class OrderPlaced(OrderEvent):
    """A cart became an order. The twin has no field for the contact, so none is told."""

    order: Order

    @property
    def key(self) -> str:
        """The order's id."""
        return self.order.order_id


@dataclass(frozen=True, slots=True)
class OrderProgressed(OrderEvent):
    """An order took a step; each subclass is one."""

    progress: OrderProgress

    @property
    def key(self) -> str:
        """The order's id."""
        return self.progress.order_id


@dataclass(frozen=True, slots=True)
class PaymentRecorded(OrderProgressed):
    """Money was received. provider: "" for money that came in any other way."""

    payment_reference: str
    amount_minor: int
    provider: str = ""


@dataclass(frozen=True, slots=True)
class RefundRecorded(OrderProgressed):
    """Money was given back. is_under_way: its provider has yet to do it."""

    refund_reference: str
    amount_minor: int
    is_under_way: bool = False


@dataclass(frozen=True, slots=True)
class RefundFailed(OrderProgressed):
    """Money that was to be given back did not leave; it is refundable again."""

    refund_reference: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class RefundRecordReversed(OrderProgressed):
    """A refund that people had recorded was one of the payments, and counted beside it: no more."""

    refund_reference: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class OrderHoldExtended(OrderProgressed):
    """The order holds its stock for longer."""

    expire_time: datetime


@dataclass(frozen=True, slots=True)
class OrderCancelled(OrderProgressed):
    """The order was called off."""


@dataclass(frozen=True, slots=True)
class OrderLinesCancelled(OrderProgressed):
    """Units were called off. If they were the last of the order, OrderCancelled follows."""

    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class OrderExpired(OrderProgressed):
    """The order was not paid in time."""


@dataclass(frozen=True, slots=True)
class OrderLinesFulfilled(OrderProgressed):
    """Units were shipped."""

    lines: tuple[Units, ...]


@dataclass(frozen=True, slots=True)
class OrderLinesReturned(OrderProgressed):
    """Units came back."""

    lines: tuple[Units, ...]
