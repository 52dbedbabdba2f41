"""Callbacks on their way: unsigned, and saying next to nothing."""

import json
from datetime import UTC, datetime
from uuid import uuid4

from tests.sandboxes.deliveries import Deliveries, Message
from tests.sandboxes.sumup.checkouts import Checkout
from tests.sandboxes.sumup.fields import iso
from tests.sandboxes.sumup.readers import ReaderCheckout
from tests.sandboxes.sumup.transactions import Json


class Callbacks:
    """Hands each callback to the deliveries. `url`: where they go instead, if it is set."""

    def __init__(self, deliveries: Deliveries, url: str, merchant_code: str) -> None:
        self._deliveries = deliveries
        self._url = url
        self._merchant_code = merchant_code

    def tell_checkout(self, checkout: Checkout) -> None:
        """That something changed; what it was must be asked."""
        body = {"event_type": "CHECKOUT_STATUS_CHANGED", "id": checkout.id}
        self.send(checkout.return_url, body, label=f"{checkout.id} {checkout.status}")

    def tell_reader(self, checkout: ReaderCheckout) -> None:
        """What came of a payment at a reader."""
        assert checkout.transaction is not None
        is_paid = checkout.transaction.status == "SUCCESSFUL"
        body = {
            "id": str(uuid4()),
            "event_type": "solo.transaction.updated",
            "timestamp": iso(datetime.now(UTC)),
            "payload": {
                "client_transaction_id": checkout.client_id,
                "merchant_code": self._merchant_code,
                "status": "successful" if is_paid else "failed",
                "transaction_id": checkout.transaction.id,
            },
        }
        self.send(checkout.return_url, body, label=f"{checkout.client_id} {is_paid}")

    def send(self, url: str | None, body: Json, *, label: str) -> None:
        """Has any callback delivered, as unreliably as the deliveries are set."""
        to = self._url or url
        if to:
            self._deliveries.send(Message(label, to, json.dumps(body).encode(), _headers))


def _headers() -> dict[str, str]:
    return {"Content-Type": "application/json", "User-Agent": "SumUp-Webhooks/1.0"}
