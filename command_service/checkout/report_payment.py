"""What a provider answered, or told by itself: payment and order in one decision. Pure.

Money that was captured goes through the same door as RecordPayment, in the same decision: no crash can
come between the payment and its order.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from command_service.checkout.record_payment import (
    RecordedRefund,
    payment_needs,
    payment_touches,
    receive,
    regain,
    regaining_needs,
)
from command_service.checkout.refund_payment import asked_back
from command_service.checkout.start_payment import payments_of
from command_service.errors import CaptureNotReported, CurrencyMismatch, RecordedRefundFailed
from command_service.inventory.domain import RESERVATION
from command_service.ordering.commands import order_of
from command_service.ordering.domain import MONEY_RECORD, ORDER, PAYMENT_RECORD, REFUND_RECORD
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments, order_id_of
from command_service.payment.events import PaymentChanged, RefundChanged
from command_service.payment.payments import Payment
from command_service.payment.refunds import Refund, RefundState
from command_service.payment.reports import Refused, Report, Told
from command_service.world import Change, Command, Decision, Touch, World
from event_log.events import Event
from payment_providers.port import ProviderPayment, ProviderRefund

PaymentOrRefundT = TypeVar("PaymentOrRefundT", Payment, Refund)


@dataclass(frozen=True, slots=True)
class ReportPayment(Command[Payment]):
    """Takes note of what is known of a payment now, and settles its order if money came.

    A report that is older than what is known changes nothing. attempt: the name of the call that
    reports; "" for what a provider tells by itself.
    """

    payment_id: str
    report: Report
    attempt: str = ""

    def touches(self) -> Iterable[Touch]:
        """The order and its payments; with money, all that a payment of the order touches."""
        order_id = order_id_of(self.payment_id)
        told = told_payment(self.report)
        if told is None or not told.captured_minor:
            return ORDER.change(order_id), ORDER_PAYMENTS.change(order_id)
        return (
            ORDER_PAYMENTS.change(order_id),
            *payment_touches(order_id, told.provider_reference),
            # Who records it by hand holds the order as well: there is nothing to lock.
            *(MONEY_RECORD.read((PAYMENT_RECORD, name)) for name in told.other_names),
        )

    def needs(self, world: World) -> Iterable[Touch]:
        """What the order holds, when there is money for it."""
        told = told_payment(self.report)
        if told is None or not told.captured_minor:
            return ()
        return payment_needs(world, order_id_of(self.payment_id))

    def decide(self, world: World, now: datetime) -> Decision[Payment]:
        """Refuses money in another currency: that is for people."""
        order_id = order_id_of(self.payment_id)
        payments = payments_of(world, order_id)
        before = payments.payment(self.payment_id)
        told = told_payment(self.report)
        if told is not None:
            _check_currency(told, before.currency_code)
        after = before.heard(self.report, now, attempt=self.attempt)
        if after == before:
            return Decision(after)
        changes: list[Change] = [ORDER_PAYMENTS.changed(order_id, payments.with_payment(after))]
        events: list[Event] = []
        # Another name of its money concerns nobody else either.
        if _is_news(replace(before, other_names=after.other_names), after):
            events.append(PaymentChanged(after, before.state))
        came_minor = after.captured_minor - before.captured_minor
        if told is not None and came_minor and not before.is_recorded:
            order_changes, order_events = _received(
                world, told, order_id, came_minor, now, provider=before.provider
            )
            changes.extend(order_changes)
            events.extend(order_events)
        return Decision(after, changes, events)


@dataclass(frozen=True, slots=True)
class ReportRefund(Command[Refund | None]):
    """Takes note of what is known of a refund now; a failed one is refundable again.

    refund_id: "" for one that somebody made at the provider itself: it is counted as well, under its
    payment. The answer is None when that is not ours. attempt: as in ReportPayment.
    """

    payment_id: str
    refund_id: str
    report: Report
    attempt: str = ""

    def touches(self) -> Iterable[Touch]:
        """The order and its payments; its name as somebody may have recorded it by hand.

        And what the order holds, if it may have its money again.
        """
        order_id = order_id_of(self.payment_id)
        yield ORDER.change(order_id)
        yield ORDER_PAYMENTS.change(order_id)
        if self._tells_failure or self._name:
            yield RESERVATION.change(order_id)
        if self._name:
            yield MONEY_RECORD.change((REFUND_RECORD, self._name))

    def needs(self, world: World) -> Iterable[Touch]:
        """What the order holds, likewise."""
        order_id = order_id_of(self.payment_id)
        may_regain = self._tells_failure or self._recorded(world, order_id) is not None
        return regaining_needs(world, order_id) if may_regain else ()

    @property
    def _name(self) -> str:
        """The provider's name for it, if that is told."""
        return self._told.provider_reference if self._told is not None else ""

    @property
    def _tells_failure(self) -> bool:
        told = self._told
        is_failed = told is not None and told.state is ProviderRefund.State.FAILED
        return is_failed or isinstance(self.report, Refused)

    @property
    def _told(self) -> ProviderRefund | None:
        told = self.report.by_provider if isinstance(self.report, Told) else None
        return told if isinstance(told, ProviderRefund) else None

    def decide(self, world: World, now: datetime) -> Decision[Refund | None]:
        """Takes a failed one back from the order as well."""
        order_id = order_id_of(self.payment_id)
        payments = payments_of(world, order_id)
        payment = payments.payment(self.payment_id)
        told = self._told
        before = _known(payments, self, told)
        if before is None:
            assert told is not None, "only a provider tells of refunds unknown to us"
            return _made_elsewhere(world, payments, payment, told, now)
        recorded = self._recorded(world, order_id)
        if before.state is RefundState.FAILED:
            if recorded is not None and self._tells_failure and not before.provider_reference:
                # Before it failed or after: nobody knows whether what was recorded is other money.
                raise RecordedRefundFailed(refund_reference=recorded.refund_reference, order_id=order_id)
            recorded = None
        after = before.heard(self.report, now, attempt=self.attempt)
        if after == before and recorded is None:
            return Decision(after)
        with_after = payments.with_refund(after)
        changes: list[Change] = [ORDER_PAYMENTS.changed(order_id, with_after)]
        events: list[Event] = []
        if _is_news(before, after):
            paying = with_after.payment(payment.payment_id)
            events.append(RefundChanged(after, before.state, paying))
        # The newer one first: what it gave back of lines is what they count last.
        uncounted: list[Refund | RecordedRefund] = []
        if recorded is not None:
            # Who recorded it could not know that it is ours: it had no name here then.
            uncounted.append(recorded)
            changes.append(MONEY_RECORD.removed((REFUND_RECORD, recorded.refund_reference)))
        if after.state is RefundState.FAILED and before.state is not RefundState.FAILED:
            uncounted.append(after)
        if uncounted:
            regained = regain(world, order_of(world, order_id), payments, uncounted, now)
            changes.extend(regained.changes)
            events.extend(regained.events)
        return Decision(after, changes, events)

    def _recorded(self, world: World, order_id: str) -> RecordedRefund | None:
        """What people have recorded of the order under the name that is told."""
        record = world.get(MONEY_RECORD, (REFUND_RECORD, self._name)) if self._name else None
        if record is None or record.order_id != order_id or record.counted is None:
            return None
        return RecordedRefund(self._name, record.amount_minor, record.counted)


