"""What Shopkeeper asks of a payment provider, and what it may hear: pure.

ProviderFailure          what it means for the effect           what to do
|-- NotAccepted          there is none, and never will be       tell the caller; final
|   `-- Declined         the means of payment was refused       the customer tries another one
|-- NotDone              there is none                          the same call again, later
|   `-- Unreachable      there is none                          likewise
`-- OutcomeUnknown       nobody knows                           the same call with the same key, or ask
    `-- KeySpent         nobody knows; the key repeats this     ask; only if there is no trace: a new key
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum
from typing import Protocol

# --- what is asked ----------------------------------------------------------------------------


class Flow(IntEnum):
    """Where the customer pays; numbers as in payment.proto."""

    EMBEDDED = 1
    """In the storefront's own page, with a client secret."""
    HOSTED = 2
    """On a page of the provider, to which the customer is redirected."""
    READER = 3
    """At a card reader in the shop."""


@dataclass(frozen=True, slots=True)
class PaymentWanted:
    """A payment as it shall come to be at the provider.

    payment_id: ours, at most 64 characters; it travels as metadata, so that the payment can be found
    when the answer got lost. amount_minor: in ISO 4217 minor units, above 0. captures_at_once: False
    only authorizes. customer_return_url, customer_cancel_url: for HOSTED. reader_id: for READER.
    payment_method: a token of the provider's, or "". create_time: when we first asked for it: a repeated
    wish is equal in all its parts but the last. expire_time: the customer may pay until then.
    may_have_been_sent: a call before this one may have had its effect.
    """

    payment_id: str
    order_id: str
    currency_code: str
    amount_minor: int
    flow: Flow
    captures_at_once: bool
    description: str
    create_time: datetime
    customer_return_url: str = ""
    customer_cancel_url: str = ""
    reader_id: str = ""
    payment_method: str = ""
    expire_time: datetime | None = None
    may_have_been_sent: bool = False


@dataclass(frozen=True, slots=True)
class PaymentName:
    """A payment by our name and the provider's.

    provider_reference: "" while it is not known. create_time: when we first asked for it. reader_id: for
    READER. last_sent_time: since then nothing was sent that could have made it; None if that is not
    known. begun_time: before it nothing was sent that could have made it; None if that is not known.
    """

    payment_id: str
    provider_reference: str
    currency_code: str
    flow: Flow
    create_time: datetime
    reader_id: str = ""
    last_sent_time: datetime | None = None
    begun_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class RefundWanted:
    """Money to give back. refund_id: ours, at most 64 characters. amount_minor: above 0.

    provider_reference: the provider's name for it; "" while it is not known. The last three are for
    providers that keep no id of ours with a refund. sent_ago: since the last call for it that was or may
    have been sent, by one clock; None before the first. other_references: the provider's names for other
    refunds of the payment, ours or made by hand. nameless_equal_count: how many others, of the same
    amount, are known to have been done, but not by name: of none of these is a name among those.
    """

    refund_id: str
    payment: PaymentName
    amount_minor: int
    is_whole: bool
    """True when it gives back all that was captured: some providers have a form of their own for it."""
    provider_reference: str = ""
    sent_ago: timedelta | None = None
    other_references: frozenset[str] = frozenset()
    nameless_equal_count: int = 0


# --- what is heard ----------------------------------------------------------------------------


class ProviderState(IntEnum):
    """How far a payment has come at its provider. Never compare by number: see Payment.observe."""

    AWAITING_CUSTOMER = 1
    """The customer can pay; an attempt may have been declined before."""
    PROCESSING = 2
    """The customer has paid by a slow method; the outcome follows."""
    AUTHORIZED = 3
    CAPTURED = 4
    VOIDED = 5
    """Called off or expired; nobody can pay it any more."""


@dataclass(frozen=True, slots=True)
class ProviderRefund:
    """A refund as its provider tells it.

    refund_id, payment_id: ours; refund_id is "" when somebody made it at the provider itself, payment_id
    when it gives back no payment of ours. payment_reference: the provider's, of the payment refunded.
    failure_code: the provider's word for why it failed, else "".
    """

    class State(IntEnum):
        """How far it has come; numbers as in payment_command_service.proto."""

        PENDING = 1
        SUCCEEDED = 2
        FAILED = 3

    refund_id: str
    provider_reference: str
    payment_reference: str
    state: State
    currency_code: str
    amount_minor: int
    payment_id: str = ""
    failure_code: str = ""


