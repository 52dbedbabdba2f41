"""What queries showed, held against the log: no read older than its token, or of what never was."""

import bisect
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from shopkeeper.ordering.v1.ordering_pb2 import OrderState
from tests.torture.evidence import Evidence, LoggedEvent, Movement
from tests.torture.history import Operation, Outcome
from tests.torture.views import (
    ABSENT,
    CART,
    LISTED,
    MONEY,
    ORDER,
    PAYMENT,
    PRICES,
    PRODUCT,
    SKU,
    STOCK,
    Fact,
    State,
)
from tests.torture.violations import Case, Violation, shown_by

NOT_FOUND = 5

CLOCK_SLACK_SECONDS = 0.1
"""Between the database's clock and ours: one machine's, and only read at different moments."""

AS_THINGS_ARE = {"StartPayment", "CapturePayment", "VoidPayment", "RefundPayment"}
"""Commands whose repetition tells how far their provider has come since, and so not the same bytes."""


class Question(NamedTuple):
    """Which view a query shows, and where it names what it asks for: one id, or several."""

    view: str
    asked: str


QUESTIONS = {
    "GetStock": Question(STOCK, "sku_id"),
    "BatchGetStock": Question(STOCK, "sku_ids"),
    "GetOrder": Question(ORDER, "order_id"),
    "GetCart": Question(CART, "cart_id"),
    "GetPayment": Question(PAYMENT, "payment_id"),
    "GetOrderMoney": Question(MONEY, "order_id"),
    "GetProduct": Question(PRODUCT, "product_id"),
    "GetSku": Question(SKU, "sku_id"),
    "GetPrices": Question(PRICES, "sku_id"),
    "BatchGetPrices": Question(PRICES, "sku_ids"),
}
LISTS = ("ListCustomerOrders", "ListOrdersByState")

# --- what was -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Past:
    """What there was to see of one thing: nothing at first, then what each change made of it.

    states[i] was so from positions[i] on, until the next one. times: Unix time before which nobody can
    have seen it, for it was not committed. indexes: by state.
    """

    positions: list[int] = field(default_factory=lambda: [0])
    times: list[float] = field(default_factory=lambda: [0.0])
    states: list[State] = field(default_factory=lambda: [ABSENT])
    indexes: dict[State, list[int]] = field(default_factory=lambda: defaultdict(list, {ABSENT: [0]}))

    def change(self, position: int, time_seconds: float, state: State) -> None:
        """One more."""
        self.indexes[state].append(len(self.states))
        self.positions.append(position)
        # Committed one after the other, whatever their transactions took for the time.
        self.times.append(max(time_seconds, self.times[-1]))
        self.states.append(state)

    def index_at(self, position: int) -> int:
        """Which state it was in then."""
        return bisect.bisect_right(self.positions, position) - 1

    def was(self, state: State, *, since_position: int, until_seconds: float) -> bool:
        """Whether it was so at a position or later, and by that time."""
        found = self.indexes.get(state, [])
        first = bisect.bisect_left(found, self.index_at(since_position))
        return first < len(found) and found[first] < bisect.bisect_right(self.times, until_seconds)

    def was_any(
        self, is_meant: Callable[[State], bool], *, since_position: int, until_seconds: float
    ) -> bool:
        """The same of some state."""
        begin, end = self.index_at(since_position), bisect.bisect_right(self.times, until_seconds)
        return any(is_meant(state) for state in self.states[begin:end])


Pasts = Mapping[tuple[str, str], Past]
"""By view and key."""


