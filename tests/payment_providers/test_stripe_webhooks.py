"""Who may tell us something in Stripe's name."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import stripe

from payment_providers.port import Callback, CallbackRefused
from payment_providers.stripe.webhooks import SKEW_SECONDS_MAX, verified

SECRET = "whsec_test_secret"
OLD_SECRET = "whsec_rolled_away"
BODY = b'{\n  "id": "evt_1",\n  "object": "event",\n  "type": "payment_intent.succeeded"\n}'
TIME = datetime.fromtimestamp(1_700_000_000, UTC)

KNOWN_SIGNATURE = "a6cc6e0b815ea10c8600a17ca52265e2562f6075a9c510672ef4724d39c157e6"
"""HMAC-SHA256 under SECRET of "1700000000." and BODY, worked out apart from the code under test."""


def signature(secret: str = SECRET, time_text: str = "1700000000", body: bytes = BODY) -> str:
    """By the formula in Stripe's documentation, from the two hashes that HMAC is made of."""
    key = secret.encode().ljust(64, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + time_text.encode() + b"." + body)
    return hashlib.sha256(bytes(byte ^ 0x5C for byte in key) + inner.digest()).hexdigest()


def told(header: str | None, *, body: bytes = BODY, at: datetime = TIME) -> Callback:
    headers = {} if header is None else {"stripe-signature": header}
    return verified(headers, body, secrets=(SECRET,), now=at)


def header_of(*signatures: str, time_text: str = "1700000000") -> str:
    return ",".join([f"t={time_text}", *(f"v1={each}" for each in signatures)])


def test_a_known_vector_is_accepted() -> None:
    assert signature() == KNOWN_SIGNATURE
    assert told(header_of(KNOWN_SIGNATURE)) == Callback(
        "evt_1", "payment_intent.succeeded", BODY, is_signed=True
    )


def test_the_official_sdk_accepts_the_same_and_refuses_the_same() -> None:
    check: Any = stripe.WebhookSignature.verify_header
    assert check(BODY.decode(), header_of(KNOWN_SIGNATURE), SECRET, tolerance=None)
    with pytest.raises(stripe.SignatureVerificationError):
        check(BODY.decode(), header_of(signature(OLD_SECRET)), SECRET, tolerance=None)
    with pytest.raises(CallbackRefused):
        told(header_of(signature(OLD_SECRET)))


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"evt_1", b"evt_2"), b""])
def test_not_a_byte_of_the_body_may_differ(body: bytes) -> None:
    with pytest.raises(CallbackRefused, match="unsigned"):
        told(header_of(KNOWN_SIGNATURE), body=body)


def test_one_good_signature_among_several_is_enough() -> None:
    assert told(header_of("0" * 64, KNOWN_SIGNATURE)).is_signed
    assert told(header_of(KNOWN_SIGNATURE, signature(OLD_SECRET))).is_signed
    assert told("v0=" + "0" * 64 + "," + header_of(KNOWN_SIGNATURE)).is_signed


def test_both_secrets_count_while_one_is_being_rolled() -> None:
    for secret in (SECRET, OLD_SECRET):
        headers = {"stripe-signature": header_of(signature(secret))}
        assert verified(headers, BODY, secrets=(SECRET, OLD_SECRET), now=TIME).is_signed
        with pytest.raises(CallbackRefused, match="unsigned"):
            verified(headers, BODY, secrets=("whsec_other",), now=TIME)
    with pytest.raises(CallbackRefused, match="unsigned"):
        verified({"stripe-signature": header_of(signature())}, BODY, secrets=(), now=TIME)


@pytest.mark.parametrize(
    ("late_seconds", "reason"), [(SKEW_SECONDS_MAX + 1, "stale"), (-SKEW_SECONDS_MAX - 1, "future")]
)
def test_an_old_and_a_future_call_are_refused(late_seconds: int, reason: str) -> None:
    with pytest.raises(CallbackRefused, match=reason):
        told(header_of(KNOWN_SIGNATURE), at=TIME + timedelta(seconds=late_seconds))


@pytest.mark.parametrize("late_seconds", [SKEW_SECONDS_MAX, -SKEW_SECONDS_MAX])
def test_within_five_minutes_clocks_may_differ(late_seconds: int) -> None:
    assert told(header_of(KNOWN_SIGNATURE), at=TIME + timedelta(seconds=late_seconds)).is_signed


def test_the_time_is_signed_too() -> None:
    with pytest.raises(CallbackRefused, match="unsigned"):
        told(header_of(KNOWN_SIGNATURE, time_text="1700000001"))


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "nonsense",
        "t=,v1=",
        "t=1700000000",
        f"v1={'0' * 64}",
        f"t=1700000000,v0={'0' * 64}",
        f"t=17e8,v1={'0' * 64}",
        f"t=-1700000000,v1={'0' * 64}",
        f"t=\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660,v1={'0' * 64}",
        f"t=1700000000,t=1700000000,v1={'0' * 64}",
        f"t=1700000000,v1=é{'0' * 62}",
    ],
)
def test_a_header_that_is_not_stripes_is_refused(header: str | None) -> None:
    with pytest.raises(CallbackRefused, match="unsigned"):
        told(header)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"null", b"[]", b'"text"', b'{"id": "evt_1"}', b'{"id": 1, "type": "x"}']
)
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackRefused, match="malformed"):
        told(header_of(signature(body=body)), body=body)


def test_the_event_is_read_whatever_else_it_has() -> None:
    body = json.dumps({"type": "refund.created", "id": "evt_2", "data": {"object": {}}}).encode()
    event = told(header_of(signature(body=body)), body=body)
    assert (event.event_id, event.event_type, event.body) == ("evt_2", "refund.created", body)
