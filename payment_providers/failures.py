"""What a call's connection and headers tell, whichever provider was called."""

from collections.abc import Mapping

import httpx

from payment_providers.port import OutcomeUnknown, ProviderFailure, Unreachable

_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

RETRY_SECONDS_MAX = 60.0
"""A longer Retry-After is not believed: the worker would sleep over the life of the order."""


def connection_failure(error: BaseException | None) -> ProviderFailure:
    """Our word for a call that got no answer, of which the HTTP client told this."""
    return (Unreachable if isinstance(error, _NOTHING_SENT) else OutcomeUnknown)("connection")


def retry_after_seconds(headers: Mapping[str, str]) -> float | None:
    """For how long the provider asks not to be called; None where it does not, or names a date."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return min(max(0.0, seconds), RETRY_SECONDS_MAX)  # in this order, "nan" is 0
