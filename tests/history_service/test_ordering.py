"""Orders found, explained and told with their contact."""

from datetime import timedelta

import grpc
import pytest
from google.protobuf.message import Message

from history_service.happenings import TELLERS
from shopkeeper.ordering.v1 import ordering_events_pb2
from shopkeeper.ordering.v1.ordering_history_service_pb2 import (
    ExplainOrderRequest,
    ExplainOrderTotalRequest,
    GetOrderContactRequest,
    OrderHappening,
    SearchOrdersRequest,
)
from shopkeeper.ordering.v1.ordering_pb2 import OrderState
from shopkeeper.payment.v1 import payment_events_pb2
from shopkeeper.payment.v1.payment_pb2 import (
    PAYMENT_STATE_CAPTURED,
    REFUND_STATE_FAILED,
    Payment,
    Refund,
)
from tests.history_service.conftest import History, refused
from tests.history_service.stored_books import AUTHORIZED, REFUND_FAILED, StoredBooks
from tests.history_service.stored_shop import (
    FULFILLED,
    PAID,
    PARTIALLY_FULFILLED,
    Line,
    StoredShop,
    adjustment,
)


@pytest.fixture
def stocked(shop: StoredShop) -> StoredShop:
    shop.move("A", on_hand=100)
    shop.move("B", on_hand=100)
    return shop


async def found(history: History, **criterion: str) -> list[str]:
    answer = await history.orders.SearchOrders(SearchOrdersRequest(**criterion))  # type: ignore[arg-type]
    return [order.order_id for order in answer.orders]


@pytest.mark.parametrize("spoken", ["100-000-0007", "1000000007", "100 000 0007", " 100.000-0007 "])
async def test_an_order_is_found_by_its_number_however_it_is_written(
    stocked: StoredShop, history: History, spoken: str
) -> None:
    stocked.place("o1", [Line("A", 1)], number="100-000-0007")
    stocked.place("o2", [Line("A", 1)], number="100-000-0018")
    assert await found(history, order_number=spoken) == ["o1"]


@pytest.mark.parametrize("unknown", ["100-000-0018", "7", "ABC", "-"])
async def test_no_order_is_found_by_a_number_that_nobody_has(
    stocked: StoredShop, history: History, unknown: str
) -> None:
    stocked.place("o1", [Line("A", 1)], number="100-000-0007")
    assert await found(history, order_number=unknown) == []


@pytest.mark.parametrize("written", ["ann@example.com", "Ann@Example.COM", " ann@example.com "])
async def test_an_order_is_found_by_e_mail_in_any_case(
    stocked: StoredShop, history: History, written: str
) -> None:
    stocked.place("o1", [Line("A", 1)], email="ANN@example.com")
    stocked.place("o2", [Line("A", 1)], email="anna@example.com")
    assert await found(history, email=written) == ["o1"]


async def test_an_order_is_found_by_its_payments_and_refunds(
    stocked: StoredShop, history: History
) -> None:
    stocked.place("o1", [Line("A", 1)])
    stocked.pay("o1", 255, reference="pi_1")
    stocked.refund("o1", 255, reference="re_1")
    assert await found(history, payment_reference="pi_1") == ["o1"]
    assert await found(history, payment_reference="re_1") == ["o1"]
    assert await found(history, payment_reference="PI_1") == []


@pytest.mark.breaks_invariants("inv_money_events")
async def test_an_order_is_found_by_what_its_provider_has_told(
    database_url: str, history: History
) -> None:
    with StoredBooks(database_url) as books:
        books.move("A", on_hand=5)
        books.place("o1", [Line("A", 1)])
        payment_id = books.tender("o1", provider_reference="pi_open", captured_minor=0, state=AUTHORIZED)
        books.give_back(payment_id, provider_reference="re_told", state=REFUND_FAILED)
    assert await found(history, payment_reference="pi_open") == ["o1"]
    assert await found(history, payment_reference="re_told") == ["o1"]


async def test_a_found_order_is_told_as_in_every_list(stocked: StoredShop, history: History) -> None:
    stocked.place("o1", [Line("A", 2), Line("B", 3, 100)], customer_id="ann", email="a@example.com")
    answer = await history.orders.SearchOrders(SearchOrdersRequest(email="a@example.com"))
    [order] = answer.orders
    assert order.order_number == "number-o1"
    assert order.customer_id == "ann"
    assert order.state == OrderState.ORDER_STATE_AWAITING_PAYMENT
    assert (order.total.currency_code, order.total.amount_minor) == ("GBP", 810)
    assert order.unit_count == 5
    assert order.placed_time.ToSeconds() == int(stocked.now.timestamp())


