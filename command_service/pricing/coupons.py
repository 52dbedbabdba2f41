"""The uses of coupons: who may use one, and how a use is held and given back. Pure."""

from dataclasses import replace
from datetime import datetime

from command_service.errors import (
    CouponNeedsCustomer,
    CouponNotFound,
    CouponNotValid,
    CouponUsedUp,
)
from command_service.pricing.domain import Coupon, CouponCustomer, Promotion
from command_service.pricing.events import CouponUseHeld, CouponUseReturned


def normalised_code(text: str) -> str:
    """A code as it is kept and compared: in capitals."""
    return text.upper()


def check_coupon(
    coupon: Coupon | None,
    code: str,
    promotion: Promotion | None,
    customer_uses: CouponCustomer | None,
    *,
    customer_id: str,
    now: datetime,
) -> None:
    """Makes sure that one more order of this customer ('' for a guest) may use the coupon now.

    promotion: the one that the coupon switches on; None when it has ended or is gone.

    Raises:
        CouponNotFound, CouponNotValid, CouponNeedsCustomer, CouponUsedUp: it may not.
    """
    if coupon is None:
        raise CouponNotFound(coupon_code=code)
    if not coupon.active or promotion is None or not promotion.is_in_force(now):
        raise CouponNotValid(coupon_code=code)
    if coupon.usage_limit_per_customer is not None and not customer_id:
        raise CouponNeedsCustomer(coupon_code=code)
    check_uses_left(coupon, customer_uses)


def check_uses_left(coupon: Coupon, customer_uses: CouponCustomer | None) -> None:
    """Makes sure that one more order may use the coupon, whatever it may give by now.

    Raises:
        CouponUsedUp: it may not.
    """
    own_count = customer_uses.used_count if customer_uses else 0
    if _is_reached(coupon.usage_limit, coupon.used_count) or _is_reached(
        coupon.usage_limit_per_customer, own_count
    ):
        raise CouponUsedUp(coupon_code=coupon.coupon_code)


def _is_reached(limit: int | None, count: int) -> bool:
    return limit is not None and count >= limit


def hold_use(
    coupon: Coupon, customer_uses: CouponCustomer | None, *, order_id: str, customer_id: str
) -> tuple[Coupon, CouponCustomer | None, CouponUseHeld]:
    """Counts one use for an order, after `check_coupon` has allowed it.

    The customer's count is kept whenever the customer is known, so that a limit per customer that is
    set later counts what came before.
    """
    held = replace(coupon, used_count=coupon.used_count + 1, held_under_limit=coupon.usage_limit)
    event = CouponUseHeld(coupon.coupon_code, order_id, customer_id, held.used_count)
    if not customer_id:
        return held, None, event
    own_count = customer_uses.used_count if customer_uses else 0
    limit = coupon.usage_limit_per_customer
    return held, CouponCustomer(coupon.coupon_code, customer_id, own_count + 1, limit), event


def return_use(
    coupon: Coupon, customer_uses: CouponCustomer | None, *, order_id: str, customer_id: str
) -> tuple[Coupon, CouponCustomer | None, CouponUseReturned]:
    """Takes one use of an order back; the order is known to hold one."""
    returned = replace(coupon, used_count=coupon.used_count - 1)
    event = CouponUseReturned(coupon.coupon_code, order_id, customer_id, returned.used_count)
    if not customer_id or customer_uses is None:
        return returned, None, event
    return returned, replace(customer_uses, used_count=customer_uses.used_count - 1), event
