"""Stripe: PaymentIntents, hosted Checkout Sessions, refunds.

A payment's reference is the PaymentIntent, or the Checkout Session where the customer pays on Stripe's
page. Our id travels in the metadata of the intent in either case: events find the payment by it.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from random import Random
from typing import Any, ClassVar

import stripe

from payment_providers.breaker import Breaker
from payment_providers.calls import CallLimits, Calls
from payment_providers.port import (
    Begun,
    Callback,
    CallbackRefused,
    Flow,
    Handover,
    NotAccepted,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
    RefundWanted,
)
from payment_providers.stripe.amounts import to_stripe
from payment_providers.stripe.failures import translated
from payment_providers.stripe.objects import (
    PAYMENT_ID,
    REFUND_ID,
    Json,
    intent_payment,
    refund_told,
    session_payment,
)
from payment_providers.stripe.transport import StripeTransport
from payment_providers.stripe.webhooks import verified

SESSION_LIFE_MIN = timedelta(minutes=45)
"""Stripe wants 30 minutes from the call that makes it, which may be a late repetition."""
SESSION_LIFE_MAX = timedelta(hours=23, minutes=59)
"""Stripe wants at most 24 hours."""

PAGE_SIZE = 100
"""The most that Stripe lists at once."""

LOST_WINDOW = timedelta(minutes=5)
"""How far our clock and Stripe's may differ when a payment is looked for by its age."""


@dataclass(frozen=True, slots=True)
class StripeSettings:
    """How to reach Stripe. webhook_secrets: two while one is being rolled."""

    api_key: str = field(repr=False)
    webhook_secrets: tuple[str, ...] = field(repr=False)
    api_url: str = "https://api.stripe.com"
    limits: CallLimits = field(default_factory=CallLimits)


