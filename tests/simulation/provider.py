"""A payment provider in memory: it forgets to answer, and tells of everything late and twice."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from random import Random
from typing import TypeVar

from payment_providers.port import (
    Begun,
    Callback,
    Flow,
    Handover,
    NotAccepted,
    OutcomeUnknown,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
    RefundWanted,
    Unreachable,
)
from tests.simulation.loop import SimulatedLoop

ResultT = TypeVar("ResultT", ProviderPayment, ProviderRefund)

PENDING_SECONDS_MAX = 70.0
"""Some are pending still when they are asked for the first time."""

FAILED_RATE = 0.3
"""Of refunds that were pending."""

SLOW_ANSWER_RATE = 0.5
"""Of refunds that were made: others may see one before whoever asked for it knows."""

Tell = Callable[[ProviderPayment | ProviderRefund], None]


@dataclass(slots=True)
class AtProvider:
    """A payment as the provider has it.

    capture_count: how often its money was taken. begin_count: of keys under which it was made.
    """

    wanted: PaymentWanted
    state: ProviderState = ProviderState.AWAITING_CUSTOMER
    authorized_minor: int = 0
    captured_minor: int = 0
    capture_count: int = 0
    begin_count: int = 0

    def told(self) -> ProviderPayment:
        return ProviderPayment(
            self.wanted.payment_id,
            f"pi of {self.wanted.payment_id}",
            self.state,
            self.wanted.currency_code,
            self.authorized_minor,
            self.captured_minor,
        )

    def take(self, amount_minor: int) -> None:
        self.state, self.authorized_minor = ProviderState.CAPTURED, 0
        self.captured_minor += amount_minor
        self.capture_count += 1


@dataclass
class ProviderInMemory:
    """See payment_providers.port.PaymentProvider. fault_rate: of calls, from 0 to 1.

    tell_rate: of what came of our calls, which is told by itself as well. pending_rate: of refunds that
    the bank is slow to make; some of them fail in the end.
    """

    loop: SimulatedLoop
    chance: Random
    tell: Tell
    fault_rate: float
    tell_rate: float = 1.0
    pending_rate: float = 0.0
    name: str = "stripe"
    flows: frozenset[Flow] = frozenset(Flow)
    authorizes: bool = True
    remembers_keys: bool = True
    payments: dict[str, AtProvider] = field(default_factory=dict)
    refunds: list[ProviderRefund] = field(default_factory=list)
    results: dict[str, ProviderPayment | ProviderRefund | NotAccepted] = field(default_factory=dict)
    fault_count: int = 0

    # --- what is asked -----------------------------------------------------------------------------

    async def begin(self, payment: PaymentWanted, *, key: str) -> Begun:
        told = await self._call(key, lambda: self._begin(payment))
        return Begun(told, Handover("secret"))

    async def hand_over(self, payment: PaymentName) -> Begun:
        return Begun(self.payments[payment.payment_id].told(), Handover("secret"))

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        await self._line()
        found = self.payments.get(payment.payment_id)
        return None if found is None else found.told()

    async def capture(self, payment: PaymentName, amount_minor: int, *, key: str) -> ProviderPayment:
        return await self._call(key, lambda: self._capture(payment, amount_minor))

    async def void(self, payment: PaymentName, *, key: str) -> ProviderPayment:
        return await self._call(key, lambda: self._void(payment))

    async def refund(self, refund: RefundWanted, *, key: str) -> ProviderRefund:
        told = await self._call(key, lambda: self._refund(refund))
        if self.chance.random() < SLOW_ANSWER_RATE:
            await self.loop.pause(self.chance.random())
        return told

    async def read_refund(self, refund: RefundWanted) -> ProviderRefund | None:
        await self._line()
        return next((each for each in self.refunds if each.refund_id == refund.refund_id), None)

    # --- what the customer does --------------------------------------------------------------------

    def pay(self, payment_id: str) -> None:
        """Pays, if that is still possible."""
        found = self.payments.get(payment_id)
        if found is None or found.state is not ProviderState.AWAITING_CUSTOMER:
            return
        if found.wanted.captures_at_once:
            found.take(found.wanted.amount_minor)
        else:
            found.state, found.authorized_minor = ProviderState.AUTHORIZED, found.wanted.amount_minor
        self.tell(found.told())

    def bounce(self) -> None:
        """The customer's bank sends money back that was refunded; the key still tells that it was."""
        done = [n for n, each in enumerate(self.refunds) if each.state is ProviderRefund.State.SUCCEEDED]
        if done:
            number = done[int(self.chance.random() * len(done))]
            failed = replace(
                self.refunds[number], state=ProviderRefund.State.FAILED, failure_code="bank"
            )
            self.refunds[number] = failed
            self.tell(failed)

    def end_refund(self, refund_id: str, has_failed: bool) -> None:
        """The bank has the last word on one that was pending. Whoever is not told has to ask."""
        number = next(n for n, each in enumerate(self.refunds) if each.refund_id == refund_id)
        if self.refunds[number].state is not ProviderRefund.State.PENDING:
            return
        state = ProviderRefund.State.FAILED if has_failed else ProviderRefund.State.SUCCEEDED
        ended = replace(self.refunds[number], state=state, failure_code="bank" if has_failed else "")
        self.refunds[number] = ended
        self._tell_of_ours(ended)

    # --- what it does ------------------------------------------------------------------------------

    def _begin(self, wanted: PaymentWanted) -> ProviderPayment:
        found = self.payments.setdefault(wanted.payment_id, AtProvider(wanted))
        found.begin_count += 1
        return found.told()

    def _capture(self, payment: PaymentName, amount_minor: int) -> ProviderPayment:
        found = self.payments[payment.payment_id]
        if found.state is not ProviderState.AUTHORIZED:
            raise NotAccepted("not_in_that_state")
        found.take(amount_minor)
        self._tell_of_ours(found.told())
        return found.told()

    def _void(self, payment: PaymentName) -> ProviderPayment:
        found = self.payments[payment.payment_id]
        if found.state not in (ProviderState.AWAITING_CUSTOMER, ProviderState.AUTHORIZED):
            raise NotAccepted("not_in_that_state")
        found.state, found.authorized_minor = ProviderState.VOIDED, 0
        self._tell_of_ours(found.told())
        return found.told()

    def _refund(self, wanted: RefundWanted) -> ProviderRefund:
        found = self.payments[wanted.payment.payment_id]
        if self.refunded_minor(wanted.payment.payment_id) + wanted.amount_minor > found.captured_minor:
            raise NotAccepted("more_than_captured")
        is_pending = self.chance.random() < self.pending_rate
        told = ProviderRefund(
            wanted.refund_id,
            f"re {len(self.refunds)}",
            f"pi of {wanted.payment.payment_id}",
            ProviderRefund.State.PENDING if is_pending else ProviderRefund.State.SUCCEEDED,
            "GBP",
            wanted.amount_minor,
            payment_id=wanted.payment.payment_id,
        )
        if is_pending:
            seconds = self.chance.random() ** 2 * PENDING_SECONDS_MAX
            fails = self.chance.random() < FAILED_RATE
            self.loop.call_later(seconds, self.end_refund, wanted.refund_id, fails)
        self.refunds.append(told)
        self._tell_of_ours(told)
        return told

    def _tell_of_ours(self, told: ProviderPayment | ProviderRefund) -> None:
        """What we asked for ourselves need not be told: the answer to the call, or a question, tells."""
        if self.chance.random() < self.tell_rate:
            self.tell(told)

    def refunded_minor(self, payment_id: str) -> int:
        return sum(
            each.amount_minor
            for each in self.refunds
            if each.payment_id == payment_id and each.state is not ProviderRefund.State.FAILED
        )

    # --- the line ----------------------------------------------------------------------------------

    async def _call(self, key: str, do: Callable[[], ResultT]) -> ResultT:
        """Once for each key, however often it is asked, and whether or not the answer arrives.

        A refusal is repeated under its key too, though the call could be done by now.
        """
        fault = await self._line()
        known = self.results.get(key)
        if known is None:
            try:
                known = do()
            except NotAccepted as refusal:
                known = refusal
            self.results[key] = known
        if fault:
            raise OutcomeUnknown("no_answer")
        if isinstance(known, NotAccepted):
            raise NotAccepted(known.code)
        return known  # type: ignore[return-value]  # of one key it is always of one kind

    async def _line(self) -> bool:
        """Whether the answer will be lost."""
        draw = self.chance.random
        await self.loop.pause(0.01 + draw() * 0.3)
        if not self.fault_rate or draw() >= self.fault_rate:
            return False
        self.fault_count += 1
        kind = draw()
        if kind < 0.15:
            raise Unreachable("no_connection")
        if kind < 0.3:
            raise OutcomeUnknown("no_answer")
        if kind < 0.35:
            await self.loop.pause(25.0)
        return True

    # --- what no errand asks for -------------------------------------------------------------------

    def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        raise NotImplementedError

    async def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        raise NotImplementedError

    async def interpret(self, callback: Callback) -> Sequence[ProviderPayment | ProviderRefund]:
        raise NotImplementedError

    async def close(self) -> None:
        """There is nothing to close."""
