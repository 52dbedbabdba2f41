"""Carts: pure. A cart holds what pricing made of its lines; checkout brings the two together."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import IntEnum
from functools import cached_property
from itertools import count
from typing import NamedTuple

from command_service import errors
from command_service.adjustments import Adjustment
from command_service.money import Money
from command_service.world import Kind, LockRank

LINE_COUNT_MAX = 500
"""Lines of a cart: every answer holds the whole cart, and pricing looks at all of them together."""

LINE_QUANTITY_MAX = 1_000_000
"""Units of a line; as in the protos."""

COUPON_COUNT_MAX = 20
"""Coupons of a cart: placing its order locks every one of them."""

LINE_ID_CHARS_MAX = 64
"""As in the protos."""


class CartState(IntEnum):
    """What has become of a cart; numbers as in cart.proto."""

    OPEN = 1
    ORDERED = 2
    MERGED = 3
    EXPIRED = 4


class CartLine(NamedTuple):
    """One line as it was last priced; fields as in cart.proto.

    A tuple, since every edit of a cart makes all its lines and compares most of them.
    """

    line_id: str
    sku_id: str
    title: str
    quantity: int
    unit_price_minor: int
    discount_minor: int
    price_list_id: str
    price_tier_min_quantity: int
    adjustments: tuple[Adjustment, ...]
    ordinal: int
    """Place in the cart: lines are listed in the order in which they were added."""

    @property
    def subtotal_minor(self) -> int:
        """List price of all units."""
        return self.unit_price_minor * self.quantity

    @property
    def total_minor(self) -> int:
        """What the line costs."""
        return self.subtotal_minor + self.discount_minor

    def with_quantity(self, quantity: int) -> "CartLine":
        """The line with another quantity; its price is the old one until it is priced anew.

        Raises:
            QuantityTooLarge: more than LINE_QUANTITY_MAX.
        """
        if quantity > LINE_QUANTITY_MAX:
            raise errors.QuantityTooLarge(sku_id=self.sku_id, quantity_max=LINE_QUANTITY_MAX)
        return self._replace(quantity=quantity)


def unpriced_line(*, line_id: str, sku_id: str, ordinal: int) -> CartLine:
    """A line without units and price: what a line is before its first units and its first pricing."""
    return CartLine(line_id, sku_id, "", 0, 0, 0, "", 0, (), ordinal)


@dataclass(frozen=True)
class Cart:
    """A cart with its lines by line id, in the order in which they were added.

    lines_by_id is never changed in place: the methods that edit return another cart, whose changed
    lines have their old price until the cart is priced.
    """

    cart_id: str
    version: int
    """1 for a new cart, one more with every change; the etag is made of it."""
    state: CartState
    customer_id: str
    currency_code: str
    customer_group: str
    price_list_id: str
    lines_by_id: Mapping[str, CartLine]
    coupon_codes: tuple[str, ...]
    free_shipping: bool
    tax_inclusive: bool
    priced_time: datetime
    prices_valid_until: datetime | None
    create_time: datetime
    update_time: datetime
    expire_time: datetime
    is_forgotten: bool = False
    """Nothing is left of it, but for its id where an order bears it: see `forgotten`."""

    # Summed once, where they are asked for at all: answers, events and rows do, steps in between do not.

    @cached_property
    def subtotal_minor(self) -> int:
        """Sum of the lines' list prices."""
        return sum([line.unit_price_minor * line.quantity for line in self.lines_by_id.values()])

    @cached_property
    def discount_minor(self) -> int:
        """Sum of the lines' discounts: zero or negative."""
        return sum([line.discount_minor for line in self.lines_by_id.values()])

    @property
    def etag(self) -> str:
        """Changes with every change of the cart."""
        return str(self.version)

    @property
    def lines(self) -> tuple[CartLine, ...]:
        """The lines in the order in which they were added."""
        return tuple(self.lines_by_id.values())

    @property
    def total(self) -> Money:
        """What is to be paid."""
        return Money(self.currency_code, self.subtotal_minor + self.discount_minor)

    @property
    def next_ordinal(self) -> int:
        """The place of the next new line."""
        return max((line.ordinal for line in self.lines_by_id.values()), default=0) + 1

    def line(self, line_id: str) -> CartLine:
        """The line.

        Raises:
            CartLineNotFound: there is none.
        """
        try:
            return self.lines_by_id[line_id]
        except KeyError:
            raise errors.CartLineNotFound(cart_id=self.cart_id, line_id=line_id) from None

    def with_units_added(self, *, line_id: str, sku_id: str, quantity: int) -> "Cart":
        """The cart with more units of a SKU, on the line if it is there, else on a new one.

        Raises:
            CartLineSkuFixed: the line is for another SKU.
            CartFull, QuantityTooLarge: a limit is reached.
        """
        line = self.lines_by_id.get(line_id) or unpriced_line(
            line_id=line_id, sku_id=sku_id, ordinal=self.next_ordinal
        )
        if line.sku_id != sku_id:
            raise errors.CartLineSkuFixed(cart_id=self.cart_id, line_id=line_id, sku_id=line.sku_id)
        more = line.with_quantity(line.quantity + quantity)
        return self._with_lines({**self.lines_by_id, line_id: more})

    def with_line_quantity(self, line_id: str, quantity: int) -> "Cart":
        """The cart with as many units on a line; without the line when they are 0.

        Raises:
            CartLineNotFound: there is no such line.
            QuantityTooLarge: a limit is reached.
        """
        line = self.line(line_id)
        if quantity == 0:
            others = {other: line for other, line in self.lines_by_id.items() if other != line_id}
            return self._with_lines(others)
        return self._with_lines({**self.lines_by_id, line_id: line.with_quantity(quantity)})

    def with_lines_merged(self, lines: Iterable[CartLine]) -> "Cart":
        """The cart with another cart's lines: units add up where line id and SKU are the same.

        A line whose id stands here for another SKU moves to an id made of its own SKU's.

        Raises:
            CartFull, QuantityTooLarge: a limit is reached.
        """
        merged = dict(self.lines_by_id)
        ordinals = count(self.next_ordinal)
        for line in lines:
            line_id = _place_of(line, merged)
            here = merged.get(line_id) or unpriced_line(
                line_id=line_id, sku_id=line.sku_id, ordinal=next(ordinals)
            )
            merged[line_id] = here.with_quantity(here.quantity + line.quantity)
        return self._with_lines(merged)

    def with_coupon(self, coupon_code: str) -> "Cart":
        """The cart with one more coupon; itself when the coupon is on it.

        Raises:
            CartCouponsFull: it has as many coupons as a cart may have.
        """
        if coupon_code in self.coupon_codes:
            return self
        if len(self.coupon_codes) >= COUPON_COUNT_MAX:
            raise errors.CartCouponsFull(cart_id=self.cart_id, coupon_count_max=COUPON_COUNT_MAX)
        return replace(self, coupon_codes=(*self.coupon_codes, coupon_code))

    def without_coupon(self, coupon_code: str) -> "Cart":
        """The cart without a coupon.

        Raises:
            CouponNotApplied: the coupon is not on it.
        """
        if coupon_code not in self.coupon_codes:
            raise errors.CouponNotApplied(cart_id=self.cart_id, coupon_code=coupon_code)
        others = tuple(other for other in self.coupon_codes if other != coupon_code)
        return replace(self, coupon_codes=others)

    @property
    def has_left_its_id(self) -> bool:
        """Whether another cart may be made under it: this one was forgotten, and no order bears it."""
        return self.is_forgotten and self.state is not CartState.ORDERED

    def renewed(self, now: datetime, cart_idle: timedelta) -> "Cart":
        """The next version, changed now; it expires when nothing is done for the idle time."""
        return replace(self, version=self.version + 1, update_time=now, expire_time=now + cart_idle)

    def closed(self, state: CartState, now: datetime) -> "Cart":
        """The cart at its end: it keeps its lines and is never changed again."""
        return replace(self, version=self.version + 1, state=state, update_time=now)

    def forgotten(self) -> "Cart":
        """What is kept of a closed cart after its time: nothing that anybody could look at.

        One that was ordered keeps its id: its order bears it, so that no other cart may become an order
        under it. Every other id is free again.
        """
        return replace(
            self, version=self.version + 1, lines_by_id={}, coupon_codes=(), is_forgotten=True
        )

    def state_at(self, now: datetime) -> CartState:
        """What has become of it: open until its expiry time, whether or not the worker has come."""
        if self.state is CartState.OPEN and now >= self.expire_time:
            return CartState.EXPIRED
        return self.state

    def _with_lines(self, lines_by_id: Mapping[str, CartLine]) -> "Cart":
        if len(lines_by_id) > LINE_COUNT_MAX:
            raise errors.CartFull(cart_id=self.cart_id, line_count_max=LINE_COUNT_MAX)
        return replace(self, lines_by_id=lines_by_id)


