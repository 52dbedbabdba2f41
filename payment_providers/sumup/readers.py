"""Paying in the shop: a card reader is told to ask for money, and a transaction tells what came of it.

SumUp accepts a reader's checkout under no key: what was lost must be looked for. A transaction exists
only after the reader has started, and SumUp knows its lookup to miss some for a while (2026).
So a payment of which nothing is seen counts as open until no reader could still be working on it.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from payment_providers.port import (
    Begun,
    Handover,
    NotAccepted,
    NotDone,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderState,
)
from payment_providers.sumup.amounts import sumup_exponent, to_sumup_units
from payment_providers.sumup.failures import NotFound, understanding
from payment_providers.sumup.objects import described, transaction_payment
from payment_providers.sumup.settings import SumUpSettings
from payment_providers.sumup.transport import Json, SumUpTransport

FIRST_CALL_MAX = timedelta(seconds=5)
"""A wish as young as this needs no look first: nobody pays by card in less, so a call before this one
has the reader still busy, and SumUp refuses a second."""

BEGIN_AGE_MAX = timedelta(minutes=2)
"""A reader that wakes up later would ask whoever stands there now."""

SILENCE_MAX = timedelta(minutes=5)
"""The latest begin, SumUp's 60 s to start it, and two minutes at the reader for the customer."""

START_MAX = timedelta(seconds=60)
"""SumUp forgets what a reader has not started by then; the reader may be at the next customer's."""

TERMINATION_SECONDS = 5.0
"""What a reader takes to give up; SumUp does not say when it has."""

_IN_USE_SECONDS = 10.0


class Readers:
    """The in-store half of the port. now: the time, with its zone."""

    def __init__(
        self, transport: SumUpTransport, settings: SumUpSettings, now: Callable[[], datetime]
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._now = now
        self._merchant = f"/merchants/{settings.merchant_code}"

    async def begin(self, payment: PaymentWanted) -> Begun:
        """Tells the reader to ask for the money; one that was told before is not told again.

        Raises:
            NotDone: the reader is busy, maybe with this very payment, or offline.
            ProviderFailure: as the port says.
        """
        if not self._settings.affiliate_key:
            raise NotAccepted("affiliate_key_missing")
        body = self._body(payment)
        is_young = self._now() - payment.create_time < FIRST_CALL_MAX
        if payment.may_have_been_sent or not is_young:
            found = await self._found_before(payment)
            if found is not None:
                return Begun(found, Handover())
        answer = await self._transport.post(
            f"{self._path(payment.reader_id)}/checkout", body, is_repeatable=False
        )
        with understanding():
            return Begun(_awaiting(payment, answer["data"]["client_transaction_id"]), Handover())

    async def transaction(self, payment: PaymentName) -> Json | None:
        """What came of the payment, if SumUp tells of anything."""
        if payment.provider_reference:
            return await self._lookup("client_transaction_id", payment.provider_reference)
        return await self._lookup("foreign_transaction_id", payment.payment_id)

    async def by_client_id(self, client_transaction_id: str) -> Json | None:
        """A transaction by SumUp's name for it."""
        return await self._lookup("client_transaction_id", client_transaction_id)

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        """The payment; None when it never began and cannot begin any more.

        Raises:
            NotDone: nothing is seen of it, and something may still come.
        """
        return self._told(payment, await self.transaction(payment))

    def _told(self, payment: PaymentName, transaction: Json | None) -> ProviderPayment | None:
        if transaction is not None:
            with understanding():
                return transaction_payment(transaction)
        rest = payment.create_time + SILENCE_MAX - self._now()
        if payment.provider_reference:
            state = ProviderState.AWAITING_CUSTOMER if rest > timedelta() else ProviderState.VOIDED
            return _unseen(payment, state)
        if rest > timedelta():
            raise NotDone("reader_may_start", retry_after_seconds=rest.total_seconds())
        return None

    async def void(self, payment: PaymentName) -> ProviderPayment:
        """Has the reader give up.

        Raises:
            NotAccepted: it is paid.
            NotDone: the reader was told, and is not known to have given up.
        """
        transaction = await self.transaction(payment)
        told = self._still_open(payment, transaction)
        if told.state is ProviderState.VOIDED:
            return told
        if not payment.reader_id:
            raise NotDone("reader_unknown", retry_after_seconds=_IN_USE_SECONDS)
        # A reader is told to give up whatever it is at, and it may be another's payment by now: then it
        # is only waited for, and what is paid all the same is given back.
        is_started = transaction is not None
        begun_time = payment.begun_time or payment.create_time
        if is_started or self._now() - begun_time < START_MAX:
            await self._transport.post(
                f"{self._path(payment.reader_id)}/terminate", b"{}", is_repeatable=True
            )
            told = self._still_open(payment, await self.transaction(payment))
        if told.state is not ProviderState.VOIDED:
            raise NotDone("terminating", retry_after_seconds=TERMINATION_SECONDS)
        return told

    def _still_open(self, payment: PaymentName, transaction: Json | None) -> ProviderPayment:
        told = self._told(payment, transaction)
        if told is None:
            raise NotFound("NOT_FOUND")
        if told.state is ProviderState.CAPTURED:
            raise NotAccepted("already_paid")
        return told

    async def _found_before(self, payment: PaymentWanted) -> ProviderPayment | None:
        """What an earlier call brought about; otherwise makes sure that a call now is the only one."""
        transaction = await self._lookup("foreign_transaction_id", payment.payment_id)
        if transaction is not None:
            with understanding():
                return transaction_payment(transaction)
        status = await self._transport.get(f"{self._path(payment.reader_id)}/status")
        with understanding():
            state = status["data"].get("state")
        if state not in (None, "IDLE"):
            raise NotDone("reader_in_use", retry_after_seconds=_IN_USE_SECONDS)
        if self._now() - payment.create_time > BEGIN_AGE_MAX:
            raise NotAccepted("too_late_for_reader")
        return None

    async def _lookup(self, name: str, value: str) -> Json | None:
        found: Json | None = await self._transport.find(
            f"/v2.1{self._merchant}/transactions", {name: value}
        )
        return found

    def _path(self, reader_id: str) -> str:
        return f"/v0.1{self._merchant}/readers/{quote(reader_id, safe='')}"

    def _body(self, payment: PaymentWanted) -> bytes:
        total: dict[str, Any] = {
            "value": to_sumup_units(payment.amount_minor, payment.currency_code),
            "currency": payment.currency_code,
            "minor_unit": sumup_exponent(payment.currency_code),
        }
        affiliate = {
            "app_id": self._settings.affiliate_app_id,
            "key": self._settings.affiliate_key,
            "foreign_transaction_id": payment.payment_id,
        }
        facts = {
            "total_amount": total,
            "affiliate": affiliate,
            "description": described(payment.payment_id, payment.description),
            "return_url": self._settings.webhook_url,
        }
        return json.dumps(facts).encode()


def _awaiting(payment: PaymentWanted, client_transaction_id: str) -> ProviderPayment:
    return ProviderPayment(
        payment_id=payment.payment_id,
        provider_reference=client_transaction_id,
        state=ProviderState.AWAITING_CUSTOMER,
        currency_code=payment.currency_code,
        authorized_minor=0,
        captured_minor=0,
    )


def _unseen(payment: PaymentName, state: ProviderState) -> ProviderPayment:
    return ProviderPayment(
        payment_id=payment.payment_id,
        provider_reference=payment.provider_reference,
        state=state,
        currency_code=payment.currency_code,
        authorized_minor=0,
        captured_minor=0,
        failure_code="no_transaction" if state is ProviderState.VOIDED else "",
    )
