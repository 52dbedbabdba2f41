"""Any sequence of commands on a few orders, against a model that is too simple to be wrong."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.record_payment import RecordPayment
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import Refusal
from command_service.inventory.commands import AdjustStock, ReceiveStock, SetStockPolicy
from command_service.inventory.domain import COUNTERS
from command_service.inventory.events import StockMoved
from command_service.inventory.movements import StockRow
from command_service.money import Money
from command_service.ordering.domain import OrderState, PaymentMode, PaymentOutcome
from command_service.ordering.events import (
    OrderExpired,
    OrderProgressed,
    PaymentRecorded,
    RefundRecorded,
)
from command_service.ordering.lines import Units
from command_service.pricing.domain import PercentageOff
from command_service.world import Command
from event_log.events import Event
from tests.command_service.checkout.order_model import (
    COUPON_LIMIT,
    COUPON_LIMIT_PER_CUSTOMER,
    HOLDING,
    ON_HAND,
    SKU_BY_LINE,
    UNIT_MINOR,
    ModelShop,
    Ordered,
    by_sku,
    fits,
    together,
)
from tests.command_service.checkout.order_shop import OrderShop
from tests.command_service.checkout.shop_in_memory import CART_IDLE, add, apply, create

ENDS = (OrderState.FULFILLED, OrderState.CANCELLED, OrderState.EXPIRED)

CUSTOMERS = st.sampled_from(["ada", "grace", "hedy", ""])
SKUS = st.sampled_from(list(UNIT_MINOR))
MODES = st.sampled_from(PaymentMode)
CART_LINES = st.fixed_dictionaries(
    {"mug": st.integers(2, 4)}, optional={"boxed": st.integers(1, 3), "lamp": st.integers(3, 4)}
)


class Filled(NamedTuple):
    """A cart that may be ordered."""

    cart_id: str
    quantities: dict[str, int]
    customer_id: str
    has_coupon: bool
    expire_time: datetime


class OrderMachine(RuleBasedStateMachine):
    """Rules send commands; the model says beforehand whether they are refused."""

    carts = Bundle("carts")
    order_ids = Bundle("order_ids")

    def __init__(self) -> None:
        super().__init__()
        self.shop = OrderShop()
        # Discounts whose share of a unit is no whole number, one of them on a coupon.
        self.shop.promote("third", PercentageOff(3_333), coupon_required=False)
        self.shop.promote("seventh", PercentageOff(1_429))
        self.shop.give_coupon(
            "SEVENTH",
            "seventh",
            usage_limit=COUPON_LIMIT,
            usage_limit_per_customer=COUPON_LIMIT_PER_CUSTOMER,
        )
        self.model = ModelShop()
        self.cart_count = 0
        self.money_told: list[tuple[RecordPayment | RecordRefund, PaymentOutcome | Money]] = []

    def send(self, command: Command[Any], *, allowed: bool) -> Any:
        """The answer; None if it was refused, which must be when it is expected, and without effect."""
        before = self.shop.snapshot()
        try:
            answer = self.shop.carry_out(command)
        except Refusal:
            assert not allowed, f"{command} was refused"
            assert self.shop.snapshot() == before
            return None
        assert allowed, f"{command} was not refused"
        return answer

    # --- buyers ------------------------------------------------------------------------------------

    @rule(target=carts, lines=CART_LINES, customer_id=CUSTOMERS, wants_coupon=st.booleans())
    def fill_cart(self, lines: dict[str, int], customer_id: str, *, wants_coupon: bool) -> Filled:
        self.cart_count += 1
        cart_id = f"c{self.cart_count}"
        self.shop.carry_out(create(cart_id, customer_id=customer_id))
        for line_id, quantity in lines.items():
            self.shop.carry_out(add(SKU_BY_LINE[line_id], quantity, cart_id=cart_id, line_id=line_id))
        has_coupon = wants_coupon and self.model.can_use_coupon(customer_id)
        if wants_coupon:
            self.send(apply("SEVENTH", cart_id=cart_id), allowed=has_coupon)
        return Filled(cart_id, lines, customer_id, has_coupon, self.shop.now + CART_IDLE)

    @rule(target=order_ids, cart=consumes(carts), mode=MODES)
    def place(self, cart: Filled, mode: PaymentMode) -> Any:
        command = self.shop.placing(cart.cart_id, payment_mode=mode)
        can_be_placed = self.model.can_be_placed(
            cart.quantities, cart.customer_id, has_coupon=cart.has_coupon
        )
        order = self.send(command, allowed=can_be_placed and self.shop.now < cart.expire_time)
        if order is None:
            return multiple()
        self.model.orders[order.order_id] = Ordered(
            quantities=cart.quantities,
            discounts={line.line_id: line.discount_minor for line in order.lines},
            customer_id=cart.customer_id,
            has_coupon=cart.has_coupon,
            is_instore=mode is PaymentMode.IN_STORE,
            expire_time=order.expire_time,
        )
        return order.order_id

    @initialize(target=order_ids, lines=CART_LINES, customer_id=CUSTOMERS)
    def open_with_a_deposit_partly_given_back(self, lines: dict[str, int], customer_id: str) -> Any:
        order_id = self.order_at_once(lines, customer_id, PaymentMode.ONLINE, is_paid=False)
        if order_id in self.model.orders:
            self.pay(order_id, 300 - self.model.orders[order_id].total_minor)
            self._refund_units(order_id, (Units("mug", 1),))
        return order_id

    @initialize(target=order_ids, lines=CART_LINES, customer_id=CUSTOMERS)
    def open_with_a_parcel(self, lines: dict[str, int], customer_id: str) -> Any:
        order_id = self.order_at_once(lines, customer_id, PaymentMode.IN_STORE, is_paid=True)
        if order_id in self.model.orders:
            self._ship(order_id, (Units("mug", 1),), "main")
        return order_id

    @initialize(target=order_ids, lines=CART_LINES, customer_id=CUSTOMERS)
    def open_with_a_shipped_order_partly_refunded(self, lines: dict[str, int], customer_id: str) -> Any:
        order_id = self.order_at_once(lines, customer_id, PaymentMode.ONLINE, is_paid=True)
        if order_id in self.model.orders:
            self._ship(order_id, (), "")
            self._refund_units(order_id, (Units("mug", 1),))
        return order_id

    @rule(target=order_ids, lines=CART_LINES, customer_id=CUSTOMERS, mode=MODES, is_paid=st.booleans())
    def order_at_once(
        self, lines: dict[str, int], customer_id: str, mode: PaymentMode, *, is_paid: bool
    ) -> Any:
        """Several steps in one: most of what can happen to an order happens after them."""
        order_id = self.place(self.fill_cart(lines, customer_id, wants_coupon=True), mode)
        if is_paid and order_id in self.model.orders:
            self.pay(order_id, 0)
        return order_id

    # --- money -------------------------------------------------------------------------------------

    @rule(order_id=order_ids, surplus_minor=st.sampled_from([0, -1, 1]) | st.integers(-2_000, 2_000))
    def pay(self, order_id: str, surplus_minor: int) -> None:
        """Pays what the order still asks for, and so much more or less."""
        order = self.model.orders[order_id]
        owed_minor = order.total_minor - order.have_minor
        amount = Money("GBP", max(owed_minor + surplus_minor, 1))
        command = RecordPayment(order_id, f"pay-{len(self.money_told)}", amount)
        answer = self.send(command, allowed=True)
        was_payable = order.state in ("awaiting", "expired")
        self.model.receive_money(order, amount.amount_minor, self.shop.now)
        outcome = PaymentOutcome.REFUND_DUE
        if was_payable and order.state in HOLDING:
            is_paid = order.state == "paid"
            outcome = PaymentOutcome.PAID if is_paid else PaymentOutcome.PARTLY_PAID
        assert answer.outcome is outcome
        self.money_told.append((command, outcome))

    @rule(order_id=order_ids, amount_minor=st.integers(1, 5_000))
    def refund_amount(self, order_id: str, amount_minor: int) -> None:
        order = self.model.orders[order_id]
        due_minor = order.due_minor
        command = self.shop.refund(self.shop.order(order_id), amount_minor)
        if self.send(command, allowed=amount_minor <= order.have_minor):
            order.refunded_minor += amount_minor
            if order.state == "paid":
                order.gifted_minor += max(0, amount_minor - due_minor)
            self.money_told.append((command, Money("GBP", amount_minor)))

    @rule(order_id=order_ids, data=st.data())
    def refund_units(self, order_id: str, data: st.DataObject) -> None:
        self._refund_units(order_id, self.units(data, order_id, "unrefunded"))

    def _refund_units(self, order_id: str, units: tuple[Units, ...]) -> None:
        order = self.model.orders[order_id]
        is_there = fits(units, order.unrefunded)
        price_minor = order.price_of_next(units) if is_there else 0
        command = self.shop.refund_of_units(self.shop.order(order_id), *units)
        if answer := self.send(command, allowed=is_there and price_minor <= order.have_minor):
            assert answer.amount == Money("GBP", price_minor)
            order.refunded_minor += price_minor
            order.refunded += together(units)
            self.money_told.append((command, answer.amount))

    @precondition(lambda self: self.money_told)
    @rule(data=st.data())
    def tell_of_money_again(self, data: st.DataObject) -> None:
        """Of the same money, which changes nothing, and under its name of other money."""
        command, told = data.draw(st.sampled_from(self.money_told))
        before = self.shop.snapshot()
        other: RecordPayment | RecordRefund
        if isinstance(command, RecordPayment):
            assert self.shop.carry_out(command).outcome is told
            other = replace(command, amount=Money("GBP", command.amount.amount_minor + 1))
        elif command.amount is not None:
            assert self.shop.carry_out(command).amount == told
            other = replace(command, amount=Money("GBP", command.amount.amount_minor + 1))
        else:
            assert self.shop.carry_out(replace(command, units=command.units[::-1])).amount == told
            other = replace(command, units=(*command.units, Units("mug", 1)))
        assert self.shop.snapshot() == before
        self.send(other, allowed=False)

    # --- staff: orders -----------------------------------------------------------------------------

    def order_with(self, data: st.DataObject, limit_of: str) -> str:
        """A paid order with units that the limit allows; any order if there is none."""
        orders = self.model.orders
        possible = [
            order_id
            for order_id, order in orders.items()
            if order.state == "paid" and any(self.limits(order_id, limit_of).values())
        ]
        return data.draw(st.sampled_from(possible or list(orders)))

    def units(self, data: st.DataObject, order_id: str, limit_of: str) -> tuple[Units, ...]:
        """Units of the order's lines: often all that the limit allows, sometimes too many."""
        limits = self.limits(order_id, limit_of)
        possible = [line_id for line_id, limit in limits.items() if limit] or list(limits)
        unit = st.sampled_from(possible).flatmap(
            lambda line_id: st.builds(Units, st.just(line_id), st.integers(1, limits[line_id] + 1))
        )
        return tuple(data.draw(st.lists(unit, min_size=1, max_size=2)))

    def limits(self, order_id: str, limit_of: str) -> dict[str, int]:
        """What a method of the model, named `limit_of`, allows of each line."""
        order = self.model.orders[order_id]
        return {line_id: getattr(order, limit_of)(line_id) for line_id in order.quantities}

    @rule(order_id=order_ids, is_cancelled=st.booleans())
    def end(self, order_id: str, *, is_cancelled: bool) -> None:
        """Calls an order off, or finds that its time is up."""
        order = self.model.orders[order_id]
        if is_cancelled:
            allowed = order.state in HOLDING and not order.is_shipped
        else:
            allowed = order.state == "awaiting" and self.shop.now >= order.expire_time
        command = CancelOrder(order_id) if is_cancelled else ExpireOrder(order_id)
        if self.send(command, allowed=allowed):
            order.state = "cancelled" if is_cancelled else "expired"
            order.expiry_count += not is_cancelled

    @precondition(lambda self: self.model.orders)
    @rule(data=st.data(), location_id=st.sampled_from(["", "main"]))
    def ship(self, data: st.DataObject, location_id: str) -> None:
        order_id = self.order_with(data, "shippable")
        self._ship(order_id, self.units(data, order_id, "shippable"), location_id)

    @rule(order_id=order_ids, location_id=st.sampled_from(["", "main"]))
    def ship_all_that_may_be_shipped(self, order_id: str, location_id: str) -> None:
        self._ship(order_id, (), location_id)

    def _ship(self, order_id: str, units: tuple[Units, ...], location_id: str) -> None:
        order = self.model.orders[order_id]
        leaving = units or order.all_shippable()
        allowed = (
            order.state == "paid"
            and bool(leaving)
            and fits(leaving, order.shippable)
            and self.model.can_ship(leaving)
        )
        if self.send(FulfillOrderLines(order_id, units, location_id), allowed=allowed):
            order.shipped += together(leaving)
            self._carry(leaving, -1)

    @precondition(lambda self: self.model.orders)
    @rule(data=st.data())
    def call_units_off(self, data: st.DataObject) -> None:
        order_id = self.order_with(data, "left")
        order = self.model.orders[order_id]
        units = self.units(data, order_id, "left")
        allowed = order.state == "paid" and fits(units, order.left)
        if self.send(CancelOrderLines(order_id, units), allowed=allowed):
            order.cancelled += together(units)
            if order.cancelled == order.quantities:
                order.state = "cancelled"

    @precondition(lambda self: self.model.orders)
    @rule(data=st.data(), restock=st.booleans())
    def take_back(self, data: st.DataObject, *, restock: bool) -> None:
        order_id = self.order_with(data, "with_buyer")
        order = self.model.orders[order_id]
        units = self.units(data, order_id, "with_buyer")
        returned = tuple(
            ReturnedUnits(unit.line_id, unit.quantity, restock=restock, location_id="") for unit in units
        )
        command = ReturnOrderLines(order_id, returned)
        if self.send(command, allowed=fits(units, order.with_buyer)):
            order.returned += together(units)
            self._carry(units if restock else (), 1)

    def _carry(self, units: tuple[Units, ...], sign: int) -> None:
        for sku_id, quantity in by_sku(together(units)).items():
            self.model.shelves[sku_id].on_hand += sign * quantity

    # --- staff: shelves ----------------------------------------------------------------------------

    @rule(sku_id=SKUS, found=st.integers(0, ON_HAND))
    def count(self, sku_id: str, found: int) -> None:
        shelf = self.model.shelves[sku_id]
        self.send(AdjustStock(sku_id, "main", found, shelf.on_hand + 1, "count"), allowed=False)
        self.send(AdjustStock(sku_id, "main", found, shelf.on_hand, "count"), allowed=True)
        shelf.on_hand = found

    @rule(sku_id=SKUS, quantity=st.integers(1, 8))
    def receive_stock(self, sku_id: str, quantity: int) -> None:
        self.shop.carry_out(ReceiveStock((StockRow(sku_id, "main", quantity),), "delivery"))
        self.model.shelves[sku_id].on_hand += quantity

    @rule(sku_id=SKUS, safety_stock=st.integers(0, 2), backorder_limit=st.integers(0, 6))
    def set_policy(self, sku_id: str, safety_stock: int, backorder_limit: int) -> None:
        shelf = self.model.shelves[sku_id]
        allowed = self.model.shortage(sku_id, backorder_limit) <= self.model.shortage(sku_id)
        command = SetStockPolicy(sku_id, "main", safety_stock, backorder_limit)
        if self.send(command, allowed=allowed):
            shelf.safety_stock, shelf.backorder_limit = safety_stock, backorder_limit

    # --- the machine -------------------------------------------------------------------------------

    @rule(minutes=st.sampled_from([7, 15, 60]))
    def pass_time(self, minutes: int) -> None:
        self.shop.pass_time(timedelta(minutes=minutes))

    # --- what must always be true ------------------------------------------------------------------

    @invariant()
    def counters_are_what_the_orders_hold(self) -> None:
        for sku_id, shelf in self.model.shelves.items():
            level = self.shop.level(sku_id)
            assert self.shop.counters(sku_id) == (
                shelf.on_hand,
                self.model.held(sku_id, ("awaiting",)),
                self.model.held(sku_id, ("paid",)),
            )
            assert level.shortage == self.model.shortage(sku_id)
            assert level.promised <= level.on_hand + level.backorder_limit + level.shortage

    @invariant()
    def counters_are_the_sums_of_their_movements(self) -> None:
        moved = [event for event in self.shop.events if isinstance(event, StockMoved)]
        for sku_id in UNIT_MINOR:
            deltas = [event.deltas for event in moved if event.sku_id == sku_id]
            level = self.shop.level(sku_id)
            for counter in COUNTERS:
                opening = ON_HAND if counter == "on_hand" else 0
                booked = opening + sum(getattr(delta, counter) for delta in deltas)
                assert (counter, getattr(level, counter)) == (counter, booked)

    @invariant()
    def coupon_uses_are_those_of_the_orders(self) -> None:
        assert self.shop.coupon_uses("SEVENTH") == self.model.coupon_uses() <= COUPON_LIMIT
        for customer_id in ("ada", "grace", "hedy"):
            uses = self.shop.coupon_uses_of("SEVENTH", customer_id)
            assert uses == self.model.coupon_uses(customer_id)

    @invariant()
    def money_and_the_ends_of_its_time_are_what_was_told(self) -> None:
        told = Counter[tuple[str, type[Event]]]()
        for event in self.shop.events:
            if isinstance(event, OrderExpired):
                told[event.key, OrderExpired] += 1
            if isinstance(event, PaymentRecorded | RefundRecorded):
                told[event.key, type(event)] += event.amount_minor
        for order_id, expected in self.model.orders.items():
            order = self.shop.order(order_id)
            assert (order.paid_minor, order.refunded_minor, order.gifted_minor) == (
                expected.paid_minor,
                expected.refunded_minor,
                expected.gifted_minor,
            )
            assert told[order_id, OrderExpired] == expected.expiry_count
            assert told[order_id, PaymentRecorded] == order.paid_minor
            assert told[order_id, RefundRecorded] == order.refunded_minor
            assert order.refunded_minor <= order.paid_minor
            assert order.refund_due_minor == expected.due_minor
            assert sum(line.refunded_minor for line in order.lines) <= order.refunded_minor

    @invariant()
    def lines_are_counted_to_the_last_unit_and_minor_unit(self) -> None:
        for order_id, expected in self.model.orders.items():
            for line in self.shop.order(order_id).lines:
                key = line.line_id
                assert (line.quantity, line.fulfilled_quantity, line.returned_quantity) == (
                    expected.quantities[key],
                    expected.shipped[key],
                    expected.returned[key],
                )
                counts = (line.cancelled_quantity, line.refunded_quantity)
                assert counts == (expected.cancelled[key], expected.refunded[key])
                unshipped = line.quantity - line.cancelled_quantity - line.fulfilled_quantity
                assert line.unshipped_quantity == unshipped >= line.shippable_quantity >= 0
                assert line.refunded_minor == expected.price(key, line.refunded_quantity)
                if line.refunded_quantity == line.quantity:
                    assert line.refunded_minor == line.total_minor

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        for order_id, expected in self.model.orders.items():
            assert self.shop.order(order_id).state is expected.order_state
            reservation = self.shop.reservation(order_id)
            assert reservation.state is expected.reservation_state
            held = {line.sku_id: (line.quantity, line.shipped_quantity) for line in reservation.lines}
            assert held == expected.reserved_by_sku()

    @invariant()
    def versions_are_told_without_a_gap(self) -> None:
        told: dict[str, list[int]] = {order_id: [] for order_id in self.model.orders}
        for event in self.shop.events:
            if isinstance(event, OrderProgressed):
                told[event.key].append(int(event.progress.etag))
        for order_id, versions in told.items():
            assert versions == list(range(2, self.shop.order(order_id).version + 1))

    def teardown(self) -> None:
        """Every order can be brought to an end, after which it holds nothing and owes nothing."""
        for order_id, order in self.model.orders.items():
            rest = tuple(
                Units(line_id, order.left(line_id))
                for line_id in order.quantities
                if order.left(line_id)
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
        for sku_id, shelf in self.model.shelves.items():
            assert self.shop.counters(sku_id) == (shelf.on_hand, 0, 0)
            assert self.shop.level(sku_id).shortage == 0


OrderMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestOrderMachine = OrderMachine.TestCase
