"""PayPal: Orders v2 on PayPal's page or in its buttons, Payments v2 for what follows.

A payment's reference is the order. The customer approves it, and then it takes our call to move money:
an approved order is told as authorized, and waits for `capture` even where `captures_at_once` is wished.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from random import Random
from typing import Any, ClassVar

from payment_providers.breaker import Breaker
from payment_providers.calls import Calls
from payment_providers.paypal.amounts import from_paypal, to_paypal
from payment_providers.paypal.certificates import Certificates
from payment_providers.paypal.failures import DONE_BEFORE, NO_SUCH_THING
from payment_providers.paypal.objects import (
    TAKEN,
    Json,
    authorization_payment,
    capture_payment,
    id_linked,
    link_of,
    order_id_of,
    order_payment,
    payments_of,
    refund_told,
)
from payment_providers.paypal.settings import PayPalSettings
from payment_providers.paypal.transactions import payments_in, query, windows
from payment_providers.paypal.transport import PayPalTransport
from payment_providers.paypal.webhooks import check_signature, event_of, transmission_of
from payment_providers.port import (
    Begun,
    Callback,
    Declined,
    Flow,
    Handover,
    NotAccepted,
    NotDone,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
    RefundWanted,
)

ORDERS = "/v2/checkout/orders"
AUTHORIZATIONS = "/v2/payments/authorizations"
CAPTURES = "/v2/payments/captures"
REFUNDS = "/v2/payments/refunds"

DESCRIPTION_CHARS_MAX = 127


class PayPalProvider:
    """The port, spoken to PayPal. clock: the time that payments are listed up to."""

    name: ClassVar[str] = "paypal"
    flows: ClassVar[frozenset[Flow]] = frozenset({Flow.EMBEDDED, Flow.HOSTED})
    authorizes: ClassVar[bool] = True
    remembers_keys: ClassVar[bool] = True

    def __init__(
        self,
        settings: PayPalSettings,
        *,
        monotonic: Callable[[], float],
        clock: Callable[[], datetime],
        chance: Random,
    ) -> None:
        self._settings = settings
        self._clock = clock
        limits = settings.limits
        breaker = Breaker(monotonic, open_seconds=limits.breaker_open_seconds)
        self.calls = Calls(breaker, limits, chance)
        self._transport = PayPalTransport(settings, monotonic)
        self._certificates = Certificates(settings, self._transport.http)

    async def begin(self, payment: PaymentWanted, *, key: str) -> Begun:
        """Creates an order; under a key that PayPal still knows, tells it as it is by now."""
        return _begun(await self._post(ORDERS, _order_form(payment), key), payment.flow)

    async def hand_over(self, payment: PaymentName) -> Begun:
        """Reads the order: its id is what the buttons want, its link leads to PayPal's page."""
        return _begun(await self._order(payment.provider_reference), payment.flow)

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        """The order; orders cannot be searched.

        One whose id we never learned has been shown to nobody, so that nobody can ever pay it: None.
        """
        if not payment.provider_reference:
            return None
        order = await self._order_unless_gone(payment.provider_reference)
        return _gone(payment) if order is None else order_payment(order)

    async def authorize(self, payment: PaymentName, *, key: str) -> ProviderPayment:
        """Holds the money of an approved order that is to be captured later; safe to repeat."""
        return _unless_declined(order_payment(await self._authorized(payment, key)))

    async def capture(self, payment: PaymentName, amount_minor: int, *, key: str) -> ProviderPayment:
        """Captures an approved order, or its authorization, which is made first if need be.

        Raises:
            NotAccepted: a part of an order that was to be captured at once: PayPal has no form for it.
        """
        order = await self._order(payment.provider_reference)
        told = order_payment(order)
        if told.state in (ProviderState.CAPTURED, ProviderState.PROCESSING):
            return told
        if order["intent"] == "AUTHORIZE":
            return await self._capture_authorized(payment, order, amount_minor, key)
        if from_paypal(order["purchase_units"][0]["amount"]) != amount_minor:
            raise NotAccepted("partial_capture_not_supported")
        path = f"{ORDERS}/{payment.provider_reference}/capture"
        return _unless_declined(order_payment(await self._complete(payment, path, key)))

    async def void(self, payment: PaymentName, *, key: str) -> ProviderPayment:
        """Voids the authorization. An order without one cannot be called off, and need not be.

        PayPal forgets such an order after some hours, and until then moves no money unless we capture.
        """
        order = await self._order_unless_gone(payment.provider_reference)
        if order is None:
            return _gone(payment)
        told = order_payment(order)
        if any(each["status"] in TAKEN | {"PENDING"} for each in payments_of(order, "captures")):
            raise NotAccepted("PREVIOUSLY_CAPTURED")
        for authorization in payments_of(order, "authorizations"):
            if authorization["status"] in ("CREATED", "PENDING"):
                await self._void_authorization(authorization["id"], key)
        return replace(told, state=ProviderState.VOIDED, authorized_minor=0)

    async def refund(self, refund: RefundWanted, *, key: str) -> ProviderRefund:
        """Refunds the capture. Always an amount: without one PayPal refunds whatever is left by then."""
        order_id = refund.payment.provider_reference
        captures = payments_of(await self._order(order_id), "captures")
        taken = [each["id"] for each in captures if each["status"] in TAKEN]
        if not taken:
            is_pending = any(each["status"] == "PENDING" for each in captures)
            raise NotDone("PENDING_CAPTURE") if is_pending else NotAccepted("not_captured")
        form = {
            "amount": to_paypal(refund.amount_minor, refund.payment.currency_code),
            "custom_id": refund.refund_id,
        }
        told = await self._post(f"{CAPTURES}/{taken[0]}/refund", form, key)
        done = refund_told(told, order_id, payment_id=refund.payment.payment_id)
        return replace(done, refund_id=refund.refund_id)

    async def read_refund(self, refund: RefundWanted) -> ProviderRefund | None:
        """Retrieves it, or looks for our id among the refunds of the order."""
        if refund.provider_reference:
            told = await self._get(f"{REFUNDS}/{refund.provider_reference}")
            order_id = refund.payment.provider_reference
            return refund_told(told, order_id, payment_id=refund.payment.payment_id)
        order = order_payment(await self._order(refund.payment.provider_reference))
        return next((each for each in order.refunds if each.refund_id == refund.refund_id), None)

    async def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        """All money that Transaction Search knows of: by our id only, and up to three hours late."""
        for payment in await payments_in(self._transactions(since)):
            yield payment

    async def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        """Checks the signature over the raw body against PayPal's certificate.

        Raises:
            CallbackRefused: it is not PayPal's.
            NotDone: the certificate cannot be fetched at present; PayPal calls again.
        """
        urls = self._settings.certificate_urls
        sent = transmission_of(headers, certificate_urls=urls, now=now)
        key = await self._certificates.key_at(sent.certificate_url, now)
        check_signature(sent, body, key=key, webhook_ids=self._settings.webhook_ids)
        return event_of(body)

    async def interpret(self, callback: Callback) -> Sequence[ProviderPayment | ProviderRefund]:
        """The object as it was when the event was made: the caller knows how to order what it hears."""
        event = json.loads(callback.body)
        resource = event["resource"]
        match event["event_type"].split("."):
            case ["CHECKOUT", "ORDER", *_]:
                # Ours have one unit; a neighbour on the account may make others.
                return (order_payment(resource),) if len(resource["purchase_units"]) == 1 else ()
            case ["CHECKOUT", "PAYMENT-APPROVAL", "REVERSED"]:
                return await self._read_again(resource.get("order_id", ""))
            case ["PAYMENT", "AUTHORIZATION", *_]:
                told = authorization_payment(resource)
                return () if told is None else (told,)
            case ["PAYMENT", "CAPTURE", "REVERSED"]:
                # Which object this brings along is not documented; its links are the same on all.
                return await self._read_again(await self._order_id_of_refund(resource))
            case ["PAYMENT", "CAPTURE", "REFUNDED"] | ["PAYMENT", "REFUND", *_]:
                return (await self._refund_alone(resource),)
            case ["PAYMENT", "CAPTURE", *_]:
                return (capture_payment(resource),)
            case _:
                return ()

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    # --- calls ---------------------------------------------------------------------------------

    async def _get(self, path: str, query_: Mapping[str, str] | None = None) -> Json:
        return await self.calls.make(lambda: self._transport.get(path, query_))

    async def _post(self, path: str, form: Mapping[str, Any], key: str) -> Json:
        return await self.calls.make(lambda: self._transport.post(path, form, key=key))

    async def _order(self, order_id: str) -> Json:
        return await self._get(f"{ORDERS}/{order_id}")

    async def _order_unless_gone(self, order_id: str) -> Json | None:
        try:
            return await self._order(order_id) if order_id else None
        except NotAccepted as failure:
            if failure.code not in NO_SUCH_THING:
                raise
            return None

    async def _complete(self, payment: PaymentName, path: str, key: str) -> Json:
        """The order after a call that completes it, by whichever call that came to be."""
        try:
            return await self._post(path, {}, key)
        except NotAccepted as failure:
            if failure.code not in DONE_BEFORE:
                raise
            return await self._order(payment.provider_reference)

    async def _authorized(self, payment: PaymentName, key: str) -> Json:
        return await self._complete(payment, f"{ORDERS}/{payment.provider_reference}/authorize", key)

    async def _capture_authorized(
        self, payment: PaymentName, order: Json, amount_minor: int, key: str
    ) -> ProviderPayment:
        if not payments_of(order, "authorizations"):
            order = await self._authorized(payment, f"{key}:authorize")
            _unless_declined(order_payment(order))
        authorization_id = payments_of(order, "authorizations")[-1]["id"]
        amount = to_paypal(amount_minor, payment.currency_code)
        form = {"amount": amount, "final_capture": True}
        try:
            capture = await self._post(f"{AUTHORIZATIONS}/{authorization_id}/capture", form, key)
        except NotAccepted as failure:
            if failure.code not in DONE_BEFORE:
                raise
            return order_payment(await self._order(payment.provider_reference))
        told = _unless_declined(capture_payment(capture))
        return replace(
            told, payment_id=payment.payment_id, provider_reference=payment.provider_reference
        )

    async def _void_authorization(self, authorization_id: str, key: str) -> None:
        try:
            await self._post(f"{AUTHORIZATIONS}/{authorization_id}/void", {}, key)
        except NotAccepted as failure:
            if failure.code != "PREVIOUSLY_VOIDED":
                raise

    async def _read_again(self, order_id: str) -> Sequence[ProviderPayment | ProviderRefund]:
        """The order as it is, with what was given back; nothing to tell if PayPal has it no longer."""
        order = await self._order_unless_gone(order_id)
        if order is None:
            return ()
        told = order_payment(order)
        return told, *told.refunds

    async def _order_id_of_refund(self, refund: Json) -> str:
        return order_id_of(refund) or order_id_of(await self._capture_of_refund(refund))

    async def _refund_alone(self, refund: Json) -> ProviderRefund:
        """A refund names its capture, and that its order and our id of the payment."""
        capture = await self._capture_of_refund(refund)
        order_id = order_id_of(refund) or order_id_of(capture)
        return refund_told(refund, order_id, payment_id=capture.get("custom_id", ""))

    async def _capture_of_refund(self, refund: Json) -> Json:
        capture_id = id_linked(refund, "up", kind="captures")
        return await self._get(f"{CAPTURES}/{capture_id}") if capture_id else {}

    async def _transactions(self, since: datetime) -> AsyncIterator[Json]:
        for start, end in windows(since, self._clock()):
            page_number, page_count = 1, 1
            while page_number <= page_count:
                page = await self._get("/v1/reporting/transactions", query(start, end, page_number))
                for each in page.get("transaction_details") or ():
                    yield each["transaction_info"]
                page_number, page_count = page_number + 1, page.get("total_pages") or 1


