"""Exact money: integer minor units, one rounding, stated.

Rounding rule of the house: half away from zero, once per line and adjustment, never on a sum. The shares
of an amount (`spread`) are the exception: it is their running sum that is rounded, down, so that they
add up to the amount.
"""

from collections.abc import Sequence
from dataclasses import dataclass

AMOUNT_MINOR_MAX = 9_000_000_000_000_000
"""Bound of every amount: sums of two still fit 64 bits, and a double holds it exactly."""


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in minor units of an ISO 4217 currency."""

    currency_code: str
    amount_minor: int


def round_half_away(numerator: int, *, denominator: int) -> int:
    """The integer nearest to a fraction; a half goes away from zero: 5/2 to 3, -5/2 to -3.

    denominator: above 0.
    """
    nearest = (2 * abs(numerator) + denominator) // (2 * denominator)
    return nearest if numerator >= 0 else -nearest


def spread(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Shares of an amount in proportion to non-negative weights; they add up to it exactly.

    Share i is the difference of the rounded-down cumulative sums, so that no share is off by a whole
    minor unit. All zero weights give the amount to nobody: shares of 0.
    """
    total_weight = sum(weights)
    if total_weight == 0:
        return [0] * len(weights)
    shares, weight_so_far, given_so_far = [], 0, 0
    for weight in weights:
        weight_so_far += weight
        given = cumulative_share(amount_minor, weight_so_far, total_weight)
        shares.append(given - given_so_far)
        given_so_far = given
    return shares


def cumulative_share(amount_minor: int, part: int, whole: int) -> int:
    """What the first `part` of `whole` equal units bear of an amount: floor(amount * part / whole)."""
    return amount_minor * part // whole
