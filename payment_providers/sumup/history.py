"""Every payment that SumUp knows of: what reconciliation compares.

Only attempts to pay are in it; a checkout that nobody tried to pay is nowhere listed.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from payment_providers.port import ProviderPayment
from payment_providers.sumup.checkouts import Checkouts
from payment_providers.sumup.failures import understanding
from payment_providers.sumup.objects import (
    PAID_ONLINE,
    checkout_payment,
    paid_transaction_id,
    payment_id_of,
    refunds_told,
    transaction_payment,
)
from payment_providers.sumup.settings import SumUpSettings
from payment_providers.sumup.transport import Json, SumUpTransport

PAGE_SIZE = 100
"""SumUp states no maximum; this is few calls and little memory."""


class History:
    """The transactions of one merchant."""

    def __init__(self, transport: SumUpTransport, settings: SumUpSettings, checkouts: Checkouts) -> None:
        self._transport = transport
        self._path = f"/v2.1/merchants/{settings.merchant_code}/transactions"
        self._checkouts = checkouts

    async def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        """Each payment once, however often it was tried, oldest first."""
        seen: set[str] = set()
        async for item in self._items(since):
            with understanding():
                transaction_id = str(item["transaction_id"])
                ours_online = payment_id_of(item) if item["payment_type"] == PAID_ONLINE else ""
            if ours_online and ours_online not in seen:
                seen.add(ours_online)
                yield await self._paid_online(ours_online, transaction_id)
            elif not ours_online:
                yield await self._paid(transaction_id)

    async def transaction(self, transaction_id: str) -> Json:
        """One with its events.

        Raises:
            ProviderFailure: it cannot be read, or is not there.
        """
        found: Json = await self._transport.get(self._path, {"id": transaction_id})
        return found

    async def _paid(self, transaction_id: str) -> ProviderPayment:
        transaction = await self.transaction(transaction_id)
        with understanding():
            return transaction_payment(transaction)

    async def _paid_online(self, payment_id: str, transaction_id: str) -> ProviderPayment:
        """The checkout, with the refunds of the attempt that took the money."""
        checkout = await self._checkouts.by_payment_id(payment_id)
        if checkout is None:
            return await self._paid(transaction_id)
        with understanding():
            payment, paid_id = checkout_payment(checkout), paid_transaction_id(checkout)
        if not paid_id:
            return payment
        transaction = await self.transaction(paid_id)
        with understanding():
            return replace(payment, refunds=refunds_told(transaction, payment.provider_reference))

    async def _items(self, since: datetime) -> AsyncIterator[Json]:
        """The history, page by page, as the links of each page lead on."""
        wanted: dict[str, Any] | None = {
            "oldest_time": since.isoformat(),
            "order": "ascending",
            "limit": PAGE_SIZE,
            "types[]": "PAYMENT",
        }
        while wanted is not None:
            page = await self._transport.get(f"{self._path}/history", wanted)
            with understanding():
                items, wanted = page["items"], _next(page)
            for item in items:
                yield item


def _next(page: Json) -> dict[str, Any] | None:
    """A link is a query, with or without the path before it."""
    hrefs = [link["href"] for link in page.get("links") or () if link["rel"] == "next"]
    return dict(parse_qsl(hrefs[0].rpartition("?")[2])) if hrefs else None