class StripeProvider:
    """The port, spoken to Stripe."""

    name: ClassVar[str] = "stripe"
    flows: ClassVar[frozenset[Flow]] = frozenset({Flow.EMBEDDED, Flow.HOSTED})
    authorizes: ClassVar[bool] = True
    remembers_keys: ClassVar[bool] = True

    def __init__(
        self,
        settings: StripeSettings,
        *,
        monotonic: Callable[[], float],
        chance: Random,
    ) -> None:
        stripe.enable_telemetry = False  # it would write into the home directory
        self._settings = settings
        limits = settings.limits
        breaker = Breaker(monotonic, open_seconds=limits.breaker_open_seconds)
        self.calls = Calls(breaker, limits, chance)
        self._transport = StripeTransport(settings.limits.attempt_seconds_max)
        client = stripe.StripeClient(
            settings.api_key,
            base_addresses={"api": settings.api_url},
            http_client=self._transport,
            max_network_retries=0,  # Calls repeats, and knows about time limits and the breaker
        )
        self._intents = client.v1.payment_intents
        self._sessions = client.v1.checkout.sessions
        self._refunds = client.v1.refunds

    async def begin(self, payment: PaymentWanted, *, key: str) -> Begun:
        """Makes a PaymentIntent or a Checkout Session."""
        if payment.flow is Flow.HOSTED:
            form = _session_form(payment)
            return _begun_session(await self._call(lambda: self._sessions.create_async(form, _key(key))))
        return _begun_intent(await self._call(lambda: self._create_intent(payment, key)))

    async def hand_over(self, payment: PaymentName) -> Begun:
        """Reads the payment: Stripe tells the secret each time."""
        if payment.flow is Flow.HOSTED:
            return _begun_session(await self._session(payment.provider_reference))
        return _begun_intent(await self._intent(payment.provider_reference))

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        """Retrieves it, or looks for our id among those of its time: search lags, lists do not."""
        if not payment.provider_reference:
            return await self._find(payment)
        if payment.flow is Flow.HOSTED:
            return session_payment(await self._session(payment.provider_reference))
        return intent_payment(await self._intent(payment.provider_reference))

    async def capture(self, payment: PaymentName, amount_minor: int, *, key: str) -> ProviderPayment:
        """Captures the intent; Stripe releases the rest."""
        intent_id = await self._intent_id(payment)
        form: Any = {"amount_to_capture": to_stripe(amount_minor, payment.currency_code)}
        intent = await self._call(lambda: self._intents.capture_async(intent_id, form, _key(key)))
        return replace(intent_payment(intent), provider_reference=payment.provider_reference)

    async def void(self, payment: PaymentName, *, key: str) -> ProviderPayment:
        """Cancels the intent, or expires the session: only so an open one lets go of its intent."""
        if payment.flow is Flow.HOSTED:
            return await self._void_session(payment.provider_reference, key)
        return await self._cancel_intent(payment.provider_reference, key)

    async def refund(self, refund: RefundWanted, *, key: str) -> ProviderRefund:
        """Creates a Refund."""
        form: Any = {
            "payment_intent": await self._intent_id(refund.payment),
            "amount": to_stripe(refund.amount_minor, refund.payment.currency_code),
            "metadata": {REFUND_ID: refund.refund_id, PAYMENT_ID: refund.payment.payment_id},
        }
        return refund_told(await self._call(lambda: self._refunds.create_async(form, _key(key))))

    async def read_refund(self, refund: RefundWanted) -> ProviderRefund | None:
        """Retrieves it, or looks for our id among the refunds of the payment."""
        if refund.provider_reference:
            name = refund.provider_reference
            return refund_told(await self._call(lambda: self._refunds.retrieve_async(name)))
        intent_id = await self._intent_id(refund.payment)
        async for told in self._refunds_where({"payment_intent": intent_id}):
            if told.refund_id == refund.refund_id:
                return told
        return None

    async def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        """All PaymentIntents since then, each with its refunds."""
        created = {"created": {"gte": int(since.timestamp())}}
        refunds: dict[str, list[ProviderRefund]] = {}
        async for refund in self._refunds_where(created):
            refunds.setdefault(refund.payment_reference, []).append(refund)
        async for intent in self._pages(self._intents.list_async, created):
            yield replace(intent_payment(intent), refunds=tuple(refunds.get(intent["id"], ())))

    async def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        """Checks the signature over the raw body."""
        return verified(headers, body, secrets=self._settings.webhook_secrets, now=now)

    async def interpret(self, callback: Callback) -> Sequence[ProviderPayment | ProviderRefund]:
        """The object as it was when the event was made: the caller knows how to order what it hears."""
        try:
            told = _told(json.loads(callback.body)["data"]["object"])
        except (KeyError, TypeError) as error:
            raise CallbackRefused("malformed") from error
        if isinstance(told, ProviderRefund):
            told = await self._with_payment_id(told)
        return () if told is None else (told,)

    async def _with_payment_id(self, told: ProviderRefund) -> ProviderRefund:
        """One that was made in the dashboard does not tell our payment: the intent does."""
        if told.payment_id:
            return told
        intent = await self._intent(told.payment_reference)
        return replace(told, payment_id=intent_payment(intent).payment_id)

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close_async()

    # --- calls ---------------------------------------------------------------------------------

    async def _call(self, call: Callable[[], Awaitable[stripe.StripeObject]]) -> Json:
        answer = await self.calls.make(lambda: translated(call()))
        return answer.to_dict()

    async def _create_intent(self, payment: PaymentWanted, key: str) -> stripe.StripeObject:
        """The new intent, also when Stripe made it and the customer's bank then declined."""
        try:
            return await self._intents.create_async(_intent_form(payment), _key(key))
        except stripe.CardError as error:
            declined: stripe.StripeObject | None = getattr(error.error, "payment_intent", None)
            if declined is None:
                raise
            return declined

    async def _intent(self, intent_id: str) -> Json:
        return await self._call(lambda: self._intents.retrieve_async(intent_id))

    async def _session(self, name: str) -> Json:
        """A session, also by its intent: an event that was faster than our answer has told only that.

        Raises:
            NotAccepted: no session has that intent.
        """
        if not _is_intent(name):
            form: Any = {"expand": ["payment_intent"]}
            return await self._call(lambda: self._sessions.retrieve_async(name, form))
        of_intent = {"payment_intent": name, "expand": ["data.payment_intent"]}
        async for session in self._pages(self._sessions.list_async, of_intent):
            return session
        raise NotAccepted("resource_missing")

    async def _intent_id(self, payment: PaymentName) -> str:
        if payment.flow is not Flow.HOSTED or _is_intent(payment.provider_reference):
            return payment.provider_reference
        session = await self._session(payment.provider_reference)
        return str(session["payment_intent"]["id"])

    async def _cancel_intent(self, intent_id: str, key: str) -> ProviderPayment:
        form: Any = {"cancellation_reason": "abandoned"}
        intent = await self._call(lambda: self._intents.cancel_async(intent_id, form, _key(key)))
        return intent_payment(intent)

    async def _void_session(self, name: str, key: str) -> ProviderPayment:
        session = await self._session(name)
        told, session_id = session_payment(session), session["id"]
        if told.state is ProviderState.VOIDED:
            return told
        if session["status"] != "complete":
            # A key of its own: the customer may complete the session meanwhile, and Stripe refuses a key
            # that comes again with another call.
            own_key = _key(f"{key}:expire")
            expired = await self._call(lambda: self._sessions.expire_async(session_id, options=own_key))
            return session_payment(expired)
        cancelled = await self._cancel_intent(session["payment_intent"]["id"], key)
        return replace(cancelled, provider_reference=session_id)

    async def _find(self, payment: PaymentName) -> ProviderPayment | None:
        created = {"gte": int((payment.create_time - LOST_WINDOW).timestamp())}
        if payment.last_sent_time is not None:
            # Newest first: without an end, all that was begun since would have to be read.
            created["lte"] = int((payment.last_sent_time + LOST_WINDOW).timestamp())
        form: Any = {"created": created}
        if payment.flow is Flow.HOSTED:
            form["expand"] = ["data.payment_intent"]
            pages = self._pages(self._sessions.list_async, form)
            return await _first_of(payment, (session_payment(found) async for found in pages))
        pages = self._pages(self._intents.list_async, form)
        return await _first_of(payment, (intent_payment(found) async for found in pages))

    async def _refunds_where(self, form: dict[str, Any]) -> AsyncIterator[ProviderRefund]:
        async for refund in self._pages(self._refunds.list_async, form):
            yield refund_told(refund)

    async def _pages(
        self, list_async: Callable[[Any], Awaitable[Any]], form: dict[str, Any]
    ) -> AsyncIterator[Json]:
        """Every object, newest first, page by page."""
        wanted = {**form, "limit": PAGE_SIZE}
        while True:
            page = await self._call(lambda: list_async(wanted))  # noqa: B023 awaited at once
            for found in page["data"]:
                yield found
            if not page["has_more"]:
                return
            wanted = {**wanted, "starting_after": page["data"][-1]["id"]}