@dataclass(slots=True)
class Judge:
    """What all reads are held against. event_at: by position. refund_names: see Evidence."""

    case: Case
    pasts: Pasts
    event_at: Mapping[int, LoggedEvent]
    refund_names: Collection[str]

    @classmethod
    def of(cls, case: Case) -> "Judge":
        """Knows all that was."""
        event_at = {event.position: event for event in case.evidence.events}
        pasts = pasts_of(case.evidence, event_at)
        return cls(case, pasts, event_at, case.evidence.refund_names)

    def past(self, view: str, key: str) -> Past:
        """Of what never was, one in which it is absent."""
        return self.pasts.get((view, key)) or Past()

    def token_position(self, read: Operation) -> int:
        """How new it has to be at least; 0 if its reader took what there was."""
        return self.case.evidence.position_of(read.fresh_as)

    def wrong(self, read: Operation, view: str, key: str, state: State) -> Iterator[Violation]:
        """What is wrong about showing something so."""
        past, position = self.past(view, key), self.token_position(read)
        if past.was(state, since_position=position, until_seconds=_latest(read)):
            return
        what = f"{view} {key} as {list(state)}" if state else f"no {view} {key}"
        if state in past.indexes:
            yield self.stale(read, past, what)
        else:
            yield shown_by("read of nothing", f"{what}: so it never was", [read])

    def stale(self, read: Operation, past: Past, what: str) -> Violation:
        """A read of what was so before its token only, or after its answer."""
        index = past.index_at(self.token_position(read))
        told = f"{what}: at the token it was {list(past.states[index]) or 'absent'}"
        event = self.event_at.get(past.positions[index])
        if event is None:
            return shown_by("stale read", told, [read])
        calls = self.case.commands.get(event.request_id, [])
        return shown_by("stale read", f"{told}, by {event.type} at {event.position}", [*calls, read])


def pasts_of(evidence: Evidence, event_at: Mapping[int, LoggedEvent]) -> Pasts:
    """Of everything that there was to see."""

    def seconds_of(position: int) -> float:
        event = event_at.get(position)
        return 0.0 if event is None else event.recorded_time.timestamp()

    pasts: dict[tuple[str, str], Past] = defaultdict(Past)
    for showing in evidence.showings:
        past = pasts[showing.view, showing.key]
        past.change(showing.position, seconds_of(showing.position), showing.state)
    for position, sku_id, state in _stock_states(evidence.movements):
        pasts[STOCK, sku_id].change(position, seconds_of(position), state)
    return pasts


def _stock_states(movements: Iterable[Movement]) -> Iterator[tuple[int, str, State]]:
    levels: dict[str, dict[str, list[int]]] = defaultdict(dict)
    for movement in movements:
        level = levels[movement.sku_id].setdefault(movement.location_id, [0, 0, 0])
        for index, delta in enumerate((movement.on_hand, movement.reserved, movement.allocated)):
            level[index] += delta
        facts: list[Fact] = []
        for location_id, counters in sorted(levels[movement.sku_id].items()):
            facts += [location_id, *counters]
        yield movement.position, movement.sku_id, tuple(facts)


def _latest(read: Operation) -> float:
    """When what it shows must have been committed."""
    return CLOCK_SLACK_SECONDS + (read.begin_seconds if read.end_seconds is None else read.end_seconds)


# --- what was shown -------------------------------------------------------------------------------


def check_reads(case: Case) -> Iterator[Violation]:
    """What is shown was true at the reader's token or later, and no later than it was shown."""
    judge = Judge.of(case)
    lists = []
    for read in case.history:
        if read.request_id:
            yield from _wrong_acknowledgement(judge, read)
        elif not read.is_decided:
            continue
        elif read.method in QUESTIONS and (read.outcome is Outcome.OK or read.code == NOT_FOUND):
            yield from _wrong_documents(judge, read)
        elif read.method in LISTS and read.outcome is Outcome.OK:
            lists.append(read)
        elif read.method in {*QUESTIONS, *LISTS}:
            yield shown_by("wrong refusal", "nobody here asks for what cannot be told", [read])
    yield from _wrong_lists(judge, lists)


def _seen(call: Operation, view: str) -> dict[str, State]:
    return {key: tuple(state) for key, state in call.told.get(view, {}).items()}


def _wrong_documents(judge: Judge, read: Operation) -> Iterator[Violation]:
    question = QUESTIONS[read.method]
    asked = read.asked[question.asked]
    keys = [asked] if isinstance(asked, str) else asked
    seen = _seen(read, question.view)
    for key in keys:
        yield from judge.wrong(read, question.view, key, seen.pop(key, ABSENT))
    if read.asked.get("include_stock"):
        for sku_id, state in _seen(read, STOCK).items():
            yield from judge.wrong(read, STOCK, sku_id, state)
    if seen:
        told = f"{question.view} {', '.join(seen)}: nobody asked for it"
        yield shown_by("read of nothing", told, [read])


