"""AddCartLine: units of a SKU into a cart."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, open_cart
from command_service.checkout.cart_edit import edited
from command_service.checkout.pricing_of_cart import pricing_touches
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class AddCartLine(Command[Cart]):
    """Adds units of a SKU; they add up on the line that is there. etag: None for any."""

    cart_id: str
    etag: str | None
    line_id: str
    sku_id: str
    quantity: int
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """What prices its lines and the new one."""
        return pricing_touches(world.get(CART, self.cart_id), extra_sku_ids=[self.sku_id])

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Adds the units.

        Raises:
            CartNotFound, CartNotOpen, CartChanged: it cannot be changed, or not as it was seen.
            CartLineSkuFixed: the line is for another SKU.
            CartFull, QuantityTooLarge, AmountTooLarge: a limit is reached.
            SkuNotFound, SkuNotOnSale, PriceNotFound: the SKU cannot be bought.
        """
        cart = open_cart(world.get(CART, self.cart_id), self.cart_id, self.etag, now)
        edit = cart.with_units_added(line_id=self.line_id, sku_id=self.sku_id, quantity=self.quantity)
        return edited(cart, edit, world, now, cart_idle=self.cart_idle)
