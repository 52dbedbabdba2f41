"""Giving money back. SumUp takes no key and keeps no id of ours: what was lost is looked for.

A refund is known by its amount and its place among those equal ones of its payment that are not known by
name to be others. Somebody who gives the same amount back by hand, in SumUp's own tools, and has not
recorded it when ours is asked for, is taken for us if an answer of ours gets lost: so too little may be
given back, which reconciliation shows, but never too much.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

from payment_providers.port import (
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    PaymentName,
    ProviderFailure,
    ProviderRefund,
    RefundWanted,
)
from payment_providers.sumup.amounts import json_with_amount, to_sumup
from payment_providers.sumup.failures import understanding
from payment_providers.sumup.objects import refunds_told
from payment_providers.sumup.settings import SumUpSettings
from payment_providers.sumup.transport import Json, SumUpTransport

LAG_MAX = timedelta(minutes=1)
"""A refund that was sent longer ago is in the transaction if it was done: SumUp states no bound, and
its answers take seconds."""


class Refunds:
    """The refunds of one merchant.

    find_transaction_id: of the transaction that took the money. read_transaction: by its id.
    """

    def __init__(
        self,
        transport: SumUpTransport,
        settings: SumUpSettings,
        *,
        find_transaction_id: Callable[[PaymentName], Awaitable[str]],
        read_transaction: Callable[[str], Awaitable[Json]],
    ) -> None:
        self._transport = transport
        self._merchant = settings.merchant_code
        self._find_transaction_id = find_transaction_id
        self._read_transaction = read_transaction

    async def refund(self, wanted: RefundWanted) -> ProviderRefund:
        """Gives money back, unless an earlier call did.

        Raises:
            NotDone: an earlier call may still have its effect.
            ProviderFailure: as the port says.
        """
        with _nothing_sent():
            transaction_id = await self._find_transaction_id(wanted.payment)
        if wanted.sent_ago is None:
            await self._send(wanted, transaction_id)
            return await self._after(wanted, transaction_id)
        with _nothing_sent():
            seen = await self._seen(wanted, transaction_id)
        return seen or await self._resend(wanted, transaction_id)

    async def read(self, wanted: RefundWanted) -> ProviderRefund | None:
        """The refund, if an earlier call did it.

        Raises:
            NotDone: an earlier call may still have its effect.
        """
        return await self._seen(wanted, await self._find_transaction_id(wanted.payment))

    async def _seen(self, wanted: RefundWanted, transaction_id: str) -> ProviderRefund | None:
        found = _told_as(wanted, await self._read_transaction(transaction_id))
        if found is None and wanted.sent_ago is not None and wanted.sent_ago < LAG_MAX:
            rest = LAG_MAX - wanted.sent_ago
            raise NotDone("refund_may_follow", retry_after_seconds=rest.total_seconds())
        return found

    async def _resend(self, wanted: RefundWanted, transaction_id: str) -> ProviderRefund:
        """Sends it again, unless the earlier call did it after all and so left nothing for this one."""
        try:
            await self._send(wanted, transaction_id)
        except NotAccepted:
            late = _told_as(wanted, await self._read_transaction(transaction_id))
            if late is None:
                raise
            return late
        return await self._after(wanted, transaction_id)

    async def _send(self, wanted: RefundWanted, transaction_id: str) -> None:
        path = f"/v1.0/merchants/{self._merchant}/payments/{transaction_id}/refunds"
        amount = to_sumup(wanted.amount_minor, wanted.payment.currency_code)
        body = b"{}" if wanted.is_whole else json_with_amount(amount, {})
        await self._transport.post(path, body, is_repeatable=False)

    async def _after(self, wanted: RefundWanted, transaction_id: str) -> ProviderRefund:
        """The refund that was just accepted, by SumUp's name if that is told already."""
        try:
            told = _told_as(wanted, await self._read_transaction(transaction_id))
        except ProviderFailure:
            told = None  # the money is on its way all the same
        return told or ProviderRefund(
            refund_id=wanted.refund_id,
            provider_reference="",
            payment_reference=wanted.payment.provider_reference,
            state=ProviderRefund.State.SUCCEEDED,
            currency_code=wanted.payment.currency_code,
            amount_minor=wanted.amount_minor,
        )


@contextmanager
def _nothing_sent() -> Iterator[None]:
    """What fails in the block is a look, and nothing is waited for because of it.

    Raises:
        NotDone: nobody knows what the look would have shown.
    """
    try:
        yield
    except OutcomeUnknown as failure:
        raise NotDone(failure.code) from failure


def _told_as(wanted: RefundWanted, transaction: Json) -> ProviderRefund | None:
    """The refund of that name; while it has none, the first of the equal ones that is not another.

    One that failed and has no name with us is taken for one of the others, of which as many fewer are
    left: a refund of ours that is not recognised would be made a second time.
    """
    with understanding():
        told = refunds_told(transaction, wanted.payment.provider_reference)
    if wanted.provider_reference:
        named = (each for each in told if each.provider_reference == wanted.provider_reference)
        return next((replace(each, refund_id=wanted.refund_id) for each in named), None)
    equal = [
        refund
        for refund in told
        if refund.amount_minor == wanted.amount_minor
        and refund.provider_reference not in wanted.other_references
    ]
    done = [refund for refund in equal if refund.state is not ProviderRefund.State.FAILED]
    failed_count = len(equal) - len(done)
    ours = done[max(wanted.nameless_equal_count - failed_count, 0) :][:1]
    return replace(ours[0], refund_id=wanted.refund_id) if ours else None
