"""What happened to prices, promotions and coupons."""

from dataclasses import dataclass
from typing import ClassVar

from command_service.pricing.domain import Coupon, PriceList, PricesInForce, Promotion
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class PriceListUpserted(Event):
    """A price list was created or replaced, or its window was shown."""

    context: ClassVar[str] = "pricing"
    price_list: PriceList
    in_force: bool

    @property
    def key(self) -> str:
        """The list."""
        return self.price_list.price_list_id


@dataclass(frozen=True, slots=True)
class SkuPricesChanged(Event):
    """The prices in force of one SKU changed."""

    context: ClassVar[str] = "pricing"
    prices: PricesInForce

    @property
    def key(self) -> str:
        """The SKU."""
        return self.prices.sku_id


@dataclass(frozen=True, slots=True)
class PromotionUpserted(Event):
    """A promotion was created or replaced, or its window opened or closed."""

    context: ClassVar[str] = "pricing"
    promotion: Promotion
    in_force: bool

    @property
    def key(self) -> str:
        """The promotion."""
        return self.promotion.promotion_id


@dataclass(frozen=True, slots=True)
class CouponUpserted(Event):
    """A coupon was created or replaced."""

    context: ClassVar[str] = "pricing"
    coupon: Coupon

    @property
    def key(self) -> str:
        """The code."""
        return self.coupon.coupon_code


@dataclass(frozen=True, slots=True)
class CouponUseCounted(Event):
    """The uses of a coupon are one more or one fewer; each subclass says which."""

    context: ClassVar[str] = "pricing"
    coupon_code: str
    order_id: str
    customer_id: str
    used_count: int

    @property
    def key(self) -> str:
        """The code."""
        return self.coupon_code


@dataclass(frozen=True, slots=True)
class CouponUseHeld(CouponUseCounted):
    """An order holds one use of a coupon."""


@dataclass(frozen=True, slots=True)
class CouponUseReturned(CouponUseCounted):
    """An order gave its use of a coupon back."""
