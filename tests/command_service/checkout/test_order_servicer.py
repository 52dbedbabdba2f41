"""The RPCs of OrderingCommandService, without a network and a database."""

from datetime import timedelta
from itertools import count
from typing import cast

import pytest
from google.protobuf.duration_pb2 import Duration

from command_service.checkout.order_servicer import OrderingServicer
from command_service.errors import InvalidField, OrderChanged, UnitsNotHeld
from command_service.ids import Ids
from command_service.ordering.order_numbers import OrderNumbers, order_number
from command_service.servicing import Door
from event_log.codec import to_message
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as service
from shopkeeper.ordering.v1 import ordering_pb2
from shopkeeper.types.v1 import contact_pb2, money_pb2
from tests.command_service.checkout.order_shop import ADDRESS, CONTACT, OrderShop
from tests.command_service.checkout.test_cart_servicer import CONTEXT, DoorInMemory

ORDER_HOLD = timedelta(minutes=15)
INSTORE_HOLD = timedelta(hours=24)
ORDER_ID = "00e8d4a5-1000-7000-8000-000000000001"


class NumbersInMemory:
    """Gives out order numbers from the first on."""

    def __init__(self) -> None:
        self._serials = count()

    async def next(self) -> str:
        return order_number(next(self._serials))


@pytest.fixture
def shop() -> OrderShop:
    return OrderShop()


@pytest.fixture
def servicer(shop: OrderShop) -> OrderingServicer:
    ids = Ids(unix_time_ms=lambda: 1_000_000_000_000, random=count(1).__next__)
    numbers = cast("OrderNumbers", NumbersInMemory())
    door = cast("Door", DoorInMemory(shop))
    return OrderingServicer(door, ids, numbers, ORDER_HOLD, INSTORE_HOLD)


