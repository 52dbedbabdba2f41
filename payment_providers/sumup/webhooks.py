"""Is it SumUp that calls? Mostly nobody can tell: what it sends for a payment is not signed.

Source: SumUp's documentation of webhooks, 2026, and its SDK 0.4.0 for the signed account events.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from payment_providers.port import Callback, CallbackRefused

CHECKOUT_CHANGED = "CHECKOUT_STATUS_CHANGED"
READER_CHANGED = "solo.transaction.updated"
_CHECKOUT_EVENTS = "checkouts."

SKEW_SECONDS_MAX = 300
"""SumUp's own bound, for the past and for the future."""

_HEADER = "x-sumup-webhook-signature"
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""It becomes part of a path: a forged one must not lead elsewhere."""


def verified(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[str], now: datetime
) -> Callback:
    """The callback: a fact if it is signed, else a hint.

    SumUp says the same of each change of a checkout, byte for byte: only the time tells one from the
    next. So each delivery counts as an event of its own; what it says twice is harmless.

    Raises:
        CallbackRefused: it cannot be read, or its signature is wrong.
    """
    header = headers.get(_HEADER)
    if header is not None:
        _check_signature(header, body, secrets=secrets, now=now)
    told = _read(body)
    event_type = told.get("event_type", told.get("type"))
    event_id = told.get("id")
    if not isinstance(event_type, str) or not isinstance(event_id, str):
        raise CallbackRefused("malformed")
    if event_type == CHECKOUT_CHANGED:
        event_id = f"{event_id}@{now.isoformat()}"
    return Callback(event_id, event_type, body, is_signed=header is not None)


def checkout_id_of(callback: Callback) -> str:
    """The checkout that it is about, or ""."""
    told = _read(callback.body)
    if callback.event_type == CHECKOUT_CHANGED:
        return _safe(told.get("id"))
    if callback.event_type.startswith(_CHECKOUT_EVENTS):
        return _safe(_object_in(told, "object").get("id"))
    return ""


def client_transaction_id_of(callback: Callback, *, merchant_code: str) -> str:
    """The reader's payment that it is about, or "" if it is not this merchant's."""
    if callback.event_type != READER_CHANGED:
        return ""
    payload = _object_in(_read(callback.body), "payload")
    told = payload.get("client_transaction_id")
    is_ours = payload.get("merchant_code") == merchant_code and isinstance(told, str)
    return str(told) if is_ours else ""


def _check_signature(header: str, body: bytes, *, secrets: Sequence[str], now: datetime) -> None:
    pairs = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in pairs if name == "t"]
    if len(times) != 1 or not times[0].isascii() or not times[0].isdigit():
        raise CallbackRefused("unsigned")
    signed = b"v1:" + times[0].encode() + b":" + body
    expected = [hmac.new(s.encode(), signed, hashlib.sha256).hexdigest().encode() for s in secrets]
    given = [value.encode() for name, _, value in pairs if name == "v1"]
    if not any(hmac.compare_digest(ours, theirs) for ours in expected for theirs in given):
        raise CallbackRefused("unsigned")
    age_seconds = now.timestamp() - int(times[0])
    if abs(age_seconds) > SKEW_SECONDS_MAX:
        raise CallbackRefused("stale" if age_seconds > 0 else "future")


def _read(body: bytes) -> Mapping[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CallbackRefused("malformed") from error
    if not isinstance(told, dict):
        raise CallbackRefused("malformed")
    return told


def _object_in(told: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = told.get(name)
    return found if isinstance(found, dict) else {}


def _safe(id_: object) -> str:
    return id_ if isinstance(id_, str) and _SAFE_ID.fullmatch(id_) else ""
