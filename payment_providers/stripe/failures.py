"""What Stripe's refusals and silences mean for the effect of a call."""

from collections.abc import Awaitable

import httpx
import stripe

from payment_providers.port import (
    Declined,
    KeySpent,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderFailure,
    Unreachable,
)

_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_REFUSALS = range(400, 500)
"""Anything else, be it a 200 that cannot be read, leaves open what became of the call."""

_NOT_ALLOWED = (401, 403)
"""Our key is wrong or lacks a right. That is the shop's to mend: no order may fail for good by it."""

RETRY_SECONDS_MAX = 60.0
"""A longer Retry-After is not believed: the worker would sleep over the life of the order."""


async def translated(call: Awaitable[stripe.StripeObject]) -> stripe.StripeObject:
    """The call's answer, or its failure in our words.

    Raises:
        ProviderFailure: always of the class that tells what is known of the effect.
    """
    try:
        return await call
    except stripe.StripeError as error:
        raise failure_of(error) from error


def failure_of(error: stripe.StripeError) -> ProviderFailure:
    """Our word for an error of the SDK; docs/payments.md has the table."""
    code = _code(error)
    if isinstance(error, stripe.APIConnectionError):
        is_unsent = isinstance(error.__cause__, _NOTHING_SENT)
        return (Unreachable if is_unsent else OutcomeUnknown)("connection")
    if isinstance(error, stripe.CardError):
        return Declined(code)
    if error.http_status in _NOT_ALLOWED:
        # Stripe itself has no other word for it than for a malformed request.
        return NotDone("unauthorized" if isinstance(error, stripe.AuthenticationError) else code)
    if isinstance(error, stripe.RateLimitError) or code == "idempotency_key_in_use":
        return NotDone(code, retry_after_seconds=_retry_after_seconds(error))
    if error.http_status not in _REFUSALS:
        is_replay = (error.headers or {}).get("idempotent-replayed") == "true"
        return (KeySpent if is_replay else OutcomeUnknown)(code)
    return NotAccepted(code)


def _code(error: stripe.StripeError) -> str:
    """The most exact word that Stripe has for it; not always where the SDK puts it."""
    details = error.error
    for name in ("decline_code", "code", "type"):
        word = getattr(details, name, None)
        if word:
            return str(word)
    return f"http_{error.http_status}"


def _retry_after_seconds(error: stripe.StripeError) -> float | None:
    try:
        seconds = float((error.headers or {}).get("retry-after", ""))
    except ValueError:
        return None
    return min(max(0.0, seconds), RETRY_SECONDS_MAX)  # in this order, "nan" is 0
