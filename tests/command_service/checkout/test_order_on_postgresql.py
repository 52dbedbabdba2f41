"""Orders through the real transaction."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest
import pytest_asyncio

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.place_order import PlaceOrder
from command_service.checkout.record_payment import PaymentAnswer, RecordPayment
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import (
    NothingToRefund,
    OutOfStock,
    PaymentAlreadyRecorded,
    RefundExceedsPayments,
)
from command_service.inventory.commands import AdjustStock
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState, PaymentOutcome
from command_service.ordering.lines import Units
from command_service.pricing.commands import PriceRow, UpsertCoupons, UpsertPrices, UpsertPromotions
from command_service.pricing.domain import Coupon, PriceTier
from tests.command_service.checkout.order_shop import CONTACT
from tests.command_service.checkout.orders_on_postgresql import (
    LookAtOrder,
    counters,
    fill_cart,
    open_stocked_shop,
    payment,
    place,
    receive,
)
from tests.command_service.checkout.shop_in_memory import apply
from tests.command_service.checkout.shop_on_postgresql import TENTH
from tests.command_service.conftest import CarryOut

MOMENT = timedelta(milliseconds=1)


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[CarryOut]:
    """A stocked shop, of which all invariants still hold when the test is over."""
    await open_stocked_shop(carry_out)
    yield carry_out


async def test_what_is_read_back_is_what_was_answered(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", "ada", sku1=2, sku2=3)
    await shop(apply("TENTH"))
    discounted = replace(command, etag="4", expected_total=Money("GBP", 457), contact=CONTACT)
    placed = await shop(discounted)
    assert (placed.subtotal_minor, placed.discount_minor) == (508, -51)
    assert await shop(LookAtOrder(placed.order_id)) == replace(placed, contact=None)

    await shop(payment(placed, "pay-1", 300))
    await shop(payment(placed, "pay-2", 157))
    await shop(FulfillOrderLines(placed.order_id, (Units("sku2", 2),)))
    await shop(FulfillOrderLines(placed.order_id))
    await shop(ReturnOrderLines(placed.order_id, (ReturnedUnits("sku2", 1, True, ""),)))
    answer = await shop(RecordRefund(placed.order_id, "refund-1", None, (Units("sku2", 1),)))
    stored = await shop(LookAtOrder(placed.order_id))
    assert stored == answer.order
    assert stored is not None
    assert (stored.state, stored.etag, stored.refund_due_minor) == (OrderState.FULFILLED, "7", 0)
    assert await counters(shop, "sku2") == (98, 0, 0)


async def test_units_called_off_refunded_and_given_away_are_read_back_as_answered(
    shop: CarryOut,
) -> None:
    placed = await place(shop, "c1", sku1=3, sku2=1)
    await shop(payment(placed, "pay-1"))
    await shop(CancelOrderLines(placed.order_id, (Units("sku1", 1), Units("sku2", 1))))
    # All that sku2 held is gone, with its line of the reservation.
    assert await counters(shop, "sku2") == (100, 0, 0)
    lines = await shop.fetch("SELECT sku_id, quantity, shipped_quantity FROM reservation_lines")
    assert lines == [("sku1", 3 - 1, 0)]
    await shop(RecordRefund(placed.order_id, "refund-1", None, (Units("sku1", 1),)))
    await shop(RecordRefund(placed.order_id, "refund-2", Money("GBP", 110), ()))
    answer = await shop(FulfillOrderLines(placed.order_id))
    assert await shop(LookAtOrder(placed.order_id)) == answer
    assert answer.state is OrderState.FULFILLED
    assert (answer.refunded_minor, answer.gifted_minor, answer.refund_due_minor) == (211, 8, 0)
    line = answer.lines[0]
    assert (line.cancelled_quantity, line.refunded_quantity, line.refunded_minor) == (1, 1, 101)


async def test_an_order_called_off_unit_by_unit_holds_nothing(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", "ada", sku0=2)
    await shop(apply("ONCE"))
    order = await shop(replace(command, etag="3", expected_total=Money("GBP", 180)))
    await shop(payment(order, "pay-1"))
    await shop(CancelOrderLines(order.order_id, (Units("sku0", 1),)))
    after = await shop(CancelOrderLines(order.order_id, (Units("sku0", 1),)))
    assert (after.state, after.refund_due_minor) == (OrderState.CANCELLED, 180)
    assert await shop(LookAtOrder(order.order_id)) == after
    assert await counters(shop, "sku0") == (100, 0, 0)
    assert await shop.fetch("SELECT count(*) FROM reservation_lines") == [(0,)]
    assert await shop.fetch("SELECT used_count FROM coupon_customers") == [(0,)]


async def test_a_payment_of_long_ago_answers_its_outcome(shop: CarryOut) -> None:
    order = await place(shop, "c1", sku1=2)
    outcomes = [(await shop(payment(order, f"pay-{n}", 101))).outcome for n in range(3)]
    expected = [PaymentOutcome.PARTLY_PAID, PaymentOutcome.PAID, PaymentOutcome.REFUND_DUE]
    assert outcomes == expected
    again = [(await shop(payment(order, f"pay-{n}", 101))).outcome for n in range(3)]
    assert again == expected


async def test_the_same_refund_in_another_order_of_its_lines_has_no_second_effect(
    shop: CarryOut,
) -> None:
    order = await place(shop, "c1", sku1=1, sku2=1)
    await shop(payment(order, "pay-1"))
    units = (Units("sku2", 1), Units("sku1", 1))
    first = await shop(RecordRefund(order.order_id, "refund-1", None, units))
    assert await shop(RecordRefund(order.order_id, "refund-1", None, units[::-1])) == first


async def test_a_refund_of_units_that_cost_nothing_is_refused(shop: CarryOut) -> None:
    await shop(UpsertPrices("retail", (PriceRow("sku0", (PriceTier(1, 0),)),)))
    command = await fill_cart(shop, "c1", sku0=1)
    order = await shop(replace(command, expected_total=Money("GBP", 0)))
    assert order.state is OrderState.PAID
    with pytest.raises(NothingToRefund):
        await shop(RecordRefund(order.order_id, "refund-1", None, (Units("sku0", 1),)))


async def test_personal_data_stands_in_its_own_table_and_nowhere_else(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", sku1=1)
    await shop(replace(command, contact=CONTACT))
    [row] = await shop.fetch(
        "SELECT email, full_name, phone, shipping_address ->> 'postal_code',"
        " shipping_address #>> '{address_lines,0}', billing_address, notes FROM order_contacts"
        " WHERE lower(email) = 'ada@example.com'"
    )
    assert row == (
        "Ada@Example.com",
        "Ada Lovelace",
        "+44 20 7946 0000",
        "SW1Y 4LB",
        "12 St James's Square",
        None,
        "Leave it with the neighbour",
    )
    payloads = b"".join(payload for (payload,) in await shop.fetch("SELECT payload FROM events"))
    for secret in (b"Ada", b"Lovelace", b"Example", b"7946", b"SW1Y", b"James", b"neighbour"):
        assert secret not in payloads


async def test_an_order_without_contact_has_none(shop: CarryOut) -> None:
    await place(shop, "c1", sku1=1)
    assert await shop.fetch("SELECT count(*) FROM order_contacts") == [(0,)]


async def test_a_refused_order_leaves_nothing(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", sku1=101)
    with pytest.raises(OutOfStock):
        await shop(command)
    assert await shop.fetch("SELECT count(*) FROM orders") == [(0,)]
    assert await shop.fetch("SELECT count(*) FROM reservations") == [(0,)]
    assert await counters(shop, "sku1") == (100, 0, 0)
    assert await shop.fetch("SELECT state FROM carts") == [(1,)]


async def test_racers_of_one_batch_get_what_there_is(shop: CarryOut) -> None:
    await receive(shop, "annex", sku50=10)
    commands = [await fill_cart(shop, f"c{number}", sku50=1) for number in range(16)]
    answers = await shop.together(commands)
    assert [type(answer) for answer in answers] == 10 * [Order] + 6 * [OutOfStock]
    assert await counters(shop, "sku50", "annex") == (10, 10, 0)


async def test_one_payment_in_one_batch_for_two_orders_pays_one(shop: CarryOut) -> None:
    first, second = await place(shop, "c1", sku1=1), await place(shop, "c2", sku1=1)
    paid, refused = await shop.together([payment(first, "pay-1"), payment(second, "pay-1")])
    assert isinstance(paid, PaymentAnswer)
    assert isinstance(refused, PaymentAlreadyRecorded)
    assert await shop.fetch("SELECT order_id, amount_minor FROM money_records") == [
        (first.order_id, 101)
    ]
    assert await counters(shop, "sku1") == (100, 1, 1)


async def test_payments_of_one_batch_commit_the_stock_once(shop: CarryOut) -> None:
    order = await place(shop, "c1", sku1=2)
    answers = await shop.together(
        [payment(order, "pay-1"), payment(order, "pay-1"), payment(order, "pay-2")]
    )
    outcomes = [answer.outcome for answer in answers]
    assert outcomes == [PaymentOutcome.PAID, PaymentOutcome.PAID, PaymentOutcome.REFUND_DUE]
    assert await counters(shop, "sku1") == (100, 0, 2)
    commits = await shop.fetch("SELECT sum(allocated) FROM stock_movements")
    assert commits == [(2,)]


async def test_refunds_of_one_batch_stay_within_what_was_paid(shop: CarryOut) -> None:
    order = await place(shop, "c1", sku0=1)
    await shop(payment(order, "pay-1"))
    answers = await shop.together(
        [RecordRefund(order.order_id, f"refund-{n}", Money("GBP", 60), ()) for n in range(2)]
    )
    assert answers[0].order.refunded_minor == 60
    assert isinstance(answers[1], RefundExceedsPayments)
    # A bare key row is no refund: the same reference may be used for what is possible.
    rest = await shop(RecordRefund(order.order_id, "refund-1", Money("GBP", 40), ()))
    assert rest.order.refundable_minor == 0


async def test_when_its_lines_began_anew_to_count_refunds_is_stored(shop: CarryOut) -> None:
    order = await place(shop, "c1", sku0=1)
    await shop(RecordPayment(order.order_id, "pay-1", Money("GBP", 60)))
    await shop(RecordRefund(order.order_id, "refund-1", Money("GBP", 10), ()))
    settled = (await shop(RecordPayment(order.order_id, "pay-2", Money("GBP", 50)))).order
    assert (settled.state, settled.recount_time) == (OrderState.PAID, settled.update_time)
    later = await shop(FulfillOrderLines(order.order_id))
    assert later.recount_time == settled.recount_time
    assert await shop(LookAtOrder(order.order_id)) == replace(later, contact=None)


async def test_late_money_is_held_anew_where_there_is_stock(shop: CarryOut) -> None:
    order = await place(shop, "c1", hold=MOMENT, sku1=60, sku2=1)
    await shop(ExpireOrder(order.order_id))
    await shop(AdjustStock("sku1", "main", 20, 100, "count"))
    await receive(shop, "annex", sku1=50)
    answer = await shop(payment(order, "pay-1"))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.PAID, OrderState.PAID)
    lines = await shop.fetch(
        "SELECT sku_id, location_id, quantity FROM reservation_lines ORDER BY sku_id, location_id"
    )
    assert lines == [("sku1", "annex", 40), ("sku1", "main", 20), ("sku2", "main", 1)]
    assert await counters(shop, "sku1", "main") == (20, 0, 20)
    assert await counters(shop, "sku1", "annex") == (50, 0, 40)
    shipped = await shop(FulfillOrderLines(order.order_id))
    assert shipped.state is OrderState.FULFILLED
    assert await counters(shop, "sku1", "annex") == (10, 0, 0)


async def test_late_money_for_stock_at_other_locations_leaves_no_line_behind(shop: CarryOut) -> None:
    order = await place(shop, "c1", hold=MOMENT, sku1=10)
    await shop(AdjustStock("sku1", "main", 0, 100, "count"))
    await receive(shop, "annex", sku1=10)
    assert (await shop(payment(order, "pay-1"))).outcome is PaymentOutcome.PAID
    assert await shop.fetch("SELECT location_id, quantity FROM reservation_lines") == [("annex", 10)]
    assert await counters(shop, "sku1", "main") == (0, 0, 0)


@pytest.mark.parametrize("is_ended", [True, False])
async def test_late_money_takes_its_coupons_at_the_frozen_price_though_they_give_nothing_by_now(
    shop: CarryOut, *, is_ended: bool
) -> None:
    command = await fill_cart(shop, "c1", "ada", sku0=1)
    await shop(apply("ONCE"))
    total = Money("GBP", 90)
    order = await shop(replace(command, etag="3", expected_total=total, hold_duration=MOMENT))
    if is_ended:
        await shop(UpsertPromotions((replace(TENTH, end_time=order.placed_time),)))
    else:
        await shop(UpsertCoupons((Coupon("ONCE", "tenth", None, 1, active=False, used_count=0),)))
    answer = await shop(payment(order, "pay-1"))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.PAID, OrderState.PAID)
    assert await counters(shop, "sku0") == (100, 0, 1)
    assert await shop.fetch("SELECT used_count FROM coupon_customers") == [(1,)]


async def test_a_payment_and_the_expiry_in_one_batch_agree(shop: CarryOut) -> None:
    order = await place(shop, "c1", hold=MOMENT, sku1=10)
    expired, paid = await shop.together([ExpireOrder(order.order_id), payment(order, "pay-1")])
    assert expired.state is OrderState.EXPIRED
    assert paid.order.state is OrderState.PAID
    assert await counters(shop, "sku1") == (100, 0, 10)


async def test_a_coupon_use_goes_back_with_a_cancelled_order(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", "ada", sku0=1)
    await shop(apply("ONCE"))
    order = await shop(replace(command, etag="3", expected_total=Money("GBP", 90)))
    assert await shop.fetch("SELECT used_count FROM coupon_customers") == [(1,)]
    await shop(CancelOrder(order.order_id, reason="Ada changed her mind"))
    assert await shop.fetch("SELECT cancel_reason FROM orders") == [("Ada changed her mind",)]
    payloads = b"".join(payload for (payload,) in await shop.fetch("SELECT payload FROM events"))
    assert b"changed her mind" not in payloads
    assert await shop.fetch("SELECT used_count FROM coupon_customers") == [(0,)]
    assert await shop.fetch("SELECT used_count FROM coupons WHERE coupon_code = 'ONCE'") == [(0,)]


async def test_a_rehearsed_order_is_predicted_but_not_placed(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", sku1=1)
    predicted = await shop.rehearse(command)
    assert await shop.fetch("SELECT count(*) FROM orders") == [(0,)]
    placed = await shop(command)
    # A little later; all else is as predicted.
    assert placed == replace(
        predicted,
        placed_time=placed.placed_time,
        update_time=placed.update_time,
        expire_time=placed.expire_time,
    )


async def test_a_one_line_order_alone_keeps_its_budget(shop: CarryOut) -> None:
    command = await fill_cart(shop, "c1", sku1=1)
    trips, statements = shop.session.trip_count, shop.session.statement_count
    await shop(command)
    assert shop.session.trip_count - trips <= 12
    assert shop.session.statement_count - statements <= 20


async def test_a_hundred_orders_together_take_less_than_a_statement_each(shop: CarryOut) -> None:
    commands = [await fill_cart(shop, f"c{number}", sku1=1) for number in range(100)]
    statements = shop.session.statement_count
    answers = await shop.together(commands)
    assert all(isinstance(answer, Order) for answer in answers)
    assert shop.session.statement_count - statements < 100


async def test_a_hundred_orders_of_one_sku_sell_its_stock_and_take_no_more_than_of_nine(
    shop: CarryOut,
) -> None:
    """A row that all of them want is locked once, and written once: nobody queues for it."""
    hot = [await fill_cart(shop, f"hot{number}", sku0=1) for number in range(101)]
    spread = [
        await fill_cart(shop, f"c{number}", **{f"sku{1 + number % 9}": 1}) for number in range(101)
    ]

    async def placed(commands: list[PlaceOrder]) -> tuple[int, ...]:
        trips, statements = shop.session.trip_count, shop.session.statement_count
        answers = await shop.together(commands)
        return (
            sum(isinstance(answer, Order) for answer in answers),
            shop.session.trip_count - trips,
            shop.session.statement_count - statements,
        )

    spread_count, *spread_cost = await placed(spread)
    hot_count, *hot_cost = await placed(hot)
    assert (spread_count, hot_count) == (101, 100)
    assert hot_cost == spread_cost
    assert await counters(shop, "sku0") == (100, 100, 0)


BREACHES = {
    "two orders of one cart": "UPDATE orders SET cart_id = 'c1'",
    "two orders of one number": "UPDATE orders SET order_number = '1'",
    "more refunded than paid": "UPDATE orders SET refunded_minor = paid_minor + 1",
    "negative payments": "UPDATE orders SET paid_minor = -1",
    "a total that does not add up": "UPDATE orders SET total_minor = total_minor + 1",
    "an unknown state": "UPDATE orders SET state = 8",
    "more given away than refunded": "UPDATE orders SET gifted_minor = refunded_minor + 1",
    "an order that is paid without money": "UPDATE orders SET state = 3",
    "an order that is shipped without money": "UPDATE orders SET state = 4",
    "an order that is complete without money": "UPDATE orders SET state = 5",
    "a price below 0": "UPDATE order_lines SET unit_price_minor = -1, discount_minor = 0",
    "a price from nowhere": "UPDATE order_lines SET price_list_id = ''",
    "a discount above 0": "UPDATE order_lines SET discount_minor = 1",
    "a discount of more than the price": "UPDATE order_lines SET discount_minor = -102",
    "more called off than ordered": "UPDATE order_lines SET cancelled_quantity = quantity + 1",
    "more shipped than not called off": (
        "UPDATE order_lines SET cancelled_quantity = 1, fulfilled_quantity = quantity"
    ),
    "more money back for a line than it cost": "UPDATE order_lines SET refunded_minor = 102",
    "more shipped than ordered": "UPDATE order_lines SET fulfilled_quantity = quantity + 1",
    "more returned than shipped": "UPDATE order_lines SET returned_quantity = 1",
    "more refunded units than ordered": "UPDATE order_lines SET refunded_quantity = quantity + 1",
    "one payment of two orders": "INSERT INTO money_records (kind, reference) VALUES ('payment', 'p')",
    "a payment without amount": "UPDATE money_records SET amount_minor = NULL",
    "a payment of nothing": "UPDATE money_records SET amount_minor = 0",
    "a payment without outcome": "UPDATE money_records SET outcome = NULL",
    "a refund with an outcome": "UPDATE money_records SET kind = 'refund'",
}


@pytest.mark.parametrize("breach", BREACHES.values(), ids=BREACHES)
async def test_the_database_refuses(shop: CarryOut, breach: str) -> None:
    await place(shop, "c1", sku1=1)
    await shop(payment(await place(shop, "c2", sku1=1), "p", 1))
    with pytest.raises(psycopg.errors.IntegrityError):
        await shop.fetch(breach)
