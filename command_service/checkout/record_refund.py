"""RecordRefund: money that was given back, by whatever way. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from command_service.checkout.refund_payment import lines_between
from command_service.checkout.start_payment import payments_of
from command_service.errors import RefundAlreadyRecorded
from command_service.money import Money
from command_service.ordering.commands import check_currency, order_of
from command_service.ordering.domain import (
    MONEY_RECORD,
    ORDER,
    REFUND_RECORD,
    CountedRefund,
    MoneyRecord,
    Order,
)
from command_service.ordering.events import OrderProgress, RefundRecorded
from command_service.ordering.lines import Units, summed
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.refunds import RefundState
from command_service.world import Change, Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class RefundAnswer:
    """The order after a refund, and how much it was."""

    order: Order
    amount: Money


@dataclass(frozen=True, slots=True)
class RecordRefund(Command[RefundAnswer]):
    """Records money that was given back: an amount, or what units cost.

    amount is None when units are given. The same refund under another request id is answered with the
    order as it is and has no second effect; so is one that its provider has told of.
    """

    order_id: str
    refund_reference: str
    amount: Money | None
    units: tuple[Units, ...]

    def touches(self) -> Iterable[Touch]:
        """The order, its payments, and the reference so that it refunds once."""
        return (
            ORDER.change(self.order_id),
            ORDER_PAYMENTS.change(self.order_id),
            MONEY_RECORD.create((REFUND_RECORD, self.refund_reference)),
        )

    def decide(self, world: World, now: datetime) -> Decision[RefundAnswer]:
        """Gives back at most what was paid and not yet given back."""
        order = order_of(world, self.order_id)
        recorded = world.get(MONEY_RECORD, (REFUND_RECORD, self.refund_reference))
        payments = payments_of(world, self.order_id)
        if recorded is None:
            recorded = self._told_by_provider(payments)
        if recorded is not None:
            return self._decide_again(order, recorded)
        after = self._refunded(order, now)
        amount_minor = after.refunded_minor - order.refunded_minor
        lines = tuple(lines_between(order, after, self.units))
        counted = CountedRefund(lines, after.gifted_minor - order.gifted_minor, now)
        record = MoneyRecord(order.order_id, amount_minor, summed(self.units), counted=counted)
        changes: list[Change] = [
            ORDER.changed(order.order_id, after),
            MONEY_RECORD.changed((REFUND_RECORD, self.refund_reference), record),
        ]
        beside_ours = payments.with_refund_by_hand(self.refund_reference)
        if beside_ours != payments:
            changes.append(ORDER_PAYMENTS.changed(order.order_id, beside_ours))
        return Decision(
            RefundAnswer(after, Money(order.currency_code, amount_minor)),
            changes,
            [RefundRecorded(OrderProgress.between(order, after), self.refund_reference, amount_minor)],
        )

    def _refunded(self, order: Order, now: datetime) -> Order:
        if self.amount is None:
            return order.refund_units(self.units, now)
        check_currency(order, self.amount)
        return order.refund_amount(self.amount.amount_minor, now)

    def _told_by_provider(self, payments: OrderPayments) -> MoneyRecord | None:
        """The same refund, if a payment of the order counts it already."""
        for refund in payments.refunds:
            is_counted = refund.state is not RefundState.FAILED
            if is_counted and refund.provider_reference == self.refund_reference:
                units = summed(Units(line.line_id, line.quantity) for line in refund.lines)
                return MoneyRecord(self.order_id, refund.amount_minor, units)
        return None

    def _decide_again(self, order: Order, recorded: MoneyRecord) -> Decision[RefundAnswer]:
        amount = Money(order.currency_code, recorded.amount_minor)
        is_same = recorded.units == summed(self.units) and self.amount in (None, amount)
        if recorded.order_id != self.order_id or not is_same:
            raise RefundAlreadyRecorded(
                refund_reference=self.refund_reference, order_id=recorded.order_id
            )
        return Decision(RefundAnswer(order, amount))
