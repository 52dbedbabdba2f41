"""The payments and refunds of one order at its providers: pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from command_service.errors import (
    PaymentNotFound,
    RefundExceedsPayments,
    TooManyPayments,
    TooManyRefunds,
)
from command_service.payment.payments import Payment
from command_service.payment.refunds import Refund, RefundState
from command_service.refunded_lines import RefundedLine
from command_service.world import Kind, LockRank

PAYMENT_COUNT_MAX = 50
"""Of one order: a customer who tries more cards than that needs a person."""

REFUND_COUNT_MAX = 500
"""Of one order: its money is loaded whole."""


@dataclass(frozen=True, slots=True)
class OrderPayments:
    """All payments and refunds of one order, each in the order of its making."""

    order_id: str
    payments: tuple[Payment, ...] = ()
    refunds: tuple[Refund, ...] = ()

    def payment(self, payment_id: str) -> Payment:
        """One payment.

        Raises:
            PaymentNotFound: the order has none of this id.
        """
        for payment in self.payments:
            if payment.payment_id == payment_id:
                return payment
        raise PaymentNotFound(payment_id=payment_id)

    def next_payment_id(self) -> str:
        """An id that tells its order, so that the order can be locked by it."""
        if len(self.payments) >= PAYMENT_COUNT_MAX:
            raise TooManyPayments(order_id=self.order_id, payment_count_max=PAYMENT_COUNT_MAX)
        return f"{self.order_id}.{len(self.payments) + 1}"

    def check_refund_count(self) -> None:
        """Refuses to have more refunds asked for; those that a provider tells of are facts."""
        if len(self.refunds) >= REFUND_COUNT_MAX:
            raise TooManyRefunds(order_id=self.order_id, refund_count_max=REFUND_COUNT_MAX)

    def next_refund_id(self) -> str:
        """Likewise for a refund."""
        return f"{self.order_id}.r{len(self.refunds) + 1}"

    def with_payment(self, payment: Payment) -> "OrderPayments":
        """With this payment in place of the one of the same id, or behind the others."""
        known = {each.payment_id: each for each in self.payments}
        return replace(self, payments=tuple((known | {payment.payment_id: payment}).values()))

    def with_refund(self, refund: Refund) -> "OrderPayments":
        """With this refund likewise, and its payment with what it then gives back."""
        known = {each.refund_id: each for each in self.refunds}
        refunds = tuple((known | {refund.refund_id: refund}).values())
        counted = [
            each
            for each in refunds
            if each.payment_id == refund.payment_id and each.state is not RefundState.FAILED
        ]
        pending = [each for each in counted if each.state is not RefundState.SUCCEEDED]
        payment = replace(
            self.payment(refund.payment_id),
            refunded_minor=sum(each.amount_minor for each in counted),
            refund_pending_minor=sum(each.amount_minor for each in pending),
        )
        return replace(self, refunds=refunds).with_payment(payment)

    def with_refund_by_hand(self, name: str) -> "OrderPayments":
        """With what people have recorded kept by each payment of which it can be no refund of ours.

        It is none that is asked for later, since those were not made yet. But people may record one
        of ours whose outcome is not known, or whose name is not: that has to be found under it still,
        and counts as itself among equal ones. So a payment that has such a refund keeps no name.
        """
        unclear = {
            each.payment_id
            for each in self.refunds
            if not each.provider_reference and each.state is not RefundState.FAILED
        }
        payments = (
            each if each.payment_id in unclear else each.with_refund_by_hand(name)
            for each in self.payments
        )
        return replace(self, payments=tuple(payments))

    def units_regained(
        self,
        refund: Refund,
        refunded_minor_by_line: Mapping[str, int],
        recount_time: datetime | None,
    ) -> Iterator[RefundedLine]:
        """What its order counts no more when a refund fails that counted until now.

        Units that were asked back of several payments at once stay refunded as far as the other parts
        pay for them, the last one also in part: a unit of whose money some is gone may not be shipped.

        refunded_minor_by_line, recount_time: of the order, as it counts with this refund.
        """
        for line in self.lines_counted(
            refund.lines, refund.create_time, refunded_minor_by_line, recount_time
        ):
            parts = [
                (each.state is not RefundState.FAILED, part)
                for each in self.refunds
                if each.create_time == refund.create_time
                for part in each.lines
                if part.line_id == line.line_id
            ]
            asked = RefundedLine(
                line.line_id,
                sum(part.quantity for _, part in parts),
                sum(part.amount_minor for _, part in parts),
            )
            counted_minor = sum(part.amount_minor for is_counted, part in parts if is_counted)
            quantity = asked.units_of(counted_minor) - asked.units_of(counted_minor - line.amount_minor)
            yield replace(line, quantity=quantity if asked.amount_minor else line.quantity)

    def lines_counted(
        self,
        lines: Iterable[RefundedLine],
        create_time: datetime,
        refunded_minor_by_line: Mapping[str, int],
        recount_time: datetime | None,
    ) -> Iterator[RefundedLine]:
        """Those of a refund's lines that its order counts still.

        A refund from before the order was paid is in the counts of no line any more: they began anew.
        create_time: of the refund. refunded_minor_by_line, recount_time: of the order, as it counts with
        this refund.
        """
        if recount_time is not None and create_time < recount_time:
            return
        for line in lines:
            # For whatever happened in the same moment, and where recount_time is not known.
            newer_minor = sum(
                newer.amount_minor
                for each in self.refunds
                if each.create_time > create_time and each.state is not RefundState.FAILED
                for newer in each.lines
                if newer.line_id == line.line_id
            )
            if refunded_minor_by_line[line.line_id] - newer_minor >= line.amount_minor:
                yield line

    def has_failed_refund(self, payment_id: str) -> bool:
        """True when the provider failed to give back money of the payment."""
        return any(
            each.payment_id == payment_id and each.state is RefundState.FAILED for each in self.refunds
        )

    @property
    def refundable_minor(self) -> int:
        """Captured and not given back, nor on its way back."""
        return sum(payment.refundable_minor for payment in self.payments)

    # --- the sums of payment.proto's OrderMoney ---------------------------------------------------

    @property
    def currency_code(self) -> str:
        """Of the order, and so of all of them."""
        return self.payments[0].currency_code

    @property
    def coming_minor(self) -> int:
        """Not captured, and may be without another word of a customer."""
        return sum(payment.coming_minor for payment in self.payments)

    @property
    def authorized_minor(self) -> int:
        """Held for us and not captured."""
        return sum(payment.authorized_minor for payment in self.payments)

    @property
    def captured_minor(self) -> int:
        """Captured, refunds not deducted."""
        return sum(payment.captured_minor for payment in self.payments)

    @property
    def refunded_minor(self) -> int:
        """Given back, or on its way back."""
        return sum(payment.refunded_minor for payment in self.payments)

    def shared_out(self, amount_minor: int, *, payment_id: str = "") -> Sequence[tuple[Payment, int]]:
        """From which payments an amount is given back: the newest first, or one alone.

        Raises:
            RefundExceedsPayments: they do not have as much.
        """
        payments = (self.payment(payment_id),) if payment_id else tuple(reversed(self.payments))
        parts, left_minor = [], amount_minor
        for payment in payments:
            part_minor = min(left_minor, payment.refundable_minor)
            if part_minor > 0:
                parts.append((payment, part_minor))
                left_minor -= part_minor
        if left_minor:
            raise RefundExceedsPayments(
                refundable_minor=amount_minor - left_minor, amount_minor=amount_minor
            )
        return parts


ORDER_PAYMENTS: Kind[str, OrderPayments] = Kind("order payments", LockRank.ORDER_PAYMENTS)
"""By order id. Whoever names it names the order too, whose lock guards it."""


def order_id_of(subject_id: str) -> str:
    """The order of a payment or refund of ours; an id that is not ours gives one that does not exist."""
    return subject_id.rpartition(".")[0]
