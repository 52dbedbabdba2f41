"""Signed events on their way to the webhooks that want them."""

import base64
import json
import zlib
from collections.abc import Sequence
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from tests.sandboxes.deliveries import Deliveries, Message
from tests.sandboxes.paypal.certificates import Signer
from tests.sandboxes.paypal.events import Event
from tests.sandboxes.paypal.objects import now, text_of
from tests.sandboxes.paypal.settings import Webhook

USER_AGENT = "PayPal/AUHR-214.0-56099916"


class Webhooks:
    """Hands each event to the deliveries, once for every webhook that wants its type."""

    def __init__(self, deliveries: Deliveries, webhooks: Sequence[Webhook], signer: Signer) -> None:
        self.all = list(webhooks)
        self.certificate_url = ""
        self._deliveries = deliveries
        self._signer = signer

    def send(self, event: Event) -> None:
        """Has an event delivered, as unreliably as the deliveries are set."""
        for webhook in self._wanting(event.event_type):
            self._deliveries.send(self.message(event, webhook))

    def resend(self, event: Event) -> None:
        """One more copy at once, as PayPal's resend does."""
        for webhook in self._wanting(event.event_type):
            self._deliveries.send_once(self.message(event, webhook))

    def message(self, event: Event, webhook: Webhook) -> Message:
        """An event for one webhook. The bytes stay the same, the signature is new for each attempt."""
        body = json.dumps(event.as_json()).encode()

        def headers() -> dict[str, str]:
            return signed_headers(
                body,
                webhook_id=webhook.webhook_id,
                key=self._signer.key,
                certificate_url=self.certificate_url,
                time_text=text_of(now()),
            )

        return Message(event.id, webhook.url, body, headers)

    def _wanting(self, event_type: str) -> list[Webhook]:
        return [
            webhook
            for webhook in self.all
            if any(_matches(pattern, event_type) for pattern in webhook.event_types)
        ]


def signed_headers(
    body: bytes, *, webhook_id: str, key: RSAPrivateKey, certificate_url: str, time_text: str
) -> dict[str, str]:
    """What PayPal sends along: the signature is over id, time, webhook and the checksum of the body."""
    transmission_id = str(uuid4())
    message = f"{transmission_id}|{time_text}|{webhook_id}|{zlib.crc32(body)}".encode()
    signature = key.sign(message, PKCS1v15(), SHA256())
    return {
        "Content-Type": "application/json",
        "User-Agent": USER_AGENT,
        "PAYPAL-TRANSMISSION-ID": transmission_id,
        "PAYPAL-TRANSMISSION-TIME": time_text,
        "PAYPAL-TRANSMISSION-SIG": base64.b64encode(signature).decode(),
        "PAYPAL-CERT-URL": certificate_url,
        "PAYPAL-AUTH-ALGO": "SHA256withRSA",
    }


def _matches(pattern: str, event_type: str) -> bool:
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return event_type == pattern
