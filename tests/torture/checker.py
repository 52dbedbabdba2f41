"""What was promised, held against what clients saw and what the database has. Pure.

Each check finds violations, each with the fewest operations that show it.
"""

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from command_service import retention
from command_service.checkout import expiry, payment_driver, price_windows
from tests.torture.evidence import Evidence, Hold, LoggedEvent, Movement
from tests.torture.history import Operation, Pulse, commands_by_request
from tests.torture.reads import AS_THINGS_ARE, check_reads
from tests.torture.views import ABSENT, ORDER, PAYMENT, Showing, State
from tests.torture.violations import Case, Check, Violation, shown_by

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
    "UpsertProducts": "ProductUpserted",
    "UpsertSkus": "SkuUpserted",
    "UpsertPrices": "SkuPricesChanged",
}
"""What a command that was carried out has written once, and one that was refused never."""

NEVER_STORED = {"REQUEST_ID_REUSED", "INVALID_REQUEST"}
"""Refusals of what could never be right."""

MOVES_STOCK = {"ReceiveStock", "FulfillOrderLines", "ReturnOrderLines"}
"""Commands that change what is on the shelf, as their units say."""


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
    for request_id, calls in case.commands.items():
        found = events.get(request_id, [])
        stored = case.evidence.answers.get(request_id)
        if stored is None or stored.code != 0:
            if found:
                yield shown_by(
                    "effect of nothing", f"refused or unknown, yet it wrote {_told(found)}", calls
                )
            continue
        if any(_is_another_batch(*two) for two in pairwise(found)):
            yield shown_by("two effects", f"its events stand in two places: {_told(found)}", calls)
        wanted = EVENT_OF_COMMAND.get(calls[0].method)
        count = sum(event.type == wanted for event in found)
        if wanted is not None and count != 1:
            yield shown_by("not one effect", f"carried out, with {count} events {wanted}", calls)


def _is_another_batch(event: LoggedEvent, later: LoggedEvent) -> bool:
    """What one command writes stands together, and bears one time."""
    is_apart = later.position != event.position + 1
    return is_apart or later.recorded_time != event.recorded_time


def _told(events: Iterable[LoggedEvent]) -> str:
    return ", ".join(f"{event.type} at {event.position}" for event in events)


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


# --- stock ----------------------------------------------------------------------------------------


def check_shelf(case: Case) -> Iterator[Violation]:
    """What commands brought and took, as clients asked for it, is what moved; and the rest is there."""
    request_of = {event.position: event.request_id for event in case.evidence.events}
    moved: dict[str, Counter[str]] = defaultdict(Counter)
    for movement in case.evidence.movements:
        moved[request_of.get(movement.position, "")][movement.sku_id] += movement.on_hand
    for request_id, calls in case.commands.items():
        stored = case.evidence.answers.get(request_id)
        is_done = stored is not None and stored.code == 0
        wanted = dict(calls[0].units) if is_done and calls[0].method in MOVES_STOCK else {}
        found = {sku_id: count for sku_id, count in moved.get(request_id, Counter()).items() if count}
        if wanted != found:
            yield shown_by(
                "stock not conserved", f"was to move {wanted or 'nothing'}, moved {found}", calls
            )
    of_workers = {event.position for event in case.evidence.events if event.actor in WORKERS}
    for movement in case.evidence.movements:
        if movement.on_hand and movement.position in of_workers:
            told = f"a worker took {movement.on_hand} of {movement.sku_id} at {movement.position}"
            yield Violation("stock not conserved", told)
    yield from _levels_differ(case)


def _levels_differ(case: Case) -> Iterator[Violation]:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for movement in case.evidence.movements:
        total = sums[movement.sku_id, movement.location_id]
        for index, delta in enumerate((movement.on_hand, movement.reserved, movement.allocated)):
            total[index] += delta
    for level in case.evidence.levels:
        found = [level.on_hand, level.reserved, level.allocated]
        wanted = sums[level.sku_id, level.location_id]
        if found != wanted:
            told = f"{level.sku_id} at {level.location_id} is {found}, its movements sum to {wanted}"
            yield Violation("stock not conserved", told)


def check_oversell(case: Case) -> Iterator[Violation]:
    """At no moment was more promised than was there: nobody here counts, or lets be backordered."""
    request_of = {event.position: event.request_id for event in case.evidence.events}
    by_place: dict[tuple[str, str], list[Movement]] = defaultdict(list)
    for movement in case.evidence.movements:
        by_place[movement.sku_id, movement.location_id].append(movement)
    for (sku_id, _), movements in by_place.items():
        on_hand = promised = slack = 0
        for index, movement in enumerate(movements):
            on_hand += movement.on_hand
            promised += movement.reserved + movement.allocated
            slack += movement.slack
            if slack:
                yield Violation("oversold", f"{sku_id}: a shortage at {movement.position}, and no count")
                break
            if on_hand < 0 or promised > on_hand:
                told = f"{sku_id}: {promised} promised of {on_hand} at {movement.position}"
                recent = [request_of.get(each.position, "") for each in movements[: index + 1][-3:]]
                yield shown_by(
                    "oversold", told, [call for id_ in recent for call in case.commands.get(id_, [])]
                )
                break