@dataclass(frozen=True, slots=True)
class ProviderPayment:
    """A payment as its provider tells it.

    payment_id: ours, "" when it is not one of ours. captured_minor: all that was ever captured, refunds
    not deducted. failure_code: why the last attempt was declined, else "". refunds: as far as told.
    is_only_approved: AUTHORIZED by the customer's word alone; no money is held until our next call.
    other_names: of the money, by which the provider's own tools show it to people, who may have recorded
    it so; as far as told.
    """

    payment_id: str
    provider_reference: str
    state: ProviderState
    currency_code: str
    authorized_minor: int
    captured_minor: int
    failure_code: str = ""
    refunds: Sequence[ProviderRefund] = ()
    create_time: datetime | None = None
    is_only_approved: bool = False
    other_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Handover:
    """What the customer needs to go on. A secret: never stored, logged or put into an event."""

    client_secret: str = field(default="", repr=False)
    redirect_url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Begun:
    """A payment at its provider, and how the customer goes on."""

    payment: ProviderPayment
    handover: Handover


@dataclass(frozen=True, slots=True)
class Callback:
    """A call of the provider that may be trusted as far as `is_signed` says.

    event_id: the provider's, equal for every delivery of the event. Where equal bodies can mean
    different states (SumUp's checkouts), each delivery has one of its own. An unsigned callback is a
    hint to look at something, never a fact.
    """

    event_id: str
    event_type: str
    body: bytes
    is_signed: bool


# --- what can go wrong ------------------------------------------------------------------------


class ProviderFailure(Exception):
    """The provider did not do it.

    code: the provider's word for why; may be shown to staff, never to customers.
    """

    def __init__(self, code: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class NotAccepted(ProviderFailure):
    """It refuses the request for good; it had no effect."""


class Declined(NotAccepted):
    """The customer's means of payment was refused."""


class NotDone(ProviderFailure):
    """It had no effect; the same call may have one later."""


class Unreachable(NotDone):
    """Nothing was sent: there is no connection."""


class OutcomeUnknown(ProviderFailure):
    """Whether it had an effect is not known."""


class KeySpent(OutcomeUnknown):
    """The provider stored a failure under the key: the same call only repeats it."""


MISREADINGS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What it ends in to read an answer or a call that lacks a field, or has another thing in its place."""


class CallbackRefused(Exception):
    """A call that is not the provider's, is too old or too new, or cannot be read.

    reason: a word for counting: "unsigned", "stale", "future", "malformed".
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


# --- the port ---------------------------------------------------------------------------------


class PaymentProvider(Protocol):
    """One provider. Every call ends in limited time: with an answer or with a ProviderFailure."""

    @property
    def name(self) -> str:
        """As in requests, tables and settings: "stripe"."""
        ...

    @property
    def flows(self) -> frozenset[Flow]:
        """Where its customers can pay."""
        ...

    @property
    def authorizes(self) -> bool:
        """False: it always takes the money at once, and refuses to have it captured later."""
        ...

    @property
    def remembers_keys(self) -> bool:
        """True: a payment that is begun again under its key is told as the first time.

        False: there are no keys. What became of a call is looked for before it is sent again.
        """
        ...

    async def begin(self, payment: PaymentWanted, *, key: str) -> Begun:
        """Makes the payment. Safe to repeat with the same key and wishes."""
        ...

    async def hand_over(self, payment: PaymentName) -> Begun:
        """The payment, and again how the customer goes on."""
        ...

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        """The payment as it is, by the provider's name or else by ours; None when there is no trace.

        None also when nobody can have been shown it, so that nobody can ever pay it.
        """
        ...

    async def capture(self, payment: PaymentName, amount_minor: int, *, key: str) -> ProviderPayment:
        """Takes authorized money; the rest of the authorization is released."""
        ...

    async def void(self, payment: PaymentName, *, key: str) -> ProviderPayment:
        """Calls it off: nobody can pay it afterwards. NotAccepted when it is captured already."""
        ...

    async def refund(self, refund: RefundWanted, *, key: str) -> ProviderRefund:
        """Gives money back."""
        ...

    async def read_refund(self, refund: RefundWanted) -> ProviderRefund | None:
        """The refund as it is, by the provider's name or else by ours; None when there is no trace."""
        ...

    def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        """All payments begun since then, with all their refunds: what reconciliation compares."""
        ...

    async def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        """Who calls? Headers with names in lower case.

        Raises:
            CallbackRefused: not the provider, as far as can be told.
            NotDone: what it takes to tell cannot be had at present; the provider calls again.
        """
        ...

    async def interpret(self, callback: Callback) -> Sequence[ProviderPayment | ProviderRefund]:
        """What it tells, read anew from the provider unless signed; empty if it is not about ours."""
        ...

    async def close(self) -> None:
        """Lets go of its connections."""
        ...
