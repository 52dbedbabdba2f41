"""Orders found, explained, and with the personal data that only stands here: OrderingHistoryService."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from event_log.codec import timestamp
from history_service.database import Database, Snapshot
from history_service.errors import OrderNotFound
from history_service.happenings import RecordedEvent, happening
from history_service.money_text import ROUNDING_RULE
from history_service.paging import page_token, read_page_token
from history_service.totals import LineRow, total_steps
from serving.failures import InvalidField
from serving.interceptor import ServicerContext
from shopkeeper.ordering.v1.ordering_history_service_pb2 import (
    ExplainOrderRequest,
    ExplainOrderResponse,
    ExplainOrderTotalRequest,
    ExplainOrderTotalResponse,
    GetOrderContactRequest,
    GetOrderContactResponse,
    SearchOrdersRequest,
    SearchOrdersResponse,
)
from shopkeeper.ordering.v1.ordering_history_service_pb2_grpc import OrderingHistoryServiceServicer
from shopkeeper.ordering.v1.ordering_pb2 import OrderSummary
from shopkeeper.types.v1.contact_pb2 import Contact, PostalAddress
from shopkeeper.types.v1.money_pb2 import Money

PAGE_SIZE_DEFAULT = 50
HAPPENINGS_DEFAULT = 100

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_CONDITION_BY_CRITERION = {
    "order_number": "order_number = %(order_number)s",
    "email": """order_id IN (
        SELECT order_id FROM order_contacts WHERE lower(email) = lower(%(email)s))""",
    # Of payments and refunds alike, recorded by hand or told by a provider, captured or not.
    "payment_reference": """order_id IN (
        SELECT order_id FROM money_records WHERE reference = %(payment_reference)s
        UNION ALL SELECT order_id FROM payments
        WHERE provider_reference = %(payment_reference)s AND provider_reference <> ''
        UNION ALL SELECT order_id FROM refunds
        WHERE provider_reference = %(payment_reference)s AND provider_reference <> '')""",
}

_FOUND = """
SELECT order_id, order_number, customer_id, state, currency_code, total_minor, placed_time,
       (SELECT sum(quantity)::bigint FROM order_lines WHERE order_lines.order_id = orders.order_id)
           AS unit_count
FROM orders
WHERE {condition}
  AND (%(before_time)s::timestamptz IS NULL
       OR (placed_time, order_id) < (%(before_time)s::timestamptz, %(before_id)s))
