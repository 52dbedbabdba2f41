"""ApplyCoupon and RemoveCoupon: codes on a cart. A use is taken when the order is placed, not here."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, open_cart
from command_service.checkout.cart_edit import edited
from command_service.checkout.pricing_of_cart import checked_coupon, coupon_touches, pricing_touches
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class ApplyCoupon(Command[Cart]):
    """Applies a coupon. coupon_code: normalised. etag: None for any.

    A coupon that is on the cart already is checked again and changes nothing.
    """

    cart_id: str
    etag: str | None
    coupon_code: str
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """What prices its lines, and the coupon."""
        cart = world.get(CART, self.cart_id)
        yield from pricing_touches(cart)
        yield from coupon_touches([self.coupon_code], cart.customer_id if cart is not None else "")

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Applies the coupon.

        Raises:
            CartNotFound, CartNotOpen, CartChanged: it cannot be changed, or not as it was seen.
            CouponNotFound, CouponNotValid, CouponUsedUp, CouponNeedsCustomer: it cannot be used now.
            CartCouponsFull: the cart has as many coupons as it may have.
        """
        cart = open_cart(world.get(CART, self.cart_id), self.cart_id, self.etag, now)
        checked_coupon(self.coupon_code, cart.customer_id, world, now)
        if self.coupon_code in cart.coupon_codes:
            return Decision(cart)
        return edited(cart, cart.with_coupon(self.coupon_code), world, now, cart_idle=self.cart_idle)


@dataclass(frozen=True, slots=True)
class RemoveCoupon(Command[Cart]):
    """Takes a coupon off. coupon_code: normalised. etag: None for any."""

    cart_id: str
    etag: str | None
    coupon_code: str
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """What prices its lines."""
        return pricing_touches(world.get(CART, self.cart_id))

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Takes the coupon off.

        Raises:
            CartNotFound, CartNotOpen, CartChanged: it cannot be changed, or not as it was seen.
            CouponNotApplied: the coupon is not on it.
        """
        cart = open_cart(world.get(CART, self.cart_id), self.cart_id, self.etag, now)
        edit = cart.without_coupon(self.coupon_code)
        return edited(cart, edit, world, now, cart_idle=self.cart_idle)
