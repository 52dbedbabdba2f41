"""Events: what happened, with the object as it was then."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from tests.sandboxes.stripe.errors import not_found
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.objects import (
    Clock,
    Json,
    ListQuery,
    list_page,
    new_id,
    read_list_query,
)


@dataclass(frozen=True, slots=True)
class Cause:
    """The call that made something happen; nothing in it if it was the customer or time."""

    request_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    type: str
    created: int
    api_version: str
    data: Json
    cause: Cause
    pending_webhooks: int
    id: str = field(default_factory=lambda: new_id("evt"))

    def as_json(self) -> Json:
        """As it is delivered and read."""
        return {
            "id": self.id,
            "object": "event",
            "api_version": self.api_version,
            "created": self.created,
            "data": self.data,
            "livemode": False,
            "pending_webhooks": self.pending_webhooks,
            "request": {"id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key},
            "type": self.type,
        }


class EventLog:
    """All events in the order in which they happened. Whoever listens hears of each once."""

    def __init__(
        self,
        clock: Clock,
        *,
        api_version: str,
        listen: Callable[[Event], None],
        count_listeners: Callable[[str], int],
        double_probability: float,
        seed: int,
    ) -> None:
        self.by_id: dict[str, Event] = {}
        self._clock = clock
        self._api_version = api_version
        self._listen = listen
        self._count_listeners = count_listeners
        self._double_probability = double_probability
        self._random = Random(seed)
        self._cause = Cause()

    @contextmanager
    def caused_by(self, cause: Cause) -> Iterator[None]:
        """Notes which call everything told inside is due to. Nothing may be awaited inside."""
        self._cause = cause
        try:
            yield
        finally:
            self._cause = Cause()

    def tell(self, type_: str, state: Json, *, before: Json | None = None) -> Event:
        """Records what happened to an object; now and then, as at Stripe, as two events."""
        data: Json = {"object": deepcopy(state)}
        if before is not None:
            data["previous_attributes"] = before
        event = self._record(type_, data)
        if self._random.random() < self._double_probability:
            self._record(type_, data)
        return event

    def _record(self, type_: str, data: Json) -> Event:
        event = Event(
            type=type_,
            created=self._clock(),
            api_version=self._api_version,
            data=data,
            cause=self._cause,
            pending_webhooks=self._count_listeners(type_),
        )
        self.by_id[event.id] = event
        self._listen(event)
        return event

    def get(self, id_: str) -> Event:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found("event", id_)
        return self.by_id[id_]

    def page(self, request: "ListEvents") -> Json:
        """A page, newest first."""
        wanted = [event for event in self.by_id.values() if request.wants(event.type)]
        return list_page(wanted, request.query, url="/v1/events")


@dataclass(frozen=True, slots=True)
class ListEvents:
    """GET /v1/events."""

    query: ListQuery
    types: list[str]

    @classmethod
    def read(cls, params: Params) -> "ListEvents":
        """Reads its parameters: `type` (`charge.*` too) or `types`."""
        type_ = params.string("type")
        return cls(read_list_query(params), params.strings("types") if type_ is None else [type_])

    def wants(self, type_: str) -> bool:
        """Whether an event of this type is asked for."""
        return not self.types or any(matches(pattern, type_) for pattern in self.types)


def matches(pattern: str, type_: str) -> bool:
    """Whether a type is meant by a pattern: itself, `charge.*`, or `*`."""
    if pattern.endswith("*"):
        return type_.startswith(pattern[:-1])
    return type_ == pattern
