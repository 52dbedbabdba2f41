"""Is it Stripe that calls? Source: Stripe's documentation of webhook signatures, 2026."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from payment_providers.port import Callback, CallbackRefused

SKEW_SECONDS_MAX = 300
"""Stripe's own default for the past. The SDK lets any future pass; we do not."""

_HEADER = "stripe-signature"


def verified(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now: datetime
) -> Callback:
    """The event, if it bears the signature of one of the secrets and is fresh.

    Raises:
        CallbackRefused: otherwise.
    """
    time_text, signatures = _parts(headers.get(_HEADER, ""))
    if not any(_is_signature(s, secret, time_text, body) for secret in secrets for s in signatures):
        raise CallbackRefused("unsigned")
    age_seconds = now.timestamp() - int(time_text)
    if abs(age_seconds) > SKEW_SECONDS_MAX:
        raise CallbackRefused("stale" if age_seconds > 0 else "future")
    return _event(body)


def _parts(header: str) -> tuple[str, list[str]]:
    """The time and every v1 signature."""
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit():
        raise CallbackRefused("unsigned")
    return times[0], [value for name, _, value in pairs if name == "v1"]


def _is_signature(signature: str, secret: str, time_text: str, body: bytes) -> bool:
    signed = time_text.encode() + b"." + body
    expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected.encode(), signature.encode())


def _event(body: bytes) -> Callback:
    try:
        event = json.loads(body)
        event_id, event_type = event["id"], event["type"]
    except (ValueError, TypeError, KeyError) as error:
        raise CallbackRefused("malformed") from error
    if not isinstance(event_id, str) or not isinstance(event_type, str):
        raise CallbackRefused("malformed")
    return Callback(event_id=event_id, event_type=event_type, body=body, is_signed=True)
