"""What the tables refuse, as far as a race could come upon it. Stock is written by difference."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from command_service.database_failures import Unacceptable
from command_service.inventory.domain import COUNTERS, Level, Stock
from command_service.ordering.domain import AWAITING, CLOSED, MoneyRecord, Order
from command_service.payment.domain import OrderPayments
from command_service.pricing.domain import Coupon, CouponCustomer
from command_service.world import LockRank


def written(rank: LockRank, stored: Any, before: Any, after: Any) -> Any:
    """The row as it is after the write. stored: as it is now, which is not always as it was loaded.

    Raises:
        Unacceptable: a CHECK fails.
    """
    if rank is LockRank.STOCK:
        after = moved(stored, before, after)
    check = CHECKS.get(rank)
    if check is not None and not check(after):
        raise Unacceptable(f"check violation: {after!r}", code="23")
    return after


def moved(stored: Stock | None, before: Stock | None, after: Stock) -> Stock:
    """Each level of the row plus what the decision moved of it."""
    if stored is before or stored is None:
        return after
    loaded = {} if before is None else {level.location_id: level for level in before.levels}
    levels = {level.location_id: level for level in stored.levels}
    for level in after.levels:
        old = loaded.get(level.location_id)
        now = levels.get(level.location_id)
        if old is None or now is None:
            if now is not None:
                raise Unacceptable("duplicate level", code="23")
            levels[level.location_id] = level
        elif old is not level:
            levels[level.location_id] = replace(
                now,
                **{
                    name: getattr(now, name) + getattr(level, name) - getattr(old, name)
                    for name in COUNTERS
                },
            )
    return Stock(after.sku_id, tuple(levels[location_id] for location_id in sorted(levels)))


def is_sound(level: Level) -> bool:
    """The CHECKs of stock_levels."""
    return (
        level.reserved + level.allocated <= level.on_hand + level.backorder_limit + level.shortage
        and level.on_hand >= 0
        and level.reserved >= 0
        and level.allocated >= 0
        and level.safety_stock >= 0
        and level.backorder_limit >= 0
        and level.shortage >= 0
    )


def _stock(stock: Stock) -> bool:
    return all(is_sound(level) for level in stock.levels)


def _order(order: Order) -> bool:
    is_paid = order.state not in AWAITING and order.state not in CLOSED
    return (
        0 <= order.gifted_minor <= order.refunded_minor <= order.paid_minor
        and (not is_paid or order.paid_minor >= order.total_minor)
        and all(
            0 <= line.cancelled_quantity <= line.quantity
            and 0 <= line.fulfilled_quantity <= line.quantity - line.cancelled_quantity
            and 0 <= line.returned_quantity <= line.fulfilled_quantity
            and 0 <= line.refunded_quantity <= line.quantity
            for line in order.lines
        )
    )


def _coupon(coupon: Coupon | CouponCustomer) -> bool:
    limit = coupon.held_under_limit
    return coupon.used_count >= 0 and (limit is None or coupon.used_count <= limit)


def _record(record: MoneyRecord) -> bool:
    return record.amount_minor > 0


def _payments(payments: OrderPayments) -> bool:
    return all(
        payment.amount_minor > 0
        and payment.authorized_minor >= 0
        and 0 <= payment.refund_pending_minor <= payment.refunded_minor
        for payment in payments.payments
    )


CHECKS: dict[LockRank, Callable[[Any], bool]] = {
    LockRank.STOCK: _stock,
    LockRank.ORDER: _order,
    LockRank.COUPON: _coupon,
    LockRank.COUPON_CUSTOMER: _coupon,
    LockRank.MONEY_RECORD: _record,
    LockRank.ORDER_PAYMENTS: _payments,
}


def _of_order(order: Order) -> Iterator[tuple[Any, ...]]:
    yield ("order_number", order.order_number)
    yield ("cart_id", order.cart_id)


def _of_payments(payments: OrderPayments) -> Iterator[tuple[Any, ...]]:
    for payment in payments.payments:
        if payment.provider_reference:
            yield ("payment", payment.provider, payment.provider_reference)
    for refund in payments.refunds:
        if refund.provider_reference:
            yield ("refund", refund.payment_id, refund.provider_reference)


UNIQUE: Mapping[LockRank, Callable[[Any], Iterator[tuple[Any, ...]]]] = {
    LockRank.ORDER: _of_order,
    LockRank.ORDER_PAYMENTS: _of_payments,
}
