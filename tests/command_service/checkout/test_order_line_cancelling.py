"""CancelOrderLines: what of a paid order is not shipped is called off, unit by unit."""

import pytest

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import (
    OrderAlreadyClosed,
    OrderAlreadyShipped,
    OrderChanged,
    OrderLineNotFound,
    OrderNotFound,
    OrderNotPaid,
    OutOfStock,
    TooManyUnits,
)
from command_service.inventory.commands import AdjustStock, ReceiveStock
from command_service.inventory.domain import HeldLine, ReservationState
from command_service.inventory.events import StockMoved
from command_service.inventory.movements import StockRow
from command_service.ordering.domain import OrderState, PaymentOutcome
from command_service.ordering.events import OrderCancelled, OrderLinesCancelled, OrderProgressed
from command_service.ordering.lines import Units
from command_service.pricing.domain import PercentageOff
from tests.command_service.checkout.order_shop import HOLD, OrderShop, shop_with_coupon
from tests.command_service.checkout.shop_in_memory import apply, refused

ONE_MUG = (Units("mug", 1),)
ONE_LAMP = (Units("lamp", 1),)


@pytest.fixture
def shop() -> OrderShop:
    return OrderShop()


def test_units_called_off_are_free_for_others_and_their_price_is_due(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    order = shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    assert (order.state, order.refund_due_minor) == (OrderState.PAID, 250)
    assert order.lines[0].cancelled_quantity == 1
    assert shop.counters("mug") == (10, 0, 2)
    assert shop.reservation().lines == (HeldLine("mug", "main", 2),)
    [*_, lines_cancelled, moved] = shop.events
    assert isinstance(lines_cancelled, OrderLinesCancelled)
    assert lines_cancelled.lines == ONE_MUG
    assert isinstance(moved, StockMoved)
    assert moved.kind.name == "DEALLOCATED"
    refund = shop.carry_out(shop.refund_of_units(order, Units("mug", 1)))
    assert (refund.amount.amount_minor, refund.order.refund_due_minor) == (250, 0)


def test_an_order_of_which_a_unit_was_lost_comes_to_an_end(shop: OrderShop) -> None:
    order = shop.pay(shop.place(mug=1, lamp=1))
    shop.carry_out(AdjustStock("lamp", "main", 0, 10, "fire"))
    shop.carry_out(FulfillOrderLines("o1", ONE_MUG))
    refused(shop, FulfillOrderLines("o1"), OutOfStock)
    shop.carry_out(shop.refund_of_units(order, Units("lamp", 1)))
    after = shop.carry_out(CancelOrderLines("o1", ONE_LAMP))
    assert (after.state, after.refund_due_minor) == (OrderState.FULFILLED, 0)
    assert shop.reservation().state is ReservationState.SHIPPED
    # What comes in belongs to nobody.
    shop.carry_out(ReceiveStock((StockRow("lamp", "main", 1),), "delivery"))
    assert shop.level("lamp").available == 1


def test_the_rest_of_a_shipped_order_is_called_off_and_the_others_stay_returnable(
    shop: OrderShop,
) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1", (Units("mug", 2),)))
    complete = shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    assert (complete.state, complete.refund_due_minor) == (OrderState.FULFILLED, 250)
    assert shop.reservation().lines == (HeldLine("mug", "main", 2, 2),)
    back = ReturnedUnits("mug", 1, restock=True, location_id="")
    assert shop.carry_out(ReturnOrderLines("o1", (back,))).refund_due_minor == 500
    assert shop.counters("mug") == (9, 0, 0)


def test_the_last_unit_of_an_unshipped_order_calls_the_order_off() -> None:
    shop = shop_with_coupon(usage_limit=1)
    shop.fill_cart("c1", "ada", mug=2)
    shop.carry_out(apply("TENTH"))
    shop.pay(shop.carry_out(shop.placing()))
    first = shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    assert (first.state, first.refund_due_minor, shop.coupon_uses("TENTH")) == (OrderState.PAID, 225, 1)
    last = shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    assert (last.state, last.refund_due_minor) == (OrderState.CANCELLED, 450)
    assert shop.coupon_uses("TENTH") == shop.coupon_uses_of("TENTH", "ada") == 0
    assert shop.counters("mug") == (10, 0, 0)
    reservation = shop.reservation()
    assert (reservation.state, reservation.lines) == (ReservationState.RELEASED, ())


def test_each_unit_called_off_bears_its_own_share_of_a_discount_to_the_last_penny() -> None:
    shop = OrderShop()
    shop.promote("third", PercentageOff(3_333))
    shop.give_coupon("THIRD", "third")
    shop.fill_cart(mug=1, lamp=4)
    shop.carry_out(apply("THIRD"))
    order = shop.pay(shop.carry_out(shop.placing()))
    mug, lamp = order.lines
    assert (lamp.subtotal_minor, lamp.discount_minor) == (4_004, -1_335)
    # -1335 over four units is -333.75 each; rounded down, so that the last one bears the least.
    dues = []
    for _ in range(4):
        called_off = shop.carry_out(CancelOrderLines("o1", ONE_LAMP))
        dues.append(called_off.refund_due_minor)
        shop.carry_out(shop.refund_of_units(called_off, *ONE_LAMP))
    assert dues == [1_001 - 334, 1_001 - 334, 1_001 - 334, 1_001 - 333]
    kept = shop.order()
    assert (kept.refunded_minor, kept.lines[1].refunded_minor) == (lamp.total_minor, lamp.total_minor)
    assert (kept.refundable_minor, kept.refund_due_minor) == (mug.total_minor, 0)


def test_every_cancelled_order_is_told_as_one(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=2))
    shop.carry_out(CancelOrderLines("o1", (*ONE_MUG, *ONE_MUG)))
    *_, units, whole = [event for event in shop.events if isinstance(event, OrderProgressed)]
    assert (type(units), units.progress.state) == (OrderLinesCancelled, OrderState.PAID)
    assert (type(whole), whole.progress.state) == (OrderCancelled, OrderState.CANCELLED)
    assert (units.progress.etag, whole.progress.etag) == ("3", "4") == ("3", shop.order().etag)


