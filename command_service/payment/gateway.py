"""From an errand to its provider and back: the one place that calls out, never inside a transaction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from command_service.payment.domain import OrderPayments
from command_service.payment.errands import CALLS_SHARE, LEASE, Errand, Task
from command_service.payment.payments import CaptureMode, Payment
from command_service.payment.refunds import Refund, RefundState
from command_service.payment.reports import Lost, NoTrace, Postponed, Refused, Report, Told
from payment_providers.port import (
    MISREADINGS,
    Begun,
    Flow,
    Handover,
    KeySpent,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    PaymentName,
    PaymentProvider,
    PaymentWanted,
    ProviderFailure,
    ProviderPayment,
    ProviderState,
    RefundWanted,
)

log = structlog.get_logger(__name__)

AnswerT = TypeVar("AnswerT")

NOTHING_TO_HAND_OVER = Handover()

NOT_WANTED = "order_closed"
"""The code of a payment that was let go: its order could not be paid any more when its call was due."""

NOT_SEEN = "refund_not_seen"
"""The code of a refund that the provider holds pending, and just now does not show."""

UNREADABLE = "unreadable_answer"
"""The code of an answer of a form that we do not know. The call may have had its effect."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call came to, and what the customer needs to go on: a secret, for the answer alone."""

    report: Report
    handover: Handover = NOTHING_TO_HAND_OVER


class Gateway:
    """Runs errands. providers: by name. lease: what a claim is good for."""

    def __init__(self, providers: Mapping[str, PaymentProvider], *, lease: timedelta = LEASE) -> None:
        self.providers = providers
        self.lease = lease
        self._calls_seconds_max = CALLS_SHARE * lease.total_seconds()

    async def run_payment(self, payment: Payment, *, is_wanted: bool = True) -> Outcome:
        """Makes the call that the payment's errand asks for, or asks what became of it.

        is_wanted: whether its order can still be paid; nobody is asked for money that is not wanted.
        """
        errand, provider = payment.errand, self._provider(payment)
        assert errand is not None
        is_let_go = errand.task is Task.BEGIN and not is_wanted
        if is_let_go and not errand.may_have_been_sent:
            return Outcome(Refused(NOT_WANTED))
        if provider is None:
            return Outcome(Postponed("provider_not_configured"))
        if not is_let_go or (_waits_for_customer(payment) and _tells_by_key(provider, errand)):
            return await self._in_time(self._make_call(provider, payment, errand), payment)
        outcome = await self._in_time(self._look_for(provider, payment, errand), payment)
        if isinstance(outcome.report, Lost):
            # A look is no call: as one it would move the time of the last, and be longer each time.
            return Outcome(Postponed(outcome.report.code))
        return outcome

    async def _in_time(self, call: Awaitable[Outcome], payment: Payment) -> Outcome:
        """What came of it; of a call that is not answered in time, or cannot be read, nobody knows."""
        try:
            async with asyncio.timeout(self._calls_seconds_max):
                return await call
        except ProviderFailure as failure:
            return Outcome(_report_of(failure))
        except TimeoutError:
            return Outcome(Lost("timeout"))
        except MISREADINGS:
            log.exception("a provider's answer cannot be read", payment_id=payment.payment_id)
            return Outcome(Lost(UNREADABLE))

    async def run_refund(self, refund: Refund, payments: OrderPayments) -> Report:
        """Likewise for a refund. payments: of its order, for providers that keep no id of ours."""
        report = await self._refund_in_time(refund, payments)
        is_question = refund.errand is not None and refund.errand.task is Task.ASK
        # One without an answer has had no effect.
        return Postponed(report.code) if is_question and isinstance(report, Lost) else report

    async def _refund_in_time(self, refund: Refund, payments: OrderPayments) -> Report:
        try:
            async with asyncio.timeout(self._calls_seconds_max):
                return await self._run_refund(refund, payments)
        except TimeoutError:
            return Lost("timeout")
        except MISREADINGS:
            log.exception("a provider's answer cannot be read", refund_id=refund.refund_id)
            return Lost(UNREADABLE)

    async def _look_for(self, provider: PaymentProvider, payment: Payment, errand: Errand) -> Outcome:
        """What became of an earlier call for money that is not wanted any more.

        Not by its key, which would ask for it now if that call never arrived.
        """
        found = await _answered(provider.read(name_of(payment, until=errand.last_sent_time)))
        return Outcome(Refused(NOT_WANTED) if found is None else Told(found))

    async def _run_refund(self, refund: Refund, payments: OrderPayments) -> Report:
        errand = refund.errand
        assert errand is not None
        payment = payments.payment(refund.payment_id)
        provider = self._provider(payment)
        if provider is None:
            return Postponed("provider_not_configured")
        wanted = refund_wanted(refund, payment, payments.refunds, sent_ago=errand.sent_ago)
        try:
            if errand.must_ask or errand.task is Task.ASK:
                found = await _answered(provider.read_refund(wanted))
                if found is not None:
                    return Told(found)
                if errand.task is Task.ASK:
                    return Postponed(NOT_SEEN)
                if errand.is_key_spent:
                    return NoTrace()
            return Told(await provider.refund(wanted, key=errand.key(refund.refund_id)))
        except ProviderFailure as failure:
            return _report_of(failure)

    async def hand_over(self, payment: Payment) -> Outcome:
        """What the customer needs to go on with a payment that was begun: asked for again each time.

        Raises:
            ProviderFailure: it cannot be told now.
        """
        provider = self._provider(payment)
        if provider is None:
            raise NotDone("provider_not_configured")
        try:
            return _of_begun(await provider.hand_over(name_of(payment)))
        except MISREADINGS as error:
            log.exception("a provider's answer cannot be read", payment_id=payment.payment_id)
            raise OutcomeUnknown(UNREADABLE) from error

    def _provider(self, payment: Payment) -> PaymentProvider | None:
        return self.providers.get(payment.provider)

    async def _make_call(self, provider: PaymentProvider, payment: Payment, errand: Errand) -> Outcome:
        """Asks before it acts, where an earlier call may have had its effect.

        By the key where that tells it: by name a payment would have to be looked for among all that
        were begun.
        """
        is_told_by_key = errand.task is Task.BEGIN and _tells_by_key(provider, errand)
        if errand.must_ask and not is_told_by_key:
            found = await _answered(provider.read(name_of(payment)))
            if found is not None and (errand.task is Task.BEGIN or found.state in _SETTLED):
                return Outcome(Told(found))
            if errand.is_key_spent:
                return Outcome(NoTrace())
        return await _call(provider, payment, errand)


