"""A shop's hand-made history in which all is well, for tests that break one promise of it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tests.torture.checker import check
from tests.torture.evidence import (
    SHIPPED,
    CartUnits,
    CouponRow,
    CouponUse,
    Evidence,
    Hold,
    LoggedEvent,
    Movement,
    OrderLineRow,
    OrderRow,
    PaymentRow,
    RefundRow,
    StockLevel,
    StoredAnswer,
)
from tests.torture.history import Operation, Outcome, Pulse
from tests.torture.views import CART, LISTED, ORDER, PAYMENT, STOCK, Fact, Showing
from tests.torture.violations import Violation

INCARNATION = "0000000a"
AWAITING, PAID, FULFILLED, CANCELLED, EXPIRED = 1, 3, 5, 6, 7
CAPTURED, ON_COMMAND, SUCCEEDED = 6, 3, 3


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

    def moved(
        self, position: int, call: Operation, *, place: str = "main", cause: str = "", **deltas: int
    ) -> None:
        """A movement of the one SKU, and its event."""
        self.event(position, "StockMoved", "cup", call)
        names = ("on_hand", "reserved", "allocated", "slack")
        on_hand, reserved, allocated, slack = (deltas.get(name, 0) for name in names)
        movement = Movement(position, "cup", place, on_hand, reserved, allocated, slack, cause)
        self.evidence.movements.append(movement)

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
    story.moved(3, placed, cause="order", reserved=1)
    paid = story.command(
        "RecordPayment",
        position=5,
        asked={"order_id": "order", "amount": {"amount_minor": "250"}},
        told={"order_id": "order", ORDER: {"order": [2, PAID, 250, 0]}},
    )
    story.event(4, "PaymentRecorded", "order", paid)
    order_shown(story, 4, 2, PAID, 250, 0)
    story.moved(5, paid, cause="order", reserved=-1, allocated=1)
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


def busy_story() -> Story:
    """The same shop later on, when all is well still: twenty commands more."""
    story = good_story()
    _sell_and_take_back(story)
    _order_by_coupon(story)
    _pay_on_command(story)
    _sell_what_was_put_aside(story)
    counted = {"sku_id": "cup", "location_id": "main", "counted_quantity": 2, "expected_on_hand": 3}
    story.moved(40, story.command("AdjustStock", position=40, asked=counted), on_hand=-1)
    story.evidence.levels[:] = [
        StockLevel("cup", "main", 2, 0, 1),
        StockLevel("cup", "annex", 2, 0, 0),
    ]
    return story


def _sell_and_take_back(story: Story) -> None:
    carried = {
        "sku_id": "cup",
        "from_location_id": "main",
        "to_location_id": "annex",
        "quantity": 2,
    }
    transferred = story.command("TransferStock", position=8, asked=carried)
    story.moved(7, transferred, on_hand=-2)
    story.moved(8, transferred, place="annex", on_hand=2)
    asked = {"order_id": "order", "lines": [{"line_id": "cup", "quantity": 1}]}
    shipped = story.command("FulfillOrderLines", position=10, asked=asked, units={"cup": -1})
    story.event(9, "OrderLinesFulfilled", "order", shipped)
    order_shown(story, 9, 3, FULFILLED, 250, 0)
    story.moved(10, shipped, cause="order", on_hand=-1, allocated=-1)
    returned = story.command("ReturnOrderLines", position=12, asked=asked, units={"cup": 1})
    story.event(11, "OrderLinesReturned", "order", returned)
    order_shown(story, 11, 4, FULFILLED, 250, 0)
    story.moved(12, returned, cause="order", on_hand=1)
    story.evidence.holds[0] = Hold("order", SHIPPED, at(50))
    order = story.evidence.orders["order"]
    story.evidence.orders["order"] = order._replace(state=FULFILLED, version=4)
    story.evidence.order_lines.append(OrderLineRow("order", "cup", "cup", 1, 1, 1, 0, 0))


def _order_by_coupon(story: Story) -> None:
    """A guest's cart with a cup, merged into a customer's with another."""
    for position, cart_id in ((13, "basket"), (15, "guest's")):
        made = story.command("CreateCart", position=position, asked={"cart_id": cart_id})
        story.event(position, "CartCreated", cart_id, made)
        story.evidence.cart_units.append(CartUnits(position, cart_id, {}))
        units = {"cart_id": cart_id, "sku_id": "cup", "quantity": 1}
        added = story.command("AddCartLine", position=position + 1, asked=units)
        story.event(position + 1, "CartChanged", cart_id, added)
        story.evidence.cart_units.append(CartUnits(position + 1, cart_id, {"cup": 1}))
    asked = {"from_cart_id": "guest's", "into_cart_id": "basket"}
    merged = story.command("MergeCarts", position=18, asked=asked)
    story.event(17, "CartChanged", "basket", merged)
    story.evidence.cart_units.append(CartUnits(17, "basket", {"cup": 2}))
    story.event(18, "CartClosed", "guest's", merged)
    coupon = {"cart_id": "basket", "coupon_code": "SPRING"}
    applied = story.command("ApplyCoupon", position=19, asked=coupon)
    story.event(19, "CartChanged", "basket", applied)
    story.evidence.cart_units.append(CartUnits(19, "basket", {"cup": 2}))
    placed = story.command(
        "PlaceOrder", position=22, asked={"cart_id": "basket"}, told={"order_id": "other"}
    )
    story.event(20, "OrderPlaced", "other", placed)
    story.event(21, "CouponUseHeld", "SPRING", placed)
    story.moved(22, placed, cause="other", reserved=2)
    story.shown(20, ORDER, "other", 1, AWAITING, 0, 0)
    story.evidence.coupons.append(CouponRow("SPRING", 1, 1, 1))
    story.evidence.coupon_uses.append(CouponUse(21, "SPRING", "other", "bob", 1))


def _pay_on_command(story: Story) -> None:
    """One of the two cups is called off then, and a part of the money given back."""
    asked: dict[str, Any] = {"order_id": "other", "capture_mode": "CAPTURE_MODE_ON_COMMAND"}
    started = story.command("StartPayment", position=23, asked=asked)
    story.event(23, "PaymentStarted", "other", started)
    captured = story.command("CapturePayment", position=24, asked={"payment_id": "other.1"})
    story.event(24, "PaymentChanged", "other", captured)
    reported = replace(captured, request_id="what the provider told")
    story.event(25, "PaymentRecorded", "other", reported)
    story.moved(26, reported, cause="other", reserved=-2, allocated=2)
    story.shown(25, ORDER, "other", 2, PAID, 450, 0)
    asked = {"order_id": "other", "amount": {"amount_minor": "100"}}
    refunded = story.command("RefundPayment", position=28, asked=asked)
    story.event(27, "RefundRecorded", "other", refunded)
    story.event(28, "RefundRequested", "other", refunded)
    story.shown(27, ORDER, "other", 3, PAID, 450, 100)
    story.shown(28, PAYMENT, "other.1", CAPTURED, 450, 100)
    asked = {"order_id": "other", "lines": [{"line_id": "cup", "quantity": 1}]}
    called_off = story.command("CancelOrderLines", position=30, asked=asked)
    story.event(29, "OrderLinesCancelled", "other", called_off)
    story.moved(30, called_off, cause="other", allocated=-1)
    story.shown(29, ORDER, "other", 4, PAID, 450, 100)
    story.evidence.orders["other"] = OrderRow("other", PAID, 4, 450, 450, 100, at(60))
    story.evidence.order_lines.append(OrderLineRow("other", "cup", "cup", 2, 0, 0, 1, 0))
    story.evidence.holds.append(Hold("other", 2, at(60)))
    payment = PaymentRow("other.1", "other", "pi_1", 450, 100, CAPTURED, ON_COMMAND)
    story.evidence.payments.append(payment)
    story.evidence.refunds.append(RefundRow(28, "other.r1", "other.1", "other", 100, SUCCEEDED, "re_1"))
    story.evidence = replace(story.evidence, provider_money={"pi_1": (450, 100)})


def _sell_what_was_put_aside(story: Story) -> None:
    asked = {"reservation_id": "aside"}
    reserved = story.command("ReserveStock", position=32, asked=asked)
    story.event(31, "ReservationMade", "aside", reserved)
    story.moved(32, reserved, place="annex", cause="aside", reserved=1)
    committed = story.command("CommitReservation", position=34, asked=asked)
    story.event(33, "ReservationCommitted", "aside", committed)
    story.moved(34, committed, place="annex", cause="aside", reserved=-1, allocated=1)
    shipped = story.command("ShipReservation", position=36, asked=asked, units={"cup": -1})
    story.event(35, "ReservationShipped", "aside", shipped)
    story.moved(36, shipped, place="annex", cause="aside", on_hand=-1, allocated=-1)
    row = {"sku_id": "cup", "location_id": "annex", "quantity": 1}
    returned = story.command("ReturnStock", position=37, asked={"rows": [row]})
    story.moved(37, returned, place="annex", cause="aside", on_hand=1)
    story.evidence.holds.append(Hold("aside", SHIPPED, at(70)))
