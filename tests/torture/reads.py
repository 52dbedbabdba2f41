"""What queries showed, held against what had been acknowledged before: no read older than its token."""

import bisect
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import NamedTuple

from tests.torture.evidence import Evidence, Movement
from tests.torture.history import Operation, Outcome
from tests.torture.violations import Case, Check, Violation, shown_by

NOT_FOUND = 5

CLOCK_SLACK_SECONDS = 0.1
"""Between the database's clock and ours: one machine's, and only read at different moments."""

CANCELLED = 6

# --- stock ----------------------------------------------------------------------------------------

State = tuple[int, ...]
Place = tuple[str, str]
Levels = Mapping[str, list[int]]


@dataclass(slots=True)
class Past:
    """What a SKU was at a place. indexes: by state, of each change that brought it about, from 1 on.

    times: Unix time before which nobody can have seen a change, for it was not committed.
    """

    positions: list[int] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    indexes: dict[State, list[int]] = field(default_factory=lambda: defaultdict(list))

    def change(self, position: int, time_seconds: float, state: State) -> None:
        """One more."""
        self.positions.append(position)
        # Committed one after the other, whatever their transactions took for the time.
        self.times.append(max(time_seconds, self.times[-1] if self.times else time_seconds))
        self.indexes[state].append(len(self.positions))

    def was(self, state: State, *, since_position: int, until_seconds: float) -> bool:
        """Whether it was so at a position or later, and by that time."""
        found = self.indexes.get(state, [])
        first = bisect.bisect_left(found, bisect.bisect_right(self.positions, since_position))
        return first < len(found) and found[first] <= bisect.bisect_right(self.times, until_seconds)


def check_stock_reads(case: Case) -> Iterator[Violation]:
    """Stock that is shown was true at the reader's token or later, and no later than it was shown."""
    pasts = _pasts(case.evidence)
    for read in case.history:
        if read.method in {"GetStock", "BatchGetStock"} and read.is_decided:
            for sku_id, levels in _shown_stock(read).items():
                yield from _stock_differs(case.evidence, pasts, read, sku_id, levels)


def _shown_stock(read: Operation) -> dict[str, Levels]:
    """By SKU that was asked for: nothing of those that are absent."""
    if read.method == "GetStock":
        return {read.asked["sku_id"]: read.told.get("levels", {})}
    shown = read.told.get("levels_by_sku", {})
    return {sku_id: shown.get(sku_id, {}) for sku_id in read.asked["sku_ids"]}


def _stock_differs(
    evidence: Evidence, pasts: Mapping[Place, Past], read: Operation, sku_id: str, levels: Levels
) -> Iterator[Violation]:
    token_position = evidence.position_of(read.fresh_as)
    known = {
        location_id
        for (known_id, location_id), past in pasts.items()
        if known_id == sku_id and past.positions[0] <= token_position
    }
    if unseen := known - levels.keys():
        told = f"stock of {sku_id} at {', '.join(sorted(unseen))} that had been told of is denied"
        yield shown_by("stale read", told, [read])
    for location_id, counters in levels.items():
        past, state = pasts.get((sku_id, location_id), Past()), tuple(counters)
        if state not in past.indexes:
            told = f"{sku_id} at {location_id} was never {counters}"
            yield shown_by("read of nothing", told, [read])
        elif not past.was(state, since_position=token_position, until_seconds=_latest(read)):
            told = f"{sku_id} at {location_id} was {counters} before the token only, or after the answer"
            yield shown_by("stale read", told, [read])


def _latest(read: Operation) -> float:
    """When what it shows must have been committed."""
    return CLOCK_SLACK_SECONDS + (read.begin_seconds if read.end_seconds is None else read.end_seconds)


def _pasts(evidence: Evidence) -> dict[Place, Past]:
    times = {event.position: event.recorded_time.timestamp() for event in evidence.events}
    pasts: dict[Place, Past] = defaultdict(Past)
    now: dict[Place, State] = defaultdict(lambda: (0, 0, 0))
    for movement in evidence.movements:
        place = (movement.sku_id, movement.location_id)
        now[place] = _after(now[place], movement)
        pasts[place].change(movement.position, times.get(movement.position, 0.0), now[place])
    return pasts


def _after(state: State, movement: Movement) -> State:
    return (
        state[0] + movement.on_hand,
        state[1] + movement.reserved,
        state[2] + movement.allocated,
    )


# --- carts and orders -----------------------------------------------------------------------------


class Acknowledged(NamedTuple):
    """What a client was told of a cart or an order, and where in the log that was."""

    position: int
    version: int
    call: Operation


def _acknowledged(case: Case, name: str) -> dict[str, list[Acknowledged]]:
    """By the id of that name."""
    found: dict[str, list[Acknowledged]] = defaultdict(list)
    for call in case.history:
        if call.request_id and call.outcome is Outcome.OK and name in call.told:
            position = case.evidence.position_of(call.token)
            found[call.told[name]].append(Acknowledged(position, call.told["version"], call))
    return found


def _newest(known: Iterable[Acknowledged], token_position: int) -> Acknowledged | None:
    """What the reader of a token has to be shown at least."""
    before = (each for each in known if each.position <= token_position)
    return max(before, key=itemgetter(1), default=None)


def _fresh(case: Case, method: str) -> Iterator[tuple[Operation, int]]:
    """Reads that insisted on a place in the log, and that place."""
    for read in case.history:
        if read.method == method and read.is_decided and read.fresh_as:
            yield read, case.evidence.position_of(read.fresh_as)


def _check_versions(method: str, name: str) -> Check:
    def check(case: Case) -> Iterator[Violation]:
        known = _acknowledged(case, name)
        for read, token_position in _fresh(case, method):
            newest = _newest(known.get(read.asked[name], ()), token_position)
            if newest is None:
                continue
            if read.code == NOT_FOUND:
                told = f"{name} {read.asked[name]} that was acknowledged is denied"
                yield shown_by("stale read", told, [newest.call, read])
            elif read.outcome is Outcome.OK and read.told["version"] < newest.version:
                told = f"version {newest.version} had been acknowledged"
                yield shown_by("stale read", told, [newest.call, read])

    return check


check_order_reads = _check_versions("GetOrder", "order_id")
check_cart_reads = _check_versions("GetCart", "cart_id")


def check_order_lists(case: Case) -> Iterator[Violation]:
    """A customer's list shows all that was acknowledged to them, and nothing cancelled as open."""
    known = _acknowledged(case, "order_id")
    orders_of: dict[str, set[str]] = defaultdict(set)
    for order_id, told in known.items():
        orders_of[told[0].call.told["customer_id"]].add(order_id)
    for read, token_position in _fresh(case, "ListCustomerOrders"):
        shown = read.told.get("states", {})
        for order_id in sorted(orders_of[read.asked["customer_id"]]):
            newest = _newest(known[order_id], token_position)
            if newest is None:
                continue
            if order_id not in shown:
                told_of = f"order {order_id} that was acknowledged is missing in its customer's list"
                yield shown_by("stale read", told_of, [newest.call, read])
            elif newest.call.told["state"] == CANCELLED != shown[order_id]:
                told_of = f"order {order_id} that was cancelled is in state {shown[order_id]} there"
                yield shown_by("stale read", told_of, [newest.call, read])


READ_CHECKS: tuple[Check, ...] = (
    check_stock_reads,
    check_order_reads,
    check_cart_reads,
    check_order_lists,
)
