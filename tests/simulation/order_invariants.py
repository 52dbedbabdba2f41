"""What must hold of orders, coupons, carts and money: equal in meaning to their views inv_*."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from command_service.cart.domain import CartState
from command_service.checkout.money_ledger import posting
from command_service.inventory.domain import ReservationState
from command_service.ordering import events
from command_service.ordering.domain import AWAITING, CLOSED, REFUND_RECORD, Order, OrderState
from command_service.ordering.events import OrderEvent
from command_service.payment.domain import OrderPayments
from command_service.payment.payments import PaymentState
from command_service.payment.refunds import RefundState
from command_service.world import LockRank
from tests.simulation.database import KEY_ROW, Database
from tests.simulation.provider import ProviderInMemory

_RESERVATION_BY_ORDER = {
    OrderState.AWAITING_PAYMENT: ReservationState.HELD,
    OrderState.AWAITING_INSTORE_PAYMENT: ReservationState.HELD,
    OrderState.PAID: ReservationState.COMMITTED,
    OrderState.PARTIALLY_FULFILLED: ReservationState.COMMITTED,
    OrderState.FULFILLED: ReservationState.SHIPPED,
    OrderState.CANCELLED: ReservationState.RELEASED,
    OrderState.EXPIRED: ReservationState.EXPIRED,
}


def rows_of(database: Database, rank: LockRank) -> dict[Any, Any]:
    return {
        key: row for (kind, key), row in database.rows.items() if kind is rank and row is not KEY_ROW
    }


def broken_of_orders(database: Database) -> Iterator[str]:
    """Of each order and of all that belongs to it. inv_order_money, inv_refund_counted_twice."""
    orders: dict[str, Order] = rows_of(database, LockRank.ORDER)
    told: dict[str, list[OrderEvent]] = defaultdict(list)
    for logged in database.log:
        if isinstance(logged.told.event, OrderEvent):
            told[logged.told.event.key].append(logged.told.event)
        if isinstance(logged.told.event, events.OrderExpired):
            order_id = logged.told.event.key
            if logged.now < orders[order_id].expire_time:
                yield f"{order_id} expired at {logged.now}, before its time"
    payments: dict[str, OrderPayments] = rows_of(database, LockRank.ORDER_PAYMENTS)
    records: dict[str, Counter[str]] = defaultdict(Counter)
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    recorded = rows_of(database, LockRank.MONEY_RECORD)
    for (kind, _), record in recorded.items():
        records[record.order_id][kind] += record.amount_minor
        counts[record.order_id][kind] += 1
    for order_id, of_order in payments.items():
        for refund in of_order.refunds:
            counts[order_id]["refund"] += 1
            if refund.state is not RefundState.FAILED:
                records[order_id]["refund"] += refund.amount_minor
                if (REFUND_RECORD, refund.provider_reference) in recorded:
                    yield f"{refund.refund_id} counts, and so does what people recorded of it: {refund}"
    for order_id, order in orders.items():
        yield from _of_reservation(database, order)
        yield from _of_state(order)
        yield from _of_prices(database, order)
        yield from _of_history(order, told.pop(order_id, []), counts[order_id])
        if (order.paid_minor, order.refunded_minor) != (
            records[order_id]["payment"],
            records[order_id]["refund"],
        ):
            yield f"{order_id} has {order.paid_minor}, {order.refunded_minor}; {records[order_id]}"
    if told:
        yield f"events of orders that are not there: {sorted(told)}"
    yield from _of_coupons(database, orders)
    yield from _of_carts(database, orders)
    yield from _of_accounts(database, orders, payments)


def _of_reservation(database: Database, order: Order) -> Iterator[str]:
    """inv_order_reservations, inv_order_reservation_lines."""
    held = database.rows.get((LockRank.RESERVATION, order.order_id))
    if held is None or held is KEY_ROW or held.state is not _RESERVATION_BY_ORDER[order.state]:
        yield f"{order.order_id} is {order.state.name} and its reservation {held!r}"
        return
    if order.state in AWAITING and held.expire_time != order.expire_time:
        yield f"{order.order_id} and its reservation expire apart"
    wanted, has = Counter[str](), Counter[str]()
    for line in order.lines:
        wanted[line.sku_id] += line.quantity - line.cancelled_quantity
        wanted[f"{line.sku_id} shipped"] += line.fulfilled_quantity
    for row in held.lines:
        has[row.sku_id] += row.quantity
        has[f"{row.sku_id} shipped"] += row.shipped_quantity
    if +wanted != +has:
        yield f"{order.order_id} wants {wanted} and holds {has}"


def _of_state(order: Order) -> Iterator[str]:
    """inv_order_states, inv_order_money, inv_order_refunds."""
    quantity = sum(line.quantity for line in order.lines)
    fulfilled = sum(line.fulfilled_quantity for line in order.lines)
    cancelled = sum(line.cancelled_quantity for line in order.lines)
    is_unpaid = order.paid_minor < order.total_minor
    done = fulfilled + cancelled
    is_wrong = {
        OrderState.PAID: is_unpaid or fulfilled > 0 or cancelled >= quantity,
        OrderState.PARTIALLY_FULFILLED: is_unpaid or fulfilled < 1 or done >= quantity,
        OrderState.FULFILLED: is_unpaid or fulfilled < 1 or done != quantity,
        OrderState.CANCELLED: fulfilled > 0,
        OrderState.EXPIRED: fulfilled > 0 or cancelled > 0,
    }.get(order.state, order.is_covered or done > 0)
    if is_wrong:
        yield f"{order.order_id} is {order.state.name}: {order}"
    refunded_of_lines = sum(line.refunded_minor for line in order.lines)
    if not 0 <= order.refunded_minor <= order.paid_minor or order.gifted_minor < 0:
        yield f"{order.order_id} gave back more than it received"
    if order.gifted_minor + refunded_of_lines > order.refunded_minor:
        yield f"{order.order_id} gave back less than its lines"
    for line in order.lines:
        # A cent of each unit may be rounding.
        if line.refunded_minor > line.first_units_minor(line.refunded_quantity) + line.quantity:
            yield f"{order.order_id} gave back money of units that may still be shipped: {line}"


def _of_prices(database: Database, order: Order) -> Iterator[str]:
    """What was charged is what stood on the best of the lists that were open when it was placed."""
    lists = rows_of(database, LockRank.PRICE_LIST)
    for line in order.lines:
        tiers_by_list = database.rows[LockRank.SKU_PRICES, line.sku_id].tiers_by_list
        is_open = [
            price_list
            for price_list in map(lists.__getitem__, tiers_by_list)
            if (price_list.start_time is None or price_list.start_time <= order.placed_time)
            and (price_list.end_time is None or order.placed_time < price_list.end_time)
        ]
        best = max(is_open, key=lambda price_list: price_list.priority).price_list_id
        unit_price_minor = tiers_by_list[best][0].unit_price_minor
        if (line.price_list_id, line.unit_price_minor) != (best, unit_price_minor):
            yield f"{order.order_id} was placed at {order.placed_time} with {line}, {best} was open"


def _of_history(order: Order, told: list[OrderEvent], counts: Counter[str]) -> Iterator[str]:
    """inv_order_history, inv_order_states_told, inv_money_events."""
    kinds = [type(event) for event in told]
    count = Counter(kinds)
    order_id = order.order_id
    if not kinds or kinds[0] is not events.OrderPlaced or count[events.OrderPlaced] != 1:
        yield f"{order_id} is not placed first, and once"
    if (count[events.OrderCancelled] > 0) != (order.state is OrderState.CANCELLED):
        yield f"{order_id} is {order.state.name} and was cancelled {count[events.OrderCancelled]} times"
    if count[events.OrderCancelled] > 1 or count[events.OrderExpired] > 1:
        yield f"{order_id} ended more than once"
    is_shipped = order.state in (OrderState.PARTIALLY_FULFILLED, OrderState.FULFILLED)
    if (count[events.OrderLinesFulfilled] > 0) != is_shipped:
        yield f"{order_id} is {order.state.name} and its log tells otherwise"
    if order.state is OrderState.EXPIRED and not count[events.OrderExpired]:
        yield f"{order_id} expired in silence"
    for index, kind in enumerate(kinds):
        before = kinds[:index]
        if kind in _AFTER_NO_CANCELLING and events.OrderCancelled in before:
            yield f"{order_id}: {kind.__name__} after it was called off"
        if kind in _AFTER_PAYMENT and events.PaymentRecorded not in before and order.total_minor:
            yield f"{order_id}: {kind.__name__} before it was paid"
        if kind is events.OrderLinesReturned and events.OrderLinesFulfilled not in before:
            yield f"{order_id}: units came back that had not left"
    refund_count = count[events.RefundRecorded] - count[events.RefundRecordReversed]
    if (count[events.PaymentRecorded], refund_count) != (
        counts["payment"],
        counts["refund"],
    ):
        yield f"{order_id}: money is not told once each: {count} {counts}"


_AFTER_NO_CANCELLING = (
    events.OrderCancelled,
    events.OrderExpired,
    events.OrderLinesFulfilled,
    events.OrderLinesCancelled,
)
_AFTER_PAYMENT = (events.OrderLinesFulfilled, events.OrderLinesCancelled, events.RefundRecorded)


def _of_accounts(
    database: Database, orders: dict[str, Order], payments: dict[str, OrderPayments]
) -> Iterator[str]:
    """inv_money_balance, inv_money_receivable, inv_money_clearing, inv_money_payable."""
    accounts: dict[str, Counter[str]] = defaultdict(Counter)
    for logged in database.log:
        entries = posting(logged.told.event)
        if sum(entry.amount_minor for entry in entries):
            yield f"the entries at {logged.position} do not sum to zero: {entries}"
        for entry in entries:
            accounts[logged.told.event.key][entry.account] += entry.amount_minor
    for order_id, order in orders.items():
        of_order = payments.get(order_id)
        under_way = 0
        if of_order is not None:
            under_way = sum(r.amount_minor for r in of_order.refunds if r.state in _UNDER_WAY)
        booked = accounts[order_id]
        has_minor = order.paid_minor - order.refunded_minor
        if booked["receivable"] != order.kept_minor - has_minor:
            yield f"{order_id}: receivable {booked}, kept {order.kept_minor}, has {has_minor}"
        if booked["clearing"] != has_minor + under_way or -booked["payable"] != under_way:
            yield f"{order_id}: {booked}, has {has_minor}, under way {under_way}"


_UNDER_WAY = frozenset({RefundState.REQUESTED, RefundState.PENDING, RefundState.UNKNOWN})


def _of_coupons(database: Database, orders: dict[str, Order]) -> Iterator[str]:
    """inv_coupon_uses, inv_coupon_customer_uses, inv_coupon_limits."""
    uses, customer_uses = Counter[str](), Counter[tuple[str, str]]()
    for order in orders.values():
        if order.state not in CLOSED:
            for code in order.coupon_codes:
                uses[code] += 1
                if order.customer_id:
                    customer_uses[code, order.customer_id] += 1
    for code, coupon in rows_of(database, LockRank.COUPON).items():
        if coupon.used_count != uses.pop(code, 0):
            yield f"coupon {code} counts {coupon.used_count} uses, its orders others"
        if coupon.usage_limit is not None and coupon.used_count > coupon.usage_limit:
            yield f"coupon {code} is used {coupon.used_count} times, beyond its limit"
    for key, customer in rows_of(database, LockRank.COUPON_CUSTOMER).items():
        if customer.used_count != customer_uses.pop(key, 0):
            yield f"coupon and customer {key} count {customer.used_count} uses, their orders others"
    if uses or customer_uses:
        yield f"uses that are not counted: {uses} {customer_uses}"


def _of_carts(database: Database, orders: dict[str, Order]) -> Iterator[str]:
    """inv_cart_orders."""
    ordered = sorted(
        key for key, cart in rows_of(database, LockRank.CART).items() if cart.state is CartState.ORDERED
    )
    if ordered != sorted(order.cart_id for order in orders.values()):
        yield f"carts {ordered} became {sorted(orders)}"


def broken_at_provider(database: Database, provider: ProviderInMemory) -> Iterator[str]:
    """Both sides count the same money, and each payment was taken once."""
    payments: dict[str, OrderPayments] = rows_of(database, LockRank.ORDER_PAYMENTS)
    # What people gave back of what was due, since a refund had failed: neither a gift nor of units.
    settled_minor = Counter[str]()
    for record in rows_of(database, LockRank.MONEY_RECORD).values():
        if record.counted is not None:
            of_lines_minor = sum(line.amount_minor for line in record.counted.lines)
            settled_minor[record.order_id] += (
                record.amount_minor - record.counted.gifted_minor - of_lines_minor
            )
    for order_id, of_order in payments.items():
        order = database.rows[LockRank.ORDER, order_id]
        for payment in of_order.payments:
            there = provider.payments.get(payment.payment_id)
            captured_minor = 0 if there is None else there.captured_minor
            if payment.captured_minor != captured_minor:
                yield f"{payment.payment_id}: took {captured_minor}, we know {payment.captured_minor}"
            if there is not None and (there.capture_count > 1 or there.begin_count > 1):
                yield f"{payment.payment_id} was made or captured more than once: {there}"
            refunded_minor = provider.refunded_minor(payment.payment_id)
            succeeded_minor = sum(
                refund.amount_minor
                for refund in of_order.refunds
                if refund.payment_id == payment.payment_id and refund.state is RefundState.SUCCEEDED
            )
            if refunded_minor != succeeded_minor:
                yield f"{payment.payment_id}: {refunded_minor} went back, we know {succeeded_minor}"
            is_open = payment.state in (PaymentState.AWAITING_CUSTOMER, PaymentState.AUTHORIZED)
            if is_open and order.state not in AWAITING:
                yield f"{payment.payment_id} is {payment.state.name} of an order that wants no money"
        kept_minor = order.paid_minor - order.refunded_minor
        # What failed to go back once is for people, who see it in the alarms.
        has_failed = any(refund.state is RefundState.FAILED for refund in of_order.refunds)
        if order.state in CLOSED and kept_minor and not has_failed:
            yield f"{order_id} is {order.state.name} and keeps {kept_minor}"
        given_minor = order.gifted_minor + sum(line.refunded_minor for line in order.lines)
        is_paid = order.state not in AWAITING and order.state not in CLOSED
        beyond_minor = kept_minor + given_minor + settled_minor[order_id] - order.total_minor
        if is_paid and (beyond_minor < 0 or (beyond_minor and not has_failed)):
            yield f"{order_id} costs {order.total_minor}, keeps {kept_minor}, gave back {given_minor}"