def test_units_that_are_not_on_a_shelf_are_given_up_first(shop: OrderShop) -> None:
    shop.open_location("annex")
    shop.stock("mug", 4, "annex")
    shop.pay(shop.place(mug=14))
    shop.carry_out(AdjustStock("mug", "annex", 1, 4, "water"))
    shop.carry_out(CancelOrderLines("o1", (Units("mug", 3),)))
    assert shop.level("mug", "annex").shortage == 0
    assert shop.carry_out(FulfillOrderLines("o1")).state is OrderState.FULFILLED


def test_a_location_that_shipped_its_units_gives_none_of_them_up(shop: OrderShop) -> None:
    shop.open_location("annex")
    shop.stock("mug", 4, "annex")
    shop.pay(shop.place(mug=14))
    shop.carry_out(FulfillOrderLines("o1", (Units("mug", 10),), "main"))
    shop.carry_out(CancelOrderLines("o1", (Units("mug", 3),)))
    assert shop.counters("mug", "main") == (0, 0, 0)
    assert shop.counters("mug", "annex") == (4, 0, 1)


def test_an_unpaid_order_is_called_off_as_a_whole(shop: OrderShop) -> None:
    shop.place(mug=3)
    facts = refused(shop, CancelOrderLines("o1", ONE_MUG), OrderNotPaid)
    assert facts == {"order_id": "o1", "state": "AWAITING_PAYMENT"}


def test_calling_off_all_units_of_an_unpaid_order_is_refused_and_calling_it_off_frees_all() -> None:
    shop = unpaid_order_with_coupon()
    refused(shop, CancelOrderLines("o1", (Units("mug", 2),)), OrderNotPaid)
    assert (shop.counters("mug"), shop.coupon_uses("TENTH")) == ((10, 2, 0), 1)
    assert shop.carry_out(CancelOrder("o1")).state is OrderState.CANCELLED
    assert (shop.counters("mug"), shop.coupon_uses("TENTH")) == ((10, 0, 0), 0)
    assert shop.coupon_uses_of("TENTH", "ada") == 0
    assert shop.reservation().state is ReservationState.RELEASED


