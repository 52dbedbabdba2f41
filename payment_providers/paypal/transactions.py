"""What PayPal's Transaction Search lists, in our words.

It knows money that has moved, up to three hours late; open and authorized orders it does not list.
"""

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from payment_providers.amounts import from_decimal
from payment_providers.paypal.objects import Json
from payment_providers.port import ProviderPayment, ProviderRefund, ProviderState

WINDOW_MAX = timedelta(days=31)
"""The longest time that PayPal searches at once."""
PAGE_SIZE = 500
"""The most that PayPal lists at once."""

_PAYMENT_CODES = ("T00",)
_REFUND_CODES = ("T11", "T12")
"""Refunds and reversals; chargebacks."""

_STATE_BY_STATUS = {
    "S": ProviderState.CAPTURED,
    "V": ProviderState.CAPTURED,  # and given back since: its refunds are transactions of their own
    "P": ProviderState.PROCESSING,
    "D": ProviderState.VOIDED,
}
_REFUND_STATE_BY_STATUS = {
    "S": ProviderRefund.State.SUCCEEDED,
    "V": ProviderRefund.State.FAILED,  # the money went back to us
    "P": ProviderRefund.State.PENDING,
    "D": ProviderRefund.State.FAILED,
}


def windows(since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The time from one to the other, in parts that can be searched."""
    while since < until:
        end = min(since + WINDOW_MAX, until)
        yield since, end
        since = end


def query(start: datetime, end: datetime, page_number: int) -> dict[str, str]:
    """The search for one page, from 1."""
    return {
        "start_date": _text(start),
        "end_date": _text(end),
        "fields": "transaction_info",
        "page_size": str(PAGE_SIZE),
        "page": str(page_number),
    }


async def payments_in(transactions: AsyncIterator[Json]) -> list[ProviderPayment]:
    """The payments among the transactions, each with its refunds; those made by hand too."""
    payments: dict[str, ProviderPayment] = {}
    refunds: dict[str, dict[str, ProviderRefund]] = {}
    async for told in transactions:
        code, id_ = told["transaction_event_code"], told["transaction_id"]
        if code.startswith(_PAYMENT_CODES) and _amount_minor(told) > 0:
            payments[id_] = _payment(told)
        elif code.startswith(_REFUND_CODES) and _amount_minor(told) < 0:
            refunds.setdefault(told.get("paypal_reference_id", ""), {})[id_] = _refund(told)
    return [
        replace(payment, refunds=tuple(_ours(each, payment) for each in refunds.get(id_, {}).values()))
        for id_, payment in payments.items()
    ]


def _ours(refund: ProviderRefund, payment: ProviderPayment) -> ProviderRefund:
    """One made by hand may bear the payment's id for want of its own, which is not a refund's."""
    return replace(refund, refund_id="") if refund.refund_id == payment.payment_id else refund


def _payment(told: Json) -> ProviderPayment:
    """provider_reference stays empty: a transaction does not name its order."""
    state = _STATE_BY_STATUS[told["transaction_status"]]
    return ProviderPayment(
        payment_id=told.get("custom_field", ""),
        provider_reference="",
        state=state,
        currency_code=told["transaction_amount"]["currency_code"],
        authorized_minor=0,
        captured_minor=_amount_minor(told) if state is ProviderState.CAPTURED else 0,
        create_time=datetime.fromisoformat(told["transaction_initiation_date"]),
    )


def _refund(told: Json) -> ProviderRefund:
    return ProviderRefund(
        refund_id=told.get("custom_field", ""),
        provider_reference=told["transaction_id"],
        payment_reference="",
        state=_REFUND_STATE_BY_STATUS[told["transaction_status"]],
        currency_code=told["transaction_amount"]["currency_code"],
        amount_minor=-_amount_minor(told),
    )


def _amount_minor(told: Json) -> int:
    money: Mapping[str, Any] = told["transaction_amount"]
    return from_decimal(money["value"], money["currency_code"])


def _text(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
