"""Where carts and pricing meet: what a cart needs to be priced, and the cart as it is priced now.

A line that can no longer be bought keeps its last list price as long as nobody asks for it: one paused
SKU must not keep people from editing the rest of their cart. It has no discount: the other lines share
that. Placing an order asks for every line.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from command_service.cart.domain import Cart, CartLine
from command_service.catalog.domain import SKU
from command_service.errors import AmountTooLarge, PriceNotFound, Refusal, SkuNotFound, SkuNotOnSale
from command_service.money import AMOUNT_MINOR_MAX
from command_service.pricing.calculation import price_lines
from command_service.pricing.coupons import check_coupon
from command_service.pricing.domain import (
    COUPON,
    COUPON_CUSTOMER,
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    SKU_PRICES,
    Buyer,
    Coupon,
    PriceBook,
    PricedLine,
    PricedLines,
)
from command_service.world import Mode, Touch, World


def pricing_touches(cart: Cart | None, *, extra_sku_ids: Iterable[str] = ()) -> Iterator[Touch]:
    """The dependent keys that pricing the cart reads, its own lines' and further SKUs'."""
    yield PRICE_BOOK.read(PRICE_BOOK_KEY)
    lines = cart.lines_by_id.values() if cart is not None else ()
    for sku_id in {*extra_sku_ids, *(line.sku_id for line in lines)}:
        yield Touch(SKU, sku_id, Mode.READ)
        yield Touch(SKU_PRICES, sku_id, Mode.READ)
    if cart is not None:
        yield from coupon_touches(cart.coupon_codes, cart.customer_id)


def coupon_touches(coupon_codes: Iterable[str], customer_id: str) -> Iterator[Touch]:
    """The keys that checking coupons for a customer ("" for a guest) reads."""
    for coupon_code in coupon_codes:
        yield COUPON.read(coupon_code)
        if customer_id:
            yield COUPON_CUSTOMER.read((coupon_code, customer_id))


class PricedCart(NamedTuple):
    """A cart with its prices of now, and the coupons that have a part in them."""

    cart: Cart
    coupon_codes_in_effect: tuple[str, ...]


def priced(cart: Cart, world: World, now: datetime) -> PricedCart:
    """The same version of the cart with every line as it is to be bought now.

    A coupon that is not valid now gives nothing.

    Raises:
        SkuNotFound, SkuNotOnSale, PriceNotFound: a line cannot be bought.
        AmountTooLarge: the sum leaves the range of amounts.
    """
    for line in cart.lines_by_id.values():
        _check_on_sale(line.sku_id, world)
    prices = _price(cart, cart.lines, world, now)
    for sku_id in prices.unpriced_sku_ids:
        raise PriceNotFound(sku_id=sku_id, currency_code=cart.currency_code)
    return PricedCart(_with_prices(cart, prices, world, now), prices.coupon_codes_in_effect)


def priced_where_possible(cart: Cart, world: World, now: datetime, *, asked: Sequence[CartLine]) -> Cart:
    """The same version of the cart, priced now, but for lines that cannot be bought any more.

    These keep their last list price, unless they are among the lines asked for.

    Raises:
        SkuNotFound, SkuNotOnSale, PriceNotFound: a line that is asked for cannot be bought.
        AmountTooLarge: the sum leaves the range of amounts.
    """
    for line in asked:
        _check_on_sale(line.sku_id, world)
    prices = _price_on_sale(cart, cart.lines, world, now)
    found = {line.line_id for line in prices.lines}
    for line in asked:
        if line.line_id not in found:
            raise PriceNotFound(sku_id=line.sku_id, currency_code=cart.currency_code)
    return _with_prices(cart, prices, world, now)


def buyable_sku_ids(
    cart: Cart, lines: Sequence[CartLine], world: World, now: datetime
) -> frozenset[str]:
    """SKUs of the lines that can be bought now, all lines together, by whoever the cart is for."""
    prices = _price_on_sale(cart, lines, world, now)
    return frozenset(line.sku_id for line in prices.lines)


def checked_coupon(coupon_code: str, customer_id: str, world: World, now: datetime) -> Coupon:
    """The coupon, if the customer ("" for a guest) can use it now.

    Raises:
        CouponNotFound, CouponNotValid, CouponUsedUp, CouponNeedsCustomer: it cannot be used.
    """
    coupon = world.get(COUPON, coupon_code)
    promotion = _book(world).promotions.get(coupon.promotion_id) if coupon is not None else None
    uses = world.get(COUPON_CUSTOMER, (coupon_code, customer_id)) if customer_id else None
    check_coupon(coupon, coupon_code, promotion, uses, customer_id=customer_id, now=now)
    assert coupon is not None, "check_coupon refuses what does not exist"
    return coupon


def usable_coupons(cart: Cart, world: World, now: datetime) -> dict[str, Coupon]:
    """Of the cart's coupons those that its customer can use now, by code."""
    usable = {}
    for code in cart.coupon_codes:
        with suppress(Refusal):
            usable[code] = checked_coupon(code, cart.customer_id, world, now)
    return usable


