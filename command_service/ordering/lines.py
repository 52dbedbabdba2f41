"""The lines of an order, and their units: what was shipped, called off, returned and refunded. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from command_service.adjustments import Adjustment
from command_service.errors import TooManyUnits
from command_service.money import cumulative_share
from command_service.refunded_lines import RefundedLine


@dataclass(frozen=True, slots=True)
class Units:
    """Units of one order line."""

    line_id: str
    quantity: int


def summed(units: Iterable[Units]) -> tuple[Units, ...]:
    """The units of each line together, by line id: equal for whatever comes to the same."""
    quantity_by_line = Counter[str]()
    for unit in units:
        quantity_by_line[unit.line_id] += unit.quantity
    return tuple(Units(line_id, quantity) for line_id, quantity in sorted(quantity_by_line.items()))


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line: price and discount are frozen, the rest moves; fields as in ordering.proto."""

    line_id: str
    sku_id: str
    title: str
    quantity: int
    unit_price_minor: int
    discount_minor: int
    price_list_id: str
    price_tier_min_quantity: int
    adjustments: tuple[Adjustment, ...]
    fulfilled_quantity: int = 0
    returned_quantity: int = 0
    refunded_quantity: int = 0
    cancelled_quantity: int = 0
    refunded_minor: int = 0

    @property
    def subtotal_minor(self) -> int:
        """List price of all units."""
        return self.unit_price_minor * self.quantity

    @property
    def total_minor(self) -> int:
        """What the line costs."""
        return self.subtotal_minor + self.discount_minor

    @property
    def unshipped_quantity(self) -> int:
        """Units that were neither shipped nor called off: what is still held for the line."""
        return self.quantity - self.cancelled_quantity - self.fulfilled_quantity

    @property
    def shippable_quantity(self) -> int:
        """Units that may be shipped: with those that the buyer has, only as many as we keep money for.

        The money of a unit goes back once: when it is called off, when it is returned, or by a refund
        before either. So a refund of units counts first for those called off and returned, then for
        those not yet shipped, which therefore stay; only what is left of it is for units that the
        buyer keeps. Counts alone cannot tell a refund of the unit that was shipped from one of the unit
        that was not: the unit stays, for a unit too few can be put right and a unit too many cannot.
        """
        given_up_quantity = self.cancelled_quantity + self.returned_quantity
        sold_quantity = self.quantity - max(given_up_quantity, self.refunded_quantity)
        with_buyer_quantity = self.fulfilled_quantity - self.returned_quantity
        return max(0, sold_quantity - with_buyer_quantity)

    @property
    def kept_minor(self) -> int:
        """What of the line's price is ours: without the units called off, returned or refunded.

        A unit refunded is not shipped any more, so all of its price is to go back, even when a payment
        failed to give its part of it.
        """
        given_up_quantity = max(self.cancelled_quantity + self.returned_quantity, self.refunded_quantity)
        return self.total_minor - max(self.first_units_minor(given_up_quantity), self.refunded_minor)

    def first_units_minor(self, quantity: int) -> int:
        """What the first `quantity` units cost: differences of it are exact prices of single units."""
        return self.unit_price_minor * quantity + cumulative_share(
            self.discount_minor, quantity, self.quantity
        )

    # --- steps: each returns the line after it ----------------------------------------------------

    def cancelled(self, quantity: int) -> "OrderLine":
        """With units called off that were not shipped."""
        self._check_units(quantity, quantity_max=self.unshipped_quantity)
        return replace(self, cancelled_quantity=self.cancelled_quantity + quantity)

    def fulfilled(self, quantity: int) -> "OrderLine":
        """With units shipped."""
        self._check_units(quantity, quantity_max=self.shippable_quantity)
        return replace(self, fulfilled_quantity=self.fulfilled_quantity + quantity)

    def returned(self, quantity: int) -> "OrderLine":
        """With units that came back."""
        self._check_units(quantity, quantity_max=self.fulfilled_quantity - self.returned_quantity)
        return replace(self, returned_quantity=self.returned_quantity + quantity)

    def refunded(self, quantity: int) -> "OrderLine":
        """With the money for all units refunded so far: what was given back before is made up for."""
        self._check_units(quantity, quantity_max=self.quantity - self.refunded_quantity)
        refunded_quantity = self.refunded_quantity + quantity
        refunded_minor = self.first_units_minor(refunded_quantity)
        return replace(self, refunded_quantity=refunded_quantity, refunded_minor=refunded_minor)

    def unrefunded(self, refunded: RefundedLine) -> "OrderLine":
        """Never below nothing: a late payment has had the counts begin anew meanwhile."""
        return replace(
            self,
            refunded_quantity=max(self.refunded_quantity - refunded.quantity, 0),
            refunded_minor=max(self.refunded_minor - refunded.amount_minor, 0),
        )

    def _check_units(self, quantity: int, *, quantity_max: int) -> None:
        if quantity > quantity_max:
            raise TooManyUnits(line_id=self.line_id, quantity_max=quantity_max, quantity=quantity)