async def test_pages_hold_every_order_once_newest_first(stocked: StoredShop, history: History) -> None:
    for n in range(7):
        # Some are placed in the same moment.
        at = stocked.now + timedelta(minutes=n // 2)
        stocked.place(f"o{n}", [Line("A", 1)], email="a@example.com", at=at)
    ids, token, page_sizes = [], "", []
    while True:
        answer = await history.orders.SearchOrders(
            SearchOrdersRequest(email="a@example.com", page_size=3, page_token=token)
        )
        page_sizes.append(len(answer.orders))
        ids += [order.order_id for order in answer.orders]
        token = answer.next_page_token
        if not token:
            break
    assert page_sizes == [3, 3, 1]
    assert ids == ["o6", "o5", "o4", "o3", "o2", "o1", "o0"]


@pytest.mark.parametrize("criterion", ["order_number", "email", "payment_reference"])
async def test_an_empty_criterion_is_refused(history: History, criterion: str) -> None:
    request = SearchOrdersRequest(**{criterion: " "})  # type: ignore[arg-type]
    failure = await refused(history.orders.SearchOrders(request))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, [criterion])


async def test_a_search_without_criterion_is_refused(history: History) -> None:
    failure = await refused(history.orders.SearchOrders(SearchOrdersRequest()))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["criterion"])


async def test_a_page_token_of_another_search_is_refused(stocked: StoredShop, history: History) -> None:
    for order_id in ("o1", "o2"):
        stocked.place(order_id, [Line("A", 1)], email="a@example.com")
    first = await history.orders.SearchOrders(SearchOrdersRequest(email="a@example.com", page_size=1))
    request = SearchOrdersRequest(email="b@example.com", page_token=first.next_page_token)
    failure = await refused(history.orders.SearchOrders(request))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


async def test_the_contact_is_told_with_its_address_and_notes(
    stocked: StoredShop, history: History
) -> None:
    stocked.place("o1", [Line("A", 1)], email="ann@example.com")
    answer = await history.orders.GetOrderContact(GetOrderContactRequest(order_id="o1"))
    assert answer.contact.email == "ann@example.com"
    assert answer.contact.full_name == "Ann Smith"
    assert list(answer.contact.shipping_address.address_lines) == ["1 High Street"]
    assert not answer.contact.HasField("billing_address")
    assert answer.notes == "ring twice"


async def test_an_order_without_contact_has_an_empty_one(stocked: StoredShop, history: History) -> None:
    stocked.place("o1", [Line("A", 1)])
    answer = await history.orders.GetOrderContact(GetOrderContactRequest(order_id="o1"))
    assert (answer.HasField("contact"), answer.notes) == (False, "")


async def test_each_happening_is_a_sentence(stocked: StoredShop, history: History) -> None:
    stocked.place("o1", [Line("A", 2), Line("B", 1, 100)], number="100-000-0007")
    stocked.pay("o1", 610, reference="pi_1")
    stocked.fulfill("o1", "A", 2, PARTIALLY_FULFILLED)
    stocked.take_back("o1", "A", 1)
    stocked.refund("o1", 255, reference="re_1")
    answer = await history.orders.ExplainOrder(ExplainOrderRequest(order_id="o1"))
    hold_end = (stocked.now + timedelta(minutes=15)).strftime("%Y-%m-%d %H:%M:%S UTC")
    assert [(each.type, each.explanation) for each in answer.happenings] == [
        (
            "OrderPlaced",
            (
                "Placed as 100-000-0007 from cart cart-of-o1: 3 units on 2 lines for 6.10 GBP;"
                f" its stock is held until {hold_end}."
            ),
        ),
        ("PaymentRecorded", "Received 6.10 GBP as payment pi_1; it is now PAID, 6.10 GBP received."),
        ("OrderLinesFulfilled", "Shipped 2 of line A; it is now PARTIALLY_FULFILLED."),
        (
            "OrderLinesReturned",
            "Took back 1 of line A; it is now PARTIALLY_FULFILLED, 6.10 GBP received.",
        ),
        (
            "RefundRecorded",
            (
                "Gave back 2.55 GBP as refund re_1; it is now PARTIALLY_FULFILLED, 6.10 GBP received,"
                " 2.55 GBP given back."
            ),
        ),
    ]
    assert [each.position for each in answer.happenings] == sorted(
        {each.position for each in answer.happenings}
    )
    assert {each.actor for each in answer.happenings} == {"tester"}


