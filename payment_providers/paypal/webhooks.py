"""Is it PayPal that calls? Source: PayPal's guide to verifying webhooks by oneself, 2026."""

import base64
import binascii
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from payment_providers.port import Callback, CallbackRefused

AGE_MAX = timedelta(days=3, hours=1)
"""PayPal repeats for three days and does not say that a repetition bears a time of its own. Older ones
could not be told from new ones for ever: request ids are remembered for seven days."""
SKEW_MAX = timedelta(minutes=5)
"""How far PayPal's clock may be ahead of ours."""

_ALGORITHM = "SHA256withRSA"
_CERTIFICATE_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")


@dataclass(frozen=True, slots=True)
class Transmission:
    """One delivery as its headers describe it; nothing of it is trusted yet."""

    transmission_id: str
    time_text: str
    certificate_url: str
    signature: bytes

    def signed_message(self, webhook_id: str, body: bytes) -> bytes:
        """What PayPal signs for one of our webhooks."""
        checksum = zlib.crc32(body)
        return f"{self.transmission_id}|{self.time_text}|{webhook_id}|{checksum}".encode()


def transmission_of(
    headers: Mapping[str, str], *, certificate_urls: Sequence[str], now: datetime
) -> Transmission:
    """The delivery, if its headers are all there, its time is near and its certificate is at PayPal's.

    Raises:
        CallbackRefused: otherwise.
    """
    sent = Transmission(
        transmission_id=headers.get("paypal-transmission-id", ""),
        time_text=headers.get("paypal-transmission-time", ""),
        certificate_url=headers.get("paypal-cert-url", ""),
        signature=_signature(headers.get("paypal-transmission-sig", "")),
    )
    is_rsa = headers.get("paypal-auth-algo") == _ALGORITHM
    if not (is_rsa and sent.transmission_id and _is_at_paypal(sent.certificate_url, certificate_urls)):
        raise CallbackRefused("unsigned")
    _check_time(sent.time_text, now)
    return sent


def check_signature(
    sent: Transmission, body: bytes, *, key: RSAPublicKey, webhook_ids: Sequence[str]
) -> None:
    """Passes what was signed for one of our webhooks.

    Raises:
        CallbackRefused: it was not.
    """
    if not any(_is_signed(sent, sent.signed_message(each, body), key) for each in webhook_ids):
        raise CallbackRefused("unsigned")


def event_of(body: bytes) -> Callback:
    """The event in a body whose signature was checked.

    Raises:
        CallbackRefused: it is none.
    """
    try:
        event = json.loads(body)
        event_id, event_type = event["id"], event["event_type"]
    except (ValueError, TypeError, KeyError) as error:
        raise CallbackRefused("malformed") from error
    if not isinstance(event_id, str) or not isinstance(event_type, str):
        raise CallbackRefused("malformed")
    return Callback(event_id=event_id, event_type=event_type, body=body, is_signed=True)


def _signature(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CallbackRefused("unsigned") from error


def _is_at_paypal(url: str, allowed_urls: Sequence[str]) -> bool:
    """Host and path to the letter: a wider rule would let somebody else's host or upload in."""
    return any(
        url.startswith(allowed) and _CERTIFICATE_ID.fullmatch(url[len(allowed) :])
        for allowed in allowed_urls
    )


def _check_time(time_text: str, now: datetime) -> None:
    try:
        age = now - datetime.fromisoformat(time_text)
    except (ValueError, TypeError) as error:  # not a time, or one without its zone
        raise CallbackRefused("unsigned") from error
    if age > AGE_MAX:
        raise CallbackRefused("stale")
    if -age > SKEW_MAX:
        raise CallbackRefused("future")


def _is_signed(sent: Transmission, message: bytes, key: RSAPublicKey) -> bool:
    try:
        key.verify(sent.signature, message, PKCS1v15(), SHA256())
    except InvalidSignature:
        return False
    return True
