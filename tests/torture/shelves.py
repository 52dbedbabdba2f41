"""Stock, held against what commands asked for: what moved, what was promised, and to whom. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from command_service import retention
from command_service.checkout import expiry, payment_driver, price_windows
from tests.torture.evidence import HELD, LAPSED, RELEASED, SHIPPED, Movement
from tests.torture.history import Operation
from tests.torture.violations import Case, Violation, shown_by, shown_by_subjects

Place = tuple[str, str]
"""A SKU at a location."""

MOVES_STOCK = {
    *("ReceiveStock", "ReturnStock", "AdjustStock", "TransferStock"),
    *("FulfillOrderLines", "ReturnOrderLines", "ShipReservation"),
}
"""Commands that change what is on the shelf."""

WORKERS = {expiry.ACTOR, payment_driver.ACTOR, price_windows.ACTOR, retention.ACTOR}

OVER = {RELEASED, LAPSED, SHIPPED}
"""States of a reservation that promises nothing any more."""


def check_shelf(case: Case) -> Iterator[Violation]:
    """What commands brought and took, as clients asked for it, is what moved; and the rest is there."""
    request_of = {event.position: event.request_id for event in case.evidence.events}
    moved: dict[str, Counter[Place]] = defaultdict(Counter)
    for movement in case.evidence.movements:
        place = (movement.sku_id, movement.location_id)
        moved[request_of.get(movement.position, "")][place] += movement.on_hand
    for request_id, calls in case.commands.items():
        stored = case.evidence.answers.get(request_id)
        is_done = stored is not None and stored.code == 0 and calls[0].method in MOVES_STOCK
        yield from _moved_otherwise(calls, moved.get(request_id, Counter()), is_done=is_done)
    of_workers = {event.position for event in case.evidence.events if event.actor in WORKERS}
    for movement in case.evidence.movements:
        if movement.on_hand and movement.position in of_workers:
            told = f"a worker took {movement.on_hand} of {movement.sku_id} at {movement.position}"
            yield Violation("stock not conserved", told)
    yield from _levels_differ(case)


def _moved_otherwise(
    calls: list[Operation], moved: Mapping[Place, int], *, is_done: bool
) -> Iterator[Violation]:
    """Place by place where the command names them, else SKU by SKU."""
    wanted: Mapping[Any, int] = {}
    found: Mapping[Any, int] = moved
    if is_done:
        at_places = _units_at_places(calls[0])
        wanted = calls[0].units if at_places is None else at_places
        found = _by_sku(moved) if at_places is None else moved
    changed = {name: count for name, count in found.items() if count}
    if dict(wanted) != changed:
        told = f"was to move {dict(wanted) or 'nothing'}, moved {changed}"
        yield shown_by("stock not conserved", told, calls)


def _by_sku(moved: Mapping[Place, int]) -> Counter[str]:
    units = Counter[str]()
    for (sku_id, _), count in moved.items():
        units[sku_id] += count
    return units


def _units_at_places(call: Operation) -> dict[Place, int] | None:
    """What a command adds to shelves, or takes off; None if it leaves open to which."""
    asked = call.asked
    match call.method:
        case "TransferStock":
            sku_id, quantity = asked["sku_id"], asked["quantity"]
            return {
                (sku_id, asked["from_location_id"]): -quantity,
                (sku_id, asked["to_location_id"]): quantity,
            }
        case "AdjustStock":
            difference = asked.get("counted_quantity", 0) - asked.get("expected_on_hand", 0)
            return {(asked["sku_id"], asked["location_id"]): difference} if difference else {}
        case "ReceiveStock" | "ReturnStock" if "rows" in asked:
            units = Counter[Place]()
            for row in asked["rows"]:
                units[row["sku_id"], row["location_id"]] += row["quantity"]
            return dict(units)
    return None


def _levels_differ(case: Case) -> Iterator[Violation]:
    sums: dict[Place, list[int]] = defaultdict(lambda: [0, 0, 0])
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
    """At no moment was more promised than was there, but for what a count missed; nobody backorders."""
    request_of = {event.position: event.request_id for event in case.evidence.events}
    by_place: dict[Place, list[Movement]] = defaultdict(list)
    for movement in case.evidence.movements:
        by_place[movement.sku_id, movement.location_id].append(movement)
    for (sku_id, _), movements in by_place.items():
        on_hand = promised = slack = 0
        for index, movement in enumerate(movements):
            on_hand += movement.on_hand
            promised += movement.reserved + movement.allocated
            slack += movement.slack
            calls = case.commands.get(request_of.get(movement.position, ""), [])
            if movement.slack > 0 and not (calls and calls[0].method == "AdjustStock"):
                yield Violation("oversold", f"{sku_id}: a shortage at {movement.position}, and no count")
                break
            if on_hand < 0 or promised > on_hand + slack:
                told = f"{sku_id}: {promised} promised of {on_hand} at {movement.position}"
                recent = [request_of.get(each.position, "") for each in movements[: index + 1][-3:]]
                yield shown_by(
                    "oversold", told, [call for id_ in recent for call in case.commands.get(id_, [])]
                )
                break
            if slack > max(0, promised - on_hand):
                told = f"{sku_id}: a shortage of {slack} at {movement.position}, where less is missing"
                yield shown_by("oversold", told, calls)
                break


def check_promises(case: Case) -> Iterator[Violation]:
    """Of each order and reservation no more left, came back or was given up than was held for it."""
    states = {hold.reservation_id: hold.state for hold in case.evidence.holds}
    held: dict[str, Counter[tuple[str, ...]]] = defaultdict(Counter)
    wrong: dict[str, str] = {}
    for movement in case.evidence.movements:
        if movement.cause not in states:
            continue
        mine, sku_id = held[movement.cause], movement.sku_id
        mine["reserved", sku_id, movement.location_id] += movement.reserved
        mine["allocated", sku_id, movement.location_id] += movement.allocated
        # What came back may go to another shelf than it left.
        mine["away", sku_id] -= movement.on_hand
        for name, count in mine.items():
            if count < 0:
                told = f"{count} of {sku_id} {name[0]} for {movement.cause} at {movement.position}"
                wrong.setdefault(movement.cause, told)
    for reservation_id, state in states.items():
        kept = {"reserved"} if state != HELD else set()
        kept |= {"allocated"} if state in OVER else set()
        left = {name: n for name, n in held[reservation_id].items() if n and name[0] in kept}
        if left:
            wrong.setdefault(reservation_id, f"in state {state} {reservation_id} still has {left}")
    yield from shown_by_subjects(case, "promise not kept", list(wrong.items()))
