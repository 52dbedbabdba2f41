"""What was promised, held against what clients saw and what the database has. Pure.

Each check finds violations, each with the fewest operations that show it.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from tests.torture.carts import check_carts, check_coupons
from tests.torture.evidence import HELD, LAPSED, Evidence, Hold, LoggedEvent
from tests.torture.history import Operation, Pulse, commands_by_request
from tests.torture.money import check_captures, check_money, check_refunds
from tests.torture.orders import check_orders, check_units
from tests.torture.reads import AS_THINGS_ARE, check_reads
from tests.torture.shelves import check_oversell, check_promises, check_shelf
from tests.torture.views import ABSENT, ORDER, PAYMENT, Showing, State
from tests.torture.violations import Case, Check, Violation, calls_by_subject, events_told, shown_by

OVERDUE_SECONDS_MAX = 1.0
"""Of healthy service: how long a hold may outlive its time, and a call to the provider may lie about."""

JUDGED_WITHIN_SECONDS = 5.0
"""After the end of a hold: it counts as judged if being overdue for so long would have been seen."""

EVENT_OF_COMMAND = {
    "CreateCart": "CartCreated",
    "AddCartLine": "CartChanged",
    "PlaceOrder": "OrderPlaced",
    "StartPayment": "PaymentStarted",
    "RecordPayment": "PaymentRecorded",
    "RecordRefund": "RefundRecorded",
    "CancelOrder": "OrderCancelled",
    "FulfillOrderLines": "OrderLinesFulfilled",
    "ReturnOrderLines": "OrderLinesReturned",
    "ReserveStock": "ReservationMade",
    "ReleaseReservation": "ReservationReleased",
    "CommitReservation": "ReservationCommitted",
    "ShipReservation": "ReservationShipped",
    "RemoveCoupon": "CartChanged",
    "MergeCarts": "CartChanged",
    "CancelOrderLines": "OrderLinesCancelled",
    "UpsertCoupons": "CouponUpserted",
    "UpsertProducts": "ProductUpserted",
    "UpsertSkus": "SkuUpserted",
    "UpsertPrices": "SkuPricesChanged",
}
"""What a command that was carried out has written once, and one that was refused never."""

EVENT_IF_CHANGED = {
    "ApplyCoupon": "CartChanged",
    "ExtendReservation": "ReservationExtended",
    "CapturePayment": "PaymentChanged",
    "VoidPayment": "PaymentChanged",
}
"""What a command has written at most once: what is so already it leaves so."""

NEVER_STORED = {"REQUEST_ID_REUSED", "INVALID_REQUEST"}
"""Refusals of what could never be right."""


def check(
    history: Sequence[Operation], evidence: Evidence, pulses: Sequence[Pulse] = ()
) -> list[Violation]:
    """Every promise that was broken; empty when all were kept."""
    case = Case(history, evidence, pulses, commands_by_request(history))
    return [violation for each in CHECKS for violation in each(case)]


# --- commands -------------------------------------------------------------------------------------


def check_answers(case: Case) -> Iterator[Violation]:
    """What was acknowledged is there, what was refused is noted so, and nobody is told otherwise."""
    for request_id, calls in case.commands.items():
        decided = [call for call in calls if call.is_decided]
        stored = case.evidence.answers.get(request_id)
        if decided and stored is None and any(_is_kept(call) for call in decided):
            yield shown_by("answer lost", "answered, and the database knows nothing of it", calls)
        if len({call.code for call in decided}) > 1:
            yield shown_by("two answers", "one request id was answered in two ways", calls)
            continue
        if decided and decided[0].method not in AS_THINGS_ARE:
            yield from _bytes_differ(calls, decided, stored.digest if stored else "")
        for call in decided:
            if stored is not None and _is_kept(call) and call.code != stored.code:
                yield shown_by("two answers", f"code {stored.code} is stored", [call])
                break


def _bytes_differ(
    calls: list[Operation], decided: list[Operation], stored_digest: str
) -> Iterator[Violation]:
    digests = {call.digest for call in decided if _is_kept(call)}
    if len(digests) > 1:
        yield shown_by("two answers", "one request id was answered with different bytes", calls)
    elif digests and stored_digest and digests != {stored_digest}:
        yield shown_by("two answers", "other bytes are stored than were answered", calls)


def _is_kept(call: Operation) -> bool:
    """Whether an answer is one that is stored: what could never be right is not."""
    return call.is_decided and call.reason not in NEVER_STORED


def check_effects(case: Case) -> Iterator[Violation]:
    """A command has its effect once if it was carried out, and none if it was refused or not stored."""
    events: dict[str, list[LoggedEvent]] = defaultdict(list)
    for event in case.evidence.events:
        events[event.request_id].append(event)
    told_names = case.evidence.refund_names
    for request_id, calls in case.commands.items():
        found = events.get(request_id, [])
        stored = case.evidence.answers.get(request_id)
        if stored is None or stored.code != 0:
            if found:
                yield shown_by(
                    "effect of nothing", f"refused or unknown, yet it wrote {events_told(found)}", calls
                )
            continue
        if any(_is_another_batch(*two) for two in pairwise(found)):
            yield shown_by("two effects", f"its events stand in two places: {events_told(found)}", calls)
        wanted = EVENT_OF_COMMAND.get(calls[0].method)
        most = EVENT_IF_CHANGED.get(calls[0].method)
        if calls[0].asked.get("refund_reference") in told_names:
            # One that its provider had told of counts already.
            wanted, most = None, wanted
        count = sum(event.type == wanted for event in found)
        if wanted is not None and count != 1:
            yield shown_by("not one effect", f"carried out, with {count} events {wanted}", calls)
        if sum(event.type == most for event in found) > 1:
            yield shown_by("not one effect", f"more than one event {most}", calls)


def _is_another_batch(event: LoggedEvent, later: LoggedEvent) -> bool:
    """What one command writes stands together, and bears one time."""
    is_apart = later.position != event.position + 1
    return is_apart or later.recorded_time != event.recorded_time


def check_failures(case: Case) -> Iterator[Violation]:
    """Nobody is told that something is broken on our side, or of a mistake that they did not make."""
    for call in case.history:
        if call.reason == "INTERNAL" and call.code == 13:
            yield shown_by("internal error", "a client was told of a mistake of ours", [call])
        elif call.reason in NEVER_STORED:
            yield shown_by("wrong refusal", "nobody here sends such a request", [call])


def check_explanations(case: Case) -> Iterator[Violation]:
    """Whoever asks why there is so much of a SKU is told a sum that is right."""
    for call in case.history:
        if call.told.get("differences"):
            yield shown_by("unexplained stock", str(call.told["differences"]), [call])


# --- holds, calls to the provider, rows ---

ENDS_HOLD = {
    *("OrderExpired", "OrderCancelled", "PaymentRecorded"),
    *("ReservationReleased", "ReservationCommitted"),
}
"""The first of these ends a hold. Whoever pays or cancels late finds an order that has expired."""


def check_holds(case: Case) -> Iterator[Violation]:
    """No hold ends before its time, or outlives it by more than a second of healthy service."""
    calls = calls_by_subject(case.history)
    for hold, end_seconds in _with_ends(case.evidence):
        overdue = healthy_seconds(case.pulses, hold.expire_time.timestamp(), end_seconds)
        if overdue > OVERDUE_SECONDS_MAX:
            told = f"hold {hold.reservation_id} lived {overdue:.1f} s of healthy service too long"
            yield shown_by("overdue hold", told, calls[hold.reservation_id])
    yield from _cut_short(case)


def _with_ends(evidence: Evidence) -> Iterator[tuple[Hold, float]]:
    """Each hold, and when it ended: Unix time; until now if it lives."""
    ends: dict[str, float] = {}
    for event in evidence.events:
        if event.type in ENDS_HOLD:
            ends.setdefault(event.key, event.recorded_time.timestamp())
    for hold in evidence.holds:
        if hold.state == HELD:
            yield hold, evidence.now.timestamp()
        elif hold.reservation_id in ends:
            yield hold, ends[hold.reservation_id]


def holds_judged(evidence: Evidence, pulses: Sequence[Pulse]) -> tuple[int, int]:
    """How many holds would have been seen if they had been forgotten, of how many that ran out.

    Forgotten for JUDGED_WITHIN_SECONDS: whoever is forgotten for ever is seen in the end anyway.
    """
    judged_count = run_out_count = 0
    for hold, end_seconds in _with_ends(evidence):
        due_seconds = hold.expire_time.timestamp()
        if end_seconds < due_seconds:
            continue
        run_out_count += 1
        seen_until = min(due_seconds + JUDGED_WITHIN_SECONDS, evidence.now.timestamp())
        judged_count += healthy_seconds(pulses, due_seconds, seen_until) > OVERDUE_SECONDS_MAX
    return judged_count, run_out_count


def _cut_short(case: Case) -> Iterator[Violation]:
    """Holds of orders, also of those that a late payment brought back, and of reservations alone."""
    calls = calls_by_subject(case.history)
    until = {order.order_id: order.expire_time for order in case.evidence.orders.values()}
    lapsed = {h.reservation_id: h.expire_time for h in case.evidence.holds if h.state == LAPSED}
    for event in case.evidence.events:
        end = {"OrderExpired": until, "ReservationReleased": lapsed}.get(event.type, {}).get(event.key)
        if end is not None and event.recorded_time < end:
            told = f"the hold {event.key} was to live until {end}"
            yield shown_by("hold cut short", told, calls[event.key])


def check_errands(case: Case) -> Iterator[Violation]:
    """A call that nobody has in hand is taken up within a second of healthy service."""
    now = case.evidence.now.timestamp()
    overdue = [
        (errand, healthy_seconds(case.pulses, errand.due_time.timestamp(), now))
        for errand in case.evidence.errands
    ]
    late = [each for each in overdue if each[1] > OVERDUE_SECONDS_MAX]
    calls = calls_by_subject(case.history) if late else {}
    for errand, seconds in late:
        what = "left by whoever claimed it" if errand.is_in_flight else "due"
        told = f"the call for {errand.subject_id}, {what}, lay about for {seconds:.1f} s of health"
        yield shown_by("abandoned call", told, calls.get(errand.order_id, []))


def healthy_seconds(pulses: Sequence[Pulse], begin_seconds: float, end_seconds: float) -> float:
    """How much of a span of time was healthy."""
    first = bisect.bisect_left(pulses, begin_seconds, key=lambda pulse: pulse.end_seconds)
    total = 0.0
    for pulse in pulses[first:]:
        if pulse.begin_seconds >= end_seconds:
            break
        if pulse.is_well:
            total += min(pulse.end_seconds, end_seconds) - max(pulse.begin_seconds, begin_seconds)
    return max(total, 0.0)


def check_rows(case: Case) -> Iterator[Violation]:
    """An order and a payment are in the tables as their last events left them."""
    last = {(each.view, each.key): each for each in case.evidence.showings}
    rows: list[tuple[str, str, State]] = [
        (ORDER, row.order_id, (row.version, row.state, row.paid_minor, row.refunded_minor))
        for row in case.evidence.orders.values()
    ]
    rows += [
        (PAYMENT, row.payment_id, (row.state, row.captured_minor, row.refunded_minor))
        for row in case.evidence.payments
    ]
    calls = calls_by_subject(case.history)
    for view, key, found in rows:
        wanted = last.get((view, key), Showing(0, view, key, ABSENT))
        if found != wanted.state[: len(found)]:
            told = f"{view} {key} is {found}, by its last event, at {wanted.position}, {wanted.state}"
            yield shown_by("not as told", told, calls[key])


CHECKS: tuple[Check, ...] = (
    check_answers,
    check_effects,
    check_failures,
    check_explanations,
    check_shelf,
    check_oversell,
    check_promises,
    check_reads,
    check_orders,
    check_units,
    check_carts,
    check_coupons,
    check_holds,
    check_errands,
    check_rows,
    check_money,
    check_refunds,
    check_captures,
)