def _tells_by_key(provider: PaymentProvider, errand: Errand) -> bool:
    """True when the same call once more is sure to have no effect beyond that of the one before."""
    return errand.is_key_good and provider.remembers_keys


def _waits_for_customer(payment: Payment) -> bool:
    """True when a payment, once begun, takes no money and lights up no reader by itself."""
    return payment.flow is not Flow.READER and not payment.wish.payment_method


_SETTLED = frozenset({ProviderState.CAPTURED, ProviderState.VOIDED})


async def _answered(question: Awaitable[AnswerT]) -> AnswerT:
    """The answer. A question that is refused tells nothing of the call that was to have an effect.

    Raises:
        ProviderFailure: never NotAccepted.
    """
    try:
        return await question
    except NotAccepted as failure:
        raise NotDone(failure.code) from failure


async def _call(provider: PaymentProvider, payment: Payment, errand: Errand) -> Outcome:
    key = errand.key(payment.payment_id)
    match errand.task:
        case Task.BEGIN:
            return _of_begun(await provider.begin(_payment_wanted(payment), key=key))
        case Task.CAPTURE:
            return await _or_as_it_is(
                provider,
                payment,
                lambda: provider.capture(name_of(payment), errand.amount_minor, key=key),
            )
        case _:
            return await _or_as_it_is(
                provider, payment, lambda: provider.void(name_of(payment), key=key)
            )


async def _or_as_it_is(
    provider: PaymentProvider, payment: Payment, call: Callable[[], Awaitable[ProviderPayment]]
) -> Outcome:
    """What the call came to; a refusal with the payment as it is, for somebody may have been faster."""
    try:
        return Outcome(Told(await call()))
    except NotAccepted as failure:
        return Outcome(Refused(failure.code, await _answered(provider.read(name_of(payment)))))


def _report_of(failure: ProviderFailure) -> Report:
    if isinstance(failure, NotAccepted):
        return Refused(failure.code)
    if isinstance(failure, NotDone):
        return Postponed(failure.code, failure.retry_after_seconds)
    return Lost(failure.code, is_key_spent=isinstance(failure, KeySpent))


def _of_begun(begun: Begun) -> Outcome:
    return Outcome(Told(begun.payment), begun.handover)


def name_of(payment: Payment, *, until: datetime | None = None) -> PaymentName:
    """The payment as its provider is asked for it.

    until: when it was last sent, where that is known for another reason than that its key is spent.
    """
    last_sent_time = until or (payment.errand.key_spent_time if payment.errand else None)
    return PaymentName(
        payment_id=payment.payment_id,
        provider_reference=payment.provider_reference,
        currency_code=payment.currency_code,
        flow=payment.flow,
        create_time=payment.create_time,
        reader_id=payment.wish.reader_id,
        last_sent_time=last_sent_time,
        begun_time=payment.begun_time,
    )


def _payment_wanted(payment: Payment) -> PaymentWanted:
    wish = payment.wish
    return PaymentWanted(
        payment_id=payment.payment_id,
        order_id=payment.order_id,
        currency_code=payment.currency_code,
        amount_minor=payment.amount_minor,
        flow=payment.flow,
        captures_at_once=payment.capture_mode is CaptureMode.AT_ONCE,
        description=wish.description,
        create_time=payment.create_time,
        customer_return_url=wish.customer_return_url,
        customer_cancel_url=wish.customer_cancel_url or wish.customer_return_url,
        reader_id=wish.reader_id,
        payment_method=wish.payment_method,
        expire_time=wish.expire_time,
        may_have_been_sent=payment.errand is not None and payment.errand.may_have_been_sent,
    )


def refund_wanted(
    refund: Refund,
    payment: Payment,
    refunds: Iterable[Refund],
    *,
    sent_ago: timedelta | None = None,
) -> RefundWanted:
    """What a provider is asked for. refunds: at least all of the payment.

    A refund that has no name yet was asked for after every one that its payment keeps as made by hand.
    """
    others = [
        each
        for each in refunds
        if each.payment_id == refund.payment_id and each.refund_id != refund.refund_id
    ]
    nameless_equal_count = sum(
        each.amount_minor == refund.amount_minor
        and not each.provider_reference
        and each.state in {RefundState.PENDING, RefundState.SUCCEEDED}
        for each in others
    )
    return RefundWanted(
        refund_id=refund.refund_id,
        provider_reference=refund.provider_reference,
        payment=name_of(payment),
        amount_minor=refund.amount_minor,
        is_whole=refund.amount_minor == payment.captured_minor,
        sent_ago=sent_ago,
        other_references=frozenset(
            (*(each.provider_reference for each in others), *payment.refunds_by_hand)
        )
        - {""},
        nameless_equal_count=nameless_equal_count,
    )
