"""Compares all that a provider lists with our tables, both ways.

The shop goes on meanwhile: what is under way, or was changed while the list was read, is no difference.
Whatever differs is asked for anew and looked up again before it is told.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from command_service.payment.errands import Task
from command_service.payment.repository import OrderPaymentsRepository
from ops.progress import OnProgress
from ops.reconcile.comparison import Difference, Ours, differences
from ops.reconcile.listing import Listing, asked_anew, listed
from ops.verify.tables import Tables, snapshot
from payment_providers.port import PaymentProvider, ProviderPayment, ProviderRefund

RECENT = timedelta(minutes=5)
"""What changed within it may be told late by a webhook, or not be listed yet."""

BATCH_ORDERS_MAX = 1_000
"""Orders whose money is read at once: a few megabytes."""

_ORDERS = """
SELECT DISTINCT order_id FROM payments
WHERE provider = %(provider)s AND (create_time >= %(since)s OR payment_id = ANY(%(payment_ids)s)
    OR (provider_reference <> '' AND provider_reference = ANY(%(references)s)))
ORDER BY order_id
"""

_RECORDED_REFUNDS = """
SELECT order_id, reference, amount_minor FROM money_records
WHERE kind = 'refund' AND order_id = ANY(%(order_ids)s)
"""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a reconciliation found. captured_minor, refunded_minor: as listed, by currency.

    under_way: what differs as well, but is about to change.
    """

    payment_count: int
    captured_minor: Mapping[str, int]
    refunded_minor: Mapping[str, int]
    differences: Sequence[Difference]
    under_way: Sequence[Difference]


async def reconcile(
    provider: PaymentProvider, database_url: str, since: datetime, *, on_progress: OnProgress
) -> Reconciled:
    """Looks at every payment begun since then, at the provider or here. Writes nothing.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
        Problem: the provider cannot be asked, or the database holds no shop.
    """
    begin_time = datetime.now(UTC)
    listing = await listed(provider, since, on_progress)
    known = await _ours(database_url, provider.name, since, listing, on_progress)
    suspects = [
        (ours, listing.of(ours))
        for ours in known.values()
        if _is_expected(ours, since, listing) and differences(ours, listing.of(ours))
    ]
    told = await asked_anew(provider, suspects, on_progress) if suspects else []
    found = [
        difference for each in _strangers(listing, known) for difference in differences(None, [each])
    ]
    under_way: list[Difference] = []
    async with snapshot(database_url) as tables:
        order_ids = {ours.payment.order_id for ours, _ in suspects}
        now_known = await _of_orders(tables, provider.name, sorted(order_ids))
    for (ours, _), theirs in zip(suspects, told, strict=True):
        ours_now = now_known[ours.payment.payment_id]
        differing = differences(ours_now, theirs)
        (under_way if _is_under_way(ours_now, begin_time) else found).extend(differing)
    return _reconciled(listing, found, under_way)


def _is_expected(ours: Ours, since: datetime, listing: Listing) -> bool:
    """False for an older payment of an order that came along with a newer one."""
    return ours.payment.create_time >= since or bool(listing.of(ours))


def _is_under_way(ours: Ours, begin_time: datetime) -> bool:
    """True while a call is to be made, or when something has only just happened.

    A question is no such call: what it would tell is known here already.
    """
    errands = [ours.payment.errand, *(refund.errand for refund in ours.refunds)]
    calls = [errand for errand in errands if errand is not None and errand.task is not Task.ASK]
    changed = [ours.payment.update_time, *(refund.update_time for refund in ours.refunds)]
    return bool(calls) or max(changed) >= begin_time - RECENT


def _strangers(listing: Listing, known: Mapping[str, Ours]) -> list[ProviderPayment]:
    """What the provider lists and we have not. A row of ours is always older than its call."""
    references = {ours.payment.provider_reference for ours in known.values()} - {""}
    return [
        each
        for each in listing.every()
        if each.payment_id not in known and each.provider_reference not in references
    ]


async def _ours(
    database_url: str, provider: str, since: datetime, listing: Listing, on_progress: OnProgress
) -> dict[str, Ours]:
    """Our payments of that time, and any other that is listed, as of one moment after the list."""
    wanted = {
        "provider": provider,
        "since": since,
        "payment_ids": list(listing.by_payment_id),
        "references": list(listing.without_id),
    }
    found: dict[str, Ours] = {}
    async with snapshot(database_url) as tables:
        order_ids = [order_id for (order_id,) in await tables.rows(_ORDERS, wanted)]
        for done in range(0, len(order_ids), BATCH_ORDERS_MAX):
            on_progress("orders here", done, len(order_ids))
            part = order_ids[done : done + BATCH_ORDERS_MAX]
            found |= await _of_orders(tables, provider, part)
        on_progress("orders here", len(order_ids), len(order_ids))
    return found


async def _of_orders(tables: Tables, provider: str, order_ids: Sequence[str]) -> dict[str, Ours]:
    """Payments by their id."""
    by_order = await tables.aggregates(OrderPaymentsRepository(), order_ids)
    recorded_minor: dict[str, dict[str, int]] = defaultdict(dict)
    for order_id, name, amount_minor in await tables.rows(
        _RECORDED_REFUNDS, {"order_ids": list(order_ids)}
    ):
        recorded_minor[order_id][name] = amount_minor
    return {
        payment.payment_id: Ours(
            payment,
            tuple(each for each in of_order.refunds if each.payment_id == payment.payment_id),
            recorded_minor[payment.order_id],
        )
        for of_order in by_order.values()
        for payment in of_order.payments
        if payment.provider == provider
    }


def _reconciled(
    listing: Listing, found: Collection[Difference], under_way: Collection[Difference]
) -> Reconciled:
    captured_minor, refunded_minor = Counter[str](), Counter[str]()
    for payment in listing.every():
        captured_minor[payment.currency_code] += payment.captured_minor
        for refund in payment.refunds:
            if refund.state is not ProviderRefund.State.FAILED:
                refunded_minor[refund.currency_code] += refund.amount_minor
    return Reconciled(
        listing.payment_count, captured_minor, refunded_minor, list(found), list(under_way)
    )
