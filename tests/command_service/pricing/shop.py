"""A small shop's prices, to test with."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from command_service.pricing.calculation import price_lines
from command_service.pricing.domain import (
    Benefit,
    Buyer,
    Coupon,
    LineToPrice,
    PriceBook,
    PricedLines,
    PriceList,
    PriceTier,
    Promotion,
    SkuPrices,
)

NOW = datetime(2010, 12, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def price_list(price_list_id: str = "retail", **fields: Any) -> PriceList:
    """A list in GBP for everyone, always in force."""
    defaults: dict[str, Any] = {
        "title": "Retail",
        "currency_code": "GBP",
        "customer_group": "",
        "priority": 0,
        "tax_inclusive": True,
        "start_time": None,
        "end_time": None,
        "named_only": False,
    }
    return PriceList(price_list_id, **(defaults | fields))


def promotion(promotion_id: str, benefit: Benefit, **fields: Any) -> Promotion:
    """A promotion for every SKU, always in force."""
    defaults: dict[str, Any] = {
        "title": promotion_id.capitalize(),
        "sku_ids": frozenset(),
        "minimum_subtotal_minor": None,
        "minimum_subtotal_currency_code": None,
        "priority": 0,
        "coupon_required": False,
        "start_time": None,
        "end_time": None,
        "active": True,
        "exclusive": False,
    }
    return Promotion(promotion_id, benefit=benefit, **(defaults | fields))


def coupon(coupon_code: str, promotion_id: str, **fields: Any) -> Coupon:
    """A coupon without limits that nobody has used."""
    defaults: dict[str, Any] = {
        "usage_limit": None,
        "usage_limit_per_customer": None,
        "active": True,
        "used_count": 0,
    }
    return Coupon(coupon_code, promotion_id, **(defaults | fields))


def book(*entries: PriceList | Promotion) -> PriceBook:
    """A price book of these; of the list `retail` alone when no list is given."""
    lists = [entry for entry in entries if isinstance(entry, PriceList)] or [price_list()]
    promotions = [entry for entry in entries if isinstance(entry, Promotion)]
    return PriceBook(
        {each.price_list_id: each for each in lists}, {each.promotion_id: each for each in promotions}
    )


def tiers(*steps: tuple[int, int]) -> tuple[PriceTier, ...]:
    """Tiers of (min_quantity, unit_price_minor)."""
    return tuple(PriceTier(*step) for step in steps)


def retail_prices(unit_prices_minor: Mapping[str, int]) -> dict[str, SkuPrices]:
    """Prices in the list `retail`, without tiers."""
    return {
        sku_id: SkuPrices(sku_id, {"retail": tiers((1, unit_price_minor))})
        for sku_id, unit_price_minor in unit_prices_minor.items()
    }


class Line(NamedTuple):
    """What of a line decides its price."""

    line_id: str
    sku_id: str
    quantity: int


def lines(*wanted: tuple[str, int]) -> list[Line]:
    """Lines of (SKU, quantity), named after their place."""
    return [Line(f"line-{place}", *pair) for place, pair in enumerate(wanted)]


def priced(
    wanted: Sequence[LineToPrice],
    prices: Mapping[str, SkuPrices],
    price_book: PriceBook | None = None,
    *,
    currency_code: str = "GBP",
    customer_group: str = "",
    price_list_id: str = "",
    coupons: Iterable[Coupon] = (),
    now: datetime = NOW,
) -> PricedLines:
    """The lines, priced."""
    by_code = {each.coupon_code: each for each in coupons}
    return price_lines(
        wanted,
        Buyer(currency_code, customer_group, price_list_id, list(by_code)),
        book=price_book or book(),
        prices=prices,
        coupons=by_code,
        now=now,
    )


def total_minor(result: PricedLines) -> int:
    """What all lines cost."""
    return sum(line.total_minor for line in result.lines)


def discounts_minor(result: PricedLines) -> list[int]:
    """The discount of each line."""
    return [line.discount_minor for line in result.lines]