def pounds(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(currency_code="GBP", amount_minor=amount_minor)


def place_request(shop: OrderShop) -> service.PlaceOrderRequest:
    """The request that orders three mugs."""
    shop.fill_cart("c1", "ada", mug=3)
    return service.PlaceOrderRequest(cart_id="c1", etag=shop.cart().etag, expected_total=pounds(750))


async def placed(servicer: OrderingServicer, shop: OrderShop) -> ordering_pb2.Order:
    return (await servicer.PlaceOrder(place_request(shop), CONTEXT)).order


async def paid(servicer: OrderingServicer, shop: OrderShop) -> ordering_pb2.Order:
    order = await placed(servicer, shop)
    request = service.RecordPaymentRequest(
        order_id=order.order_id, payment_reference="pi_1", amount=pounds(750)
    )
    return (await servicer.RecordPayment(request, CONTEXT)).order


async def test_an_order_has_an_id_a_number_and_the_usual_hold(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    order = await placed(servicer, shop)
    assert order.order_id == ORDER_ID
    assert order.order_number == "000-000-0000"
    assert order.state == ordering_pb2.ORDER_STATE_AWAITING_PAYMENT
    assert order.customer_id == "ada"
    assert order.expire_time.ToDatetime() - order.placed_time.ToDatetime() == ORDER_HOLD
    assert order == to_message(shop.order(ORDER_ID), ordering_pb2.Order)


async def test_an_order_paid_at_the_counter_is_held_for_longer(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    request = place_request(shop)
    request.payment_mode = service.PAYMENT_MODE_IN_STORE
    order = (await servicer.PlaceOrder(request, CONTEXT)).order
    assert order.state == ordering_pb2.ORDER_STATE_AWAITING_INSTORE_PAYMENT
    assert order.expire_time.ToDatetime() - order.placed_time.ToDatetime() == INSTORE_HOLD


async def test_the_caller_may_say_how_long_to_hold(servicer: OrderingServicer, shop: OrderShop) -> None:
    request = place_request(shop)
    request.hold_duration.CopyFrom(Duration(seconds=90))
    order = (await servicer.PlaceOrder(request, CONTEXT)).order
    assert order.expire_time.ToDatetime() - order.placed_time.ToDatetime() == timedelta(seconds=90)


async def test_the_contact_reaches_the_order_but_not_the_answer(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    request = place_request(shop)
    request.notes = CONTACT.notes
    request.contact.CopyFrom(
        contact_pb2.Contact(
            email=CONTACT.email,
            full_name=CONTACT.full_name,
            phone=CONTACT.phone,
            shipping_address=contact_pb2.PostalAddress(
                recipient=ADDRESS.recipient,
                address_lines=ADDRESS.address_lines,
                locality=ADDRESS.locality,
                postal_code=ADDRESS.postal_code,
                region_code=ADDRESS.region_code,
            ),
        )
    )
    answer = await servicer.PlaceOrder(request, CONTEXT)
    assert shop.order(ORDER_ID).contact == CONTACT
    assert b"Ada" not in answer.SerializeToString()


async def test_a_payment_tells_its_outcome(servicer: OrderingServicer, shop: OrderShop) -> None:
    order = await placed(servicer, shop)
    request = service.RecordPaymentRequest(
        order_id=order.order_id, payment_reference="pi_1", amount=pounds(700)
    )
    answer = await servicer.RecordPayment(request, CONTEXT)
    assert answer.outcome == service.PAYMENT_OUTCOME_PARTLY_PAID
    assert answer.order.paid_minor == 700


async def test_what_people_paste_is_kept_without_the_blanks_around_it(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    """A webhook tells the same payment without them: it is to be the same money."""
    request = place_request(shop)
    request.contact.email = " jane@example.com\t"
    order = (await servicer.PlaceOrder(request, CONTEXT)).order
    contact = shop.order(order.order_id).contact
    assert contact is not None
    assert contact.email == "jane@example.com"
    for reference in ("pi_1 ", "pi_1"):
        payment = service.RecordPaymentRequest(
            order_id=order.order_id, payment_reference=reference, amount=pounds(750)
        )
        answer = await servicer.RecordPayment(payment, CONTEXT)
        assert answer.order.paid_minor == 750


async def test_a_reference_of_blanks_is_none(servicer: OrderingServicer) -> None:
    payment = service.RecordPaymentRequest(payment_reference=" ", amount=pounds(1))
    refund = service.RecordRefundRequest(refund_reference="\n", amount=pounds(1))
    for asked, field in (
        (servicer.RecordPayment(payment, CONTEXT), "payment_reference"),
        (servicer.RecordRefund(refund, CONTEXT), "refund_reference"),
    ):
        with pytest.raises(InvalidField) as refused:
            await asked
        assert list(refused.value.description_by_field) == [field]


@pytest.mark.parametrize("amount_minor", [0, -1])
async def test_a_payment_of_nothing_is_no_payment(
    servicer: OrderingServicer, shop: OrderShop, amount_minor: int
) -> None:
    request = service.RecordPaymentRequest(
        order_id="o1", payment_reference="pi_1", amount=pounds(amount_minor)
    )
    with pytest.raises(InvalidField) as refused:
        await servicer.RecordPayment(request, CONTEXT)
    assert list(refused.value.description_by_field) == ["amount.amount_minor"]


async def test_units_are_shipped_returned_and_refunded(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    order = await paid(servicer, shop)
    units = [ordering_pb2.OrderLineUnits(line_id="mug", quantity=2)]
    shipping = service.FulfillOrderLinesRequest(order_id=order.order_id, lines=units)
    shipped = (await servicer.FulfillOrderLines(shipping, CONTEXT)).order
    assert shipped.state == ordering_pb2.ORDER_STATE_PARTIALLY_FULFILLED
    returned = service.ReturnedUnits(line_id="mug", quantity=1, restock=True)
    returning = service.ReturnOrderLinesRequest(order_id=order.order_id, lines=[returned])
    assert (await servicer.ReturnOrderLines(returning, CONTEXT)).order.refund_due_minor == 250
    refund = service.RecordRefundRequest(
        order_id=order.order_id, refund_reference="re_1", lines=[units[0]]
    )
    answer = await servicer.RecordRefund(refund, CONTEXT)
    assert answer.amount == pounds(500)
    assert answer.order.refund_due_minor == 0
    assert shop.counters("mug") == (9, 0, 1)


async def test_the_location_that_ships_is_told(servicer: OrderingServicer, shop: OrderShop) -> None:
    order = await paid(servicer, shop)
    shipping = service.FulfillOrderLinesRequest(order_id=order.order_id, location_id="annex")
    with pytest.raises(UnitsNotHeld) as refused:
        await servicer.FulfillOrderLines(shipping, CONTEXT)
    assert refused.value.facts["location_id"] == "annex"


@pytest.mark.parametrize("has_both", [True, False])
async def test_a_refund_is_either_an_amount_or_units(
    servicer: OrderingServicer, *, has_both: bool
) -> None:
    request = service.RecordRefundRequest(order_id="o1", refund_reference="re_1")
    if has_both:
        request.amount.CopyFrom(pounds(5))
        request.lines.add(line_id="mug", quantity=1)
    with pytest.raises(InvalidField) as refused:
        await servicer.RecordRefund(request, CONTEXT)
    assert list(refused.value.description_by_field) == ["amount"]


async def test_an_order_is_cancelled_with_the_etag_that_was_seen(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    order = await placed(servicer, shop)
    request = service.CancelOrderRequest(order_id=order.order_id, etag=order.etag)
    answer = await servicer.CancelOrder(request, CONTEXT)
    assert answer.order.state == ordering_pb2.ORDER_STATE_CANCELLED


async def test_units_are_called_off_with_the_etag_that_was_seen(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    order = await paid(servicer, shop)
    units = [ordering_pb2.OrderLineUnits(line_id="mug", quantity=1)]
    request = service.CancelOrderLinesRequest(order_id=order.order_id, lines=units, etag="1")
    with pytest.raises(OrderChanged):
        await servicer.CancelOrderLines(request, CONTEXT)
    request.etag = order.etag
    answer = await servicer.CancelOrderLines(request, CONTEXT)
    assert answer.order.lines[0].cancelled_quantity == 1
    assert answer.order.refund_due_minor == 250


async def test_an_order_is_expired_when_its_time_is_up(
    servicer: OrderingServicer, shop: OrderShop
) -> None:
    order = await placed(servicer, shop)
    shop.pass_time(ORDER_HOLD)
    answer = await servicer.ExpireOrder(service.ExpireOrderRequest(order_id=order.order_id), CONTEXT)
    assert answer.order.state == ordering_pb2.ORDER_STATE_EXPIRED
