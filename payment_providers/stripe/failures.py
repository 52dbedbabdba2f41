"""What Stripe's refusals and silences mean for the effect of a call."""

from collections.abc import Awaitable

import stripe

from payment_providers.failures import connection_failure, retry_after_seconds
from payment_providers.port import (
    Declined,
    KeySpent,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderFailure,
)

_REFUSALS = range(400, 500)
"""Anything else, be it a 200 that cannot be read, leaves open what became of the call."""

_NOT_ALLOWED = (401, 403)
"""Our key is wrong or lacks a right. That is the shop's to mend: no order may fail for good by it."""


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
        return connection_failure(error.__cause__)
    if isinstance(error, stripe.CardError):
        return Declined(code)
    if error.http_status in _NOT_ALLOWED:
        # Stripe itself has no other word for it than for a malformed request.
        return NotDone("unauthorized" if isinstance(error, stripe.AuthenticationError) else code)
    if isinstance(error, stripe.RateLimitError) or code == "idempotency_key_in_use":
        return NotDone(code, retry_after_seconds=retry_after_seconds(error.headers or {}))
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
