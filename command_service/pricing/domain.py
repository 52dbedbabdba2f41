"""Price lists, promotions, coupons and the pricing of a cart's lines: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from itertools import chain
from typing import NamedTuple, Protocol

from command_service.adjustments import Adjustment
from command_service.money import Money
from command_service.world import Kind, LockRank


class Windowed(Protocol):
    """What holds from start_time on and before end_time; None stands for always."""

    @property
    def start_time(self) -> datetime | None:
        """First moment at which it holds."""
        ...

    @property
    def end_time(self) -> datetime | None:
        """First moment at which it no longer holds."""
        ...


def holds_at(windowed: Windowed, moment: datetime) -> bool:
    """True when the window holds the moment."""
    start_time, end_time = windowed.start_time, windowed.end_time
    return (start_time is None or start_time <= moment) and (end_time is None or moment < end_time)


def first_edge_after(moment: datetime, *windows: Iterable[Windowed]) -> datetime | None:
    """The first moment after this one at which one of them opens or closes; None when none does."""
    edges = (edge for each in chain(*windows) for edge in (each.start_time, each.end_time))
    return min((edge for edge in edges if edge is not None and edge > moment), default=None)


@dataclass(frozen=True, slots=True)
class PriceList:
    """Who pays which prices, when."""

    price_list_id: str
    title: str
    currency_code: str
    customer_group: str
    priority: int
    tax_inclusive: bool
    start_time: datetime | None
    end_time: datetime | None
    named_only: bool
    version: int = 0
    """One more with every change of the list, and with every SKU that is added to it."""
    shown_time: datetime | None = None
    """The prices of its SKUs have all been told as of then or later; None: not since it was changed."""

    def rank(self) -> tuple[int, str]:
        """Of the lists that a cart may use, the one of the lowest rank wins."""
        return (-self.priority, self.price_list_id)

    def is_hidden(self, now: datetime) -> bool:
        """True when no price of it is told as in force: none is, nor was since they were last told."""
        if self.shown_time is None or holds_at(self, now):
            return False
        edge = first_edge_after(self.shown_time, [self])
        return edge is None or edge > now


@dataclass(frozen=True, slots=True)
class PriceTier:
    """The unit price from a quantity on."""

    min_quantity: int
    unit_price_minor: int


@dataclass(frozen=True, slots=True)
class SkuPrices:
    """All prices of one SKU: the tiers, by rising quantity, of each list that has it."""

    sku_id: str
    tiers_by_list: Mapping[str, tuple[PriceTier, ...]]
    shown_digest: str = ""
    """Digest of the prices in force that were last told; '' when there were none."""


@dataclass(frozen=True, slots=True)
class PriceInForce:
    """The price of one SKU in one list that is in force; fields as in pricing.proto."""

    price_list_id: str
    currency_code: str
    customer_group: str
    priority: int
    tax_inclusive: bool
    tiers: tuple[PriceTier, ...]
    end_time: datetime | None
    named_only: bool


@dataclass(frozen=True, slots=True)
class PricesInForce:
    """All prices of one SKU that are in force, best first: what is shown of them."""

    sku_id: str
    prices: tuple[PriceInForce, ...]

    @property
    def digest(self) -> str:
        """Tells one state of the prices from another; '' when there are none."""
        if not self.prices:
            return ""
        # The same moment is written differently in another time zone.
        in_utc = [replace(p, end_time=p.end_time and p.end_time.astimezone(UTC)) for p in self.prices]
        return blake2b(repr(in_utc).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class PercentageOff:
    """A share off each line, in hundredths of a percent."""

    basis_points: int


@dataclass(frozen=True, slots=True)
class AmountOff:
    """A fixed amount off, spread over the lines by their value."""

    currency_code: str
    amount_minor: int

    @property
    def amount(self) -> Money:
        """The amount as money."""
        return Money(self.currency_code, self.amount_minor)


@dataclass(frozen=True, slots=True)
class BuyXGetY:
    """Of each group of buy + get units, the cheapest get units cost nothing."""

    buy_quantity: int
    get_quantity: int


@dataclass(frozen=True, slots=True)
class FreeShipping:
    """Shipping costs nothing."""


Benefit = PercentageOff | AmountOff | BuyXGetY | FreeShipping


@dataclass(frozen=True, slots=True)
class Promotion:
    """A promotion; it applies by itself, or only with a coupon when coupon_required is set."""

    promotion_id: str
    title: str
    benefit: Benefit
    sku_ids: frozenset[str]
    minimum_subtotal_minor: int | None
    minimum_subtotal_currency_code: str | None
    priority: int
    coupon_required: bool
    start_time: datetime | None
    end_time: datetime | None
    active: bool
    exclusive: bool
    shown_in_force: bool = False
    """Whether it was in force when it was last told of."""

    def is_in_force(self, now: datetime) -> bool:
        """True when it is active and its window holds."""
        return self.active and holds_at(self, now)

    @property
    def minimum_subtotal(self) -> Money | None:
        """What its lines must be worth, if they must."""
        if self.minimum_subtotal_minor is None or self.minimum_subtotal_currency_code is None:
            return None
        return Money(self.minimum_subtotal_currency_code, self.minimum_subtotal_minor)

    @property
    def percentage_off(self) -> PercentageOff | None:
        """The benefit, if it is of this kind."""
        return self.benefit if isinstance(self.benefit, PercentageOff) else None

    @property
    def amount_off(self) -> AmountOff | None:
        """The benefit, if it is of this kind."""
        return self.benefit if isinstance(self.benefit, AmountOff) else None

    @property
    def buy_x_get_y(self) -> BuyXGetY | None:
        """The benefit, if it is of this kind."""
        return self.benefit if isinstance(self.benefit, BuyXGetY) else None

    @property
    def free_shipping(self) -> FreeShipping | None:
        """The benefit, if it is of this kind."""
        return self.benefit if isinstance(self.benefit, FreeShipping) else None


@dataclass(frozen=True, slots=True)
class Coupon:
    """A code that switches a promotion on, with its count of uses: the whole aggregate."""

    coupon_code: str
    promotion_id: str
    usage_limit: int | None
    usage_limit_per_customer: int | None
    active: bool
    used_count: int
    held_under_limit: int | None = None
    """The usage_limit when it was last held: used_count never exceeds it, whatever the limit is now."""


@dataclass(frozen=True, slots=True)
class CouponCustomer:
    """How many orders of one customer hold or have used a coupon."""

    coupon_code: str
    customer_id: str
    used_count: int
    held_under_limit: int | None = None
    """The coupon's limit per customer when this customer last held it."""


