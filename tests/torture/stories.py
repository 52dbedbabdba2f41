"""A shop's hand-made history in which all is well, for tests that break one promise of it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.torture.checker import check
from tests.torture.evidence import (
    Evidence,
    Hold,
    LoggedEvent,
    Movement,
    OrderRow,
    StockLevel,
    StoredAnswer,
)
from tests.torture.history import Operation, Outcome, Pulse
from tests.torture.views import CART, LISTED, ORDER, STOCK, Fact, Showing
from tests.torture.violations import Violation

INCARNATION = "0000000a"
AWAITING, PAID, CANCELLED, EXPIRED = 1, 3, 6, 7


def at(seconds: float) -> datetime:
    """A moment of Unix time."""
    return datetime.fromtimestamp(seconds, UTC)


def token(position: int) -> str:
    """Of a place in the log."""
    return f"{INCARNATION}.{position}"


@dataclass
class Story:
    """A shop that received 5 of a SKU, sold one of them and was asked for what it has."""

    history: list[Operation] = field(default_factory=list)
    evidence: Evidence = field(default_factory=lambda: Evidence(at(100), INCARNATION))
    pulses: list[Pulse] = field(default_factory=list)

    def command(self, method: str, *, position: int, **facts: Any) -> Operation:
        """A command that was acknowledged, and is stored."""
        number = len(self.history) + 1
        call = Operation(
            number,
            "buyer 0",
            "command_service#0",
            method,
            request_id=f"request {number}",
            begin_seconds=float(number),
            end_seconds=number + 0.5,
            outcome=Outcome.OK,
            token=token(position),
            digest=f"bytes {number}",
            **facts,
        )
        self.history.append(call)
        self.evidence.answers[call.request_id] = StoredAnswer(method, 0, call.digest, position)
        return call

    def event(self, position: int, type_: str, key: str, call: Operation) -> None:
        """A fact that the command wrote."""
        event = LoggedEvent(position, at(call.begin_seconds), type_, key, call.request_id)
        self.evidence.events.append(event)

    def shown(self, position: int, view: str, key: str, *state: Fact) -> None:
        """What its event left to be seen."""
        self.evidence.showings.append(Showing(position, view, key, state))

    def moved(self, position: int, call: Operation, **deltas: int) -> None:
        """A movement of the one SKU, and its event."""
        self.event(position, "StockMoved", "cup", call)
        counters = {"on_hand": 0, "reserved": 0, "allocated": 0, "slack": 0} | deltas
        self.evidence.movements.append(Movement(position, "cup", "main", **counters))

    def query(self, method: str, **facts: Any) -> Operation:
        """A question that was answered."""
        number = len(self.history) + 1
        times = {"begin_seconds": float(number), "end_seconds": number + 0.5}
        facts = {"outcome": Outcome.OK, **times, **facts}
        call = Operation(number, "reader 0", "query_service#0", method, **facts)
        self.history.append(call)
        return call

    def found(self) -> list[Violation]:
        """What the checker says."""
        return check(self.history, self.evidence, self.pulses)

    def change(self, index: int, **facts: Any) -> None:
        """Tells an operation differently."""
        self.history[index] = replace(self.history[index], **facts)


def order_shown(story: Story, position: int, version: int, state: int, *money: int) -> None:
    """The order of ann after an event, alone and in lists. money: paid and given back."""
    story.shown(position, ORDER, "order", version, state, *(money or (0, 0)))
    story.shown(position, LISTED, "order", "ann", state, 250, 1_000_000)


def good_story() -> Story:
    """All is well in it: seven operations, from the first delivery to the last question."""
    story = Story()
    received = story.command("ReceiveStock", position=1, units={"cup": 5})
    story.moved(1, received, on_hand=5)
    placed = story.command("PlaceOrder", position=3, told={ORDER: {"order": [1, AWAITING, 0, 0]}})
    story.event(2, "OrderPlaced", "order", placed)
    order_shown(story, 2, 1, AWAITING)
    story.moved(3, placed, reserved=1)
    paid = story.command(
        "RecordPayment",
        position=5,
        asked={"order_id": "order", "amount": {"amount_minor": "250"}},
        told={"order_id": "order", ORDER: {"order": [2, PAID, 250, 0]}},
    )
    story.event(4, "PaymentRecorded", "order", paid)
    order_shown(story, 4, 2, PAID, 250, 0)
    story.moved(5, paid, reserved=-1, allocated=1)
    story.query(
        "GetStock", fresh_as=token(5), asked={"sku_id": "cup"}, told={STOCK: {"cup": ["main", 5, 0, 1]}}
    )
    story.query(
        "GetOrder",
        fresh_as=token(5),
        asked={"order_id": "order"},
        told={"order_id": "order", ORDER: {"order": [2, PAID, 250, 0]}},
    )
    filled = story.command("CreateCart", position=6, told={CART: {"cart": [3, 1, 250]}})
    story.event(6, "CartCreated", "cart", filled)
    story.shown(6, CART, "cart", 3, 1, 250)
    story.query(
        "GetCart", fresh_as=token(6), asked={"cart_id": "cart"}, told={CART: {"cart": [3, 1, 250]}}
    )
    story.query(
        "ListCustomerOrders",
        fresh_as=token(6),
        asked={"customer_id": "ann"},
        told={LISTED: {"order": ["ann", PAID, 250, 1_000_000]}},
    )
    story.query(
        "BatchGetStock",
        fresh_as=token(6),
        asked={"sku_ids": ["cup", "saucer"]},
        told={STOCK: {"cup": ["main", 5, 0, 1]}},
    )
    story.evidence.levels.append(StockLevel("cup", "main", 5, 0, 1))
    story.evidence.orders["order"] = OrderRow("order", PAID, 2, 250, 250, 0, at(50))
    story.evidence.holds.append(Hold("order", 2, at(50)))
    story.pulses.extend(Pulse(n / 2, (n + 1) / 2, is_well=True) for n in range(200))
    story.evidence = replace(story.evidence, provider_money={})
    return story
