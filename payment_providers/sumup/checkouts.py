"""Paying online: a checkout, whose reference is our payment's id and unique at SumUp."""

from collections.abc import Mapping
from typing import Any

from payment_providers.port import (
    Begun,
    Flow,
    Handover,
    NotAccepted,
    NotDone,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderState,
)
from payment_providers.sumup.amounts import from_sumup, json_with_amount, to_sumup
from payment_providers.sumup.failures import (
    CHECKOUT_PROCESSED,
    DUPLICATED_CHECKOUT,
    NotFound,
    understanding,
)
from payment_providers.sumup.objects import checkout_payment, described
from payment_providers.sumup.settings import SumUpSettings
from payment_providers.sumup.transport import Json, SumUpTransport

_PATH = "/v0.1/checkouts"

PROCESSED_REST_SECONDS = 30.0
"""An attempt that is under way ends within a customer's dealing with the bank."""


class Checkouts:
    """The online half of the port."""

    def __init__(self, transport: SumUpTransport, settings: SumUpSettings) -> None:
        self._transport = transport
        self._settings = settings

    async def begin(self, payment: PaymentWanted) -> Begun:
        """Makes a checkout, or finds the one that an earlier call made.

        Raises:
            ProviderFailure: as the port says.
        """
        body = self._body(payment)
        try:
            checkout = await self._transport.post(_PATH, body, is_repeatable=True)
        except NotAccepted as refusal:
            if refusal.code != DUPLICATED_CHECKOUT:
                raise
            checkout = await self._same_as(payment)
        return begun(checkout, payment.flow)

    async def find(self, payment: PaymentName) -> Json | None:
        """The checkout by SumUp's name, or else by ours."""
        if payment.provider_reference:
            return await self.by_id(payment.provider_reference)
        return await self.by_payment_id(payment.payment_id)

    async def by_id(self, checkout_id: str) -> Json | None:
        """One that may not be there."""
        found: Json | None = await self._transport.find(f"{_PATH}/{checkout_id}")
        return found

    async def by_payment_id(self, payment_id: str) -> Json | None:
        """One that may not be there."""
        found = await self._transport.get(_PATH, {"checkout_reference": payment_id})
        with understanding():
            ours = [each for each in found if each["checkout_reference"] == payment_id]
        return ours[0] if ours else None

    async def void(self, payment: PaymentName) -> ProviderPayment:
        """Deactivates the checkout.

        Raises:
            NotAccepted: it is paid.
            NotDone: somebody is just paying it.
        """
        try:
            checkout = await self._transport.delete(f"{_PATH}/{await self._id_of(payment)}")
        except NotAccepted as refusal:
            if not isinstance(refusal, NotFound) and refusal.code != CHECKOUT_PROCESSED:
                raise
            checkout = await self._after_refusal(payment, refusal)
        with understanding():
            return checkout_payment(checkout)

    async def _id_of(self, payment: PaymentName) -> str:
        if payment.provider_reference:
            return payment.provider_reference
        checkout = await self.by_payment_id(payment.payment_id)
        if checkout is None:
            raise NotFound("NOT_FOUND")
        return str(checkout["id"])

    async def _same_as(self, wanted: PaymentWanted) -> Json:
        checkout = await self.by_payment_id(wanted.payment_id)
        if checkout is None:  # it says that there is one, and does not list it yet
            raise NotDone(DUPLICATED_CHECKOUT)
        with understanding():
            told = (checkout["currency"], from_sumup(checkout["amount"], checkout["currency"]))
        if told != (wanted.currency_code, wanted.amount_minor):
            raise NotAccepted(DUPLICATED_CHECKOUT)
        return checkout

    async def _after_refusal(self, payment: PaymentName, refusal: NotAccepted) -> Json:
        """The checkout, if it is off already: a repeated call is refused like a late one."""
        checkout = await self.find(payment)
        if checkout is None:
            raise refusal
        with understanding():
            state = checkout_payment(checkout).state
        if state is ProviderState.CAPTURED:
            raise refusal
        if state is not ProviderState.VOIDED:
            raise NotDone(refusal.code, retry_after_seconds=PROCESSED_REST_SECONDS)
        return checkout

    def _body(self, payment: PaymentWanted) -> bytes:
        facts: dict[str, Any] = {
            "checkout_reference": payment.payment_id,
            "currency": payment.currency_code,
            "merchant_code": self._settings.merchant_code,
            "description": described(payment.payment_id, payment.description),
            "return_url": self._settings.webhook_url,
            "hosted_checkout": {"enabled": payment.flow is Flow.HOSTED},
        }
        if payment.customer_return_url:
            facts["redirect_url"] = payment.customer_return_url
        if payment.expire_time is not None:
            facts["valid_until"] = payment.expire_time.isoformat()
        return json_with_amount(to_sumup(payment.amount_minor, payment.currency_code), facts)


def begun(checkout: Mapping[str, Any], flow: Flow) -> Begun:
    """How the customer goes on: SumUp's page has an address, its widget wants the checkout's id.

    Raises:
        OutcomeUnknown: the checkout is not as documented.
    """
    with understanding():
        if flow is Flow.HOSTED:
            handover = Handover(redirect_url=checkout["hosted_checkout_url"])
        else:
            handover = Handover(client_secret=checkout["id"])
        return Begun(checkout_payment(checkout), handover)
