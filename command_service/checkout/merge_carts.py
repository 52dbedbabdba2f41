"""MergeCarts: a guest's cart into a customer's, as one decision."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.cart.domain import (
    CART,
    COUPON_COUNT_MAX,
    Cart,
    CartLine,
    CartState,
    check_owner,
    open_cart,
)
from command_service.cart.events import CartChanged, CartClosed
from command_service.checkout.cart_edit import next_version
from command_service.checkout.pricing_of_cart import (
    buyable_sku_ids,
    coupon_touches,
    pricing_touches,
    usable_coupons,
)
from command_service.errors import CartsNotMergeable
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class MergedCarts:
    """The cart that received the lines, and the lines that it did not get."""

    cart: Cart
    dropped_lines: Sequence[CartLine]


@dataclass(frozen=True, slots=True)
class MergeCarts(Command[MergedCarts]):
    """Moves one cart's lines and coupons into another and closes the first.

    The receiving cart stays its customer's; its lines that cannot be bought any more stay, those of
    the other are dropped and told. Coupons come along where this customer can use them.
    """

    from_cart_id: str
    into_cart_id: str
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """Both carts."""
        return [CART.change(self.from_cart_id), CART.change(self.into_cart_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """What prices the lines of both for the customer of the one that stays."""
        source, target = world.get(CART, self.from_cart_id), world.get(CART, self.into_cart_id)
        yield from pricing_touches(source)
        yield from pricing_touches(target)
        if source is not None and target is not None:
            yield from coupon_touches(source.coupon_codes, target.customer_id)

    def decide(self, world: World, now: datetime) -> Decision[MergedCarts]:
        """Merges the carts.

        Raises:
            CartNotFound, CartNotOpen: one of them cannot be changed.
            CartOfAnotherCustomer: the first has a customer, and the other is not theirs.
            CartsNotMergeable: they are one cart, or in two currencies.
            CartFull, QuantityTooLarge, AmountTooLarge: they are too much for one cart.
        """
        source = open_cart(world.get(CART, self.from_cart_id), self.from_cart_id, None, now)
        target = open_cart(world.get(CART, self.into_cart_id), self.into_cart_id, None, now)
        self._check_mergeable(source, target)
        check_owner(source, target.customer_id)
        coupled = _with_coupons(target, source, world, now)
        buyable = buyable_sku_ids(coupled, [*target.lines, *source.lines], world, now)
        merged = coupled.with_lines_merged(line for line in source.lines if line.sku_id in buyable)
        after = next_version(target, merged, world, now, cart_idle=self.cart_idle)
        closed = source.closed(CartState.MERGED, now)
        return Decision(
            MergedCarts(after, [line for line in source.lines if line.sku_id not in buyable]),
            [CART.changed(source.cart_id, closed), CART.changed(target.cart_id, after)],
            [CartChanged.between(target, after), CartClosed.of(closed, target.cart_id)],
        )

    def _check_mergeable(self, source: Cart, target: Cart) -> None:
        why = ""
        if source.cart_id == target.cart_id:
            why = "they are the same cart"
        elif source.currency_code != target.currency_code:
            why = f"one is in {source.currency_code}, the other in {target.currency_code}"
        if why:
            raise CartsNotMergeable(
                from_cart_id=self.from_cart_id, into_cart_id=self.into_cart_id, why=why
            )


def _with_coupons(target: Cart, source: Cart, world: World, now: datetime) -> Cart:
    """The cart with the other's coupons as far as its customer can use them and they fit."""
    as_target = replace(source, customer_id=target.customer_id)
    for coupon_code in usable_coupons(as_target, world, now):
        if len(target.coupon_codes) < COUPON_COUNT_MAX:
            target = target.with_coupon(coupon_code)
    return target
