"""RepriceCart: a cart as of now, perhaps for a customer who has just been recognised."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, check_owner, open_cart
from command_service.checkout.cart_edit import edited
from command_service.checkout.pricing_of_cart import pricing_touches
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class RepriceCart(Command[Cart]):
    """Prices a cart anew and makes it a customer's. customer_id: None leaves it whose it is."""

    cart_id: str
    customer_id: str | None
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """What prices its lines for the customer."""
        cart = world.get(CART, self.cart_id)
        return pricing_touches(self._for_customer(cart) if cart is not None else None)

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Prices the cart.

        Raises:
            CartNotFound, CartNotOpen: it cannot be changed.
            CartOfAnotherCustomer: it has a customer already, and is to be another's.
            AmountTooLarge: prices have risen beyond what an amount can be.
        """
        cart = open_cart(world.get(CART, self.cart_id), self.cart_id, None, now)
        if self.customer_id is not None:
            check_owner(cart, self.customer_id)
        return edited(cart, self._for_customer(cart), world, now, cart_idle=self.cart_idle)

    def _for_customer(self, cart: Cart) -> Cart:
        return cart if self.customer_id is None else replace(cart, customer_id=self.customer_id)
