"""Money that comes through its provider: one payment of an order. Pure.

STARTING --> AWAITING_CUSTOMER <--> PROCESSING
    |                |                 |
    v                +--------+--------+
  FAILED                      v
                         AUTHORIZED --> CAPTURING --> CAPTURED
                              |
              (from any left) +-------> VOIDING ----> VOIDED

A state that ends in -ING has an errand: a call is to be made. It is UNKNOWN while a call has ended
without an answer. What a provider tells moves a payment forward only, since it may come late and in any
order; but captured money is a fact in every state.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Any

from command_service.errors import (
    CaptureExceedsAuthorization,
    PaymentAlreadyCaptured,
    PaymentInProgress,
    PaymentNotAuthorized,
)
from command_service.payment.errands import LEASE, Errand, Task
from command_service.payment.reports import (
    Lost,
    NoTrace,
    Postponed,
    Refused,
    Report,
    Told,
    names_told,
)
from payment_providers.port import Flow, ProviderPayment, ProviderState

REFUNDS_BY_HAND_MAX = 100
"""Names that a payment keeps, the newest: what the older ones were recorded for is long settled."""


class CaptureMode(IntEnum):
    """When authorized money is taken; numbers as in payment.proto."""

    AT_ONCE = 1
    WHEN_HELD = 2
    ON_COMMAND = 3


class PaymentState(IntEnum):
    """How far a payment has come; numbers as in payment.proto."""

    STARTING = 1
    AWAITING_CUSTOMER = 2
    PROCESSING = 3
    AUTHORIZED = 4
    CAPTURING = 5
    CAPTURED = 6
    VOIDING = 7
    VOIDED = 8
    FAILED = 9
    UNKNOWN = 10


_STATE_TOLD = {
    ProviderState.AWAITING_CUSTOMER: PaymentState.AWAITING_CUSTOMER,
    ProviderState.PROCESSING: PaymentState.PROCESSING,
    ProviderState.AUTHORIZED: PaymentState.AUTHORIZED,
    ProviderState.CAPTURED: PaymentState.CAPTURED,
    ProviderState.VOIDED: PaymentState.VOIDED,
}

_RANK = {
    PaymentState.FAILED: 0,
    PaymentState.AWAITING_CUSTOMER: 1,
    # Not above the one before: a slow payment that is declined can be tried again.
    PaymentState.PROCESSING: 1,
    PaymentState.AUTHORIZED: 2,
    PaymentState.VOIDED: 3,
    # Above a void: both can be told of one payment, and then the money is there.
    PaymentState.CAPTURED: 4,
}
"""How far states are along; what is told of a lower one came late."""

_DONE_BY = {
    Task.BEGIN: frozenset(ProviderState),
    Task.CAPTURE: frozenset({ProviderState.CAPTURED, ProviderState.VOIDED}),
    Task.VOID: frozenset({ProviderState.CAPTURED, ProviderState.VOIDED}),
}
"""The states at the provider in which nothing is left to be asked, or it is too late for it."""

_HOLDING = frozenset(
    {PaymentState.AUTHORIZED, PaymentState.CAPTURING, PaymentState.VOIDING, PaymentState.UNKNOWN}
)
"""States in which money may be held for us."""

_MAYBE_BEGUN = frozenset({PaymentState.STARTING, PaymentState.UNKNOWN})
"""States in which the provider may have been asked, and its answer is not known."""

_STATE_WITHOUT_TRACE = {
    Task.BEGIN: PaymentState.FAILED,
    Task.CAPTURE: PaymentState.FAILED,
    # What the provider does not know any more, nobody can pay.
    Task.VOID: PaymentState.VOIDED,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """What a payment was asked for with, beyond its amount: a repeated call must be equal to the first.

    Of use until the payment is made; payment_method, a provider's token, is forgotten then. Its fields
    are those of PaymentWanted.
    """

    description: str = ""
    customer_return_url: str = ""
    customer_cancel_url: str = ""
    reader_id: str = ""
    payment_method: str = field(default="", repr=False)
    expire_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Payment:
    """One tender of an order at one provider; fields as in payment.proto.

    other_names: of its money, besides provider_reference. is_recorded: by hand, before it was told.
    begun_time: no call that could have begun it was sent before; None where that is not known.
    refunds_by_hand: names of refunds that no refund of ours can be that is asked for from now on.
    """

    payment_id: str
    order_id: str
    provider: str
    flow: Flow
    capture_mode: CaptureMode
    currency_code: str
    amount_minor: int
    wish: Wish
    create_time: datetime
    update_time: datetime
    state: PaymentState = PaymentState.STARTING
    provider_reference: str = ""
    authorized_minor: int = 0
    captured_minor: int = 0
    refunded_minor: int = 0
    refund_pending_minor: int = 0
    failure_code: str = ""
    errand: Errand | None = None
    key_generation: int = 1
    """Of the next errand: a provider repeats its answer to a key, so no errand uses one again."""
    other_names: tuple[str, ...] = ()
    is_recorded: bool = False
    begun_time: datetime | None = None
    refunds_by_hand: tuple[str, ...] = ()

    @property
    def resolve_deadline(self) -> datetime | None:
        """When an unknown outcome becomes a matter for people."""
        return self.errand.resolve_deadline if self.errand else None

    @property
    def refundable_minor(self) -> int:
        """Captured and not given back, nor on its way back."""
        return self.captured_minor - self.refunded_minor

    # --- what we want -----------------------------------------------------------------------------

    def capture(self, amount_minor: int, now: datetime, *, lease: timedelta = LEASE) -> "Payment":
        """Asks for authorized money."""
        if self.errand is not None:
            raise PaymentInProgress(payment_id=self.payment_id, state=self.state.name)
        if self.state is not PaymentState.AUTHORIZED:
            raise PaymentNotAuthorized(payment_id=self.payment_id, state=self.state.name)
        if amount_minor > self.authorized_minor:
            raise CaptureExceedsAuthorization(
                authorized_minor=self.authorized_minor, amount_minor=amount_minor
            )
        errand = Errand.claimed_at_once(
            Task.CAPTURE,
            now,
            amount_minor=amount_minor,
            key_generation=self.key_generation,
            lease=lease,
        )
        return self._changed(now, state=PaymentState.CAPTURING, errand=errand)

    def void(self, now: datetime, *, lease: timedelta = LEASE) -> "Payment":
        """Asks to call it off."""
        if self.state is PaymentState.CAPTURED:
            raise PaymentAlreadyCaptured(payment_id=self.payment_id)
        if self.errand is not None:
            raise PaymentInProgress(payment_id=self.payment_id, state=self.state.name)
        errand = Errand.claimed_at_once(Task.VOID, now, key_generation=self.key_generation, lease=lease)
        return self._changed(now, state=PaymentState.VOIDING, errand=errand)

    def leave(self, now: datetime) -> "Payment":
        """No more asks for authorized money, as `can_be_left` allows; the money stays held."""
        assert self.errand is not None
        key_generation = self.errand.key_generation + 1
        return self._changed(
            now, state=PaymentState.AUTHORIZED, errand=None, key_generation=key_generation
        )

    @property
    def can_be_left(self) -> bool:
        """True when authorized money was asked for, and not one call for it can have had an effect."""
        errand = self.errand
        if errand is None or errand.task is not Task.CAPTURE:
            return False
        return not errand.is_in_flight and not errand.may_have_been_sent

    @property
    def is_being_called_off(self) -> bool:
        """True from the decision to void it until its provider has told what came of that."""
        is_asked = self.errand is not None and self.errand.task is Task.VOID
        return self.state is PaymentState.VOIDING or is_asked

    @property
    def coming_minor(self) -> int:
        """Not captured, and may be without another word of the customer."""
        is_begun_with_means = bool(self.wish.payment_method) and self.state in _MAYBE_BEGUN
        if self.state is PaymentState.PROCESSING or is_begun_with_means:
            return self.amount_minor
        return self.authorized_minor

    def with_refund_by_hand(self, name: str) -> "Payment":
        """With the name of a refund that people have recorded, and that is none of ours to come."""
        return replace(self, refunds_by_hand=(*self.refunds_by_hand, name)[-REFUNDS_BY_HAND_MAX:])

    def claimed(self, now: datetime, *, lease: timedelta = LEASE) -> "Payment":
        """With its errand in the hands of who asked; nobody needs to be told."""
        assert self.errand is not None
        return replace(self, errand=self.errand.claimed(now, lease=lease))

    # --- what we hear -----------------------------------------------------------------------------

    def heard(self, report: Report, now: datetime, *, attempt: str = "") -> "Payment":
        """The payment after its errand, or the provider by itself, has reported.

        attempt: the name of the call that reports. One that was claimed anew since, or settled, is only
        believed what it was told: the rest is about a call that is no longer in hand.
        """
        if attempt and (self.errand is None or self.errand.attempt(self.payment_id) != attempt):
            told_late = report.by_provider if isinstance(report, Told | Refused) else None
            return self if told_late is None else self.heard(Told(told_late), now)
        match report:
            case Told(ProviderPayment() as told):
                return self._observed(told, now)
            case Refused(code, told):
                return self._refused(code, told, now)
            case _ if self.errand is None:
                return self  # somebody else has settled it meanwhile
            case Postponed(retry_after_seconds=retry_after_seconds):
                return replace(self, errand=self.errand.postponed(now, retry_after_seconds))
            case Lost(code, is_key_spent):
                errand = self.errand.lost(now, is_key_spent=is_key_spent)
                return self._changed(now, state=PaymentState.UNKNOWN, errand=errand, failure_code=code)
            case NoTrace():
                return replace(self, errand=self.errand.renewed(now))
        raise TypeError(f"{report} is not about a payment")

    def _observed(self, told: ProviderPayment, now: datetime) -> "Payment":
        errand, key_generation = self.errand, self.key_generation
        if errand is not None and told.state in _DONE_BY[errand.task]:
            key_generation = errand.key_generation + 1
            errand = None
        state = self._state_after(told.state, errand)
        named = replace(self, other_names=names_told(told, self.provider_reference, self.other_names))
        after = replace(
            named,
            state=state,
            provider_reference=self.provider_reference or told.provider_reference,
            authorized_minor=self._authorized_minor(told, state),
            captured_minor=max(self.captured_minor, told.captured_minor),
            failure_code=self._failure_code(told, state),
            wish=replace(self.wish, payment_method=""),
            errand=errand,
            key_generation=key_generation,
            begun_time=self._begun_time(errand),
        )
        return after if after == named else replace(after, update_time=now)

    def _begun_time(self, errand: Errand | None) -> datetime | None:
        begin = self.errand
        if begin is None or begin.task is not Task.BEGIN or errand is not None:
            return self.begun_time
        return None if begin.may_have_been_sent else begin.claim_time

    def _state_after(self, told: ProviderState, errand: Errand | None) -> PaymentState:
        if errand is not None:
            return self.state
        told_state = _STATE_TOLD[told]
        if self.errand is not None:
            # It was in our hands; whatever is told settled the errand.
            return told_state
        return told_state if _RANK[told_state] >= _RANK[self.state] else self.state

    def _authorized_minor(self, told: ProviderPayment, state: PaymentState) -> int:
        if state not in _HOLDING:
            return 0
        # What is told of an earlier state came late, and knows nothing of the money.
        return told.authorized_minor if told.state is ProviderState.AUTHORIZED else self.authorized_minor

    def _failure_code(self, told: ProviderPayment, state: PaymentState) -> str:
        if state is PaymentState.AUTHORIZED is self.state:
            # A refused capture stays refused, whoever tells of the authorization.
            return self.failure_code
        if _RANK.get(state, 0) > 1:
            return ""
        return told.failure_code

    def _refused(self, code: str, told: ProviderPayment | None, now: datetime) -> "Payment":
        after = self if told is None else self._observed(told, now)
        errand = after.errand
        if errand is None:
            return after
        if errand.task is Task.VOID and told is not None:
            # It can still be paid: we go on asking, in growing intervals, and with a new key each time,
            # since a provider repeats its refusal under the old one.
            return replace(after, errand=errand.renewed(now).postponed(now, None))
        # Never made; or not to be captured: with its failure code that is not tried again.
        state = _STATE_TOLD[told.state] if told is not None else _STATE_WITHOUT_TRACE[errand.task]
        is_held = told is not None and state is PaymentState.AUTHORIZED
        return replace(
            after,
            update_time=now,
            state=state,
            failure_code=code,
            authorized_minor=told.authorized_minor if told is not None and is_held else 0,
            wish=replace(after.wish, payment_method=""),
            errand=None,
            key_generation=errand.key_generation + 1,
        )

    def _changed(self, now: datetime, **fields: Any) -> "Payment":
        return replace(self, update_time=now, **fields)
