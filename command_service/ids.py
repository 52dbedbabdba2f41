"""Ids that we make: UUIDv7, so that newer rows stand at the end of their index."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

RANDOM_BITS = 74
"""Bits of chance in a UUIDv7: two made in the same millisecond still never meet."""


def uuid7(unix_time_ms: int, random: int) -> UUID:
    """A UUID of version 7 (RFC 9562, section 5.7).

    unix_time_ms: 0 or more, below 2**48. random: RANDOM_BITS bits of chance.
    """
    random_a, random_b = random >> 62, random & (1 << 62) - 1
    return UUID(int=unix_time_ms << 80 | 0x7 << 76 | random_a << 64 | 0b10 << 62 | random_b)


def _unix_time_ms() -> int:
    return time.time_ns() // 1_000_000


def _random() -> int:
    return secrets.randbits(RANDOM_BITS)


@dataclass(frozen=True, slots=True)
class Ids:
    """Makes ids; a test or a simulation gives it a clock and chance of its own."""

    unix_time_ms: Callable[[], int] = _unix_time_ms
    random: Callable[[], int] = _random

    def new(self) -> str:
        """A new id, greater than those made in earlier milliseconds."""
        return str(uuid7(self.unix_time_ms(), self.random()))
