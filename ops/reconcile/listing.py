"""What a provider tells: its list, and single payments asked for anew."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from command_service.payment.gateway import name_of, refund_wanted
from command_service.payment.refunds import RefundState
from ops.failures import ExitStatus, Problem, visible
from ops.progress import OnProgress
from ops.reconcile.comparison import Ours, paired
from payment_providers.port import (
    NotAccepted,
    PaymentProvider,
    ProviderFailure,
    ProviderPayment,
    ProviderRefund,
)

READS_AT_ONCE_MAX = 8
"""The shop itself calls the same provider meanwhile, under the same rate limit."""


@dataclass(slots=True)
class Listing:
    """All that a provider has listed, as we look for it: by our id, and by its own."""

    by_payment_id: dict[str, list[ProviderPayment]] = field(default_factory=lambda: defaultdict(list))
    without_id: dict[str, ProviderPayment] = field(default_factory=dict)
    payment_count: int = 0

    def add(self, payment: ProviderPayment) -> None:
        """One more."""
        self.payment_count += 1
        if payment.payment_id:
            self.by_payment_id[payment.payment_id].append(payment)
        else:
            # PayPal's list names no order either: such a one is nobody's.
            name = payment.provider_reference or f"payment {self.payment_count} of the list"
            self.without_id[name] = payment

    def of(self, ours: Ours) -> list[ProviderPayment]:
        """What is listed of one payment of ours."""
        payment = ours.payment
        nameless = (
            self.without_id.get(payment.provider_reference) if payment.provider_reference else None
        )
        return [*self.by_payment_id.get(payment.payment_id, ()), *([nameless] if nameless else [])]

    def every(self) -> list[ProviderPayment]:
        """All of them."""
        return [
            *(each for of_one in self.by_payment_id.values() for each in of_one),
            *self.without_id.values(),
        ]


async def listed(provider: PaymentProvider, since: datetime, on_progress: OnProgress) -> Listing:
    """The provider's list.

    Raises:
        Problem: it cannot be read.
    """
    listing, what = Listing(), f"payments at {provider.name}"
    try:
        async for payment in provider.payments_since(since):
            listing.add(payment)
            on_progress(what, listing.payment_count, None)
    except ProviderFailure as failure:
        raise _unreadable(provider, failure) from failure
    on_progress(what, listing.payment_count, listing.payment_count)
    return listing


async def asked_anew(
    provider: PaymentProvider,
    suspects: Sequence[tuple[Ours, Sequence[ProviderPayment]]],
    on_progress: OnProgress,
) -> list[list[ProviderPayment]]:
    """What the provider tells now of each of these payments; beside each, what was listed of it.

    Raises:
        Problem: it gives no answer.
    """
    room, done_count = asyncio.Semaphore(READS_AT_ONCE_MAX), 0

    async def ask(ours: Ours, before: Sequence[ProviderPayment]) -> list[ProviderPayment]:
        nonlocal done_count
        async with room:
            told = await _read(provider, ours, before)
        done_count += 1
        on_progress("asking anew", done_count, len(suspects))
        return told

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(ours, before)) for ours, before in suspects]
    except* ProviderFailure as failures:
        [failure, *_] = _leaves(failures)
        raise _unreadable(provider, failure) from failure
    return [task.result() for task in tasks]


async def _read(
    provider: PaymentProvider, ours: Ours, before: Sequence[ProviderPayment]
) -> list[ProviderPayment]:
    """The payment as it is; where one was listed twice, in place of the one that is ours."""
    name = name_of(ours.payment)
    try:
        told = await provider.read(name)
    except NotAccepted:
        told = None  # it does not know our name for it, or denies its own
    if told is None:
        return list(before)
    same = [each for each in before if each.provider_reference in ("", told.provider_reference)]
    if not same and len(before) == 1:
        same = list(before)  # a hosted page is listed by the name of what was paid on it
    others = [each for each in before if each not in same]
    if others and not same:
        return others
    known = {_key(each): each for one in same for each in one.refunds}
    known |= {_key(each): each for each in told.refunds}
    refunds = await _with_ours(provider, ours, list(known.values()))
    return [replace(told, refunds=tuple(refunds)), *others]


async def _with_ours(
    provider: PaymentProvider, ours: Ours, told: list[ProviderRefund]
) -> list[ProviderRefund]:
    """With those refunds of ours that are told only when they are asked for."""
    for refund, found in paired(ours.refunds, told):
        if refund is None or found is not None or refund.state is RefundState.FAILED:
            continue
        wanted = refund_wanted(refund, ours.payment, ours.refunds)
        try:
            asked = await provider.read_refund(wanted)
        except NotAccepted:
            continue
        if asked is not None and _key(asked) not in map(_key, told):
            told.append(asked)
    return told


def _key(refund: ProviderRefund) -> str:
    return refund.provider_reference or refund.refund_id


def _leaves(failures: BaseExceptionGroup[ProviderFailure]) -> list[ProviderFailure]:
    found: list[ProviderFailure] = []
    for each in failures.exceptions:
        found += _leaves(each) if isinstance(each, BaseExceptionGroup) else [each]
    return found


def _unreadable(provider: PaymentProvider, failure: ProviderFailure) -> Problem:
    return Problem(f"{provider.name} cannot be asked: {visible(failure.code)}", ExitStatus.UNREACHABLE)
