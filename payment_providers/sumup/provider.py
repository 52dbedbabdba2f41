"""SumUp: online checkouts and card readers. Money is always taken at once.

A payment's reference is the checkout online, and the client transaction id at a reader.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import ClassVar

from payment_providers.breaker import Breaker
from payment_providers.calls import Calls
from payment_providers.port import (
    Begun,
    Callback,
    Flow,
    Handover,
    NotAccepted,
    NotDone,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    RefundWanted,
)
from payment_providers.sumup.checkouts import Checkouts, begun
from payment_providers.sumup.failures import NotFound, understanding
from payment_providers.sumup.history import History
from payment_providers.sumup.objects import (
    checkout_payment,
    paid_transaction_id,
    transaction_payment,
)
from payment_providers.sumup.readers import Readers
from payment_providers.sumup.refunds import Refunds
from payment_providers.sumup.settings import SumUpSettings
from payment_providers.sumup.transport import Json, SumUpTransport
from payment_providers.sumup.webhooks import (
    checkout_id_of,
    client_transaction_id_of,
    verified,
)

UNSEEN_SECONDS = 20.0
"""A reader tells of a transaction before SumUp's list shows it; SumUp tells again later."""


class SumUpProvider:
    """The port, spoken to SumUp. now: the time, with its zone."""

    name: ClassVar[str] = "sumup"
    flows: ClassVar[frozenset[Flow]] = frozenset({Flow.EMBEDDED, Flow.HOSTED, Flow.READER})
    authorizes: ClassVar[bool] = False
    remembers_keys: ClassVar[bool] = False

    def __init__(
        self,
        settings: SumUpSettings,
        *,
        monotonic: Callable[[], float],
        chance: Random,
        now: Callable[[], datetime],
    ) -> None:
        self._settings = settings
        limits = settings.limits
        breaker = Breaker(monotonic, open_seconds=limits.breaker_open_seconds)
        self.calls = Calls(breaker, limits, chance)
        self._transport = SumUpTransport(settings, self.calls)
        self._checkouts = Checkouts(self._transport, settings)
        self._readers = Readers(self._transport, settings, now)
        self._history = History(self._transport, settings, self._checkouts)
        self._refunds = Refunds(
            self._transport,
            settings,
            find_transaction_id=self._transaction_id_of,
            read_transaction=self._history.transaction,
        )

    async def begin(self, payment: PaymentWanted, *, key: str) -> Begun:
        """Makes a checkout. SumUp knows no keys: our payment's id is what is made only once."""
        if not payment.captures_at_once:
            raise NotAccepted("captures_at_once")
        if payment.payment_method:
            raise NotAccepted("payment_method_not_supported")
        if payment.flow is Flow.READER:
            return await self._readers.begin(payment)
        return await self._checkouts.begin(payment)

    async def hand_over(self, payment: PaymentName) -> Begun:
        """Reads the payment: SumUp tells its page each time. A reader needs no handover."""
        if payment.flow is Flow.READER:
            return Begun(await self._existing(payment), Handover())
        return begun(await self._checkout(payment), payment.flow)

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        """Retrieves it, by SumUp's name or ours.

        Raises:
            NotDone: a reader's payment of which nothing is seen, and something may still come.
        """
        if payment.flow is Flow.READER:
            return await self._readers.read(payment)
        checkout = await self._checkouts.find(payment)
        if checkout is None:
            return None
        with understanding():
            return checkout_payment(checkout)

    async def capture(self, payment: PaymentName, amount_minor: int, *, key: str) -> ProviderPayment:
        """Refuses: there is never anything left to capture."""
        raise NotAccepted("captures_at_once")

    async def void(self, payment: PaymentName, *, key: str) -> ProviderPayment:
        """Deactivates the checkout, or has the reader give up."""
        half = self._readers if payment.flow is Flow.READER else self._checkouts
        return await half.void(payment)

    async def refund(self, refund: RefundWanted, *, key: str) -> ProviderRefund:
        """Gives money back; looks first whether an earlier call did, if there was one."""
        return await self._refunds.refund(refund)

    async def read_refund(self, refund: RefundWanted) -> ProviderRefund | None:
        """Looks for it among the refunds of the transaction, if it was ever sent."""
        return await self._refunds.read(refund)

    def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        """All payments that somebody tried to pay since then, each with its refunds."""
        return self._history.payments_since(since)

    async def verify(self, headers: Mapping[str, str], body: bytes, now: datetime) -> Callback:
        """Reads the callback, and checks its signature if it has one."""
        return verified(headers, body, secrets=self._settings.webhook_secrets, now=now)

    async def interpret(self, callback: Callback) -> Sequence[ProviderPayment | ProviderRefund]:
        """What SumUp says now of the payment that was hinted at.

        Raises:
            NotDone: the reader's transaction is not seen yet, or is invented.
        """
        checkout_id = checkout_id_of(callback)
        if checkout_id:
            checkout = await self._checkouts.by_id(checkout_id)
            return self._told(checkout)
        client_id = client_transaction_id_of(callback, merchant_code=self._settings.merchant_code)
        if not client_id:
            return ()
        transaction = await self._readers.by_client_id(client_id)
        if transaction is None:
            raise NotDone("transaction_not_seen", retry_after_seconds=UNSEEN_SECONDS)
        with understanding():
            return (transaction_payment(transaction),)

    async def close(self) -> None:
        """Closes the connections."""
        await self._transport.close()

    # --- what is looked for --------------------------------------------------------------------

    def _told(self, checkout: Json | None) -> Sequence[ProviderPayment]:
        if checkout is None or checkout.get("merchant_code") != self._settings.merchant_code:
            return ()
        with understanding():
            return (checkout_payment(checkout),)

    async def _existing(self, payment: PaymentName) -> ProviderPayment:
        found = await self.read(payment)
        if found is None:
            raise NotFound("NOT_FOUND")
        return found

    async def _checkout(self, payment: PaymentName) -> Json:
        found = await self._checkouts.find(payment)
        if found is None:
            raise NotFound("NOT_FOUND")
        return found

    async def _transaction_id_of(self, payment: PaymentName) -> str:
        """The transaction that took the money.

        Raises:
            NotAccepted: none did.
        """
        if payment.flow is Flow.READER:
            found = await self._readers.transaction(payment)
            if found is None:
                raise NotDone("transaction_not_seen", retry_after_seconds=UNSEEN_SECONDS)
            with understanding():
                return str(found["id"])
        checkout = await self._checkout(payment)
        with understanding():
            transaction_id = paid_transaction_id(checkout)
        if not transaction_id:
            raise NotAccepted("not_paid")
        return transaction_id
