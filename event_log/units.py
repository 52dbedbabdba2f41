"""How what the log tells in units is added up: one rule for who writes it and for all who retell it."""

from collections.abc import Iterable

AVAILABLE_MAX = 2_000_000_000
"""Where a sum over locations is cut off, to fit 32 bits. It says: more than anyone can order."""


def available_in_all(available_by_location: Iterable[int]) -> int:
    """Units that can be ordered of a SKU; a location that is promised short takes from no other."""
    return min(AVAILABLE_MAX, sum(max(available, 0) for available in available_by_location))
