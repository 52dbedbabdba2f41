"""A stored shop with payments and refunds at a provider."""

from datetime import timedelta

from tests.history_service.stored_shop import StoredShop

HOUR = timedelta(hours=1)
CAPTURED, AUTHORIZED, STARTING = 6, 4, 1
"""States of a payment by their numbers."""

REFUND_REQUESTED, REFUND_PENDING, REFUND_SUCCEEDED, REFUND_FAILED = 1, 2, 3, 4
"""Likewise of a refund."""


class StoredBooks(StoredShop):
    """Writes what a provider has taken and given back."""

    def tender(self, order_id: str, *, ordinal: int = 1, **other: object) -> str:
        """A captured payment of 2.55 that has rested for an hour; returns its id."""
        payment_id = f"{order_id}.{ordinal}"
        columns = {
            "payment_id": payment_id,
            "order_id": order_id,
            "ordinal": ordinal,
            "provider": "stripe",
            "flow": 1,
            "capture_mode": 1,
            "currency_code": "GBP",
            "amount_minor": 255,
            "wish": "{}",
            "create_time": self.now - HOUR,
            "update_time": self.now - HOUR,
            "state": CAPTURED,
            "provider_reference": f"pi-{payment_id}",
            "authorized_minor": 0,
            "captured_minor": 255,
            "refunded_minor": 0,
            "refund_pending_minor": 0,
            "failure_code": "",
            "key_generation": 1,
            **other,
        }
        self.insert("payments", **columns)
        return payment_id

    def give_back(self, payment_id: str, *, state: int, **other: object) -> str:
        """A refund of 2.55 likewise, of the first payment of its order; returns its id."""
        order_id = payment_id.removesuffix(".1")
        columns = {
            "refund_id": f"{order_id}.r1",
            "payment_id": payment_id,
            "order_id": order_id,
            "ordinal": 1,
            "amount_minor": 255,
            "lines": "[]",
            "gifted_minor": 0,
            "create_time": self.now - HOUR,
            "update_time": self.now - HOUR,
            "state": state,
            "provider_reference": "",
            "failure_code": "",
            **other,
        }
        self.insert("refunds", **columns)
        return f"{order_id}.r1"
