"""Drives payments and refunds on: the call to the provider, then the command that reports it.

A crash between the two leaves the errand behind, and somebody makes the same call again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import structlog

from command_service.checkout.advance_order import AdvanceOrder, Claims
from command_service.checkout.claim_payment import ClaimPayment
from command_service.checkout.refund_payment import AskedBack
from command_service.checkout.report_payment import ReportPayment, ReportRefund
from command_service.committer import Committer
from command_service.errors import Failure, PaymentProviderUnavailable
from command_service.lone_worker import PATIENCE, Asked, Patience, ask
from command_service.metrics import of_provider_call
from command_service.payment.domain import OrderPayments
from command_service.payment.errands import WAIT_SHARE, Task
from command_service.payment.gateway import NOTHING_TO_HAND_OVER, Gateway
from command_service.payment.payments import Payment
from command_service.payment.refunds import Refund
from command_service.payment.reports import Lost, Postponed, Report
from command_service.world import AnswerT, Command
from event_log.tokens import ConsistencyToken
from payment_providers.port import Handover, PaymentProvider, ProviderFailure
from serving.reminders import Reminder

log = structlog.get_logger(__name__)

ACTOR = "payment driver"

CALLS_AT_ONCE_MAX = 100
"""Of one process, to all providers: more would only wait for each other's connections."""

BREAKER_OPEN = "circuit_open"
"""The code under which payment_providers/breaker.py refuses a call."""


@dataclass(frozen=True, slots=True)
class Driven:
    """A payment as far as it came. token: of what was carried out last."""

    payment: Payment
    handover: Handover
    token: ConsistencyToken


class _Claimed(NamedTuple):
    """Calls that are ours to make. seconds: when that was decided, by the loop's clock."""

    claims: Claims
    seconds: float


