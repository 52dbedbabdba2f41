"""PayPal-Request-Id: the same call under the same id has one effect, and tells what became of it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.sandboxes.paypal.errors import in_progress, invalid, unprocessable
from tests.sandboxes.paypal.events import Shown

REQUEST_ID_CHARS_MAX = 108


@dataclass(slots=True)
class Execution:
    """A call under an id: in progress while it has made nothing."""

    body_hash: str
    made: Shown | None = None


class RequestIds:
    """The ids of one account, each for one path. They never grow old here; `forget` is their end."""

    def __init__(self) -> None:
        self._executions: dict[tuple[str, str], Execution] = {}

    def find(self, request_id: str, *, path: str, body: bytes) -> Shown | None:
        """What the call made when it was first made, as it is now; None if the id is new."""
        if not 1 <= len(request_id) <= REQUEST_ID_CHARS_MAX:
            raise invalid("INVALID_STRING_LENGTH", field="PayPal-Request-Id", value=request_id)
        known = self._executions.get((path, request_id))
        if known is None:
            return None
        if known.made is None:
            raise in_progress()
        if known.body_hash != _hash(body):
            # Not documented; a caller who does this is in error in any case.
            raise unprocessable("DUPLICATE_REQUEST_ID")
        return known.made

    @contextmanager
    def executing(self, request_id: str, *, path: str, body: bytes) -> Iterator[Execution]:
        """Holds the id while a call is executed; one that makes nothing leaves the id unused."""
        execution = Execution(_hash(body))
        self._executions[path, request_id] = execution
        try:
            yield execution
        finally:
            if execution.made is None:
                del self._executions[path, request_id]

    def forget(self, request_id: str) -> None:
        """Lets an id go, as PayPal does after 6 hours for orders: its next use is a new call."""
        for place in [place for place in self._executions if place[1] == request_id]:
            del self._executions[place]


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