@dataclass(frozen=True, slots=True)
class ReportProviderEvent(Command[bool]):
    """Takes note of what a provider told by itself; answers whether it is about anything of ours."""

    provider: str
    told: Told

    @property
    def _report(self) -> ReportPayment | ReportRefund:
        by_provider = self.told.by_provider
        if isinstance(by_provider, ProviderPayment):
            return ReportPayment(by_provider.payment_id, self.told)
        return ReportRefund(by_provider.payment_id, by_provider.refund_id, self.told)

    def touches(self) -> Iterable[Touch]:
        """What the report touches."""
        return self._report.touches()

    def needs(self, world: World) -> Iterable[Touch]:
        """What the report needs."""
        return self._report.needs(world)

    def decide(self, world: World, now: datetime) -> Decision[bool]:
        """Refuses only money in another currency than the payment's."""
        report = self._report
        payments = payments_of(world, order_id_of(report.payment_id))
        known = {payment.payment_id: payment.provider for payment in payments.payments}
        if known.get(report.payment_id) != self.provider:
            return Decision(answer=False)
        decision = report.decide(world, now)
        return Decision(answer=True, changes=decision.changes, events=decision.events)


def told_payment(report: Report) -> ProviderPayment | None:
    """The payment as its provider tells it, if the report has it."""
    by_provider = report.by_provider if isinstance(report, Told | Refused) else None
    return by_provider if isinstance(by_provider, ProviderPayment) else None