def _place_of(line: CartLine, lines_by_id: Mapping[str, CartLine]) -> str:
    """The first of the line's ids that is free or stands for its SKU."""
    return next(
        line_id
        for line_id in _ids_for(line)
        if line_id not in lines_by_id or lines_by_id[line_id].sku_id == line.sku_id
    )


def _ids_for(line: CartLine) -> Iterator[str]:
    yield line.line_id
    yield line.sku_id
    for number in count(2):
        suffix = f"-{number}"
        yield line.sku_id[: LINE_ID_CHARS_MAX - len(suffix)] + suffix


def open_cart(cart: Cart | None, cart_id: str, etag: str | None, now: datetime) -> Cart:
    """The cart, if it may be changed now.

    etag: what the caller has seen; None for whatever it is.

    Raises:
        CartNotFound: there is none.
        CartNotOpen: it was ordered or merged, or its time is up.
        errors.CartChanged: it was changed since the caller saw it.
    """
    if cart is None:
        raise errors.CartNotFound(cart_id=cart_id)
    state = cart.state_at(now)
    if state is not CartState.OPEN:
        raise errors.CartNotOpen(cart_id=cart_id, state=state.name)
    if etag is not None and etag != cart.etag:
        raise errors.CartChanged(cart_id=cart_id, etag=cart.etag)
    return cart


def check_owner(cart: Cart, customer_id: str) -> None:
    """A guest's cart may become anybody's; a customer's stays theirs.

    customer_id: whom it shall be of; "" for a guest.

    Raises:
        errors.CartOfAnotherCustomer: it has another owner.
    """
    if cart.customer_id not in ("", customer_id):
        raise errors.CartOfAnotherCustomer(cart_id=cart.cart_id)


def changed_lines(before: Cart | None, after: Cart) -> tuple[CartLine, ...]:
    """Lines that are new or differ, in the order of the cart."""
    old = before.lines_by_id if before is not None else {}
    return tuple(
        line
        for line_id, line in after.lines_by_id.items()
        # Edits share the lines that they leave alone, so that most of them need no comparison.
        if (was := old.get(line_id)) is not line and was != line
    )


def removed_line_ids(before: Cart | None, after: Cart) -> tuple[str, ...]:
    """Lines that are no more."""
    old = before.lines_by_id if before is not None else {}
    return tuple(line_id for line_id in old if line_id not in after.lines_by_id)


CART: Kind[str, Cart] = Kind("cart", LockRank.CART)
