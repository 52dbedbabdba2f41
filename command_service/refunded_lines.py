"""What refunds give back for single lines of an order. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RefundedLine:
    """What a refund gives back for one order line; quantity 0 when another refund tells the units."""

    line_id: str
    quantity: int
    amount_minor: int

    def units_of(self, amount_minor: int) -> int:
        """How many of its units a part of its amount pays for, the last one also in part.

        Units of one line cost the same but for rounding, so one cent alone is no part of a unit.
        """
        if amount_minor >= self.amount_minor:
            return self.quantity
        return -(-self.quantity * max(amount_minor - 1, 0) // self.amount_minor)
