"""Stripe's objects as plain JSON, in our words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from payment_providers.port import ProviderPayment, ProviderRefund, ProviderState
from payment_providers.stripe.amounts import from_stripe

Json = Mapping[str, Any]

PAYMENT_ID = "payment_id"
REFUND_ID = "refund_id"
"""Names of our ids in Stripe's metadata."""

_STATE_BY_STATUS = {
    "requires_payment_method": ProviderState.AWAITING_CUSTOMER,
    "requires_confirmation": ProviderState.AWAITING_CUSTOMER,
    "requires_action": ProviderState.AWAITING_CUSTOMER,
    "processing": ProviderState.PROCESSING,
    "requires_capture": ProviderState.AUTHORIZED,
    "succeeded": ProviderState.CAPTURED,
    "canceled": ProviderState.VOIDED,
}

_REFUND_STATE_BY_STATUS = {
    "pending": ProviderRefund.State.PENDING,
    "requires_action": ProviderRefund.State.PENDING,
    "succeeded": ProviderRefund.State.SUCCEEDED,
    "failed": ProviderRefund.State.FAILED,
    "canceled": ProviderRefund.State.FAILED,
}


def intent_payment(intent: Json, *, session_id: str = "") -> ProviderPayment:
    """A PaymentIntent. session_id: of the Checkout Session that it belongs to, if we hold it by that."""
    currency_code = intent["currency"].upper()
    return ProviderPayment(
        payment_id=intent.get("metadata", {}).get(PAYMENT_ID, ""),
        provider_reference=session_id or intent["id"],
        state=_STATE_BY_STATUS[intent["status"]],
        currency_code=currency_code,
        authorized_minor=from_stripe(intent.get("amount_capturable") or 0, currency_code),
        captured_minor=from_stripe(intent.get("amount_received") or 0, currency_code),
        failure_code=_failure_code(intent),
        create_time=_time(intent["created"]),
        other_names=(intent["id"],) if session_id else (),
    )


def session_payment(session: Json) -> ProviderPayment:
    """A Checkout Session, with its PaymentIntent expanded as soon as it has one."""
    intent = session.get("payment_intent")
    if isinstance(intent, Mapping) and session["status"] != "expired":
        told = intent_payment(intent, session_id=session["id"])
        is_over = session["status"] == "complete" and intent["status"] == "requires_payment_method"
        # A slow method that failed in the end: the page is closed, and nobody can try another one there.
        return replace(told, state=ProviderState.VOIDED) if is_over else told
    is_expired = session["status"] == "expired"
    return ProviderPayment(
        payment_id=session.get("metadata", {}).get(PAYMENT_ID, ""),
        provider_reference=session["id"],
        state=ProviderState.VOIDED if is_expired else ProviderState.AWAITING_CUSTOMER,
        currency_code=session["currency"].upper(),
        authorized_minor=0,
        captured_minor=0,
        create_time=_time(session["created"]),
    )


def refund_told(refund: Json) -> ProviderRefund:
    """A Refund. One without our id in its metadata was made by hand, in Stripe's dashboard."""
    currency_code = refund["currency"].upper()
    return ProviderRefund(
        refund_id=refund.get("metadata", {}).get(REFUND_ID, ""),
        provider_reference=refund["id"],
        payment_reference=refund["payment_intent"],
        state=_REFUND_STATE_BY_STATUS[refund["status"]],
        currency_code=currency_code,
        amount_minor=from_stripe(refund["amount"], currency_code),
        payment_id=refund.get("metadata", {}).get(PAYMENT_ID, ""),
        failure_code=refund.get("failure_reason") or "",
    )


def _failure_code(intent: Json) -> str:
    error = intent.get("last_payment_error") or {}
    return error.get("decline_code") or error.get("code") or ""


def _time(unix_seconds: int) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)
