"""PayPal's objects as plain JSON, in our words.

A payment's reference is the order. An approved order counts as authorized in either intent: PayPal moves
no money, and holds none, before we ask for it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from payment_providers.paypal.amounts import from_paypal
from payment_providers.port import ProviderPayment, ProviderRefund, ProviderState

Json = Mapping[str, Any]

TAKEN = frozenset({"COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"})
"""Statuses of a capture whose money has come; what was given back since is told as refunds."""

_STATE_BY_ORDER_STATUS = {
    "CREATED": ProviderState.AWAITING_CUSTOMER,
    "SAVED": ProviderState.AWAITING_CUSTOMER,
    "PAYER_ACTION_REQUIRED": ProviderState.AWAITING_CUSTOMER,
    "APPROVED": ProviderState.AUTHORIZED,
    "VOIDED": ProviderState.VOIDED,
    # Complete, and yet there is no money: it was declined, and nobody can approve it any more.
    "COMPLETED": ProviderState.VOIDED,
}

_STATE_BY_AUTHORIZATION_STATUS = {
    "CREATED": ProviderState.AUTHORIZED,
    "PENDING": ProviderState.PROCESSING,
    "VOIDED": ProviderState.VOIDED,
    "DENIED": ProviderState.VOIDED,
}

_REFUND_STATE_BY_STATUS = {
    "PENDING": ProviderRefund.State.PENDING,
    "COMPLETED": ProviderRefund.State.SUCCEEDED,
    "FAILED": ProviderRefund.State.FAILED,
    "CANCELLED": ProviderRefund.State.FAILED,
}


def order_payment(order: Json) -> ProviderPayment:
    """An order with all that became of it."""
    [unit] = order["purchase_units"]
    captures = payments_of(order, "captures")
    captured_minor = sum(from_paypal(each["amount"]) for each in captures if each["status"] in TAKEN)
    state = _order_state(order, captured_minor)
    is_authorized = state is ProviderState.AUTHORIZED
    return ProviderPayment(
        payment_id=unit.get("custom_id", ""),
        provider_reference=order["id"],
        state=state,
        currency_code=unit["amount"]["currency_code"],
        authorized_minor=from_paypal(unit["amount"]) if is_authorized else 0,
        captured_minor=captured_minor,
        failure_code=_failure_code([*payments_of(order, "authorizations"), *captures]),
        refunds=tuple(
            refund_told(each, order["id"], payment_id=unit.get("custom_id", ""))
            for each in payments_of(order, "refunds")
        ),
        create_time=_time(order),
        is_only_approved=is_authorized and not payments_of(order, "authorizations"),
        other_names=tuple(capture["id"] for capture in payments_of(order, "captures")),
    )


def payments_of(order: Json, kind: str) -> Sequence[Json]:
    """The order's "authorizations", "captures" or "refunds", oldest first."""
    [unit] = order["purchase_units"]
    found: Sequence[Json] = (unit.get("payments") or {}).get(kind) or ()
    return found


def capture_payment(capture: Json) -> ProviderPayment:
    """A capture on its own, as webhooks tell it."""
    is_taken = capture["status"] in TAKEN
    is_pending = capture["status"] == "PENDING"
    unpaid = ProviderState.PROCESSING if is_pending else ProviderState.VOIDED
    return ProviderPayment(
        payment_id=capture.get("custom_id", ""),
        provider_reference=order_id_of(capture),
        state=ProviderState.CAPTURED if is_taken else unpaid,
        currency_code=capture["amount"]["currency_code"],
        authorized_minor=0,
        captured_minor=from_paypal(capture["amount"]) if is_taken else 0,
        failure_code=_failure_code([capture]),
        create_time=_time(capture),
        other_names=(capture["id"],),
    )


def authorization_payment(authorization: Json) -> ProviderPayment | None:
    """An authorization on its own; None once captures tell more than it does."""
    state = _STATE_BY_AUTHORIZATION_STATUS.get(authorization["status"])
    if state is None:
        return None
    amount_minor = from_paypal(authorization["amount"])
    return ProviderPayment(
        payment_id=authorization.get("custom_id", ""),
        provider_reference=order_id_of(authorization),
        state=state,
        currency_code=authorization["amount"]["currency_code"],
        authorized_minor=amount_minor if state is ProviderState.AUTHORIZED else 0,
        captured_minor=0,
        failure_code=_failure_code([authorization]),
        create_time=_time(authorization),
    )


def refund_told(refund: Json, order_id: str, *, payment_id: str) -> ProviderRefund:
    """A refund. One without an id of ours was made by hand, or by PayPal for a complaint.

    payment_id: it does not name its payment by our id; its capture and its order do.
    """
    return ProviderRefund(
        refund_id=refund.get("custom_id", ""),
        provider_reference=refund["id"],
        payment_reference=order_id,
        state=_REFUND_STATE_BY_STATUS[refund["status"]],
        currency_code=refund["amount"]["currency_code"],
        amount_minor=from_paypal(refund["amount"]),
        payment_id=payment_id,
        failure_code=(refund.get("status_details") or {}).get("reason", ""),
    )


def order_id_of(resource: Json) -> str:
    """The order that a capture, authorization or refund belongs to, if it says so."""
    related = (resource.get("supplementary_data") or {}).get("related_ids") or {}
    return str(related.get("order_id") or id_linked(resource, "up", kind="orders"))


def id_linked(resource: Json, relation: str, *, kind: str) -> str:
    """The last part of a link to one of "orders", "captures" or the like; "" if there is none."""
    for link in resource.get("links") or ():
        parent, _, id_ = link["href"].rpartition("/")
        if link["rel"] == relation and parent.endswith(f"/{kind}"):
            return str(id_)
    return ""


def link_of(resource: Json, *relations: str) -> str:
    """The first link that stands in one of these relations, else ""."""
    links = resource.get("links") or ()
    return next((str(link["href"]) for link in links if link["rel"] in relations), "")


def _order_state(order: Json, captured_minor: int) -> ProviderState:
    """What has come furthest counts: captures before authorizations before the order itself."""
    captures, authorizations = payments_of(order, "captures"), payments_of(order, "authorizations")
    if captured_minor > 0:
        return ProviderState.CAPTURED
    if any(each["status"] == "PENDING" for each in captures):
        return ProviderState.PROCESSING
    if authorizations:
        status = authorizations[-1]["status"]
        return _STATE_BY_AUTHORIZATION_STATUS.get(status, ProviderState.VOIDED)
    return _STATE_BY_ORDER_STATUS[order["status"]]


def _failure_code(payments: Sequence[Json]) -> str:
    """Why the last one was declined, if it was."""
    if not payments or payments[-1]["status"] not in {"DECLINED", "DENIED", "FAILED"}:
        return ""
    return str((payments[-1].get("status_details") or {}).get("reason") or payments[-1]["status"])


def _time(resource: Json) -> datetime | None:
    told = resource.get("create_time")
    return datetime.fromisoformat(told) if told else None