def _wrong_acknowledgement(judge: Judge, call: Operation) -> Iterator[Violation]:
    """Whoever changes something is told what it is after that."""
    if call.outcome is not Outcome.OK or call.method in AS_THINGS_ARE:
        return
    for view in (ORDER, CART):
        for key, state in _seen(call, view).items():
            past = judge.past(view, key)
            events = [judge.event_at.get(past.positions[n]) for n in past.indexes.get(state, [])]
            if any(event and event.request_id == call.request_id for event in events):
                continue
            if call.asked.get("refund_reference") in judge.refund_names:
                # One that its provider had told of is answered with the order as it is.
                yield from judge.wrong(call, view, key, state)
            else:
                told = f"{view} {key} as {list(state)}, which the command did not make of it"
                yield shown_by("told otherwise", told, [call])


# --- lists of orders ------------------------------------------------------------------------------

Belongs = Callable[[State], bool]


class Placed(NamedTuple):
    """Where an order stands in each list: the newest first. minus_microseconds: of its placing."""

    minus_microseconds: int
    order_id: str


def _place(order_id: str, listed: State) -> Placed:
    return Placed(-int(listed[3]), order_id)


def _wrong_lists(judge: Judge, reads: Iterable[Operation]) -> Iterator[Violation]:
    by_method = defaultdict(list)
    for read in reads:
        by_method[read.method].append(read)
    by_customer: dict[Fact, list[Placed]] = defaultdict(list)
    for (view, order_id), past in judge.pasts.items():
        if view == LISTED:
            bisect.insort(by_customer[past.states[1][0]], _place(order_id, past.states[1]))
    for read in by_method["ListCustomerOrders"]:
        customer_id = read.asked["customer_id"]
        yield from _wrong_list(judge, read, _is_of(customer_id), by_customer[customer_id])
    for read, members in _with_members(judge, by_method["ListOrdersByState"]):
        yield from _wrong_list(judge, read, _is_in(OrderState.Value(read.asked["state"])), members)


def _is_of(customer_id: str) -> Belongs:
    return lambda listed: listed != ABSENT and listed[0] == customer_id


def _is_in(state: int) -> Belongs:
    return lambda listed: listed != ABSENT and listed[1] == state


def _with_members(judge: Judge, reads: Iterable[Operation]) -> Iterator[tuple[Operation, list[Placed]]]:
    """Each read with the orders that were in its state at its token: their list goes on changing."""
    members: dict[Fact, list[Placed]] = defaultdict(list)
    state_of: dict[str, Fact] = {}
    changes = [each for each in judge.case.evidence.showings if each.view == LISTED]
    begin = 0
    for read in sorted(reads, key=judge.token_position):
        end = bisect.bisect_right(changes, judge.token_position(read), key=lambda each: each.position)
        for change in changes[begin:end]:
            place, state = _place(change.key, change.state), change.state[1]
            if change.key in state_of:
                former = members[state_of[change.key]]
                del former[bisect.bisect_left(former, place)]
            bisect.insort(members[state], place)
            state_of[change.key] = state
        begin = end
        yield read, members[OrderState.Value(read.asked["state"])]


def _wrong_list(
    judge: Judge, read: Operation, belongs: Belongs, members: Iterable[Placed]
) -> Iterator[Violation]:
    """members: those that were in it at the token, as far as they are known, in its order."""
    seen = _seen(read, LISTED)
    for order_id, listed in seen.items():
        if belongs(listed):
            yield from judge.wrong(read, LISTED, order_id, listed)
        else:
            told = f"order {order_id} as {list(listed)}: it does not belong in this list"
            yield shown_by("read of nothing", told, [read])
    places = [_place(order_id, listed) for order_id, listed in seen.items()]
    if places != sorted(places):
        yield shown_by("list out of order", "the newest come first", [read])
    is_whole = not (read.told.get("has_more") and places)
    for place in members:
        if not is_whole and place > max(places):
            break
        if place.order_id not in seen:
            yield from _wrong_omission(judge, read, belongs, place.order_id)


def _wrong_omission(
    judge: Judge, read: Operation, belongs: Belongs, order_id: str
) -> Iterator[Violation]:
    past, position = judge.past(LISTED, order_id), judge.token_position(read)
    if not past.was_any(
        lambda listed: not belongs(listed), since_position=position, until_seconds=_latest(read)
    ):
        yield judge.stale(read, past, f"a list without order {order_id}")