async def test_an_order_to_which_much_happened_is_told_page_by_page(
    stocked: StoredShop, history: History
) -> None:
    stocked.place("o1", [Line("A", 1)])
    stocked.pay("o1", 255)
    for number in range(5):
        stocked.refund("o1", 10, reference=f"re_{number}")
    whole = (await history.orders.ExplainOrder(ExplainOrderRequest(order_id="o1"))).happenings
    request = ExplainOrderRequest(order_id="o1", page_size=3)
    told: list[OrderHappening] = []
    page_sizes: list[int] = []
    while not page_sizes or request.page_token:
        page = await history.orders.ExplainOrder(request)
        page_sizes.append(len(page.happenings))
        told += page.happenings
        request.page_token = page.next_page_token
    assert (page_sizes, told) == ([3, 3, 1], list(whole))


async def test_a_page_token_of_another_order_is_refused(stocked: StoredShop, history: History) -> None:
    for order_id in ("o1", "o2"):
        stocked.place(order_id, [Line("A", 1)])
        stocked.pay(order_id, 255)
    first = await history.orders.ExplainOrder(ExplainOrderRequest(order_id="o1", page_size=1))
    other = ExplainOrderRequest(order_id="o2", page_token=first.next_page_token)
    failure = await refused(history.orders.ExplainOrder(other))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


async def test_an_order_that_was_called_off_or_expired_says_so(
    stocked: StoredShop, history: History
) -> None:
    stocked.place("o1", [Line("A", 1)])
    stocked.cancel("o1")
    stocked.place("o2", [Line("A", 1)])
    stocked.expire("o2")
    told = {}
    for order_id in ("o1", "o2"):
        answer = await history.orders.ExplainOrder(ExplainOrderRequest(order_id=order_id))
        told[order_id] = answer.happenings[-1].explanation
    assert told == {
        "o1": "Called off; it is now CANCELLED, 0.00 GBP received.",
        "o2": "Not paid in time: its stock went back; it is now EXPIRED, 0.00 GBP received.",
    }


async def test_units_that_were_called_off_are_told(stocked: StoredShop, history: History) -> None:
    stocked.place("o1", [Line("A", 3)])
    stocked.pay("o1", 765)
    stocked.cancel_units("o1", "A", 2, PAID)
    answer = await history.orders.ExplainOrder(ExplainOrderRequest(order_id="o1"))
    told = answer.happenings[-1]
    assert told.type == "OrderLinesCancelled"
    assert told.explanation == "Called off 2 of line A; it is now PAID, 7.65 GBP received."


PAYMENT = Payment(
    payment_id="o1.1",
    provider="stripe",
    provider_reference="pi_1",
    state=PAYMENT_STATE_CAPTURED,
    amount_minor=500,
    captured_minor=500,
)
REFUND = Refund(
    refund_id="o1.r1", state=REFUND_STATE_FAILED, amount_minor=200, failure_code="expired_card"
)


@pytest.mark.parametrize(
    ("event", "sentence"),
    [
        (
            payment_events_pb2.PaymentStarted(payment=PAYMENT),
            "Payment o1.1 of 5.00 GBP is begun at stripe.",
        ),
        (
            payment_events_pb2.PaymentChanged(payment=PAYMENT),
            "Payment o1.1 (pi_1) is CAPTURED, 5.00 GBP captured.",
        ),
        (
            payment_events_pb2.RefundRequested(refund=REFUND, payment=PAYMENT),
            "Refund o1.r1 of 2.00 GBP is asked of stripe.",
        ),
        (
            payment_events_pb2.RefundChanged(refund=REFUND, payment=PAYMENT),
            "Refund o1.r1 of 2.00 GBP is FAILED: expired_card.",
        ),
        (
            ordering_events_pb2.RefundFailed(
                progress=ordering_events_pb2.OrderProgress(
                    state=OrderState.ORDER_STATE_CANCELLED, paid_minor=500, refund_due_minor=500
                ),
                refund_reference="o1.r1",
                amount_minor=200,
            ),
            (
                "Refund o1.r1 of 2.00 GBP failed: the money did not leave; it is now CANCELLED,"
                " 5.00 GBP received, 5.00 GBP still to be given back."
            ),
        ),
        (
            ordering_events_pb2.RefundRecordReversed(
                progress=ordering_events_pb2.OrderProgress(
                    state=OrderState.ORDER_STATE_PAID, paid_minor=500, refunded_minor=200
                ),
                refund_reference="re_1",
                amount_minor=200,
            ),
            (
                "Counted 2.00 GBP, recorded by hand as refund re_1, no more: a refund of ours is the"
                " same money; it is now PAID, 5.00 GBP received, 2.00 GBP given back."
            ),
        ),
    ],
)
def test_what_happened_to_its_money_is_told_with_the_order(event: Message, sentence: str) -> None:
    tell = TELLERS[event.DESCRIPTOR.full_name]
    assert tell(event.SerializeToString(), "GBP") == sentence