# --- orders, holds, money -------------------------------------------------------------------------

AFTER_CLOSING = {"PaymentRecorded", "RefundRecorded", "RefundFailed"}
"""Money that comes and goes when an order is closed already; a payment may also bring it back."""


def check_orders(case: Case) -> Iterator[Violation]:
    """What the log tells of an order could have happened in that order."""
    events: dict[str, list[LoggedEvent]] = defaultdict(list)
    for event in case.evidence.events:
        if event.key in case.evidence.orders and event.type in ORDER_EVENTS:
            events[event.key].append(event)
    calls = _calls_by_order(case.history)
    for order_id, row in case.evidence.orders.items():
        wrong = _first_wrong([event.type for event in events[order_id]])
        if wrong is not None:
            told = f"order {order_id} in state {row.state}: {wrong} in {_told(events[order_id])}"
            yield shown_by("impossible history", told, calls[order_id])


ORDER_EVENTS = {
    "OrderPlaced",
    "PaymentRecorded",
    "RefundRecorded",
    "RefundFailed",
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


def _calls_by_order(history: Iterable[Operation]) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for call in history:
        order_id = call.asked.get("order_id") or call.told.get("order_id")
        if order_id and call.request_id:
            found[order_id].append(call)
    return found


HELD, LAPSED = 1, 4

WORKERS = {expiry.ACTOR, payment_driver.ACTOR, price_windows.ACTOR, retention.ACTOR}

ENDS_HOLD = {
    *("OrderExpired", "OrderCancelled", "PaymentRecorded"),
    *("ReservationReleased", "ReservationCommitted"),
}
"""The first of these ends a hold. Whoever pays or cancels late finds an order that has expired."""


def check_holds(case: Case) -> Iterator[Violation]:
    """No hold ends before its time, or outlives it by more than a second of healthy service."""
    calls = _calls_by_order(case.history)
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
    calls = _calls_by_order(case.history)
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
    calls = _calls_by_order(case.history) if late else {}
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
    calls = _calls_by_order(case.history)
    for view, key, found in rows:
        wanted = last.get((view, key), Showing(0, view, key, ABSENT))
        if found != wanted.state[: len(found)]:
            told = f"{view} {key} is {found}, by its last event, at {wanted.position}, {wanted.state}"
            yield shown_by("not as told", told, calls[key])


def check_money(case: Case) -> Iterator[Violation]:
    """An order has received and given back what was recorded and what its payments say, and no more."""
    paid, refunded = _recorded(case, "RecordPayment"), _recorded(case, "RecordRefund")
    for payment in case.evidence.payments:
        paid[payment.order_id] += payment.captured_minor
        refunded[payment.order_id] += payment.refunded_minor
    calls_by_order = _calls_by_order(case.history)
    for order in case.evidence.orders.values():
        if order.paid_minor != paid[order.order_id]:
            told = f"order {order.order_id} has {order.paid_minor}, paid were {paid[order.order_id]}"
            yield shown_by("money not conserved", told, calls_by_order[order.order_id])
        if order.refunded_minor != refunded[order.order_id]:
            told = (
                f"order {order.order_id} has given back {order.refunded_minor},"
                f" refunded were {refunded[order.order_id]}"
            )
            yield shown_by("money not conserved", told, calls_by_order[order.order_id])
    yield from _provider_differs(case, calls_by_order)


def _recorded(case: Case, method: str) -> Counter[str]:
    """By order, what such commands have told of money that came or went another way."""
    found: Counter[str] = Counter()
    for request_id, calls in case.commands.items():
        stored = case.evidence.answers.get(request_id)
        if calls[0].method == method and stored is not None and stored.code == 0:
            asked = calls[0].asked
            found[asked["order_id"]] += int(asked["amount"]["amount_minor"])
    return found


def _provider_differs(case: Case, calls_by_order: dict[str, list[Operation]]) -> Iterator[Violation]:
    if case.evidence.provider_money is None:
        return
    left = dict(case.evidence.provider_money)
    for payment in case.evidence.payments:
        at_provider = left.pop(payment.provider_reference, (0, 0))
        ours = (payment.captured_minor, payment.refunded_minor)
        if ours != at_provider:
            told = f"payment {payment.payment_id}: {ours} captured and refunded, provider {at_provider}"
            yield shown_by("money not conserved", told, calls_by_order[payment.order_id])
    for reference, (captured_minor, refunded_minor) in left.items():
        if captured_minor != refunded_minor:
            told = f"{reference} of the provider has {captured_minor - refunded_minor} of no payment"
            yield Violation("money not conserved", told)


CHECKS: tuple[Check, ...] = (
    check_answers,
    check_effects,
    check_failures,
    check_explanations,
    check_shelf,
    check_oversell,
    check_reads,
    check_orders,
    check_holds,
    check_errands,
    check_rows,
    check_money,
)
