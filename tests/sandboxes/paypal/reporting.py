"""Transaction Search: money that has moved, page by page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self

from tests.sandboxes.paypal.errors import invalid
from tests.sandboxes.paypal.money import Money
from tests.sandboxes.paypal.objects import Capture, Json, Refund, now, text_of
from tests.sandboxes.paypal.orders import Orders

RANGE_MAX = timedelta(days=31)
PAGE_SIZE, PAGE_SIZE_MAX = 100, 500
PAYMENT_CODE, REFUND_CODE = "T0006", "T1107"
STATUS_BY_CAPTURE_STATUS = {
    "COMPLETED": "S",
    "PARTIALLY_REFUNDED": "S",
    "REFUNDED": "V",
    "PENDING": "P",
    "DECLINED": "D",
}
STATUS_BY_REFUND_STATUS = {"COMPLETED": "S", "PENDING": "P", "FAILED": "D"}
PARAMETERS = {"start_date", "end_date", "fields", "page_size", "page"}


@dataclass(frozen=True, slots=True)
class SearchTransactions:
    """GET /v1/reporting/transactions."""

    start: datetime
    end: datetime
    page_size: int
    page_number: int

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Self:
        """Reads its parameters."""
        for name in set(query) - PARAMETERS:
            raise invalid("INVALID_PARAMETER", field=name)
        if query.get("fields", "transaction_info") not in ("transaction_info", "all"):
            raise invalid("INVALID_PARAMETER", field="fields")
        start, end = _time(query, "start_date"), _time(query, "end_date")
        if end < start or end - start > RANGE_MAX:
            raise invalid("INVALID_DATE_RANGE", field="end_date")
        return cls(
            start,
            end,
            _number(query, "page_size", default=PAGE_SIZE, maximum=PAGE_SIZE_MAX),
            _number(query, "page", default=1, maximum=2**31 - 1),
        )


def _time(query: Mapping[str, str], name: str) -> datetime:
    try:
        time = datetime.fromisoformat(query.get(name, ""))
    except ValueError as error:
        raise invalid("INVALID_DATE", field=name) from error
    if time.tzinfo is None:
        raise invalid("INVALID_DATE", field=name)
    return time


def _number(query: Mapping[str, str], name: str, *, default: int, maximum: int) -> int:
    given = query.get(name, str(default))
    if not given.isdigit() or not 1 <= int(given) <= maximum:
        raise invalid("INVALID_PARAMETER", field=name, value=given)
    return int(given)


class Reporting:
    """Lists what the orders' payments have moved, some time after they did."""

    def __init__(self, orders: Orders, *, lag_seconds: float) -> None:
        self._orders = orders
        self._lag = timedelta(seconds=lag_seconds)

    def page(self, request: SearchTransactions) -> Json:
        """A page, oldest first."""
        newest = min(request.end, now() - self._lag)
        wanted = [
            transaction
            for time, transaction in sorted(self._all(), key=lambda each: each[0])
            if request.start <= time <= newest
        ]
        first = (request.page_number - 1) * request.page_size
        return {
            "transaction_details": [
                {"transaction_info": each} for each in wanted[first : first + request.page_size]
            ],
            "start_date": text_of(request.start),
            "end_date": text_of(request.end),
            "page": request.page_number,
            "total_items": len(wanted),
            "total_pages": -(-len(wanted) // request.page_size),
        }

    def _all(self) -> Iterator[tuple[datetime, Json]]:
        for order in self._orders.by_id.values():
            for capture in order.captures:
                yield capture.create_time, _payment(capture)
            for refund in order.refunds:
                yield refund.create_time, _refund(refund)


def _payment(capture: Capture) -> Json:
    status = STATUS_BY_CAPTURE_STATUS[capture.status]
    shown = _transaction(capture.id, PAYMENT_CODE, capture.amount, status, capture.create_time)
    return shown | _custom_field(capture.order.custom_id)


def _refund(refund: Refund) -> Json:
    status = STATUS_BY_REFUND_STATUS[refund.status]
    shown = _transaction(refund.id, REFUND_CODE, -refund.amount, status, refund.create_time)
    related = {"paypal_reference_id": refund.capture.id, "paypal_reference_id_type": "TXN"}
    return shown | related | _custom_field(refund.custom_id or refund.order.custom_id)


def _transaction(id_: str, code: str, amount: Money, status: str, time: datetime) -> Json:
    return {
        "transaction_id": id_,
        "transaction_event_code": code,
        "transaction_initiation_date": text_of(time),
        "transaction_updated_date": text_of(now()),
        "transaction_amount": amount.as_json(),
        "transaction_status": status,
    }


def _custom_field(text: str | None) -> Json:
    return {} if text is None else {"custom_field": text}
