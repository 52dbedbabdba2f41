"""CreateCart: an empty cart for a currency, a customer group, or one price list."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, CartState
from command_service.cart.events import CartCreated
from command_service.errors import (
    CartAlreadyExists,
    CurrencyMismatch,
    PriceListForAnotherGroup,
    PriceListNotFound,
)
from command_service.pricing.domain import PRICE_LIST
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class CreateCart(Command[Cart]):
    """Makes an empty cart. customer_id, customer_group, price_list_id: "" for none.

    A cart's price list is named once, so a name that is wrong is refused here and not with each line.
    """

    cart_id: str
    customer_id: str
    currency_code: str
    customer_group: str
    price_list_id: str
    cart_idle: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart, and its price list if it names one."""
        yield CART.create(self.cart_id)
        if self.price_list_id:
            yield PRICE_LIST.read(self.price_list_id)

    def decide(self, world: World, now: datetime) -> Decision[Cart]:
        """Makes the cart.

        Raises:
            CartAlreadyExists: there is one, or was one that is not forgotten or became an order.
            PriceListNotFound: it names a price list that does not exist.
            CurrencyMismatch: its price list is in another currency.
            PriceListForAnotherGroup: its price list is for another customer group.
        """
        there = world.get(CART, self.cart_id)
        if there is not None and not there.has_left_its_id:
            raise CartAlreadyExists(cart_id=self.cart_id)
        cart = Cart(
            cart_id=self.cart_id,
            version=1,
            state=CartState.OPEN,
            customer_id=self.customer_id,
            currency_code=self.currency_code,
            customer_group=self.customer_group,
            price_list_id=self.price_list_id,
            lines_by_id={},
            coupon_codes=(),
            free_shipping=False,
            tax_inclusive=self._is_tax_inclusive(world),
            priced_time=now,
            prices_valid_until=None,
            create_time=now,
            update_time=now,
            expire_time=now + self.cart_idle,
        )
        return Decision(cart, [CART.changed(self.cart_id, cart)], [CartCreated(cart)])

    def _is_tax_inclusive(self, world: World) -> bool:
        """What the named price list says; without one, the first pricing will tell."""
        if not self.price_list_id:
            return False
        price_list = world.get(PRICE_LIST, self.price_list_id)
        if price_list is None:
            raise PriceListNotFound(price_list_id=self.price_list_id)
        if price_list.currency_code != self.currency_code:
            raise CurrencyMismatch(
                actual_currency_code=self.currency_code,
                expected_currency_code=price_list.currency_code,
            )
        if price_list.customer_group not in ("", self.customer_group):
            raise PriceListForAnotherGroup(
                price_list_id=self.price_list_id, customer_group=price_list.customer_group
            )
        return price_list.tax_inclusive
