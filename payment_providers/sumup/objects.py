"""SumUp's objects in our words. Sources: SumUp's OpenAPI description, 2026-06-18, and its SDK 0.4.0.

Our id is a checkout's reference online, and a transaction's foreign id at a reader. The history tells
neither for online payments, only the checkout's description: so our id leads that as well.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import chain

from payment_providers.port import ProviderPayment, ProviderRefund, ProviderState
from payment_providers.sumup.amounts import from_sumup
from payment_providers.sumup.transport import Json

PAID_ONLINE = "ECOM"

_OUR_DESCRIPTION = re.compile(r"(\S+\.\d+): ")
"""A payment's id ends in its number within the order."""

_TOOK_MONEY = frozenset({"SUCCESSFUL", "REFUNDED"})
_GAVE_BACK = frozenset({"REFUND", "CHARGE_BACK"})

_STATE_BY_TRANSACTION_STATUS = {
    "PENDING": ProviderState.AWAITING_CUSTOMER,
    "SUCCESSFUL": ProviderState.CAPTURED,
    "REFUNDED": ProviderState.CAPTURED,
    "FAILED": ProviderState.VOIDED,
    "CANCELLED": ProviderState.VOIDED,
}
"""At a reader, where each payment is one attempt: after a failed one nobody can pay it any more."""

_STATE_BY_CHECKOUT_STATUS = {
    "PENDING": ProviderState.AWAITING_CUSTOMER,
    "FAILED": ProviderState.AWAITING_CUSTOMER,
    "PAID": ProviderState.CAPTURED,
    "EXPIRED": ProviderState.VOIDED,
}

_REFUND_STATE_BY_STATUS = {
    "PENDING": ProviderRefund.State.PENDING,
    "SCHEDULED": ProviderRefund.State.PENDING,
    "RECONCILED": ProviderRefund.State.PENDING,
    "PAID_OUT": ProviderRefund.State.SUCCEEDED,
    "REFUNDED": ProviderRefund.State.SUCCEEDED,
    "SUCCESSFUL": ProviderRefund.State.SUCCEEDED,
    "FAILED": ProviderRefund.State.FAILED,
}


def described(payment_id: str, description: str) -> str:
    """The description of a payment, led by our id."""
    return f"{payment_id}: {description}"


def checkout_payment(checkout: Json) -> ProviderPayment:
    """An online checkout. A failed one can still be paid: FAILED speaks of the last attempt."""
    currency_code = checkout["currency"]
    state = _checkout_state(checkout)
    captured_minor = 0
    if state is ProviderState.CAPTURED:
        captured_minor = from_sumup(_captured(checkout)["amount"], currency_code)
    return ProviderPayment(
        payment_id=checkout["checkout_reference"],
        provider_reference=checkout["id"],
        state=state,
        currency_code=currency_code,
        authorized_minor=0,
        captured_minor=captured_minor,
        failure_code="FAILED" if checkout["status"] == "FAILED" else "",
        create_time=_time(checkout["date"]),
        other_names=tuple(chain.from_iterable(map(_names, _attempts(checkout)))),
    )


def paid_transaction_id(checkout: Json) -> str:
    """The transaction that paid a checkout, or "" as long as there is none."""
    captured = _captured(checkout)
    return str(checkout.get("transaction_id") or (captured["id"] if captured is not checkout else ""))


def transaction_payment(transaction: Json) -> ProviderPayment:
    """A payment at a reader, or one that is not ours."""
    currency_code, status = transaction["currency"], transaction["status"]
    reference = transaction.get("client_transaction_id") or transaction["id"]
    state = _STATE_BY_TRANSACTION_STATUS[status]
    if _events(transaction, _GAVE_BACK):
        state = ProviderState.CAPTURED  # what gave money back had taken it, whatever it is called since
    is_captured = state is ProviderState.CAPTURED
    return ProviderPayment(
        payment_id=payment_id_of(transaction),
        provider_reference=reference,
        state=state,
        currency_code=currency_code,
        authorized_minor=0,
        captured_minor=from_sumup(transaction["amount"], currency_code) if is_captured else 0,
        failure_code=status if state is ProviderState.VOIDED else "",
        refunds=refunds_told(transaction, reference),
        create_time=_time(transaction["timestamp"]),
        other_names=_names(transaction),
    )


def _names(transaction: Json) -> tuple[str, ...]:
    """Its id, and the code that SumUp shows to people."""
    code = transaction.get("transaction_code")
    return (transaction["id"], code) if code else (transaction["id"],)


def payment_id_of(transaction: Json) -> str:
    """Our id, or ""."""
    ours = _OUR_DESCRIPTION.match(transaction.get("product_summary") or "")
    return str(transaction.get("foreign_transaction_id") or (ours.group(1) if ours else ""))


def refunds_told(transaction: Json, payment_reference: str) -> tuple[ProviderRefund, ...]:
    """What was given back, oldest first. SumUp keeps no id of ours with it."""
    return tuple(
        ProviderRefund(
            refund_id="",
            provider_reference=f"{transaction['id']}:{event['id']}",
            payment_reference=payment_reference,
            state=_REFUND_STATE_BY_STATUS[event["status"]],
            currency_code=transaction["currency"],
            amount_minor=from_sumup(event["amount"], transaction["currency"]),
            failure_code="FAILED" if event["status"] == "FAILED" else "",
        )
        for event in _events(transaction, frozenset({"REFUND"}))
    )


def _checkout_state(checkout: Json) -> ProviderState:
    """Its attempts know better than its status: one that succeeds as the checkout expires is money."""
    statuses = {attempt["status"] for attempt in _attempts(checkout)}
    if statuses & _TOOK_MONEY:
        return ProviderState.CAPTURED
    state = _STATE_BY_CHECKOUT_STATUS[checkout["status"]]
    is_open = state is ProviderState.AWAITING_CUSTOMER
    return ProviderState.PROCESSING if is_open and "PENDING" in statuses else state


def _captured(checkout: Json) -> Json:
    """The attempt that took the money; the checkout itself where it does not tell of any."""
    took = (attempt for attempt in _attempts(checkout) if attempt["status"] in _TOOK_MONEY)
    return next(took, checkout)


def _attempts(checkout: Json) -> Sequence[Json]:
    return checkout.get("transactions") or ()


def _events(transaction: Json, types: frozenset[str]) -> list[Json]:
    """Events of some types, oldest first. SumUp tells them in two forms; either may be missing."""
    told = transaction.get("events") or transaction.get("transaction_events") or ()
    wanted = [event for event in told if event.get("type", event.get("event_type")) in types]
    return sorted(wanted, key=lambda event: int(event["id"]))


def _time(told: str) -> datetime:
    """Without an offset it is UTC."""
    moment = datetime.fromisoformat(told)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
