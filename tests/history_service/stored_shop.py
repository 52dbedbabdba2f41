"""A shop as it stands in PostgreSQL, written row by row: what the tables look like after commands."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, NamedTuple, Self
from uuid import uuid4

import psycopg
from google.protobuf.message import Message

from event_log.codec import timestamp
from shopkeeper.cart.v1.cart_pb2 import Adjustment
from shopkeeper.inventory.v1.inventory_events_pb2 import StockMoved
from shopkeeper.ordering.v1 import ordering_events_pb2 as ordering_events
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderLine, OrderLineUnits
from shopkeeper.types.v1.money_pb2 import Money

AWAITING, PAID, PARTIALLY_FULFILLED, FULFILLED, CANCELLED, EXPIRED = 1, 3, 4, 5, 6, 7
"""States of an order by their numbers."""

HELD, COMMITTED, RELEASED, LAPSED, SHIPPED = 1, 2, 3, 4, 5
"""States of a reservation by their numbers."""

COUNTERS = ("on_hand", "reserved", "allocated", "safety_stock", "backorder_limit", "shortage")

LINE_COUNTERS = (
    "fulfilled_quantity",
    "returned_quantity",
    "refunded_quantity",
    "cancelled_quantity",
    "refunded_minor",
)
"""What may have happened to an order's line."""

PAID_IN_FULL = 1
"""What a payment led to, by its number."""


class Line(NamedTuple):
    """One line to order."""

    sku_id: str
    quantity: int
    unit_price_minor: int = 255
    adjustments: tuple[dict[str, Any], ...] = ()
    tier: int = 1

    @property
    def discount_minor(self) -> int:
        return sum(adjustment["amount_minor"] for adjustment in self.adjustments)


def adjustment(
    amount_minor: int, *, title: str = "Winter sale", coupon_code: str = "", exact: str = ""
) -> dict[str, Any]:
    """A promotion's effect as it is stored with a line."""
    return {
        "promotion_id": "winter",
        "title": title,
        "coupon_code": coupon_code,
        "amount_minor": amount_minor,
        "exact_amount_minor": exact,
    }


