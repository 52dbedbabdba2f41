"""The prices of a cart's lines: pure, and the same whatever order the lines come in.

1. Each SKU takes the best list that prices it, at the tier of its quantity over all lines; lists with
   tax and lists without are never mixed.
2. The promotions in force apply one after another, highest priority first, each to what the ones
   before have left of its lines. `Adjustment` keeps every step, so that a total can be explained.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import gcd
from typing import NamedTuple

from command_service.adjustments import Adjustment
from command_service.money import round_half_away, spread
from command_service.pricing.domain import (
    AmountOff,
    Buyer,
    BuyXGetY,
    Coupon,
    FreeShipping,
    LineToPrice,
    PercentageOff,
    PriceBook,
    PricedLine,
    PricedLines,
    PriceList,
    PriceTier,
    Promotion,
    SkuPrices,
    first_edge_after,
    holds_at,
)

BASIS_POINTS_OF_WHOLE = 10_000


class _UnitPrice(NamedTuple):
    """What one unit of a SKU costs, and where that stands: as in `PricedLine`, in that order."""

    unit_price_minor: int
    price_list_id: str
    price_tier_min_quantity: int


@dataclass(slots=True)
class _OpenLine:
    """A line while promotions are applied to it."""

    line: LineToPrice
    subtotal_minor: int
    remaining_minor: int
    adjustments: list[Adjustment]
    is_closed: bool = False
    """True once an exclusive promotion changed it."""


class _Switched(NamedTuple):
    """A promotion that may apply, and the coupon that switched it on ('' if none had to)."""

    promotion: Promotion
    coupon_code: str


def price_lines(
    lines: Sequence[LineToPrice],
    buyer: Buyer,
    *,
    book: PriceBook,
    prices: Mapping[str, SkuPrices],
    coupons: Mapping[str, Coupon],
    now: datetime,
) -> PricedLines:
    """Prices all lines of a cart together, as of `now`.

    prices: by SKU id. coupons: by code in capitals; whether a coupon may still be used is for
    `check_coupon` to say, here it only has to be active.
    """
    quantity_by_sku: dict[str, int] = {}
    for line in lines:
        quantity_by_sku[line.sku_id] = quantity_by_sku.get(line.sku_id, 0) + line.quantity
    lists = _lists_of(buyer, book)
    tax_inclusive, units = _unit_prices(_in_force_by_rank(lists, now), quantity_by_sku, prices)
    switched = _switched_on(book, buyer.coupon_codes, coupons, units)
    in_force = [s for s in switched if holds_at(s.promotion, now)]
    found = [line for line in lines if line.sku_id in units]
    effect = _adjust(found, units, in_force, buyer.currency_code)
    priced = tuple(
        PricedLine(
            line.line_id,
            line.sku_id,
            line.quantity,
            *units[line.sku_id],
            effect.adjustments.get(line.line_id, ()),
        )
        for line in found
    )
    return PricedLines(
        lines=priced,
        unpriced_sku_ids=tuple(sku_id for sku_id in quantity_by_sku if sku_id not in units),
        free_shipping=effect.free_shipping,
        coupon_codes_in_effect=effect.coupon_codes,
        tax_inclusive=tax_inclusive,
        valid_until=first_edge_after(now, lists, [s.promotion for s in switched]),
    )


# --- unit prices ----------------------------------------------------------------------------------


def _lists_of(buyer: Buyer, book: PriceBook) -> list[PriceList]:
    """The lists that the buyer may ever use: the one that is named, or all that need no naming."""
    if buyer.price_list_id:
        named = book.price_lists.get(buyer.price_list_id)
        return [named] if named is not None and _is_for(named, buyer) else []
    return [
        found for found in book.price_lists.values() if not found.named_only and _is_for(found, buyer)
    ]


def _is_for(price_list: PriceList, buyer: Buyer) -> bool:
    return price_list.currency_code == buyer.currency_code and (
        not price_list.customer_group or price_list.customer_group == buyer.customer_group
    )


def _in_force_by_rank(lists: Iterable[PriceList], now: datetime) -> list[PriceList]:
    return sorted((found for found in lists if holds_at(found, now)), key=PriceList.rank)


def _unit_prices(
    ranked: Sequence[PriceList],
    quantity_by_sku: Mapping[str, int],
    prices: Mapping[str, SkuPrices],
) -> tuple[bool, dict[str, _UnitPrice]]:
    """Whether the prices include tax, and the price of each SKU that has one.

    A sum of prices with and without tax means nothing, so all lists in use are of one kind: the kind
    that prices more of these SKUs, or that of the best list where both price as many. The best list
    alone must not decide: a new one has no prices yet.
    """
    kinds = list(dict.fromkeys(found.tax_inclusive for found in ranked))
    if not kinds:
        return False, {}
    found_by_kind = {
        kind: _unit_prices_of(
            [found for found in ranked if found.tax_inclusive is kind], quantity_by_sku, prices
        )
        for kind in kinds
    }
    # The first of equals is the best list's.
    chosen = max(kinds, key=lambda kind: len(found_by_kind[kind]))
    return chosen, found_by_kind[chosen]


def _unit_prices_of(
    ranked: Sequence[PriceList],
    quantity_by_sku: Mapping[str, int],
    prices: Mapping[str, SkuPrices],
) -> dict[str, _UnitPrice]:
    units = {}
    for sku_id, quantity in quantity_by_sku.items():
        sku_prices = prices.get(sku_id)
        unit = None if sku_prices is None else _best_unit(ranked, sku_prices.tiers_by_list, quantity)
        if unit is not None:
            units[sku_id] = unit
    return units


def _best_unit(
    ranked: Iterable[PriceList], tiers_by_list: Mapping[str, Sequence[PriceTier]], quantity: int
) -> _UnitPrice | None:
    for price_list in ranked:
        price_list_id = price_list.price_list_id
        for tier in reversed(tiers_by_list.get(price_list_id, ())):
            if tier.min_quantity <= quantity:
                return _UnitPrice(tier.unit_price_minor, price_list_id, tier.min_quantity)
    return None


# --- promotions -----------------------------------------------------------------------------------


def _switched_on(
    book: PriceBook,
    coupon_codes: Iterable[str],
    coupons: Mapping[str, Coupon],
    sku_ids: Iterable[str],
) -> list[_Switched]:
    """Promotions that concern these SKUs and need no coupon or have theirs, in order of application.

    Whether their window holds is another question: one that opens soon limits how long prices hold.
    """
    if not book.promotions:
        return []
    held = [coupons[code] for code in coupon_codes if code in coupons]
    # The smallest code wins when two switch on the same promotion: it does not apply twice.
    code_by_promotion = {
        coupon.promotion_id: coupon.coupon_code
        for coupon in sorted(held, key=lambda coupon: coupon.coupon_code, reverse=True)
        if coupon.active
    }
    skus = frozenset(sku_ids)
    switched = [
        _Switched(found, code_by_promotion[found.promotion_id] if found.coupon_required else "")
        for found in book.promotions.values()
        if found.active
        and (not found.coupon_required or found.promotion_id in code_by_promotion)
        and (not found.sku_ids or not found.sku_ids.isdisjoint(skus))
    ]
    return sorted(switched, key=lambda s: (-s.promotion.priority, s.promotion.promotion_id))


class _Effect(NamedTuple):
    """What the promotions in force did."""

    adjustments: Mapping[str, tuple[Adjustment, ...]]
    """By line id."""
    free_shipping: bool
    coupon_codes: tuple[str, ...]
    """Coupons that took something off, or that alone made shipping free."""


def _adjust(
    lines: Iterable[LineToPrice],
    units: Mapping[str, _UnitPrice],
    in_force: Sequence[_Switched],
    currency_code: str,
) -> _Effect:
    """Applies the promotions."""
    if not in_force:
        return _Effect({}, free_shipping=False, coupon_codes=())
    # By line id, so that what is spread or given away never depends on the order of the lines.
    opened = [_open(line, units) for line in sorted(lines, key=lambda line: line.line_id)]
    coupon_codes: list[str] = []
    free_shipping_by: list[str] = []
    for promotion, coupon_code in in_force:
        concerned = [
            o
            for o in opened
            if not o.is_closed and (not promotion.sku_ids or o.line.sku_id in promotion.sku_ids)
        ]
        if not concerned or not _reaches_minimum(promotion, concerned, currency_code):
            continue
        if isinstance(promotion.benefit, FreeShipping):
            free_shipping_by.append(coupon_code)
        elif _apply(promotion, coupon_code, concerned, currency_code) and coupon_code:
            coupon_codes.append(coupon_code)
    # Where a promotion without a coupon makes it free as well, no coupon is used up for it.
    if free_shipping_by and "" not in free_shipping_by:
        coupon_codes.append(free_shipping_by[0])
    adjustments = {o.line.line_id: tuple(o.adjustments) for o in opened if o.adjustments}
    return _Effect(adjustments, bool(free_shipping_by), tuple(coupon_codes))


def _open(line: LineToPrice, units: Mapping[str, _UnitPrice]) -> _OpenLine:
    subtotal_minor = units[line.sku_id].unit_price_minor * line.quantity
    return _OpenLine(line, subtotal_minor, subtotal_minor, [])


def _reaches_minimum(promotion: Promotion, concerned: Iterable[_OpenLine], currency_code: str) -> bool:
    """Counted at list prices, so that one promotion never takes the ground from under another."""
    if promotion.minimum_subtotal_minor is None:
        return True
    worth_minor = sum(o.subtotal_minor for o in concerned)
    return (
        promotion.minimum_subtotal_currency_code == currency_code
        and worth_minor >= promotion.minimum_subtotal_minor
    )


def _apply(
    promotion: Promotion, coupon_code: str, concerned: Sequence[_OpenLine], currency_code: str
) -> bool:
    """Takes the promotion off its lines; False when that comes to nothing."""
    does_something = False
    for o, off in zip(concerned, _discounts(promotion, concerned, currency_code), strict=True):
        if off.numerator == 0:
            continue
        o.remaining_minor -= off.amount_minor
        o.adjustments.append(
            Adjustment(
                promotion.promotion_id, promotion.title, coupon_code, -off.amount_minor, _exact_text(off)
            )
        )
        o.is_closed = promotion.exclusive and off.amount_minor > 0
        does_something = does_something or off.amount_minor > 0
    return does_something


class _Discount(NamedTuple):
    """What is taken off one line: in whole minor units, and exactly. Neither is ever negative."""

    amount_minor: int
    numerator: int
    denominator: int = 1


_NOTHING = _Discount(0, 0)


def _discounts(
    promotion: Promotion, concerned: Sequence[_OpenLine], currency_code: str
) -> list[_Discount]:
    """What a promotion takes off each of its lines, never more than is left of the line."""
    match promotion.benefit:
        case PercentageOff(basis_points):
            return [_percentage(o.remaining_minor, basis_points) for o in concerned]
        case AmountOff(its_currency_code, amount_minor) if its_currency_code == currency_code:
            return _amount_spread(amount_minor, [o.remaining_minor for o in concerned])
        case BuyXGetY() as offer:
            gifts = _gifts(offer, [(o.remaining_minor, o.line.quantity) for o in concerned])
            return [_Discount(gift_minor, gift_minor) for gift_minor in gifts]
        case _:
            return [_NOTHING] * len(concerned)


def _percentage(remaining_minor: int, basis_points: int) -> _Discount:
    """The one rounding of a percentage: half away from zero."""
    scaled = remaining_minor * basis_points
    rounded_minor = round_half_away(scaled, denominator=BASIS_POINTS_OF_WHOLE)
    return _Discount(rounded_minor, scaled, BASIS_POINTS_OF_WHOLE)


def _amount_spread(amount_minor: int, remaining_minor: Sequence[int]) -> list[_Discount]:
    """Shares by what is left of each line; they add up to the amount, or to all that is left.

    The sum of the exact shares up to a line, rounded down, is what the lines up to it bear.
    """
    worth_minor = sum(remaining_minor)
    if worth_minor == 0:
        return [_NOTHING] * len(remaining_minor)
    given_minor = min(amount_minor, worth_minor)
    shares = spread(given_minor, remaining_minor)
    return [
        _Discount(share_minor, given_minor * left_minor, worth_minor)
        for left_minor, share_minor in zip(remaining_minor, shares, strict=True)
    ]


class _Run(NamedTuple):
    """Units of one line that are worth the same: a line has at most two such runs."""

    unit_minor: int
    unit_count: int
    place: int


def _gifts(offer: BuyXGetY, lines: Sequence[tuple[int, int]]) -> list[int]:
    """What each line, given as (remaining_minor, quantity), loses to buy-x-get-y.

    All units stand in a row, dearest first, and are cut into groups of buy + get; the last `get` of a
    group, its cheapest, cost nothing. What is left over is no group and brings no gift. To order the
    groups one by one would save nothing more.
    """
    group_size = offer.buy_quantity + offer.get_quantity
    grouped_count = sum(quantity for _, quantity in lines) // group_size * group_size
    gifts_minor, start = [0] * len(lines), 0
    for unit_minor, unit_count, place in sorted(
        _runs(lines), key=lambda run: (-run.unit_minor, run.place)
    ):
        end = start + unit_count
        gift_count = _gift_count(offer, min(end, grouped_count)) - _gift_count(
            offer, min(start, grouped_count)
        )
        gifts_minor[place] += unit_minor * gift_count
        start = end
    return gifts_minor


def _runs(lines: Sequence[tuple[int, int]]) -> Iterable[_Run]:
    """Each line as whole minor units per unit: earlier discounts may leave some units 1 dearer."""
    for place, (remaining_minor, quantity) in enumerate(lines):
        unit_minor, dearer_count = divmod(remaining_minor, quantity)
        yield _Run(unit_minor + 1, dearer_count, place)
        yield _Run(unit_minor, quantity - dearer_count, place)


def _gift_count(offer: BuyXGetY, unit_count: int) -> int:
    """How many of the first `unit_count` units in the row are free."""
    group_count, rest = divmod(unit_count, offer.buy_quantity + offer.get_quantity)
    return group_count * offer.get_quantity + max(0, rest - offer.buy_quantity)


def _exact_text(off: _Discount) -> str:
    """The exact amount as `Adjustment` tells it: a fraction in lowest terms, '' for a whole number."""
    if off.numerator % off.denominator == 0:
        return ""
    divisor = gcd(off.numerator, off.denominator)
    return f"-{off.numerator // divisor}/{off.denominator // divisor}"
