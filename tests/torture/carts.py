"""Carts and coupons, held against what commands asked for. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_CANCELLED, ORDER_STATE_EXPIRED
from tests.torture.evidence import CouponRow, CouponUse
from tests.torture.history import Operation
from tests.torture.violations import Case, Violation, calls_by_subject, shown_by

CLOSED = {ORDER_STATE_CANCELLED, ORDER_STATE_EXPIRED}

Units = Counter[str]
"""By SKU."""


def check_carts(case: Case) -> Iterator[Violation]:
    """A cart has what was put into it, and what another had that was merged into it; all is ordered."""
    request_of = {event.position: event.request_id for event in case.evidence.events}
    now: dict[str, Units] = defaultdict(Counter)
    for cart in case.evidence.cart_units:
        calls = case.commands.get(request_of.get(cart.position, ""), [])
        wanted = now[cart.cart_id] + (_put_in(calls[0], now) if calls else Units())
        now[cart.cart_id] = found = Units(cart.units)
        if found != wanted:
            told = f"cart {cart.cart_id} at {cart.position} has {dict(found)}, not {dict(wanted)}"
            yield shown_by("cart not as filled", told, [*_calls_of(case, cart.cart_id), *calls])
    yield from _ordered_otherwise(case, now)


def _put_in(call: Operation, now: Mapping[str, Units]) -> Units:
    """What a command adds to a cart."""
    match call.method:
        case "AddCartLine":
            return Units({call.asked["sku_id"]: call.asked["quantity"]})
        case "MergeCarts":
            return now[call.asked["from_cart_id"]]
    return Units()


def _calls_of(case: Case, cart_id: str) -> list[Operation]:
    names = ("cart_id", "from_cart_id", "into_cart_id")
    return [
        call
        for call in case.history
        if call.request_id and cart_id in {call.asked.get(name) for name in names}
    ]


def _ordered_otherwise(case: Case, carts: Mapping[str, Units]) -> Iterator[Violation]:
    ordered: dict[str, Units] = defaultdict(Counter)
    for line in case.evidence.order_lines:
        ordered[line.order_id][line.sku_id] += line.quantity
    placed = {e.request_id: e.key for e in case.evidence.events if e.type == "OrderPlaced"}
    for request_id, call in case.carried_out("PlaceOrder"):
        found = ordered.get(placed.get(request_id, ""))
        cart_id = call.asked.get("cart_id", "")
        if found is not None and cart_id in carts and found != carts[cart_id]:
            told = f"of cart {cart_id} with {dict(carts[cart_id])} {dict(found)} was ordered"
            yield shown_by("cart not as filled", told, _calls_of(case, cart_id))


def check_coupons(case: Case) -> Iterator[Violation]:
    """At no moment more uses of a coupon are taken than there are, nor two by one order."""
    uses: dict[str, list[CouponUse]] = defaultdict(list)
    for use in case.evidence.coupon_uses:
        uses[use.coupon_code].append(use)
    calls = calls_by_subject(case.history) if uses else {}
    for coupon in case.evidence.coupons:
        told = _wrong_use(case, coupon, uses[coupon.coupon_code])
        if told:
            of_orders = dict.fromkeys(use.order_id for use in uses[coupon.coupon_code])
            shown = [call for order_id in of_orders for call in calls.get(order_id, [])]
            yield shown_by("coupon not conserved", f"{coupon.coupon_code}: {told}", shown)


def _wrong_use(case: Case, coupon: CouponRow, uses: list[CouponUse]) -> str:
    by_order, by_customer = Counter[str](), Counter[str]()
    for use in uses:
        by_order[use.order_id] += use.change
        by_customer[use.customer_id] += use.change
        if by_order[use.order_id] not in {0, 1}:
            return f"order {use.order_id} has {by_order[use.order_id]} uses at {use.position}"
        if _is_above(by_order.total(), coupon.usage_limit):
            return f"{by_order.total()} uses of {coupon.usage_limit} at {use.position}"
        if _is_above(by_customer[use.customer_id], coupon.usage_limit_per_customer):
            return f"{by_customer[use.customer_id]} uses by {use.customer_id} at {use.position}"
    if by_order.total() != coupon.used_count:
        return f"{coupon.used_count} uses are counted, {by_order.total()} were taken"
    for order_id, count in by_order.items():
        order = case.evidence.orders.get(order_id)
        if count and order is not None and order.state in CLOSED:
            return f"order {order_id} in state {order.state} has not given its use back"
    return ""


def _is_above(count: int, limit: int | None) -> bool:
    return limit is not None and count > limit
