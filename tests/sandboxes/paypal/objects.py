"""Orders, authorizations, captures and refunds: what they hold, and how they look on the wire."""

import secrets
import string
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.sandboxes.paypal.money import Money

Json = dict[str, Any]

ID_CHARS = 17
AUTHORIZATION_LIFE = timedelta(days=29)


def new_id() -> str:
    """A fresh id. Never from the seed: a second sandbox must not name its objects like the first."""
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(ID_CHARS))


def now() -> datetime:
    """Whole seconds, as PayPal tells times."""
    return datetime.now(UTC).replace(microsecond=0)


def text_of(time: datetime) -> str:
    """A time as it is on the wire."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def link(href: str, rel: str, method: str = "GET") -> Json:
    """One of the links that an object carries."""
    return {"href": href, "rel": rel, "method": method}


@dataclass(slots=True)
class Refund:
    """Money given back."""

    order: "Order"
    capture: "Capture"
    amount: Money
    custom_id: str | None
    status: str = "COMPLETED"
    reason: str | None = None
    id: str = field(default_factory=new_id)
    create_time: datetime = field(default_factory=now)

    def as_json(self, api_url: str) -> Json:
        """As it is on the wire. It names its capture, and not its order."""
        return {
            "id": self.id,
            "amount": self.amount.as_json(),
            **({"custom_id": self.custom_id} if self.custom_id else {}),
            "status": self.status,
            **({"status_details": {"reason": self.reason}} if self.reason else {}),
            "create_time": text_of(self.create_time),
            "update_time": text_of(now()),
            "links": [
                link(f"{api_url}/v2/payments/refunds/{self.id}", "self"),
                link(f"{api_url}/v2/payments/captures/{self.capture.id}", "up"),
            ],
        }


@dataclass(slots=True)
class Capture:
    """Money taken, or about to be."""

    order: "Order"
    amount: Money
    status: str
    authorization: "Authorization | None" = None
    reason: str | None = None
    are_refunds_slow: bool = False
    id: str = field(default_factory=new_id)
    create_time: datetime = field(default_factory=now)

    @property
    def refunded_units(self) -> int:
        """What was given back, or is on its way."""
        return sum(
            refund.amount.units
            for refund in self.order.refunds
            if refund.capture is self and refund.status in ("COMPLETED", "PENDING")
        )

    def as_json(self, api_url: str) -> Json:
        """As it is on the wire."""
        related = {"order_id": self.order.id}
        if self.authorization is not None:
            related["authorization_id"] = self.authorization.id
        return {
            "id": self.id,
            "amount": self.amount.as_json(),
            **self.order.labels(),
            "final_capture": True,
            "status": self.status,
            **({"status_details": {"reason": self.reason}} if self.reason else {}),
            "supplementary_data": {"related_ids": related},
            "create_time": text_of(self.create_time),
            "update_time": text_of(now()),
            "links": [
                link(f"{api_url}/v2/payments/captures/{self.id}", "self"),
                link(f"{api_url}/v2/payments/captures/{self.id}/refund", "refund", "POST"),
                link(f"{api_url}/v2/checkout/orders/{self.order.id}", "up"),
            ],
        }


@dataclass(slots=True)
class Authorization:
    """Money held."""

    order: "Order"
    amount: Money
    status: str = "CREATED"
    id: str = field(default_factory=new_id)
    create_time: datetime = field(default_factory=now)

    def as_json(self, api_url: str) -> Json:
        """As it is on the wire."""
        path = f"{api_url}/v2/payments/authorizations/{self.id}"
        return {
            "id": self.id,
            "amount": self.amount.as_json(),
            **self.order.labels(),
            "status": self.status,
            "supplementary_data": {"related_ids": {"order_id": self.order.id}},
            "expiration_time": text_of(self.create_time + AUTHORIZATION_LIFE),
            "create_time": text_of(self.create_time),
            "update_time": text_of(now()),
            "links": [
                link(path, "self"),
                link(f"{path}/capture", "capture", "POST"),
                link(f"{path}/void", "void", "POST"),
                link(f"{path}/reauthorize", "reauthorize", "POST"),
                link(f"{api_url}/v2/checkout/orders/{self.order.id}", "up"),
            ],
        }


@dataclass(slots=True)
class Order:
    """What is to be paid once. instrument: how the customer's means of payment will behave."""

    intent: str
    amount: Money
    is_hosted: bool
    custom_id: str | None
    invoice_id: str | None
    description: str | None
    reference_id: str = "default"
    status: str = "CREATED"
    instrument: str = "good"
    is_gone: bool = False
    authorizations: list[Authorization] = field(default_factory=list)
    captures: list[Capture] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    id: str = field(default_factory=new_id)
    create_time: datetime = field(default_factory=now)

    def labels(self) -> Json:
        """The caller's own ids."""
        labels = {"custom_id": self.custom_id, "invoice_id": self.invoice_id}
        return {name: label for name, label in labels.items() if label is not None}

    def as_json(self, api_url: str) -> Json:
        """As it is on the wire, in full."""
        unit: Json = {
            "reference_id": self.reference_id,
            **self.labels(),
            **({"description": self.description} if self.description else {}),
            "amount": self.amount.as_json(),
        }
        payments = {
            name: [each.as_json(api_url) for each in found]
            for name, found in self._payments().items()
            if found
        }
        if payments:
            unit["payments"] = payments
        return {
            "id": self.id,
            "intent": self.intent,
            "status": self.status,
            "purchase_units": [unit],
            "create_time": text_of(self.create_time),
            "links": self._links(api_url),
        }

    def _payments(self) -> dict[str, list[Any]]:
        return {
            "authorizations": self.authorizations,
            "captures": self.captures,
            "refunds": self.refunds,
        }

    def _links(self, api_url: str) -> list[Json]:
        path = f"{api_url}/v2/checkout/orders/{self.id}"
        links = [link(path, "self")]
        if self.status in ("CREATED", "PAYER_ACTION_REQUIRED"):
            page = f"{api_url}/checkoutnow?token={self.id}"
            links.append(link(page, "payer-action" if self.is_hosted else "approve"))
        if self.status == "APPROVED":
            act = self.intent.lower()
            links.append(link(f"{path}/{act}", act, "POST"))
        return links
