"""How every edit of a cart ends: priced anew as far as possible, the next version, one fact."""

from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, changed_lines
from command_service.cart.events import CartChanged
from command_service.checkout.pricing_of_cart import priced_where_possible
from command_service.world import Decision, World


def edited(
    before: Cart, edit: Cart, world: World, now: datetime, *, cart_idle: timedelta
) -> Decision[Cart]:
    """The decision to make a cart what the edit made of it.

    Raises:
        SkuNotFound, SkuNotOnSale, PriceNotFound: a line that the edit touches cannot be bought.
        AmountTooLarge: the sum leaves the range of amounts.
    """
    after = next_version(before, edit, world, now, cart_idle=cart_idle)
    event = CartChanged.between(before, after)
    return Decision(after, [CART.changed(before.cart_id, after)], [event])


def next_version(before: Cart, edit: Cart, world: World, now: datetime, *, cart_idle: timedelta) -> Cart:
    """The edited cart, priced; lines that the edit did not touch may keep an old price.

    Raises:
        SkuNotFound, SkuNotOnSale, PriceNotFound, AmountTooLarge: as above.
    """
    prices = priced_where_possible(edit, world, now, asked=changed_lines(before, edit))
    return prices.renewed(now, cart_idle)