def _is_intent(name: str) -> bool:
    return name.startswith("pi_")


def _told(found: Json) -> ProviderPayment | ProviderRefund | None:
    """What an event's object tells of a payment, or of a refund; None if neither."""
    match found["object"]:
        case "payment_intent":
            return intent_payment(found)
        case "checkout.session" if found["status"] == "expired":
            return session_payment(found)
        # One without an intent gives back a charge of before, which is not one of ours.
        case "refund" if found.get("payment_intent"):
            return refund_told(found)
        case _:
            return None


def _session_form(payment: PaymentWanted) -> Any:
    # From the time of the wish, not of the call: the same key wants the same form.
    life = (payment.expire_time or payment.create_time) - payment.create_time
    expire_time = payment.create_time + min(max(life, SESSION_LIFE_MIN), SESSION_LIFE_MAX)
    amount = to_stripe(payment.amount_minor, payment.currency_code)
    return {
        "mode": "payment",
        "client_reference_id": payment.order_id,
        "success_url": payment.customer_return_url,
        "cancel_url": payment.customer_cancel_url,
        "expires_at": int(expire_time.timestamp()),
        "line_items": [
            {
                "quantity": 1,
                "price_data": {
                    "currency": payment.currency_code.lower(),
                    "unit_amount": amount,
                    "product_data": {"name": payment.description},
                },
            }
        ],
        "metadata": _metadata(payment),
        "payment_intent_data": {
            "capture_method": _capture_method(payment),
            "metadata": _metadata(payment),
        },
    }


async def _first_of(
    payment: PaymentName, told: AsyncIterator[ProviderPayment]
) -> ProviderPayment | None:
    async for found in told:
        if found.payment_id == payment.payment_id:
            return found
    return None


def _intent_form(payment: PaymentWanted) -> Any:
    form: dict[str, Any] = {
        "amount": to_stripe(payment.amount_minor, payment.currency_code),
        "currency": payment.currency_code.lower(),
        "capture_method": _capture_method(payment),
        "description": payment.description,
        "metadata": _metadata(payment),
        "automatic_payment_methods": {"enabled": True},
    }
    if payment.payment_method:
        # Confirmed here, so the customer is not at hand to be redirected.
        form["automatic_payment_methods"]["allow_redirects"] = "never"
        form |= {"payment_method": payment.payment_method, "confirm": True}
    return form


def _capture_method(payment: PaymentWanted) -> str:
    return "automatic" if payment.captures_at_once else "manual"


def _metadata(payment: PaymentWanted) -> dict[str, str]:
    return {PAYMENT_ID: payment.payment_id, "order_id": payment.order_id}


def _key(key: str) -> Any:
    return {"idempotency_key": key}


def _begun_intent(intent: Json) -> Begun:
    return Begun(intent_payment(intent), Handover(client_secret=intent.get("client_secret") or ""))


def _begun_session(session: Json) -> Begun:
    return Begun(session_payment(session), Handover(redirect_url=session.get("url") or ""))
