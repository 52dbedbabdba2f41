"""What PayPal's refusals and silences mean for the effect of a call; docs/payments.md has the table."""

from typing import Any

import httpx

from payment_providers.failures import retry_after_seconds
from payment_providers.port import (
    Declined,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderFailure,
)

NO_SUCH_THING = frozenset({"INVALID_RESOURCE_ID", "RESOURCE_NOT_FOUND"})
DONE_BEFORE = frozenset(
    {"AUTHORIZATION_ALREADY_CAPTURED", "ORDER_ALREADY_AUTHORIZED", "ORDER_ALREADY_CAPTURED"}
)
"""The same call was made before under another id, or under one that PayPal has forgotten since."""

_LATER = frozenset(
    {
        "ORDER_COMPLETION_IN_PROGRESS",
        "PENDING_CAPTURE",
        "PREVIOUS_REQUEST_IN_PROGRESS",
        "REFUND_FAILED_INSUFFICIENT_FUNDS",
    }
)
"""Refused now; the same call may succeed."""

_DECLINED = frozenset(
    {
        "AUTHORIZATION_DENIED",
        "CARD_EXPIRED",
        "COMPLIANCE_VIOLATION",
        "INSTRUMENT_DECLINED",
        "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED",
        "PAYER_ACCOUNT_LOCKED_OR_CLOSED",
        "PAYER_ACCOUNT_RESTRICTED",
        "PAYER_ACTION_REQUIRED",
        "PAYER_CANNOT_PAY",
        "PAYMENT_SOURCE_CANNOT_BE_USED",
        "PAYMENT_SOURCE_DECLINED_BY_PROCESSOR",
        "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING",
        "TRANSACTION_LIMIT_EXCEEDED",
        "TRANSACTION_REFUSED",
    }
)
"""About the customer or the customer's means of payment: another one may do."""

_UNAUTHORIZED, _FORBIDDEN, _CONFLICT, _TOO_MANY = 401, 403, 409, 429
_REFUSALS = range(400, 500)


def failure_of(response: httpx.Response) -> ProviderFailure:
    """Our word for an answer that is not a success."""
    told = _told(response)
    code = _code(told) or f"http_{response.status_code}"
    kind = _class_of(response.status_code, code, is_paypals=told is not None)
    failure = kind(code, retry_after_seconds=retry_after_seconds(response.headers))
    debug_id = (told or {}).get("debug_id")
    if debug_id:
        failure.add_note(f"PayPal's debug_id is {debug_id}")  # what its support asks for
    return failure


def _class_of(status: int, code: str, *, is_paypals: bool) -> type[ProviderFailure]:
    if status in (_CONFLICT, _TOO_MANY) or code in _LATER:
        return NotDone
    if status == _UNAUTHORIZED or (status == _FORBIDDEN and is_paypals and code not in _DECLINED):
        return NotDone  # the shop's credentials or rights are wrong: no order may fail for good by it
    if status not in _REFUSALS or not is_paypals:
        return OutcomeUnknown  # what stands between us and PayPal cannot refuse in its name
    return Declined if code in _DECLINED else NotAccepted


def _told(response: httpx.Response) -> dict[str, Any] | None:
    """The body, if it is PayPal's: what stands in front of PayPal speaks HTML."""
    try:
        told = response.json()
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _code(told: dict[str, Any] | None) -> str:
    """The most exact word that PayPal has for it."""
    if told is None:
        return ""
    issues = [str(each["issue"]) for each in told.get("details") or () if each.get("issue")]
    return issues[0] if issues else str(told.get("name") or told.get("error") or "")
