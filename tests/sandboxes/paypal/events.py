"""Events: what happened, with the object as it was then."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from tests.sandboxes.paypal.objects import Json, new_id, now, text_of

RESOURCE_TYPE_BY_START = {
    "CHECKOUT.ORDER": "checkout-order",
    "PAYMENT.AUTHORIZATION": "authorization",
    "PAYMENT.CAPTURE": "capture",
    "PAYMENT.REFUND": "refund",
}


class Shown(Protocol):
    """Whatever has a form on the wire."""

    def as_json(self, api_url: str) -> Json:
        """As it is now."""
        ...


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    event_type: str
    resource: Json
    id: str = field(default_factory=lambda: f"WH-{new_id()}-{new_id()}")
    create_time: datetime = field(default_factory=now)

    def as_json(self) -> dict[str, Any]:
        """As it is delivered."""
        start = ".".join(self.event_type.split(".")[:2])
        is_refund = self.event_type.endswith(".REFUNDED")
        return {
            "id": self.id,
            "event_version": "1.0",
            "create_time": text_of(self.create_time),
            "resource_type": "refund" if is_refund else RESOURCE_TYPE_BY_START.get(start, "unknown"),
            "resource_version": "2.0",
            "event_type": self.event_type,
            "summary": self.event_type.replace(".", " ").capitalize(),
            "resource": self.resource,
            "links": [],
        }


class EventLog:
    """All events in the order in which they happened. Whoever listens hears of each once."""

    def __init__(self, listen: Callable[[Event], None]) -> None:
        self.by_id: dict[str, Event] = {}
        self.api_url = ""
        self._listen = listen

    def tell(self, event_type: str, what: Shown) -> Event:
        """Records what happened to an object."""
        return self.tell_json(event_type, what.as_json(self.api_url))

    def tell_json(self, event_type: str, resource: Json) -> Event:
        """Records anything, known here or not."""
        event = Event(event_type, resource)
        self.by_id[event.id] = event
        self._listen(event)
        return event
