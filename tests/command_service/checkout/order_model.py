"""What a few orders, their stock and a coupon must come to: too simple to be wrong.

There is no reservation, no movement and no running counter here but the shelf's: all that is promised,
used or owed is counted anew from the orders, each time that it is asked.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from command_service.inventory.domain import ReservationState
from command_service.ordering.domain import OrderState
from command_service.ordering.lines import Units

SKU_BY_LINE = {"mug": "mug", "boxed": "mug", "lamp": "lamp"}
"""Two lines of one SKU, so that what is counted by line and what is by SKU cannot be confused."""

UNIT_MINOR = {"mug": 250, "lamp": 1_001}
ON_HAND = 10
COUPON_LIMIT = 2
COUPON_LIMIT_PER_CUSTOMER = 1
HOLDING = ("awaiting", "paid")


def together(units: Iterable[Units]) -> Counter[str]:
    """The units of each line."""
    quantities = Counter[str]()
    for unit in units:
        quantities[unit.line_id] += unit.quantity
    return quantities


def fits(units: Iterable[Units], limit_of: Callable[[str], int]) -> bool:
    return all(quantity <= limit_of(line_id) for line_id, quantity in together(units).items())


def by_sku(quantities: Mapping[str, int]) -> Counter[str]:
    """The units of lines as units of SKUs."""
    counted = Counter[str]()
    for line_id, quantity in quantities.items():
        counted[SKU_BY_LINE[line_id]] += quantity
    return counted


@dataclass
class Ordered:
    """An order: what was ordered, what has happened to its units, and its money."""

    quantities: Mapping[str, int]
    discounts: Mapping[str, int]
    customer_id: str
    has_coupon: bool
    is_instore: bool
    expire_time: datetime
    state: str = "awaiting"
    expiry_count: int = 0
    """How often its time ran out: at most once."""
    paid_minor: int = 0
    refunded_minor: int = 0
    gifted_minor: int = 0
    shipped: Counter[str] = field(default_factory=Counter)
    returned: Counter[str] = field(default_factory=Counter)
    cancelled: Counter[str] = field(default_factory=Counter)
    refunded: Counter[str] = field(default_factory=Counter)

    # --- money -------------------------------------------------------------------------------------

    def price(self, line_id: str, quantity: int) -> int:
        """What the first units of a line cost."""
        if not quantity:
            return 0
        share_minor = self.discounts[line_id] * quantity // self.quantities[line_id]
        return UNIT_MINOR[SKU_BY_LINE[line_id]] * quantity + share_minor

    def price_of_next(self, units: Iterable[Units]) -> int:
        """What refunding so many more units gives back."""
        return sum(
            self.price(line_id, self.refunded[line_id] + quantity)
            - self.price(line_id, self.refunded[line_id])
            for line_id, quantity in together(units).items()
        )

    @property
    def total_minor(self) -> int:
        return sum(self.price(line_id, quantity) for line_id, quantity in self.quantities.items())

    @property
    def have_minor(self) -> int:
        return self.paid_minor - self.refunded_minor

    @property
    def due_minor(self) -> int:
        """What we have and may not keep."""
        if self.state != "paid":
            return 0 if self.state == "awaiting" else self.have_minor
        given_up_minor = sum(
            self.price(line_id, self.without_money(line_id)) for line_id in self.quantities
        )
        ours_minor = self.total_minor - given_up_minor - self.gifted_minor
        return min(max(self.have_minor - ours_minor, 0), self.have_minor)

    # --- units -------------------------------------------------------------------------------------

    def without_money(self, line_id: str) -> int:
        """Units that we keep no money for."""
        return max(self.cancelled[line_id] + self.returned[line_id], self.refunded[line_id])

    def left(self, line_id: str) -> int:
        """Units neither shipped nor called off."""
        return self.quantities.get(line_id, 0) - self.shipped[line_id] - self.cancelled[line_id]

    def with_buyer(self, line_id: str) -> int:
        return self.shipped[line_id] - self.returned[line_id]

    def unrefunded(self, line_id: str) -> int:
        return self.quantities.get(line_id, 0) - self.refunded[line_id]

    def shippable(self, line_id: str) -> int:
        """As many more units as, with those that the buyer has, the money that we keep is for."""
        ordered = self.quantities.get(line_id, 0)
        return max(0, ordered - self.without_money(line_id) - self.with_buyer(line_id))

    def all_shippable(self) -> tuple[Units, ...]:
        return tuple(
            Units(each, self.shippable(each)) for each in self.quantities if self.shippable(each)
        )

    @property
    def is_shipped(self) -> bool:
        return any(self.shipped.values())

    def reserved_by_sku(self) -> dict[str, tuple[int, int]]:
        """What its reservation tells of each SKU: units not called off, and how many of them left."""
        ordered = by_sku(self.quantities) - by_sku(self.cancelled)
        return {sku_id: (quantity, by_sku(self.shipped)[sku_id]) for sku_id, quantity in ordered.items()}

    # --- where it stands ---------------------------------------------------------------------------

    @property
    def order_state(self) -> OrderState:
        if self.state == "awaiting":
            awaiting = OrderState.AWAITING_INSTORE_PAYMENT, OrderState.AWAITING_PAYMENT
            return awaiting[0] if self.is_instore else awaiting[1]
        if self.state == "paid" and self.is_shipped:
            is_complete = not any(map(self.left, self.quantities))
            return OrderState.FULFILLED if is_complete else OrderState.PARTIALLY_FULFILLED
        return OrderState[self.state.upper()]

    @property
    def reservation_state(self) -> ReservationState:
        if self.order_state is OrderState.FULFILLED:
            return ReservationState.SHIPPED
        return {
            "awaiting": ReservationState.HELD,
            "paid": ReservationState.COMMITTED,
            "cancelled": ReservationState.RELEASED,
            "expired": ReservationState.EXPIRED,
        }[self.state]


@dataclass
class Shelf:
    """What staff say of a SKU at the one location, and what was carried off and back."""

    on_hand: int = ON_HAND
    safety_stock: int = 0
    backorder_limit: int = 0


@dataclass
class ModelShop:
    """All orders, and the shelves that they are filled from."""

    orders: dict[str, Ordered] = field(default_factory=dict)
    shelves: dict[str, Shelf] = field(default_factory=lambda: {sku_id: Shelf() for sku_id in UNIT_MINOR})

    def held(self, sku_id: str, states: Collection[str] = HOLDING) -> int:
        """Units that orders in these states wait for."""
        return sum(
            by_sku({line_id: order.left(line_id) for line_id in order.quantities})[sku_id]
            for order in self.orders.values()
            if order.state in states
        )

    def can_hold(self, quantities: Mapping[str, int]) -> bool:
        for sku_id, quantity in by_sku(quantities).items():
            shelf = self.shelves[sku_id]
            room = shelf.on_hand + shelf.backorder_limit - shelf.safety_stock - self.held(sku_id)
            if quantity > room:
                return False
        return True

    def can_ship(self, units: Iterable[Units]) -> bool:
        """Whether they are on the shelf; whether they may leave it is the order's affair."""
        wanted = by_sku(together(units)).items()
        return all(quantity <= self.shelves[sku_id].on_hand for sku_id, quantity in wanted)

    def shortage(self, sku_id: str, backorder_limit: int | None = None) -> int:
        """Promised units that neither the shelf nor the limit, of today or another, covers."""
        shelf = self.shelves[sku_id]
        limit = shelf.backorder_limit if backorder_limit is None else backorder_limit
        return max(0, self.held(sku_id) - shelf.on_hand - limit)

    def coupon_uses(self, customer_id: str | None = None) -> int:
        """Uses of all customers, or of one."""
        return sum(
            order.has_coupon and order.state in HOLDING and customer_id in (None, order.customer_id)
            for order in self.orders.values()
        )

    def can_use_coupon(self, customer_id: str) -> bool:
        is_left = self.coupon_uses() < COUPON_LIMIT
        return (
            bool(customer_id) and is_left and self.coupon_uses(customer_id) < COUPON_LIMIT_PER_CUSTOMER
        )

    def can_be_placed(
        self, quantities: Mapping[str, int], customer_id: str, *, has_coupon: bool
    ) -> bool:
        return self.can_hold(quantities) and (not has_coupon or self.can_use_coupon(customer_id))

    def receive_money(self, order: Ordered, amount_minor: int, now: datetime) -> None:
        """Counts the money; a late order is paid if it could be placed anew."""
        order.paid_minor += amount_minor
        if order.state == "awaiting" and now >= order.expire_time:
            order.state = "expired"
            order.expiry_count += 1
        if order.have_minor < order.total_minor:
            return
        can_be_placed = self.can_be_placed(
            order.quantities, order.customer_id, has_coupon=order.has_coupon
        )
        if order.state == "awaiting" or (order.state == "expired" and can_be_placed):
            order.state = "paid"
            order.refunded.clear()