class StoredShop:
    """Writes rows that agree with each other, as commands would have; use it as a context."""

    def __init__(self, database_url: str) -> None:
        self._connection = psycopg.connect(database_url, autocommit=True)
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.execute("INSERT INTO locations (location_id, version, active) VALUES ('main', 1, true)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._connection.close()

    def execute(self, sql: str, *parameters: object) -> None:
        self._connection.execute(sql.encode(), parameters)

    def rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql.encode(), parameters).fetchall()

    def insert(self, table: str, **values: object) -> None:
        names, places = ", ".join(values), ", ".join(["%s"] * len(values))
        self.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", *values.values())

    # --- the log ---------------------------------------------------------------------------------

    def record(self, key: str, event: Message, *, at: datetime | None = None) -> int:
        """Appends an event and stores an answer for the command that made it; returns its position."""
        context = event.DESCRIPTOR.full_name.split(".")[1]
        request_id = uuid4()
        [(position,)] = self.rows("SELECT coalesce(max(position), 0) + 1 FROM events")
        self.insert(
            "events",
            position=position,
            recorded_time=at or self.now,
            context=context,
            type=event.DESCRIPTOR.full_name,
            key=key,
            payload=event.SerializeToString(),
            actor="tester",
            request_id=request_id,
        )
        self.insert(
            "requests",
            request_id=request_id,
            method="/test",
            fingerprint=b"",
            code=0,
            response=b"",
            position=position,
            create_time=at or self.now,
        )
        return int(position)

    # --- stock -----------------------------------------------------------------------------------

    def move(
        self,
        sku_id: str,
        kind: int = 1,
        *,
        at: datetime | None = None,
        location_id: str = "main",
        cause: str = "delivery",
        **deltas: int,
    ) -> int:
        """One movement: event, ledger row and counters; returns its position."""
        changes = {counter: deltas.get(counter, 0) for counter in COUNTERS}
        self.execute(
            "INSERT INTO locations (location_id, version, active) VALUES (%s, 1, true)"
            " ON CONFLICT DO NOTHING",
            location_id,
        )
        self.execute("INSERT INTO stock_items (sku_id) VALUES (%s) ON CONFLICT DO NOTHING", sku_id)
        self.execute(
            "INSERT INTO stock_levels (sku_id, location_id, on_hand, reserved, allocated, safety_stock,"
            " backorder_limit, shortage) VALUES (%s, %s, 0, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
            *(sku_id, location_id),
        )
        summed = ", ".join(f"{counter} = {counter} + %s" for counter in COUNTERS)
        self.execute(
            f"UPDATE stock_levels SET {summed} WHERE sku_id = %s AND location_id = %s",
            *(*changes.values(), sku_id, location_id),
        )
        position = self.record(sku_id, StockMoved(sku_id=sku_id, cause=cause), at=at)
        self.insert(
            "stock_movements",
            position=position,
            recorded_time=at or self.now,
            sku_id=sku_id,
            location_id=location_id,
            kind=kind,
            cause=cause,
            actor="tester",
            **changes,
        )
        return position

    # --- carts -----------------------------------------------------------------------------------

    def cart(
        self, cart_id: str, lines: Sequence[Line], *, state: int = 1, currency: str = "GBP"
    ) -> None:
        self.insert(
            "carts",
            cart_id=cart_id,
            version=1,
            state=state,
            currency_code=currency,
            subtotal_minor=sum(line.quantity * line.unit_price_minor for line in lines),
            discount_minor=sum(line.discount_minor for line in lines),
            priced_time=self.now,
            create_time=self.now,
            update_time=self.now,
            expire_time=self.now + timedelta(days=30),
        )
        for ordinal, line in enumerate(lines):
            self.insert("cart_lines", cart_id=cart_id, **_line_row(ordinal, line))

    # --- orders ----------------------------------------------------------------------------------

    def place(
        self,
        order_id: str,
        lines: Sequence[Line],
        *,
        number: str = "",
        email: str = "",
        customer_id: str = "",
        coupon_codes: Sequence[str] = (),
        currency: str = "GBP",
        at: datetime | None = None,
        held_for: timedelta = timedelta(minutes=15),
    ) -> None:
        """An order that awaits its payment and holds its stock."""
        placed_time = at or self.now
        order = Order(
            order_id=order_id,
            order_number=number or f"number-{order_id}",
            state=AWAITING,  # type: ignore[arg-type]  # by its number
            cart_id=f"cart-of-{order_id}",
            lines=[_view_line(line) for line in lines],
            total=Money(currency_code=currency, amount_minor=_total(lines)),
            expire_time=timestamp(placed_time + held_for),
        )
        self.cart(order.cart_id, lines, state=2, currency=currency)
        self.insert(
            "orders",
            order_id=order_id,
            order_number=order.order_number,
            version=1,
            state=AWAITING,
            customer_id=customer_id,
            cart_id=order.cart_id,
            currency_code=currency,
            coupon_codes=list(coupon_codes),
            subtotal_minor=sum(line.quantity * line.unit_price_minor for line in lines),
            discount_minor=sum(line.discount_minor for line in lines),
            total_minor=_total(lines),
            paid_minor=0,
            refunded_minor=0,
            gifted_minor=0,
            free_shipping=False,
            tax_inclusive=True,
            payment_mode=1,
            placed_time=placed_time,
            update_time=placed_time,
            expire_time=placed_time + held_for,
        )
        for ordinal, line in enumerate(lines):
            counts = dict.fromkeys(LINE_COUNTERS, 0)
            self.insert("order_lines", order_id=order_id, **_line_row(ordinal, line), **counts)
        if email:
            self.contact(order_id, email)
        self._reserve(order_id, lines, placed_time + held_for)
        self.record(order_id, ordering_events.OrderPlaced(order=order), at=at)

    def contact(self, order_id: str, email: str) -> None:
        address = {
            "recipient": "Ann Smith",
            "address_lines": ["1 High Street"],
            "locality": "Leeds",
            "administrative_area": "",
            "postal_code": "LS1 1AA",
            "region_code": "GB",
        }
        self.insert(
            "order_contacts",
            order_id=order_id,
            email=email,
            full_name="Ann Smith",
            phone="",
            shipping_address=json.dumps(address),
            notes="ring twice",
        )

    def pay(self, order_id: str, amount_minor: int, *, reference: str = "") -> None:
        """Money that pays the order in full."""
        reference = reference or f"pi-{order_id}"
        self._money("payment", reference, order_id, amount_minor)
        self._step(order_id, PAID, COMMITTED, paid_minor=amount_minor)
        for sku_id, quantity in self._held(order_id):
            self.move(sku_id, 8, cause=order_id, reserved=-quantity, allocated=quantity)
        event = ordering_events.PaymentRecorded(
            progress=self._progress(order_id), payment_reference=reference, amount_minor=amount_minor
        )
        self._book(order_id, self.record(order_id, event), came_minor=amount_minor)

    def refund(self, order_id: str, amount_minor: int, *, reference: str = "") -> None:
        reference = reference or f"re-{order_id}"
        self._money("refund", reference, order_id, amount_minor)
        self.execute(
            "UPDATE orders SET refunded_minor = refunded_minor + %s WHERE order_id = %s",
            *(amount_minor, order_id),
        )
        event = ordering_events.RefundRecorded(
            progress=self._progress(order_id), refund_reference=reference, amount_minor=amount_minor
        )
        self._book(order_id, self.record(order_id, event), came_minor=-amount_minor)

    def fulfill(self, order_id: str, line_id: str, quantity: int, state: int) -> None:
        """Ships units of a line; `state` is the order's after it."""
        self._step(order_id, state, SHIPPED if state == FULFILLED else COMMITTED)
        self.execute(
            "UPDATE order_lines SET fulfilled_quantity = fulfilled_quantity + %s"
            " WHERE order_id = %s AND line_id = %s",
            *(quantity, order_id, line_id),
        )
        self.execute(
            "UPDATE reservation_lines SET shipped_quantity = shipped_quantity + %s"
            " WHERE reservation_id = %s AND sku_id = %s",
            *(quantity, order_id, line_id),
        )
        self.move(line_id, 10, cause=order_id, allocated=-quantity, on_hand=-quantity)
        event = ordering_events.OrderLinesFulfilled(
            progress=self._progress(order_id),
            lines=[OrderLineUnits(line_id=line_id, quantity=quantity)],
        )
        self.record(order_id, event)

    def cancel_units(self, order_id: str, line_id: str, quantity: int, state: int) -> None:
        """Calls units of a paid order off; `state` is the order's after it."""
        self._step(order_id, state, SHIPPED if state == FULFILLED else COMMITTED)
        self.execute(
            "UPDATE order_lines SET cancelled_quantity = cancelled_quantity + %s"
            " WHERE order_id = %s AND line_id = %s",
            *(quantity, order_id, line_id),
        )
        self.execute(
            "UPDATE reservation_lines SET quantity = quantity - %s"
            " WHERE reservation_id = %s AND sku_id = %s",
            *(quantity, order_id, line_id),
        )
        self.move(line_id, 9, cause=order_id, allocated=-quantity)
        event = ordering_events.OrderLinesCancelled(
            progress=self._progress(order_id),
            lines=[OrderLineUnits(line_id=line_id, quantity=quantity)],
        )
        self._book(order_id, self.record(order_id, event))

    def take_back(self, order_id: str, line_id: str, quantity: int) -> None:
        self.execute(
            "UPDATE order_lines SET returned_quantity = returned_quantity + %s"
            " WHERE order_id = %s AND line_id = %s",
            *(quantity, order_id, line_id),
        )
        event = ordering_events.OrderLinesReturned(
            progress=self._progress(order_id),
            lines=[OrderLineUnits(line_id=line_id, quantity=quantity)],
        )
        self._book(order_id, self.record(order_id, event))

    def cancel(self, order_id: str) -> None:
        self._give_back(order_id, CANCELLED, RELEASED, 6)
        event = ordering_events.OrderCancelled(progress=self._progress(order_id))
        self._book(order_id, self.record(order_id, event))

    def expire(self, order_id: str) -> None:
        self._give_back(order_id, EXPIRED, LAPSED, 7)
        event = ordering_events.OrderExpired(progress=self._progress(order_id))
        self.record(order_id, event)

    def _reserve(self, order_id: str, lines: Sequence[Line], expire_time: datetime) -> None:
        self.insert(
            "reservations",
            reservation_id=order_id,
            version=1,
            is_of_order=True,
            state=HELD,
            expire_time=expire_time,
        )
        for line in lines:
            self.insert(
                "reservation_lines",
                reservation_id=order_id,
                sku_id=line.sku_id,
                location_id="main",
                quantity=line.quantity,
                shipped_quantity=0,
                returned_quantity=0,
            )
            self.move(line.sku_id, 5, cause=order_id, reserved=line.quantity)

    def _give_back(self, order_id: str, state: int, reservation_state: int, kind: int) -> None:
        self._step(order_id, state, reservation_state)
        for sku_id, quantity in self._held(order_id):
            self.move(sku_id, kind, cause=order_id, reserved=-quantity)

    def _held(self, order_id: str) -> list[tuple[Any, ...]]:
        return self.rows(
            "SELECT sku_id, quantity FROM reservation_lines WHERE reservation_id = %s", order_id
        )

    def _money(self, kind: str, reference: str, order_id: str, amount_minor: int) -> None:
        self.insert(
            "money_records",
            kind=kind,
            reference=reference,
            order_id=order_id,
            amount_minor=amount_minor,
            outcome=PAID_IN_FULL if kind == "payment" else None,
        )

    def _book(self, order_id: str, position: int, *, came_minor: int = 0) -> None:
        """The event's entries: money that came or went, and what more or less of the price is ours."""
        [(booked_minor,)] = self.rows(
            "SELECT coalesce(-sum(amount_minor), 0)::bigint FROM money_entries"
            " WHERE order_id = %s AND account IN ('revenue', 'refunds')",
            order_id,
        )
        kept_change_minor = self._kept_minor(order_id) - booked_minor
        entries = {
            "clearing": came_minor,
            "receivable": kept_change_minor - came_minor,
            "revenue": min(-kept_change_minor, 0),
            "refunds": max(-kept_change_minor, 0),
        }
        for ordinal, (account, amount_minor) in enumerate(entries.items()):
            if amount_minor:
                self.insert(
                    "money_entries",
                    position=position,
                    ordinal=ordinal,
                    recorded_time=self.now,
                    order_id=order_id,
                    account=account,
                    provider="other" if account == "clearing" else "",
                    currency_code="GBP",
                    amount_minor=amount_minor,
                )

    def _kept_minor(self, order_id: str) -> int:
        [(state,)] = self.rows("SELECT state FROM orders WHERE order_id = %s", order_id)
        lines = self.rows(
            "SELECT unit_price_minor, quantity, discount_minor, cancelled_quantity + returned_quantity,"
            " refunded_minor FROM order_lines WHERE order_id = %s",
            order_id,
        )
        if state not in (PAID, PARTIALLY_FULFILLED, FULFILLED):
            return 0
        return sum(
            price * quantity + discount - max(price * gone + discount * gone // quantity, refunded)
            for price, quantity, discount, gone, refunded in lines
        )

    def _step(self, order_id: str, state: int, held: int, *, paid_minor: int = 0) -> None:
        self.execute(
            "UPDATE orders SET state = %s, paid_minor = paid_minor + %s, version = version + 1"
            " WHERE order_id = %s",
            *(state, paid_minor, order_id),
        )
        self.execute("UPDATE reservations SET state = %s WHERE reservation_id = %s", held, order_id)

    def _progress(self, order_id: str) -> ordering_events.OrderProgress:
        [(state, paid_minor, refunded_minor)] = self.rows(
            "SELECT state, paid_minor, refunded_minor FROM orders WHERE order_id = %s", order_id
        )
        return ordering_events.OrderProgress(
            order_id=order_id,
            state=state,
            paid_minor=paid_minor,
            refunded_minor=refunded_minor,
            refund_due_minor=paid_minor - refunded_minor if state in (CANCELLED, EXPIRED) else 0,
        )


def _total(lines: Sequence[Line]) -> int:
    return sum(line.quantity * line.unit_price_minor + line.discount_minor for line in lines)


def _line_row(ordinal: int, line: Line) -> dict[str, Any]:
    return {
        "line_id": line.sku_id,
        "ordinal": ordinal,
        "sku_id": line.sku_id,
        "title": f"title of {line.sku_id}",
        "quantity": line.quantity,
        "unit_price_minor": line.unit_price_minor,
        "discount_minor": line.discount_minor,
        "price_list_id": "retail",
        "price_tier_min_quantity": line.tier,
        "adjustments": json.dumps(line.adjustments),
    }


def _view_line(line: Line) -> OrderLine:
    adjustments = [Adjustment(**each) for each in line.adjustments]
    return OrderLine(line_id=line.sku_id, quantity=line.quantity, adjustments=adjustments)
