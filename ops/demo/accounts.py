"""The books of the demo: where each line of the file ends, exactly once, and what that is worth."""

from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from ops.demo.sales import Line


class Bucket(Enum):
    """Where a line ends."""

    ORDERED = "ordered"
    REFUSED = "refused"
    RETURNED = "returned"
    UNMATCHED_RETURN = "unmatched_returns"
    ADJUSTMENT = "adjustments"
    NOT_GOODS = "not_goods"


class LineSettledTwice(Exception):
    """A line ended in two buckets: the demo itself is wrong."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Where a line ended, and the reason of a refusal."""

    line: Line
    bucket: Bucket
    reason: str


@dataclass(slots=True)
class Accounts:
    """Every line that is settled, and everything that is not as it must be."""

    settlements: dict[int, Settlement] = field(default_factory=dict)
    mismatches: list[str] = field(default_factory=list)
    """A sentence for each thing that differs from what it must equal."""
    stale_reads: list[str] = field(default_factory=list)
    """A sentence for each query that did not see what was written before."""
    order_count: int = 0
    refunded_minor: int = 0

    def settle(self, line: Line, bucket: Bucket, reason: str = "") -> None:
        """Writes down where a line ended. Raises LineSettledTwice."""
        if line.number in self.settlements:
            raise LineSettledTwice(f"line {line.number}")
        self.settlements[line.number] = Settlement(line, bucket, reason)

    def expect_equal(self, what: str, actual: object, expected: object) -> None:
        """Notes a mismatch unless both are equal."""
        if actual != expected:
            self.mismatches.append(f"{what} is {actual}, expected {expected}")

    def expect_seen(self, what: str, *, seen: bool) -> None:
        """Notes a stale read unless what was written before was seen."""
        if not seen:
            self.stale_reads.append(what)

    @property
    def accounted(self) -> int:
        """How many lines are settled."""
        return len(self.settlements)

    @property
    def revenue_minor(self) -> int:
        """What the accepted lines are worth by the file."""
        return sum(line.amount_minor for line in self.lines_in(Bucket.ORDERED))

    def lines_in(self, bucket: Bucket) -> list[Line]:
        """The lines that ended in a bucket."""
        return [each.line for each in self.settlements.values() if each.bucket is bucket]

    def counts(self) -> Counter[Bucket]:
        """How many lines ended in each bucket."""
        return Counter(each.bucket for each in self.settlements.values())

    def refusals(self) -> Counter[str]:
        """How many lines were refused, by reason."""
        refused = (each for each in self.settlements.values() if each.bucket is Bucket.REFUSED)
        return Counter(each.reason for each in refused)