def test_a_gift_is_told_as_one() -> None:
    progress = ordering_events_pb2.OrderProgress(
        state=OrderState.ORDER_STATE_PAID, paid_minor=500, refunded_minor=300, gifted_minor=100
    )
    event = ordering_events_pb2.RefundRecorded(
        progress=progress, refund_reference="re_1", amount_minor=300
    )
    tell = TELLERS[event.DESCRIPTOR.full_name]
    assert tell(event.SerializeToString(), "GBP") == (
        "Gave back 3.00 GBP as refund re_1; it is now PAID, 5.00 GBP received,"
        " 3.00 GBP given back (1.00 GBP of it as a gift)."
    )


def test_every_event_of_an_order_has_a_sentence() -> None:
    parts = {"OrderProgress", "OrderLineProgress"}
    found = [ordering_events_pb2.DESCRIPTOR, payment_events_pb2.DESCRIPTOR]
    messages = [m for file in found for m in file.message_types_by_name.values()]
    assert set(TELLERS) == {m.full_name for m in messages if m.name not in parts}


async def test_the_steps_of_a_total_add_up_to_it(stocked: StoredShop, history: History) -> None:
    lines = [
        Line("A", 3, 255, (adjustment(-77, exact="-153/2"), adjustment(-8, coupon_code="XMAS"))),
        Line("B", 10, 99, tier=10),
    ]
    stocked.place("o1", lines)
    answer = await history.orders.ExplainOrderTotal(ExplainOrderTotalRequest(order_id="o1"))
    assert [(s.line_id, s.explanation, s.amount_minor, s.rule_id) for s in answer.steps] == [
        ("A", "3 x 2.55 GBP from list retail", 765, "retail"),
        ("A", "Winter sale, rounded from -153/2 minor units", -77, "winter"),
        ("A", "Winter sale with coupon XMAS", -8, "winter"),
        ("B", "10 x 0.99 GBP from list retail, the price from 10 units on", 990, "retail"),
    ]
    assert answer.steps[1].exact_amount_minor == "-153/2"
    assert sum(step.amount_minor for step in answer.steps) == answer.total.amount_minor == 1670
    assert "half away from zero" in answer.rounding_rule
    assert "their exact share, rounded down" in answer.rounding_rule


async def test_amounts_are_written_in_the_currency_s_own_units(
    stocked: StoredShop, history: History
) -> None:
    stocked.place("yen", [Line("A", 1, 500)], currency="JPY")
    stocked.place("dinar", [Line("A", 1, 1500)], currency="KWD")
    told = []
    for order_id in ("yen", "dinar"):
        answer = await history.orders.ExplainOrderTotal(ExplainOrderTotalRequest(order_id=order_id))
        told += [step.explanation for step in answer.steps]
    assert told == ["1 x 500 JPY from list retail", "1 x 1.500 KWD from list retail"]


async def test_an_order_that_was_shipped_whole_is_explained_to_its_end(
    stocked: StoredShop, history: History
) -> None:
    stocked.place("o1", [Line("A", 1)])
    stocked.pay("o1", 255)
    stocked.fulfill("o1", "A", 1, FULFILLED)
    answer = await history.orders.ExplainOrder(ExplainOrderRequest(order_id="o1"))
    assert answer.happenings[-1].explanation == "Shipped 1 of line A; it is now FULFILLED."


async def test_an_unknown_order_is_not_found(history: History) -> None:
    calls = (
        history.orders.GetOrderContact(GetOrderContactRequest(order_id="o9")),
        history.orders.ExplainOrder(ExplainOrderRequest(order_id="o9")),
        history.orders.ExplainOrderTotal(ExplainOrderTotalRequest(order_id="o9")),
    )
    for call in calls:
        failure = await refused(call)
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")