def _check_on_sale(sku_id: str, world: World) -> None:
    sku = world.get(SKU, sku_id)
    if sku is None:
        raise SkuNotFound(sku_id=sku_id)
    if not sku.is_on_sale:
        raise SkuNotOnSale(sku_id=sku_id)


def _is_on_sale(sku_id: str, world: World) -> bool:
    sku = world.get(SKU, sku_id)
    return sku is not None and sku.is_on_sale


def _book(world: World) -> PriceBook:
    book = world.get(PRICE_BOOK, PRICE_BOOK_KEY)
    return book if book is not None else PriceBook({}, {})


def _price(cart: Cart, lines: Sequence[CartLine], world: World, now: datetime) -> PricedLines:
    prices = {}
    for line in lines:
        found = world.get(SKU_PRICES, line.sku_id)
        if found is not None:
            prices[line.sku_id] = found
    coupons = usable_coupons(cart, world, now)
    return price_lines(
        lines,
        Buyer(cart.currency_code, cart.customer_group, cart.price_list_id, tuple(coupons)),
        book=_book(world),
        prices=prices,
        coupons=coupons,
        now=now,
    )


def _price_on_sale(cart: Cart, lines: Iterable[CartLine], world: World, now: datetime) -> PricedLines:
    """Prices what is on sale and has a price; nearly always that is every line."""
    return _price(cart, [line for line in lines if _is_on_sale(line.sku_id, world)], world, now)


def _with_prices(cart: Cart, prices: PricedLines, world: World, now: datetime) -> Cart:
    """The cart with these prices; lines without one keep their list price."""
    lines_by_id = dict(cart.lines_by_id)
    for line in prices.lines:
        lines_by_id[line.line_id] = _with_price(lines_by_id[line.line_id], line, world)
    if len(prices.lines) < len(lines_by_id):
        priced = {line.line_id for line in prices.lines}
        for line_id, kept in lines_by_id.items():
            if line_id not in priced and kept.adjustments:
                lines_by_id[line_id] = kept._replace(discount_minor=0, adjustments=())
    after = replace(
        cart,
        lines_by_id=lines_by_id,
        free_shipping=prices.free_shipping,
        tax_inclusive=prices.tax_inclusive if prices.lines else cart.tax_inclusive,
        priced_time=now,
        prices_valid_until=prices.valid_until,
    )
    # No discount exceeds its line, so that what bounds the subtotal bounds every sum.
    if after.subtotal_minor > AMOUNT_MINOR_MAX:
        raise AmountTooLarge(cart_id=cart.cart_id, amount_minor_max=AMOUNT_MINOR_MAX)
    return after


def _with_price(line: CartLine, price: PricedLine, world: World) -> CartLine:
    """The line with this price; itself if it has it, so that it counts as unchanged everywhere."""
    sku = world.get(SKU, line.sku_id)
    assert sku is not None, "only what is on sale is priced"
    after = CartLine(
        line_id=line.line_id,
        sku_id=line.sku_id,
        title=sku.title,
        quantity=line.quantity,
        unit_price_minor=price.unit_price_minor,
        discount_minor=price.discount_minor,
        price_list_id=price.price_list_id,
        price_tier_min_quantity=price.price_tier_min_quantity,
        adjustments=price.adjustments,
        ordinal=line.ordinal,
    )
    return line if after == line else after
