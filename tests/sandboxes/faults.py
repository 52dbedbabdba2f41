"""How calls go wrong: by chance, seeded, or the next one as a test orders."""

from collections import Counter
from dataclasses import dataclass, replace
from enum import StrEnum
from random import Random
from typing import Any


class FaultKind(StrEnum):
    """What can happen to one call. The effect is what the call was to change."""

    ERROR_BEFORE = "error_before"
    """500, nothing executed, nothing stored under the idempotency key: the same call may succeed."""
    ERROR_STORED = "error_stored"
    """500 without the effect, stored under the idempotency key: the key will only ever say 500."""
    ERROR_AFTER = "error_after"
    """500 with the effect, stored under the idempotency key."""
    RESET_BEFORE = "reset_before"
    """The connection is reset, nothing executed."""
    RESET_AFTER = "reset_after"
    """The connection is reset instead of the answer; the effect is there and its answer stored."""
    STALL_BEFORE = "stall_before"
    """No answer for longer than the client waits, nothing executed."""
    STALL_AFTER = "stall_after"
    """The effect at once, no answer for longer than the client waits."""
    LATE_EFFECT = "late_effect"
    """No answer, and the effect only after the client has gone; its key is in use until then."""
    KEY_IN_USE = "key_in_use"
    """409 as if another call with the same idempotency key were being executed."""
    RATE_LIMITED = "rate_limited"
    """429 with Retry-After, nothing executed."""
    UNAVAILABLE = "unavailable"
    """503 from something in front of the provider: a page of HTML, nothing executed."""


NEEDS_KEY = {FaultKind.KEY_IN_USE, FaultKind.ERROR_STORED}
"""What cannot happen to a call without an idempotency key."""


@dataclass(frozen=True, slots=True)
class FaultSettings:
    """How often what goes wrong."""

    probability: float = 0.0
    kinds: tuple[FaultKind, ...] = tuple(FaultKind)
    seed: int = 0
    stall_seconds: float = 30.0
    """Must exceed the client's timeout. A stalled call ends when the client has gone."""
    late_seconds: float = 0.3
    """From the client's leaving to the late effect."""
    retry_after_seconds: int = 1


@dataclass(frozen=True, slots=True)
class ArmedFault:
    """One that is to happen to the next calls of a method whose path starts so."""

    kind: FaultKind
    method: str
    path_prefix: str
    remaining_count: int = 1

    def hits(self, method: str, path: str) -> bool:
        """Whether it is meant for this call."""
        return method == self.method and path.startswith(self.path_prefix)


class Faults:
    """Decides for each call whether something happens to it, and counts what did."""

    def __init__(self, settings: FaultSettings | None = None) -> None:
        self._armed: list[ArmedFault] = []
        self.counts: Counter[FaultKind] = Counter()
        self.configure(settings or FaultSettings())

    def configure(self, settings: FaultSettings) -> None:
        """Replaces the settings and starts the seeded chance anew."""
        self.settings = settings
        self.random = Random(settings.seed)

    def arm(self, fault: ArmedFault) -> None:
        """Orders a fault; what is armed first happens first, before any chance."""
        self._armed.append(fault)

    def draw(self, method: str, path: str, *, has_key: bool) -> FaultKind | None:
        """What happens to this call, if anything."""
        kind = self._take_armed(method, path) or self._by_chance(has_key=has_key)
        if kind is not None:
            self.counts[kind] += 1
        return kind

    def _take_armed(self, method: str, path: str) -> FaultKind | None:
        for index, fault in enumerate(self._armed):
            if fault.hits(method, path):
                self._armed[index : index + 1] = _what_remains(fault)
                return fault.kind
        return None

    def _by_chance(self, *, has_key: bool) -> FaultKind | None:
        if self.random.random() >= self.settings.probability:
            return None
        kinds = [kind for kind in self.settings.kinds if has_key or kind not in NEEDS_KEY]
        return self.random.choice(kinds) if kinds else None

    def as_json(self) -> dict[str, Any]:
        """The settings, and how often each kind has happened."""
        return {
            "probability": self.settings.probability,
            "kinds": list(self.settings.kinds),
            "seed": self.settings.seed,
            "stall_seconds": self.settings.stall_seconds,
            "late_seconds": self.settings.late_seconds,
            "retry_after_seconds": self.settings.retry_after_seconds,
            "counts": dict(self.counts),
        }


def _what_remains(fault: ArmedFault) -> list[ArmedFault]:
    if fault.remaining_count == 1:
        return []
    return [replace(fault, remaining_count=fault.remaining_count - 1)]


def settings_from_json(body: dict[str, Any]) -> FaultSettings:
    """The settings that a control call asks for; what it does not name has its default."""
    kinds = tuple(FaultKind(kind) for kind in body.pop("kinds", FaultKind))
    return FaultSettings(kinds=kinds, **body)


def armed_from_json(body: dict[str, Any]) -> ArmedFault:
    """The fault that a control call orders: kind, method, path_prefix and, if not 1, remaining_count."""
    return ArmedFault(kind=FaultKind(body.pop("kind")), **body)