@pytest.mark.parametrize(
    ("amount_minor", "outcome", "due_minor"),
    [
        (449, PaymentOutcome.PARTLY_PAID, 0),
        (450, PaymentOutcome.PAID, 0),
        (451, PaymentOutcome.PAID, 1),
    ],
)
def test_a_refused_calling_off_leaves_what_an_unpaid_order_asks_for(
    amount_minor: int, outcome: PaymentOutcome, due_minor: int
) -> None:
    shop = unpaid_order_with_coupon()
    refused(shop, CancelOrderLines("o1", ONE_MUG), OrderNotPaid)
    answer = shop.carry_out(shop.payment(shop.order(), amount_minor))
    assert (answer.outcome, answer.order.refund_due_minor) == (outcome, due_minor)
    assert shop.level("mug").promised == 2


def test_money_for_an_order_of_which_units_were_called_off_is_all_due(shop: OrderShop) -> None:
    order = shop.pay(shop.place(mug=2))
    shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    answer = shop.carry_out(shop.payment(order, 100))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.REFUND_DUE, OrderState.PAID)
    assert answer.order.refund_due_minor == 250 + 100
    shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    late = shop.carry_out(shop.payment(order))
    assert (late.outcome, late.order.state) == (PaymentOutcome.REFUND_DUE, OrderState.CANCELLED)
    assert late.order.refund_due_minor == 500 + 100 + 500
    assert shop.counters("mug") == (10, 0, 0)


def unpaid_order_with_coupon() -> OrderShop:
    """Two mugs for 450, with the one use that there is."""
    shop = shop_with_coupon(usage_limit=1)
    shop.fill_cart("c1", "ada", mug=2)
    shop.carry_out(apply("TENTH"))
    shop.carry_out(shop.placing())
    return shop


@pytest.mark.parametrize(
    ("units", "refusal"), [(Units("mug", 3), TooManyUnits), (Units("cup", 1), OrderLineNotFound)]
)
def test_what_is_not_to_be_shipped_is_not_called_off(
    shop: OrderShop, units: Units, refusal: type[TooManyUnits]
) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1", ONE_MUG))
    refused(shop, CancelOrderLines("o1", (units,)), refusal)


def test_an_order_at_its_end_has_nothing_to_call_off(shop: OrderShop) -> None:
    refused(shop, CancelOrderLines("o1", ONE_MUG), OrderNotFound)
    shop.pay(shop.place("c1", mug=1))
    shop.carry_out(FulfillOrderLines("o1"))
    refused(shop, CancelOrderLines("o1", ONE_MUG), OrderAlreadyShipped)
    shop.place("c2", mug=1)
    shop.carry_out(CancelOrder("o2"))
    refused(shop, CancelOrderLines("o2", ONE_MUG), OrderAlreadyClosed)
    shop.place("c3", mug=1)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder("o3"))
    refused(shop, CancelOrderLines("o3", ONE_MUG), OrderAlreadyClosed)


def test_calling_off_what_somebody_changed_is_refused(shop: OrderShop) -> None:
    seen = shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1", ONE_MUG))
    command = CancelOrderLines("o1", ONE_MUG, seen.etag)
    assert refused(shop, command, OrderChanged) == {"order_id": "o1", "etag": "3"}
    assert shop.carry_out(CancelOrderLines("o1", ONE_MUG, "3")).etag == "4"


def test_an_order_of_which_some_was_called_off_can_be_called_off_as_a_whole(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(CancelOrderLines("o1", ONE_MUG))
    after = shop.carry_out(CancelOrder("o1"))
    assert (after.state, after.refund_due_minor) == (OrderState.CANCELLED, 750)
    assert after.lines[0].cancelled_quantity == 1
    assert shop.counters("mug") == (10, 0, 0)