def _check_currency(told: ProviderPayment | ProviderRefund, currency_code: str) -> None:
    if told.currency_code != currency_code:
        raise CurrencyMismatch(
            actual_currency_code=told.currency_code, expected_currency_code=currency_code
        )


def _is_news(before: PaymentOrRefundT, after: PaymentOrRefundT) -> bool:
    """False when only the errand was put off: that concerns nobody else.

    Not by update_time: the commands of a batch have the same.
    """
    is_same = replace(after, errand=None) == replace(before, errand=None)
    return not is_same or after.resolve_deadline != before.resolve_deadline


def _received(
    world: World,
    told: ProviderPayment,
    order_id: str,
    came_minor: int,
    now: datetime,
    *,
    provider: str,
) -> tuple[Sequence[Change], Sequence[Event]]:
    """The order's side of money that came; nothing if somebody has recorded it by hand."""
    reference = told.provider_reference
    for name in (reference, *told.other_names):
        if world.get(MONEY_RECORD, (PAYMENT_RECORD, name)) is not None:
            return (), ()
    order = order_of(world, order_id)
    received = receive(world, order, reference, came_minor, now, provider=provider)
    return received.changes, received.events


def _known(payments: OrderPayments, command: ReportRefund, told: ProviderRefund | None) -> Refund | None:
    """The refund by the provider's name for it, or else by ours.

    None also for one that was given up, as never made, and yet exists: that money left after all, and
    is counted anew.
    """
    reference = told.provider_reference if told is not None else ""
    name = (command.payment_id, reference)
    for refund in payments.refunds:
        if reference and (refund.payment_id, refund.provider_reference) == name:
            return refund
    for refund in payments.refunds:
        if refund.refund_id == command.refund_id:
            is_given_up = refund.state is RefundState.FAILED and not refund.provider_reference
            has_left = told is not None and told.state is not ProviderRefund.State.FAILED
            return None if is_given_up and has_left else refund
    return None


def _made_elsewhere(
    world: World, payments: OrderPayments, payment: Payment, told: ProviderRefund, now: datetime
) -> Decision[Refund | None]:
    """Counts a refund that was made at the provider itself; not if somebody has recorded it by hand."""
    order = order_of(world, payments.order_id)
    reference = told.provider_reference
    is_recorded = reference != "" and world.get(MONEY_RECORD, (REFUND_RECORD, reference)) is not None
    if told.state is ProviderRefund.State.FAILED and is_recorded:
        raise RecordedRefundFailed(refund_reference=reference, order_id=order.order_id)
    if told.state is ProviderRefund.State.FAILED or is_recorded:
        return Decision(None)
    _check_currency(told, payment.currency_code)
    if not payment.captured_minor:
        raise CaptureNotReported(payment_id=payment.payment_id)
    # What exceeds the order's money, or the payment's, cannot be counted: the alarms show it.
    counted_minor = min(told.amount_minor, order.refundable_minor, payment.refundable_minor)
    if counted_minor <= 0:
        return Decision(None)
    refunded = order.refund_amount(counted_minor, now)
    asked = asked_back(payments, order, refunded, (), now, payment_id=payment.payment_id)
    [requested] = asked.refunds
    refund = requested.heard(Told(told), now)
    after = asked.payments.with_refund(refund)
    changed = RefundChanged(refund, requested.state, after.payment(payment.payment_id))
    return Decision(
        refund,
        [ORDER.changed(order.order_id, refunded), ORDER_PAYMENTS.changed(order.order_id, after)],
        [*asked.events, changed],
    )
