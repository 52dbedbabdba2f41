"""Orders, held against what commands asked for: their lives, and the units of their lines. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.torture.evidence import LoggedEvent
from tests.torture.violations import (
    Case,
    Violation,
    calls_by_subject,
    events_told,
    shown_by,
    shown_by_subjects,
)

AFTER_CLOSING = {"PaymentRecorded", "RefundRecorded", "RefundFailed", "RefundRecordReversed"}
"""Money that comes and goes when an order is closed already; a payment may also bring it back."""


def check_orders(case: Case) -> Iterator[Violation]:
    """What the log tells of an order could have happened in that order."""
    events: dict[str, list[LoggedEvent]] = defaultdict(list)
    for event in case.evidence.events:
        if event.key in case.evidence.orders and event.type in ORDER_EVENTS:
            events[event.key].append(event)
    calls = calls_by_subject(case.history)
    for order_id, row in case.evidence.orders.items():
        wrong = _first_wrong([event.type for event in events[order_id]])
        if wrong is not None:
            told = f"order {order_id} in state {row.state}: {wrong} in {events_told(events[order_id])}"
            yield shown_by("impossible history", told, calls[order_id])


ORDER_EVENTS = {
    "OrderPlaced",
    "PaymentRecorded",
    "RefundRecorded",
    "RefundFailed",
    "RefundRecordReversed",
    "OrderHoldExtended",
    "OrderCancelled",
    "OrderLinesCancelled",
    "OrderExpired",
    "OrderLinesFulfilled",
    "OrderLinesReturned",
}


def _first_wrong(types: Sequence[str]) -> str | None:
    """The first event that the state machine of an order does not allow."""
    if not types or types[0] != "OrderPlaced":
        return "no OrderPlaced at the beginning"
    seen: set[str] = {types[0]}
    is_lapsed = False
    for type_ in types[1:]:
        if type_ not in _allowed_after(seen, is_lapsed=is_lapsed):
            return type_
        is_lapsed = type_ == "OrderExpired" or (is_lapsed and type_ != "PaymentRecorded")
        seen.add(type_)
    return None


def _allowed_after(seen: set[str], *, is_lapsed: bool) -> set[str]:
    if "OrderCancelled" in seen or is_lapsed:
        return AFTER_CLOSING
    allowed = AFTER_CLOSING | {"OrderHoldExtended"}
    if "PaymentRecorded" in seen:
        allowed |= {"OrderLinesFulfilled", "OrderLinesCancelled"}
    if "OrderLinesFulfilled" in seen:
        return allowed | {"OrderLinesReturned"}
    return allowed | {"OrderCancelled"} | (set() if "OrderExpired" in seen else {"OrderExpired"})


COUNTED_BY = {
    "FulfillOrderLines": "fulfilled",
    "ReturnOrderLines": "returned",
    "CancelOrderLines": "cancelled",
}
"""Commands that name units of lines, and what counts these."""


def check_units(case: Case) -> Iterator[Violation]:
    """Of each line was shipped, taken back and called off what commands asked for, and no more."""
    asked: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for _, call in case.carried_out(*COUNTED_BY):
        for units in call.asked.get("lines", ()):
            name = COUNTED_BY[call.method]
            asked[call.asked["order_id"], units["line_id"]][name] += units["quantity"]
    wrong: list[tuple[str, str]] = []
    for line in case.evidence.order_lines:
        counted = {name: getattr(line, name) for name in COUNTED_BY.values()}
        wanted = {name: asked[line.order_id, line.line_id][name] for name in counted}
        is_too_much = (
            line.fulfilled + line.cancelled > line.quantity
            or line.returned > line.fulfilled
            or line.refunded > line.quantity
        )
        if counted != wanted:
            told = f"line {line.line_id} of order {line.order_id} has {counted}, asked were {wanted}"
            wrong.append((line.order_id, told))
        elif is_too_much:
            wrong.append((line.order_id, f"more than it has: {line}"))
    yield from shown_by_subjects(case, "units not conserved", wrong)
