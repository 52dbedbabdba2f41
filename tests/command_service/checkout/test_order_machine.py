"""Any sequence of commands on a few orders, against a model that is too simple to be wrong."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
)

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.record_payment import RecordPayment
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import Refusal
from command_service.inventory.domain import HeldLine, ReservationState
from command_service.inventory.events import StockMoved
from command_service.money import Money
from command_service.ordering.domain import OrderState, Units
from command_service.ordering.events import OrderProgressed
from command_service.pricing.domain import PercentageOff
from command_service.world import Command
from tests.command_service.checkout.order_shop import HOLD, OrderShop

UNIT_MINOR = {"mug": 250, "lamp": 1_001}
ON_HAND = 10
ENDS = (OrderState.FULFILLED, OrderState.CANCELLED, OrderState.EXPIRED)


def _none_of_each() -> dict[str, int]:
    return dict.fromkeys(UNIT_MINOR, 0)


@dataclass
class Ordered:
    """What the model knows of an order."""

    quantities: dict[str, int]
    discounts: dict[str, int]
    expire_time: datetime
    state: str = "awaiting"
    paid_minor: int = 0
    refunded_minor: int = 0
    gifted_minor: int = 0
    shipped: dict[str, int] = field(default_factory=_none_of_each)
    returned: dict[str, int] = field(default_factory=_none_of_each)
    cancelled: dict[str, int] = field(default_factory=_none_of_each)
    refunded: dict[str, int] = field(default_factory=_none_of_each)

    @property
    def total_minor(self) -> int:
        return sum(self.price(sku_id, quantity) for sku_id, quantity in self.quantities.items())

    def price(self, sku_id: str, quantity: int) -> int:
        """What the first units of a line cost."""
        if not quantity:
            return 0
        return (
            UNIT_MINOR[sku_id] * quantity + self.discounts[sku_id] * quantity // self.quantities[sku_id]
        )

    def price_of_next(self, sku_id: str, quantity: int) -> int:
        """What refunding so many more units gives back."""
        before = self.refunded[sku_id]
        return self.price(sku_id, before + quantity) - self.price(sku_id, before)

    @property
    def is_shipped(self) -> bool:
        return any(self.shipped.values())

    def left(self, sku_id: str) -> int:
        """Units neither shipped nor called off."""
        return self.quantities.get(sku_id, 0) - self.shipped[sku_id] - self.cancelled[sku_id]

    def shippable(self, sku_id: str) -> int:
        """As many more units as, with those that the buyer has, the money that we keep is for."""
        without_money = max(self.cancelled[sku_id] + self.returned[sku_id], self.refunded[sku_id])
        with_buyer = self.shipped[sku_id] - self.returned[sku_id]
        return max(0, self.quantities.get(sku_id, 0) - without_money - with_buyer)

    @property
    def due_minor(self) -> int:
        """What we have and may not keep."""
        have_minor = self.paid_minor - self.refunded_minor
        if self.state != "paid":
            return 0 if self.state == "awaiting" else have_minor
        given_up_minor = sum(
            self.price(
                sku_id, max(self.cancelled[sku_id] + self.returned[sku_id], self.refunded[sku_id])
            )
            for sku_id in self.quantities
        )
        ours_minor = self.total_minor - given_up_minor - self.gifted_minor
        return min(max(have_minor - ours_minor, 0), have_minor)


class OrderMachine(RuleBasedStateMachine):
    """Rules send commands; the model says beforehand whether they are refused."""

    order_ids = Bundle("order_ids")

    def __init__(self) -> None:
        super().__init__()
        self.shop = OrderShop()
        # A discount whose share of a unit is no whole number.
        self.shop.promote("tenth", PercentageOff(1_000), coupon_required=False)
        self.orders: dict[str, Ordered] = {}
        self.cart_count = 0

    # --- what there is by the model ----------------------------------------------------------------

    def held(self, sku_id: str, states: Iterable[str]) -> int:
        return sum(order.left(sku_id) for order in self.orders.values() if order.state in states)

    def on_hand(self, sku_id: str) -> int:
        gone = sum(each.shipped[sku_id] - each.returned[sku_id] for each in self.orders.values())
        return ON_HAND - gone

    def can_hold(self, quantities: dict[str, int]) -> bool:
        return all(
            quantity <= self.on_hand(sku_id) - self.held(sku_id, ("awaiting", "paid"))
            for sku_id, quantity in quantities.items()
        )

    def send(self, command: Command[Any], *, allowed: bool) -> bool:
        """Carries the command out; it must be refused, without effect, exactly when it is expected."""
        before = self.shop.snapshot()
        try:
            self.shop.carry_out(command)
        except Refusal:
            assert not allowed, f"{command} was refused"
            assert self.shop.snapshot() == before
        else:
            assert allowed, f"{command} was not refused"
        return allowed

    # --- rules -------------------------------------------------------------------------------------

    @rule(target=order_ids, mugs=st.integers(1, 5), lamps=st.integers(0, 4))
    def place(self, mugs: int, lamps: int) -> str:
        self.cart_count += 1
        cart_id = f"c{self.cart_count}"
        quantities = {"mug": mugs, **({"lamp": lamps} if lamps else {})}
        self.shop.fill_cart(cart_id, **quantities)
        command = self.shop.placing(cart_id)
        if self.send(command, allowed=self.can_hold(quantities)):
            lines = self.shop.order(command.order_id).lines
            discounts = {line.sku_id: line.discount_minor for line in lines}
            expire_time = self.shop.now + HOLD
            self.orders[command.order_id] = Ordered(quantities, discounts, expire_time)
        return command.order_id

    @rule(order_id=order_ids, amount_minor=st.none() | st.integers(1, 9_000))
    def pay(self, order_id: str, amount_minor: int | None) -> None:
        order = self.orders.get(order_id)
        owed_minor = order.total_minor - order.paid_minor + order.refunded_minor if order else 1
        amount = Money("GBP", amount_minor or max(owed_minor, 1))
        serial = len(self.shop.events)
        if self.send(RecordPayment(order_id, f"pay-{serial}", amount), allowed=order is not None):
            assert order is not None
            self._paid(order, amount.amount_minor)

    def _paid(self, order: Ordered, amount_minor: int) -> None:
        order.paid_minor += amount_minor
        if order.state == "awaiting" and self.shop.now >= order.expire_time:
            order.state = "expired"
        if order.paid_minor - order.refunded_minor < order.total_minor:
            return
        if order.state == "awaiting" or (order.state == "expired" and self.can_hold(order.quantities)):
            order.state = "paid"
            order.refunded = _none_of_each()

    @rule(order_id=order_ids)
    def cancel(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        allowed = order is not None and order.state in ("awaiting", "paid") and not order.is_shipped
        if self.send(CancelOrder(order_id), allowed=allowed):
            assert order is not None
            order.state = "cancelled"

    @rule(order_id=order_ids)
    def expire(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        allowed = order is not None and order.state == "awaiting" and self.shop.now >= order.expire_time
        if self.send(ExpireOrder(order_id), allowed=allowed):
            assert order is not None
            order.state = "expired"

    @rule(order_id=order_ids, sku_id=st.sampled_from(list(UNIT_MINOR)), quantity=st.integers(1, 3))
    def ship(self, order_id: str, sku_id: str, quantity: int) -> None:
        order = self.orders.get(order_id)
        allowed = order is not None and order.state == "paid" and quantity <= order.shippable(sku_id)
        if self.send(FulfillOrderLines(order_id, (Units(sku_id, quantity),)), allowed=allowed):
            assert order is not None
            order.shipped[sku_id] += quantity

    @rule(order_id=order_ids)
    def ship_what_may_be_shipped(self, order_id: str) -> None:
        order = self.orders.get(order_id)
        allowed = order is not None and order.state == "paid" and any(map(order.shippable, UNIT_MINOR))
        if self.send(FulfillOrderLines(order_id), allowed=allowed):
            assert order is not None
            for sku_id in UNIT_MINOR:
                order.shipped[sku_id] += order.shippable(sku_id)

    @rule(order_id=order_ids, sku_id=st.sampled_from(list(UNIT_MINOR)), quantity=st.integers(1, 3))
    def call_units_off(self, order_id: str, sku_id: str, quantity: int) -> None:
        order = self.orders.get(order_id)
        allowed = order is not None and order.state == "paid" and quantity <= order.left(sku_id)
        if self.send(CancelOrderLines(order_id, (Units(sku_id, quantity),)), allowed=allowed):
            assert order is not None
            order.cancelled[sku_id] += quantity
            if all(order.cancelled[sku_id] == ordered for sku_id, ordered in order.quantities.items()):
                order.state = "cancelled"

    @rule(order_id=order_ids, sku_id=st.sampled_from(list(UNIT_MINOR)), quantity=st.integers(1, 3))
    def take_back(self, order_id: str, sku_id: str, quantity: int) -> None:
        order = self.orders.get(order_id)
        allowed = order is not None and quantity <= order.shipped[sku_id] - order.returned[sku_id]
        units = ReturnedUnits(sku_id, quantity, restock=True, location_id="")
        if self.send(ReturnOrderLines(order_id, (units,)), allowed=allowed):
            assert order is not None
            order.returned[sku_id] += quantity

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), amount_minor=st.integers(1, 5_000))
    def refund(self, data: st.DataObject, amount_minor: int) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.orders)))
        order = self.orders[order_id]
        allowed = amount_minor <= order.paid_minor - order.refunded_minor
        due_minor = order.due_minor
        if self.send(self.shop.refund(self.shop.order(order_id), amount_minor), allowed=allowed):
            order.refunded_minor += amount_minor
            if order.state == "paid":
                order.gifted_minor += max(0, amount_minor - due_minor)

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), mugs=st.integers(0, 2), lamps=st.integers(0, 2))
    def refund_units(self, data: st.DataObject, mugs: int, lamps: int) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.orders)))
        order = self.orders[order_id]
        wanted = {"mug": mugs, **({"lamp": lamps} if "lamp" in order.quantities else {})}
        wanted = {sku_id: quantity for sku_id, quantity in wanted.items() if quantity}
        is_there = all(
            order.refunded[sku_id] + quantity <= order.quantities[sku_id]
            for sku_id, quantity in wanted.items()
        )
        if not wanted or not is_there:
            return
        price_minor = sum(order.price_of_next(sku_id, quantity) for sku_id, quantity in wanted.items())
        allowed = price_minor <= order.paid_minor - order.refunded_minor
        units = [Units(sku_id, quantity) for sku_id, quantity in wanted.items()]
        command = self.shop.refund_of_units(self.shop.order(order_id), *units)
        if self.send(command, allowed=allowed):
            order.refunded_minor += price_minor
            for sku_id, quantity in wanted.items():
                order.refunded[sku_id] += quantity

    @rule(order_id=consumes(order_ids))
    def forget(self, order_id: str) -> None:
        """Lets Hypothesis work on the other orders for a while."""

    @rule(minutes=st.sampled_from([1, 7, 15]))
    def pass_time(self, minutes: int) -> None:
        self.shop.pass_time(timedelta(minutes=minutes))

    # --- what must always be true ------------------------------------------------------------------

    @invariant()
    def counters_are_what_the_orders_hold(self) -> None:
        for sku_id in UNIT_MINOR:
            expected = (
                self.on_hand(sku_id),
                self.held(sku_id, ("awaiting",)),
                self.held(sku_id, ("paid",)),
            )
            assert self.shop.counters(sku_id) == expected
            on_hand, reserved, allocated = expected
            assert reserved + allocated <= on_hand

    @invariant()
    def counters_are_the_sums_of_their_movements(self) -> None:
        moved = [event for event in self.shop.events if isinstance(event, StockMoved)]
        for sku_id in UNIT_MINOR:
            deltas = [event.deltas for event in moved if event.sku_id == sku_id]
            on_hand = ON_HAND + sum(delta.on_hand for delta in deltas)
            reserved = sum(delta.reserved for delta in deltas)
            allocated = sum(delta.allocated for delta in deltas)
            assert self.shop.counters(sku_id) == (on_hand, reserved, allocated)

    @invariant()
    def money_is_what_was_recorded(self) -> None:
        for order_id, expected in self.orders.items():
            order = self.shop.order(order_id)
            assert (order.paid_minor, order.refunded_minor, order.gifted_minor) == (
                expected.paid_minor,
                expected.refunded_minor,
                expected.gifted_minor,
            )
            assert order.refunded_minor <= order.paid_minor
            assert order.refund_due_minor == expected.due_minor
            for line in order.lines:
                assert line.refunded_minor == expected.price(line.sku_id, line.refunded_quantity)
                if line.refunded_quantity == line.quantity:
                    assert line.refunded_minor == line.total_minor

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        for order_id, expected in self.orders.items():
            assert self.shop.order(order_id).state is _state(expected)
            assert self.shop.reservation(order_id).state is _reservation_state(expected)
            assert _held_by_sku(self.shop.reservation(order_id).lines) == {
                sku_id: quantity - expected.cancelled[sku_id]
                for sku_id, quantity in expected.quantities.items()
                if quantity > expected.cancelled[sku_id]
            }

    @invariant()
    def versions_are_told_without_a_gap(self) -> None:
        for order_id in self.orders:
            told = [
                int(event.progress.etag)
                for event in self.shop.events
                if isinstance(event, OrderProgressed) and event.key == order_id
            ]
            assert told == list(range(2, self.shop.order(order_id).version + 1))

    def teardown(self) -> None:
        """Every order can be brought to an end, after which it holds nothing and owes nothing."""
        for order_id, order in self.orders.items():
            rest = tuple(
                Units(sku_id, order.left(sku_id)) for sku_id in UNIT_MINOR if order.left(sku_id)
            )
            if order.state == "awaiting":
                self.shop.carry_out(CancelOrder(order_id))
            elif order.state == "paid" and rest:
                self.shop.carry_out(CancelOrderLines(order_id, rest))
            ended = self.shop.order(order_id)
            assert ended.state in ENDS
            if ended.refund_due_minor:
                ended = self.shop.carry_out(self.shop.refund(ended, ended.refund_due_minor)).order
            assert (ended.refund_due_minor, ended.gifted_minor) == (0, order.gifted_minor)
        for sku_id in UNIT_MINOR:
            assert self.shop.counters(sku_id) == (self.on_hand(sku_id), 0, 0)


def _state(order: Ordered) -> OrderState:
    if order.state == "awaiting":
        return OrderState.AWAITING_PAYMENT
    if order.state == "paid" and order.is_shipped:
        is_complete = not any(map(order.left, UNIT_MINOR))
        return OrderState.FULFILLED if is_complete else OrderState.PARTIALLY_FULFILLED
    return OrderState[order.state.upper()]


def _reservation_state(order: Ordered) -> ReservationState:
    if _state(order) is OrderState.FULFILLED:
        return ReservationState.SHIPPED
    return {
        "awaiting": ReservationState.HELD,
        "paid": ReservationState.COMMITTED,
        "cancelled": ReservationState.RELEASED,
        "expired": ReservationState.EXPIRED,
    }[order.state]


def _held_by_sku(lines: Iterable[HeldLine]) -> dict[str, int]:
    return {line.sku_id: line.quantity for line in lines}


OrderMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestOrderMachine = OrderMachine.TestCase
