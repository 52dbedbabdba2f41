"""SetCartLineQuantity and RemoveCartLine: as many units on a line of a cart, or none."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, open_cart
from command_service.checkout.cart_edit import edited
from command_service.checkout.pricing_of_cart import pricing_touches
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class SetCartLineQuantity(Command[Cart]):
    """Sets the units of a line; 0 removes it: RemoveCartLine is that. etag: None for any."""

    cart_id: str
    etag: str | None
    line_id: str
    quantity: int
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """What prices its lines."""
        return pricing_touches(world.get(CART, self.cart_id))

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Sets the units.

        Raises:
            CartNotFound, CartNotOpen, CartChanged: it cannot be changed, or not as it was seen.
            CartLineNotFound: there is no such line.
            QuantityTooLarge, AmountTooLarge: a limit is reached.
            SkuNotFound, SkuNotOnSale, PriceNotFound: units remain, and the SKU cannot be bought.
        """
        cart = open_cart(world.get(CART, self.cart_id), self.cart_id, self.etag, now)
        edit = cart.with_line_quantity(self.line_id, self.quantity)
        return edited(cart, edit, world, now, cart_idle=self.cart_idle)