class PaymentDriver:
    """Makes claimed calls and reports them. new_id: makes request ids that nobody else has.

    Each call is reported once, by whoever made it; a report that is lost leaves the errand, which is
    claimed again as another attempt. An id made of the attempt could be used first by whoever knows the
    payment, whose money would then never be counted.
    """

    def __init__(
        self,
        committer: Committer,
        gateway: Gateway,
        patience: Patience = PATIENCE,
        *,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._committer = committer
        self._patience = patience
        self._new_id = new_id
        self._gateway = gateway
        # From the claim on, whose commit may take long. The call and its report are to be within its
        # lease yet: after it somebody else may make the call, and two without a key give back twice.
        self._wait_seconds_max = WAIT_SHARE * gateway.lease.total_seconds()
        self._room = asyncio.Semaphore(CALLS_AT_ONCE_MAX)
        self._call_count = 0
        """Calls that have a place, or wait for one."""
        self._driving: dict[str, asyncio.Task[Driven]] = {}
        """The calls in hand, by their attempt."""
        self._tasks: dict[asyncio.Task[Any], None] = {}
        """As long as they run, in the order in which they began: a set's is another one each time."""
        self._reminder = Reminder()

    @property
    def providers(self) -> Mapping[str, PaymentProvider]:
        """Those that are configured, by name."""
        return self._gateway.providers

    @property
    def lease(self) -> timedelta:
        """How long a call that was claimed is left to whoever claimed it."""
        return self._gateway.lease

    @property
    def free_place_count(self) -> int:
        """Calls that would find a place at once; below 0 when some wait for one."""
        return CALLS_AT_ONCE_MAX - self._call_count

    async def drain(self) -> None:
        """Returns when the calls in hand are reported; what is not done in time is left as an errand."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def drive(self, payment: Payment, *, claimed_seconds: float, is_wanted: bool = True) -> Driven:
        """Makes the call of a payment that the caller has claimed. Who asks meanwhile waits as well.

        claimed_seconds: when that was decided, by the loop's clock. is_wanted: whether its order can
        still be paid.

        Raises:
            PaymentProviderUnavailable: too long ago to make the call.
        """
        assert payment.errand is not None
        attempt = payment.errand.attempt(payment.payment_id)
        task = self._driving.get(attempt)
        if task is None:
            task = self._begun(self._drive_payment(payment, claimed_seconds, is_wanted=is_wanted))
            self._driving[attempt] = task
            task.add_done_callback(lambda _: self._driving.pop(attempt, None))
        return await asyncio.shield(task)

    async def take_up(self, payment_id: str) -> Driven:
        """Goes on with a payment that somebody has left, and tells how the customer goes on.

        Raises:
            PaymentProviderUnavailable: the provider is being asked, or gives no answer.
        """
        claim = ClaimPayment(payment_id, self.lease)
        found = await self._ask(claim)
        claimed = found.decided
        if claimed is None:
            raise PaymentProviderUnavailable
        if claimed.is_ours:
            return await self.drive(
                claimed.payment,
                claimed_seconds=found.decided_seconds,
                is_wanted=claimed.is_wanted,
            )
        errand = claimed.payment.errand
        task = None if errand is None else self._driving.get(errand.attempt(payment_id))
        if task is not None:
            return await asyncio.shield(task)
        return Driven(claimed.payment, NOTHING_TO_HAND_OVER, found.token)

    async def hand_over(self, payment: Payment) -> Handover:
        """What the customer needs to go on with a payment that was begun.

        Raises:
            PaymentProviderUnavailable: the provider gives no answer.
        """
        try:
            return (await self._gateway.hand_over(payment)).handover
        except ProviderFailure as failure:
            log.info("nothing to hand over", payment_id=payment.payment_id, code=failure.code)
            raise PaymentProviderUnavailable from failure

    async def drive_refunds(
        self, asked: AskedBack, *, claimed_seconds: float
    ) -> tuple[list[Refund], ConsistencyToken]:
        """Makes the calls of refunds that the caller just asked for; the refunds as they are then.

        Raises:
            PaymentProviderUnavailable: as `drive`.
        """
        tasks = [
            self._begun(self._drive_refund(each, asked.payments, claimed_seconds))
            for each in asked.refunds
        ]
        # A caller that goes away leaves the calls to themselves. Not gathered: where nobody waits for it
        # any more, Python logs the failure of a gathering as a mistake of ours.
        driven = [await asyncio.shield(task) for task in tasks]
        return [refund for refund, _ in driven], _newest(token for _, token in driven)

    async def take_up_refunds(
        self, order_id: str, refund_ids: Collection[str]
    ) -> tuple[list[Refund], ConsistencyToken]:
        """Goes on with refunds that somebody has left; these of them as they are then."""
        claimed, token = await self._claims(order_id)
        claims, driven = claimed.claims, self._all_begun(claimed)
        refunds = []
        for refund in claims.all.refunds:
            if refund.refund_id in refund_ids:
                task = driven.get(refund.refund_id)
                refunds.append(refund if task is None else (await asyncio.shield(task))[0])
        return refunds, token

    async def advance(self, order_id: str) -> None:
        """Takes the order's next steps, and begins the calls that they need."""
        claimed, _ = await self._claims(order_id)
        self._all_begun(claimed)

    def _all_begun(
        self, claimed: "_Claimed"
    ) -> dict[str, asyncio.Task[tuple[Refund, ConsistencyToken]]]:
        """Begins every call that was claimed; those for refunds, by their ids."""
        claims, seconds = claimed
        for payment in claims.payments:
            self._begun(self.drive(payment, claimed_seconds=seconds, is_wanted=claims.is_wanted))
        return {
            refund.refund_id: self._begun(self._drive_refund(refund, claims.all, seconds))
            for refund in claims.refunds
        }

    async def _claims(self, order_id: str) -> tuple["_Claimed", ConsistencyToken]:
        advance = AdvanceOrder(order_id, self.lease)
        asked = await self._ask(advance)
        assert asked.decided is not None, "an order with payments exists"
        return _Claimed(asked.decided, asked.decided_seconds), asked.token

    async def _drive_refund(
        self, refund: Refund, payments: OrderPayments, claimed_seconds: float
    ) -> tuple[Refund, ConsistencyToken]:
        assert refund.errand is not None
        async with self._a_place(claimed_seconds):
            report = await of_provider_call(
                self._gateway.run_refund(refund, payments),
                provider=payments.payment(refund.payment_id).provider,
                task=refund.errand.task.name.lower(),
                outcome_of=_word_for,
            )
        self._warn_of(report, payments.payment(refund.payment_id).provider, refund.errand.task)
        attempt = refund.errand.attempt(refund.refund_id)
        command = ReportRefund(refund.payment_id, refund.refund_id, report, attempt)
        reported = await self._ask(command)
        if reported.is_refused:
            log.error("what a provider told is refused", refund_id=refund.refund_id, told=report)
        # A provider that keeps no id of ours may have told of an equal one, which another call reported.
        told = reported.decided
        is_ours = told is not None and told.refund_id == refund.refund_id
        return told if told is not None and is_ours else refund, reported.token

    async def _drive_payment(
        self, payment: Payment, claimed_seconds: float, *, is_wanted: bool
    ) -> Driven:
        assert payment.errand is not None
        async with self._a_place(claimed_seconds):
            outcome = await of_provider_call(
                self._gateway.run_payment(payment, is_wanted=is_wanted),
                provider=payment.provider,
                task=payment.errand.task.name.lower(),
                outcome_of=lambda outcome: _word_for(outcome.report),
            )
        self._warn_of(outcome.report, payment.provider, payment.errand.task)
        attempt = payment.errand.attempt(payment.payment_id)
        command = ReportPayment(payment.payment_id, outcome.report, attempt)
        reported = await self._ask(command)
        if reported.is_refused:
            log.error(
                "what a provider told is refused", payment_id=payment.payment_id, told=outcome.report
            )
        return Driven(reported.decided or payment, outcome.handover, reported.token)

    async def _ask(self, command: Command[AnswerT]) -> Asked[AnswerT]:
        """As `ask`: a command of our own, under an id that nobody else has."""
        return await ask(
            self._committer,
            command,
            request_id=self._new_id(),
            actor=ACTOR,
            patience=self._patience,
        )

    def _warn_of(self, report: Report, provider: str, task: Task) -> None:
        """Says now and then that a provider does not do what it is asked for, and its word for why."""
        if isinstance(report, Postponed | Lost) and self._reminder.is_due(f"{provider} {report.code}"):
            is_known = isinstance(report, Postponed)
            log.warning(
                "a provider does not do it" if is_known else "a provider gives no answer",
                provider=provider,
                task=task.name.lower(),
                code=report.code,
            )

    @asynccontextmanager
    async def _a_place(self, claimed_seconds: float) -> AsyncIterator[None]:
        """A place for one call.

        Raises:
            PaymentProviderUnavailable: none became free while the claim was sure to outlast the call.
        """
        self._call_count += 1
        try:
            await self._take_place(claimed_seconds + self._wait_seconds_max)
            try:
                yield
            finally:
                self._room.release()
        finally:
            self._call_count -= 1

    async def _take_place(self, until: float) -> None:
        try:
            async with asyncio.timeout_at(until):
                await self._room.acquire()
        except TimeoutError:
            raise PaymentProviderUnavailable from None
        # Who finds a place at once does not wait, and so meets no timeout.
        if asyncio.get_running_loop().time() > until:
            self._room.release()
            raise PaymentProviderUnavailable

    def _begun(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        del self._tasks[task]
        error = None if task.cancelled() else task.exception()
        # The errand is still there: whoever finds it due goes on.
        if error is not None and not isinstance(error, Failure):
            log.error("a call to a provider failed by a mistake of ours", exc_info=error)


def _word_for(report: Report) -> str:
    """What a call came to, for counting; an open breaker stands apart: nothing was sent."""
    if isinstance(report, Postponed) and report.code == BREAKER_OPEN:
        return BREAKER_OPEN
    return type(report).__name__.lower()


def _newest(tokens: Iterable[ConsistencyToken]) -> ConsistencyToken:
    return max(tokens, key=lambda token: (token.incarnation, token.position))
