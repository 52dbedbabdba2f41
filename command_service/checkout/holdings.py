"""What an order holds: units of stock and uses of coupons, taken and given back. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from command_service.inventory.deallocation import deallocate_units
from command_service.inventory.domain import (
    RESERVATION,
    STOCK,
    Demand,
    HeldLine,
    MovementKind,
    Reservation,
    ReservationState,
    Stock,
    StockChange,
)
from command_service.inventory.movements import (
    StockRow,
    commit,
    deallocate,
    hold,
    release,
    shelve,
    ship,
)
from command_service.ordering.domain import AWAITING, Order, OrderState
from command_service.ordering.lines import Units
from command_service.pricing.coupons import check_uses_left, hold_use, return_use
from command_service.pricing.domain import (
    COUPON,
    COUPON_CUSTOMER,
    Coupon,
    CouponCustomer,
)
from command_service.world import Change, Touch, World
from event_log.events import Event


def holding_touches(
    sku_ids: Iterable[str], coupon_codes: Sequence[str], customer_id: str
) -> Iterator[Touch]:
    """The dependent keys that taking or giving back needs."""
    for sku_id in sku_ids:
        yield STOCK.change(sku_id)
    for coupon_code in coupon_codes:
        yield COUPON.change(coupon_code)
        if customer_id:
            yield COUPON_CUSTOMER.create((coupon_code, customer_id))


def order_touches(order: Order) -> Iterator[Touch]:
    """The dependent keys of all that the order holds or held."""
    sku_ids = {line.sku_id for line in order.lines}
    return holding_touches(sku_ids, order.coupon_codes, order.customer_id)


def demands_of(order: Order) -> list[Demand]:
    """What the order wants; `hold` adds lines of one SKU up before it looks."""
    return [Demand(line.sku_id, line.quantity) for line in order.lines]


def demands_for(order: Order, units: Iterable[Units]) -> list[Demand]:
    """The units of the order's lines as units of SKUs, which is what a reservation holds."""
    sku_by_line = {line.line_id: line.sku_id for line in order.lines}
    return [Demand(sku_by_line[unit.line_id], unit.quantity) for unit in units]


def reservation_of(world: World, order: Order) -> Reservation:
    """The order's reservation: every order has one, under the same id."""
    reservation = world.get(RESERVATION, order.order_id)
    assert reservation is not None, "a reservation is made with each order"
    return reservation


