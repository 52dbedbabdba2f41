"""Commands that concern carts alone: pure. What needs prices as well is decided in checkout."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, CartState
from command_service.cart.events import CartClosed, CartForgotten
from command_service.errors import CartNotExpired, CartNotForgettable, CartNotFound, CartNotOpen
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class ExpireCart(Command[Cart]):
    """Closes a cart that was left alone for too long."""

    cart_id: str

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Closes the cart.

        Raises:
            CartNotFound: there is none.
            CartNotOpen: it is closed already.
            CartNotExpired: somebody has used it in the meantime.
        """
        cart = world.get(CART, self.cart_id)
        if cart is None:
            raise CartNotFound(cart_id=self.cart_id)
        if cart.state is not CartState.OPEN:
            raise CartNotOpen(cart_id=self.cart_id, state=cart.state.name)
        if cart.state_at(now) is CartState.OPEN:
            raise CartNotExpired(cart_id=self.cart_id, expire_time=cart.expire_time.isoformat())
        after = cart.closed(CartState.EXPIRED, now)
        return Decision(after, [CART.changed(self.cart_id, after)], [CartClosed.of(after)])


@dataclass(frozen=True, slots=True)
class ForgetCart(Command[None]):
    """Forgets a cart that was closed long ago. kept: how long it had to be kept."""

    cart_id: str
    kept: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart."""
        return [CART.change(self.cart_id)]

    def decide(self, world: World, now: datetime) -> Decision[None]:
        """Forgets the cart.

        Raises:
            CartNotFound: there is none, or it has been forgotten.
            CartNotForgettable: it is open, or its time has not come.
        """
        cart = world.get(CART, self.cart_id)
        if cart is None or cart.is_forgotten:
            raise CartNotFound(cart_id=self.cart_id)
        if cart.state is CartState.OPEN or now < cart.update_time + self.kept:
            raise CartNotForgettable(cart_id=self.cart_id, state=cart.state.name)
        return Decision(
            None, [CART.changed(self.cart_id, cart.forgotten())], [CartForgotten(cart.cart_id)]
        )