@dataclass(frozen=True, slots=True)
class PriceBook:
    """All price lists and all promotions: small, read whole."""

    price_lists: Mapping[str, PriceList]
    promotions: Mapping[str, Promotion]


class LineToPrice(Protocol):
    """What of a line decides its price. A SKU may stand on several lines."""

    @property
    def line_id(self) -> str:
        """The line."""
        ...

    @property
    def sku_id(self) -> str:
        """What it is of."""
        ...

    @property
    def quantity(self) -> int:
        """Its units."""
        ...


class PricedLine(NamedTuple):
    """One line with its price and why."""

    line_id: str
    sku_id: str
    quantity: int
    unit_price_minor: int
    price_list_id: str
    price_tier_min_quantity: int
    adjustments: tuple[Adjustment, ...]

    @property
    def subtotal_minor(self) -> int:
        """List price of all units."""
        return self.unit_price_minor * self.quantity

    @property
    def discount_minor(self) -> int:
        """Sum of the adjustments: zero or negative."""
        if not self.adjustments:
            return 0
        return sum(adjustment.amount_minor for adjustment in self.adjustments)

    @property
    def total_minor(self) -> int:
        """What the line costs; never below 0."""
        return self.subtotal_minor + self.discount_minor


@dataclass(frozen=True, slots=True)
class PricedLines:
    """All lines of a cart, priced together as of one moment.

    unpriced_sku_ids: SKUs that none of the lists in use prices; their lines are not among the lines.
    coupon_codes_in_effect: the coupons that took something off, or made shipping free.
    """

    lines: tuple[PricedLine, ...]
    unpriced_sku_ids: tuple[str, ...]
    free_shipping: bool
    coupon_codes_in_effect: tuple[str, ...]
    tax_inclusive: bool
    valid_until: datetime | None
    """First moment at which a window that matters opens or closes; None when none is known."""


@dataclass(frozen=True, slots=True)
class Buyer:
    """What of a cart decides its prices."""

    currency_code: str
    customer_group: str
    price_list_id: str
    coupon_codes: Sequence[str]


def prices_in_force(prices: SkuPrices, book: PriceBook, now: datetime) -> PricesInForce:
    """What of a SKU's prices is in force at `now`, best first."""
    lists = [book.price_lists[list_id] for list_id in prices.tiers_by_list]
    in_force = sorted((found for found in lists if holds_at(found, now)), key=PriceList.rank)
    return PricesInForce(
        prices.sku_id,
        tuple(
            PriceInForce(
                price_list_id=found.price_list_id,
                currency_code=found.currency_code,
                customer_group=found.customer_group,
                priority=found.priority,
                tax_inclusive=found.tax_inclusive,
                tiers=prices.tiers_by_list[found.price_list_id],
                end_time=found.end_time,
                named_only=found.named_only,
            )
            for found in in_force
        ),
    )


PRICE_BOOK_KEY = "book"
"""The price book is one."""

COUPON: Kind[str, Coupon] = Kind("coupon", LockRank.COUPON)
COUPON_CUSTOMER: Kind[tuple[str, str], CouponCustomer] = Kind(
    "coupon customer", LockRank.COUPON_CUSTOMER
)
PRICE_LIST: Kind[str, PriceList] = Kind("price list", LockRank.PRICE_LIST)
PROMOTION: Kind[str, Promotion] = Kind("promotion", LockRank.PROMOTION)
SKU_PRICES: Kind[str, SkuPrices] = Kind("SKU prices", LockRank.SKU_PRICES)
PRICE_BOOK: Kind[str, PriceBook] = Kind("price book", LockRank.PRICE_BOOK)
