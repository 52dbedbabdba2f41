"""What was called: every call of the provider's own API, so that a test can count."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One call, and what came of it."""

    method: str
    path: str
    route: str
    """The path with its ids left open, as the provider documents it."""
    request_id: str
    idempotency_key: str | None
    api_version: str | None
    status: int | None
    """Of the answer; None if the connection was cut instead."""
    is_replay: bool
    fault: str | None


class CallLog:
    """The calls in the order in which they ended."""

    def __init__(self) -> None:
        self.records: list[CallRecord] = []

    def add(self, record: CallRecord) -> None:
        """Remembers a call."""
        self.records.append(record)

    def counts_as_json(self) -> dict[str, Any]:
        """How many calls there were by route and by idempotency key."""
        keys = Counter(record.idempotency_key for record in self.records if record.idempotency_key)
        return {
            "by_route": dict(Counter(f"{record.method} {record.route}" for record in self.records)),
            "by_idempotency_key": dict(keys),
        }

    def records_as_json(self, *, idempotency_key: str | None = None) -> list[dict[str, Any]]:
        """All calls, or those with one key."""
        return [
            asdict(record)
            for record in self.records
            if idempotency_key in (None, record.idempotency_key)
        ]