def _order_form(payment: PaymentWanted) -> dict[str, Any]:
    if payment.payment_method:
        raise NotAccepted("payment_method_not_supported")
    experience = {"shipping_preference": "NO_SHIPPING", "user_action": "PAY_NOW"}
    unit: dict[str, Any] = {
        "custom_id": payment.payment_id,
        # PayPal lets an invoice be paid once: not even two orders could take the money twice.
        "invoice_id": payment.payment_id,
        "amount": to_paypal(payment.amount_minor, payment.currency_code),
    }
    if payment.description:
        unit["description"] = payment.description[:DESCRIPTION_CHARS_MAX]
    intent = "CAPTURE" if payment.captures_at_once else "AUTHORIZE"
    form: dict[str, Any] = {"intent": intent, "purchase_units": [unit]}
    if payment.flow is not Flow.HOSTED:
        # The buttons let the customer choose the source, which must not be fixed then.
        return {**form, "application_context": experience}
    urls = {"return_url": payment.customer_return_url, "cancel_url": payment.customer_cancel_url}
    return {**form, "payment_source": {"paypal": {"experience_context": {**experience, **urls}}}}


def _begun(order: Json, flow: Flow) -> Begun:
    told = order_payment(order)
    if flow is not Flow.HOSTED:
        return Begun(told, Handover(client_secret=order["id"]))
    return Begun(told, Handover(redirect_url=link_of(order, "payer-action", "approve")))


def _gone(payment: PaymentName) -> ProviderPayment:
    """An order that PayPal no longer has: nobody approved it in time, or nobody captured it."""
    return ProviderPayment(
        payment_id=payment.payment_id,
        provider_reference=payment.provider_reference,
        state=ProviderState.VOIDED,
        currency_code=payment.currency_code,
        authorized_minor=0,
        captured_minor=0,
    )


def _unless_declined(told: ProviderPayment) -> ProviderPayment:
    """PayPal answers 201 also when the payment was declined."""
    if told.failure_code:
        raise Declined(told.failure_code)
    return told
