"""Signed events on their way to the endpoints that want them."""

import hashlib
import hmac
import json
import time
from collections.abc import Sequence

from tests.sandboxes.deliveries import Deliveries, Message
from tests.sandboxes.stripe.events import Event, matches
from tests.sandboxes.stripe.settings import WebhookEndpoint

USER_AGENT = "Stripe/1.0 (+https://stripe.com/docs/webhooks)"
UNUSED_SCHEME = "v0=" + 64 * "0"
"""Signatures of a scheme that nobody may trust come along, as for test events at Stripe."""


class Webhooks:
    """Hands each event to the deliveries, once for every endpoint that wants its type."""

    def __init__(self, deliveries: Deliveries, endpoints: Sequence[WebhookEndpoint]) -> None:
        self.endpoints = list(endpoints)
        self._deliveries = deliveries

    def count_listeners(self, type_: str) -> int:
        """How many endpoints want a type."""
        return len(self._wanting(type_))

    def send(self, event: Event) -> None:
        """Has an event delivered, as unreliably as the deliveries are set."""
        for endpoint in self._wanting(event.type):
            self._deliveries.send(message(event, endpoint))

    def resend(self, event: Event) -> None:
        """One more copy at once, as by hand in the Dashboard."""
        for endpoint in self._wanting(event.type):
            self._deliveries.send_once(message(event, endpoint))

    def _wanting(self, type_: str) -> list[WebhookEndpoint]:
        return [
            endpoint
            for endpoint in self.endpoints
            if any(matches(pattern, type_) for pattern in endpoint.enabled_events)
        ]


def message(event: Event, endpoint: WebhookEndpoint) -> Message:
    """An event for one endpoint. The bytes stay the same, the signature is new for each attempt."""
    body = json.dumps(event.as_json(), indent=2).encode()

    def headers() -> dict[str, str]:
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Stripe-Signature": signature_header(body, endpoint.secrets, sent_seconds=int(time.time())),
            "User-Agent": USER_AGENT,
        }

    return Message(event.id, endpoint.url, body, headers)


def signature_header(body: bytes, secrets: Sequence[str], *, sent_seconds: int) -> str:
    """Stripe-Signature: the time of sending, and one v1 for each secret."""
    signed = f"{sent_seconds}.".encode() + body
    signatures = [f"v1={hmac.new(s.encode(), signed, hashlib.sha256).hexdigest()}" for s in secrets]
    return ",".join([f"t={sent_seconds}", *signatures, UNUSED_SCHEME])