@dataclass(frozen=True, slots=True)
class Holdings:
    """Stock and coupons as an order's steps leave them, and the facts so far.

    Each step returns new holdings or raises a refusal, so a step can be tried and dropped.
    """

    order_id: str
    customer_id: str
    stocks: Mapping[str, Stock | None]
    lines: tuple[HeldLine, ...]
    """What the order holds where; a given-back line stays, as the reservation's past."""
    coupons: Mapping[str, Coupon | None]
    customer_uses: Mapping[str, CouponCustomer | None]
    events: tuple[Event, ...] = ()

    @classmethod
    def of_none(
        cls,
        world: World,
        *,
        order_id: str,
        customer_id: str,
        sku_ids: Iterable[str],
        coupon_codes: Sequence[str],
    ) -> "Holdings":
        """The holdings of an order to be: nothing yet; `holding_touches` were named."""
        return cls(
            order_id=order_id,
            customer_id=customer_id,
            stocks={sku_id: world.get(STOCK, sku_id) for sku_id in sku_ids},
            lines=(),
            coupons={code: world.get(COUPON, code) for code in coupon_codes},
            customer_uses={
                code: world.get(COUPON_CUSTOMER, (code, customer_id))
                for code in coupon_codes
                if customer_id
            },
        )

    @classmethod
    def of(cls, world: World, order: Order) -> "Holdings":
        """The holdings of an order; `order_touches` were named."""
        none = cls.of_none(
            world,
            order_id=order.order_id,
            customer_id=order.customer_id,
            sku_ids={line.sku_id for line in order.lines},
            coupon_codes=order.coupon_codes,
        )
        return replace(none, lines=reservation_of(world, order).lines)

    @classmethod
    def of_stock(cls, world: World, order: Order, *, sku_ids: Iterable[str]) -> "Holdings":
        """The order's stock of these SKUs alone: a paid order keeps its coupon uses."""
        none = cls.of_none(
            world,
            order_id=order.order_id,
            customer_id=order.customer_id,
            sku_ids=sku_ids,
            coupon_codes=(),
        )
        return replace(none, lines=reservation_of(world, order).lines)

    # --- stock -------------------------------------------------------------------------------------

    def take_stock(self, demands: Sequence[Demand]) -> "Holdings":
        """Reserves all of it or raises OutOfStock."""
        return self._moved(hold(self.stocks, demands, cause=self.order_id))

    def commit_stock(self) -> "Holdings":
        """Allocates what is reserved."""
        return self._moved(commit(self.stocks, self.lines, cause=self.order_id))

    def release_stock(self, kind: MovementKind) -> "Holdings":
        """Gives back what is reserved."""
        return self._moved(release(self.stocks, self.lines, cause=self.order_id, kind=kind))

    def deallocate_stock(self) -> "Holdings":
        """Gives back what is allocated."""
        return self._moved(deallocate(self.stocks, self.lines, cause=self.order_id))

    def deallocate_units(self, units: Sequence[Demand]) -> "Holdings":
        """Gives back some of what is allocated; it is held no more."""
        return self._moved(deallocate_units(self.stocks, self.lines, units, cause=self.order_id))

    def ship_stock(self, units: Sequence[Demand]) -> "Holdings":
        """Takes units off the shelves, or raises OutOfStock."""
        return self._moved(ship(self.stocks, self.lines, units, cause=self.order_id))

    def shelve_stock(
        self,
        rows: Sequence[StockRow],
        rank_by_location: Mapping[str, int],
        *,
        lines: tuple[HeldLine, ...],
    ) -> "Holdings":
        """Puts units back on the shelves. lines: what is held, with what came back where."""
        kind = MovementKind.RETURNED
        change = shelve(self.stocks, rows, kind, cause=self.order_id, rank_by_location=rank_by_location)
        return self._moved(replace(change, lines=lines))

    def _moved(self, change: StockChange) -> "Holdings":
        return replace(
            self,
            stocks={**self.stocks, **change.stocks},
            lines=change.lines,
            events=(*self.events, *change.events),
        )

    # --- coupons -----------------------------------------------------------------------------------

    def take_coupons(self) -> "Holdings":
        """Takes a use of each coupon, all of which were found usable in this very decision."""
        return self._with_uses(hold_use)

    def retake_coupons(self) -> "Holdings":
        """Takes a use of each coupon anew, at the price of the day on which they were valid.

        Raises:
            CouponUsedUp: one has been used up since.
        """
        for code, coupon in self.coupons.items():
            check_uses_left(_known(coupon), self.customer_uses.get(code))
        return self._with_uses(hold_use)

    def return_coupons(self) -> "Holdings":
        """Gives the use of each coupon back."""
        return self._with_uses(return_use)

    def _with_uses(
        self, count: Callable[..., tuple[Coupon, CouponCustomer | None, Event]]
    ) -> "Holdings":
        """What `count`, which is `hold_use` or `return_use`, makes of each coupon."""
        if not self.coupons:
            return self
        coupons, customer_uses, events = dict(self.coupons), dict(self.customer_uses), [*self.events]
        for code, coupon in self.coupons.items():
            coupons[code], used, event = count(
                _known(coupon),
                self.customer_uses.get(code),
                order_id=self.order_id,
                customer_id=self.customer_id,
            )
            if used is not None:
                customer_uses[code] = used
            events.append(event)
        return replace(self, coupons=coupons, customer_uses=customer_uses, events=tuple(events))

    # --- what becomes of it ------------------------------------------------------------------------

    def expired(self) -> "Holdings":
        """What is left when an unpaid order's time is up."""
        return self.release_stock(MovementKind.EXPIRED).return_coupons()

    def cancelled(self, state: OrderState) -> "Holdings":
        """What is left when an order of which nothing was shipped is called off in this state."""
        if state in AWAITING:
            return self.release_stock(MovementKind.RELEASED).return_coupons()
        return self.deallocate_stock().return_coupons()

    def changes(self, reservation: Reservation, state: ReservationState) -> list[Change]:
        """All that shall be written; what did not change is left out by whoever writes."""
        after = replace(reservation, state=state, lines=self.lines)
        return [
            *([RESERVATION.changed(self.order_id, after)] if after != reservation else []),
            *(STOCK.changed(key, stock) for key, stock in self.stocks.items() if stock),
            *(COUPON.changed(code, coupon) for code, coupon in self.coupons.items() if coupon),
            *(
                COUPON_CUSTOMER.changed((code, self.customer_id), uses)
                for code, uses in self.customer_uses.items()
                if uses
            ),
        ]


def _known(coupon: Coupon | None) -> Coupon:
    assert coupon is not None, "a coupon that was valid once is never deleted"
    return coupon