ORDER BY placed_time DESC, order_id DESC LIMIT %(limit)s
"""

SEARCHES = {
    criterion: _FOUND.format(condition=condition)
    for criterion, condition in _CONDITION_BY_CRITERION.items()
}

CONTACT = """
SELECT email, full_name, phone, shipping_address, billing_address, notes
FROM order_contacts WHERE order_id = %(order_id)s
"""

CURRENCY = "SELECT currency_code FROM orders WHERE order_id = %(order_id)s"

EVENTS = """
SELECT position, recorded_time, type, payload, actor, request_id
FROM events WHERE key = %(order_id)s AND context IN ('ordering', 'payment') AND position > %(after)s
ORDER BY position LIMIT %(limit)s
"""

LINES = """
SELECT line_id, sku_id, quantity, unit_price_minor, price_list_id, price_tier_min_quantity, adjustments
FROM order_lines WHERE order_id = %(order_id)s ORDER BY ordinal
"""


@dataclass(frozen=True, slots=True)
class _Found:
    order_id: str
    order_number: str
    customer_id: str
    state: int
    currency_code: str
    total_minor: int
    placed_time: datetime
    unit_count: int

    def to_message(self) -> OrderSummary:
        return OrderSummary(
            order_id=self.order_id,
            order_number=self.order_number,
            customer_id=self.customer_id,
            state=self.state,  # type: ignore[arg-type]  # an enum's number is all that a row holds
            total=Money(currency_code=self.currency_code, amount_minor=self.total_minor),
            unit_count=self.unit_count,
            placed_time=timestamp(self.placed_time),
        )


@dataclass(frozen=True, slots=True)
class _ContactRow:
    email: str
    full_name: str
    phone: str
    shipping_address: Mapping[str, Any] | None
    billing_address: Mapping[str, Any] | None
    notes: str

    def to_message(self) -> Contact:
        return Contact(
            email=self.email,
            full_name=self.full_name,
            phone=self.phone,
            shipping_address=_address(self.shipping_address),
            billing_address=_address(self.billing_address),
        )


@dataclass(frozen=True, slots=True)
class _Currency:
    currency_code: str


class OrderingHistoryServicer(OrderingHistoryServiceServicer):
    """Finds and explains orders."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def SearchOrders(
        self, request: SearchOrdersRequest, context: ServicerContext
    ) -> SearchOrdersResponse:
        """Orders by number, e-mail or reference, newest first."""
        criterion, wanted = _criterion(request)
        limit = request.page_size or PAGE_SIZE_DEFAULT
        facts = _place(request) | {criterion: wanted, "limit": limit + 1}
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            found = await snapshot.fetch(SEARCHES[criterion], facts, _Found)
        page = found[:limit]
        return SearchOrdersResponse(
            orders=[order.to_message() for order in page],
            next_page_token=_token(request, page[-1]) if len(found) > limit else "",
        )

    async def GetOrderContact(
        self, request: GetOrderContactRequest, context: ServicerContext
    ) -> GetOrderContactResponse:
        """Who ordered, and where it goes."""
        facts = {"order_id": request.order_id}
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            await _currency(snapshot, request.order_id)
            contact = await snapshot.fetch_one(CONTACT, facts, _ContactRow)
        # An order may have been placed without: then there is nothing to tell.
        if contact is None:
            return GetOrderContactResponse()
        return GetOrderContactResponse(contact=contact.to_message(), notes=contact.notes)

    async def ExplainOrder(
        self, request: ExplainOrderRequest, context: ServicerContext
    ) -> ExplainOrderResponse:
        """What happened to the order, oldest first."""
        limit = request.page_size or HAPPENINGS_DEFAULT
        facts = {"order_id": request.order_id, "after": _last_told(request), "limit": limit + 1}
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            currency_code = await _currency(snapshot, request.order_id)
            events = await snapshot.fetch(EVENTS, facts, RecordedEvent)
        page = events[:limit]
        return ExplainOrderResponse(
            happenings=[happening(event, currency_code) for event in page],
            next_page_token=page_token(request, [page[-1].position]) if len(events) > limit else "",
        )

    async def ExplainOrderTotal(
        self, request: ExplainOrderTotalRequest, context: ServicerContext
    ) -> ExplainOrderTotalResponse:
        """Every step from list prices to the total, as frozen when the order was placed."""
        async with self._database.snapshot(context.time_remaining()) as snapshot:
            currency_code = await _currency(snapshot, request.order_id)
            lines = await snapshot.fetch(LINES, {"order_id": request.order_id}, LineRow)
        steps = total_steps(lines, currency_code)
        total_minor = sum(step.amount_minor for step in steps)
        return ExplainOrderTotalResponse(
            steps=steps,
            total=Money(currency_code=currency_code, amount_minor=total_minor),
            rounding_rule=ROUNDING_RULE,
        )


async def _currency(snapshot: Snapshot, order_id: str) -> str:
    found = await snapshot.fetch_one(CURRENCY, {"order_id": order_id}, _Currency)
    if found is None:
        raise OrderNotFound(order_id=order_id)
    return found.currency_code


def _criterion(request: SearchOrdersRequest) -> tuple[str, str]:
    """What is looked for, and how it stands in the table."""
    criterion = request.WhichOneof("criterion")
    assert criterion is not None, "the oneof is required"
    wanted: str = getattr(request, criterion)
    if not wanted.strip():
        # Every sale at the counter has an empty e-mail.
        raise InvalidField(field=criterion, description="must not be empty")
    return criterion, stored_number(wanted) if criterion == "order_number" else wanted.strip()


def stored_number(text: str) -> str:
    """An order number as it is kept, from one as people write it: 100 000 0007 is 100-000-0007."""
    digits = "".join(character for character in text if character.isdecimal())
    return f"{digits[:-7]}-{digits[-7:-4]}-{digits[-4:]}"


def _place(request: SearchOrdersRequest) -> dict[str, object]:
    """Where the page begins."""
    if not request.page_token:
        return {"before_time": None, "before_id": ""}
    microseconds, order_id = read_page_token(request, request.page_token, (int, str))
    try:
        return {"before_time": EPOCH + timedelta(microseconds=int(microseconds)), "before_id": order_id}
    except OverflowError as error:
        raise InvalidField(field="page_token", description="was changed on its way") from error


def _last_told(request: ExplainOrderRequest) -> int:
    """The position that the page follows."""
    if not request.page_token:
        return 0
    [position] = read_page_token(request, request.page_token, (int,))
    return int(position)


def _token(request: SearchOrdersRequest, last: _Found) -> str:
    microseconds = (last.placed_time - EPOCH) // timedelta(microseconds=1)
    return page_token(request, [microseconds, last.order_id])


def _address(stored: Mapping[str, Any] | None) -> PostalAddress | None:
    return None if stored is None else PostalAddress(**stored)
