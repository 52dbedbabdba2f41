"""Calls that fail in every way, and processes that die between: nothing is paid twice or lost."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_worker import Stretch
from command_service.checkout.refund_payment import RefundPayment
from command_service.committer import Committer
from command_service.errors import DatabaseUnavailable
from command_service.lone_worker import ask
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState
from command_service.payment.gateway import Gateway
from command_service.payment.payments import CaptureMode, PaymentState, Wish
from command_service.payment.refunds import RefundState
from command_service.submission import Answer, Submission
from tests.command_service.checkout.paid_shop import PaidShop, just_now, paid_shop
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually
from tests.sandboxes.faults import FaultKind

INTENTS = "/v1/payment_intents"
REFUNDS = "/v1/refunds"
LOST = [kind for kind in FaultKind if kind not in {FaultKind.KEY_IN_USE, FaultKind.RATE_LIMITED}]
"""After these nobody knows, from the answer, whether there was an effect."""


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


async def arm(shop: PaidShop, kind: FaultKind, path: str, *, method: str = "POST") -> None:
    body = {"kind": kind.value, "method": method, "path_prefix": path}
    answer = await shop.sandbox.http.post("/_sandbox/faults/armed", json=body)
    assert answer.status_code == 200, answer.text


async def settle(shop: PaidShop) -> None:
    """Rounds of the worker until nothing is asked of Stripe any more; time is not waited for."""

    async def is_quiet() -> bool:
        await shop.carry_out.fetch(
            "UPDATE payments SET errand_due_time = now() WHERE NOT errand_is_in_flight"
        )
        await shop.carry_out.fetch(
            "UPDATE refunds SET errand_due_time = now() WHERE NOT errand_is_in_flight"
        )
        await shop.deliver()
        await shop.round()
        if await shop.deliver():
            return False
        rows = await shop.carry_out.fetch(
            "SELECT (SELECT count(*) FROM payments WHERE errand_task IS NOT NULL)"
            " + (SELECT count(*) FROM refunds WHERE errand_task IS NOT NULL)"
        )
        return rows == [(0,)]

    await eventually(is_quiet, seconds=60)


async def die(shop: PaidShop) -> None:
    """Whoever has claimed a call is gone, and its lease is over."""
    for table in ("payments", "refunds"):
        await shop.carry_out.fetch(
            f"UPDATE {table} SET errand_due_time = now() WHERE errand_task IS NOT NULL"
        )


async def paid(shop: PaidShop, **other: Any) -> Order:
    order = await shop.place(sku0=2)
    driven = await shop.start(order, **other)
    await shop.act(driven.payment, "pay")
    await settle(shop)
    return order


# --- starting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_payment_whose_begin_went_wrong_is_begun_once(shop: PaidShop, kind: FaultKind) -> None:
    order = await shop.place(sku0=2)
    await arm(shop, kind, INTENTS)
    driven = await shop.start(order)
    is_lost = driven.payment.state is PaymentState.UNKNOWN
    assert is_lost == (kind in LOST)
    assert (driven.payment.resolve_deadline is not None) == is_lost
    await settle(shop)
    [payment] = (await shop.payments(order)).payments
    assert payment.state is PaymentState.AWAITING_CUSTOMER
    intents = (await shop.sandbox.get("/_sandbox/totals"))["payment_intents"]
    assert [each["metadata"]["payment_id"] for each in intents] == [payment.payment_id]
    await shop.act(payment, "pay")
    await settle(shop)
    assert (await shop.order(order)).state is OrderState.PAID


async def test_a_process_that_died_before_the_call_is_replaced(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    await shop.intend(order)
    await shop.round()
    assert (await shop.payments(order)).payments[0].state is PaymentState.STARTING, "it is leased"
    await die(shop)
    await shop.round()
    assert (await shop.payments(order)).payments[0].state is PaymentState.AWAITING_CUSTOMER


class Eavesdropper(Committer):
    """Learns the ids of requests, which are lost."""

    def __init__(self) -> None:
        self.request_ids: list[UUID] = []

    async def submit(self, submission: Submission) -> Answer:
        self.request_ids.append(submission.request_id)
        raise DatabaseUnavailable


async def test_no_buyer_can_use_the_request_id_of_a_report_first(shop: PaidShop) -> None:
    """Whoever may choose request ids would keep a payment from ever being known as made."""
    payment = await shop.intend(await shop.place(sku0=2))
    heard = Eavesdropper()
    lost = PaymentDriver(heard, Gateway(shop.driver.providers))
    with pytest.raises(DatabaseUnavailable):
        await lost.drive(payment, claimed_seconds=just_now())
    [request_id] = heard.request_ids
    await ask(shop.committer, CancelOrder("none"), request_id=request_id, actor="a buyer")
    driven = await shop.driver.drive(payment, claimed_seconds=just_now())
    assert driven.payment.state is PaymentState.AWAITING_CUSTOMER


async def test_a_call_that_is_due_is_left_alone_while_its_order_rests(shop: PaidShop) -> None:
    orders = [await shop.place(name, sku0=1) for name in ("c1", "c2")]
    for order in orders:
        await shop.intend(order)
    await die(shop)
    await shop.session.connect()
    first, second = (order.order_id for order in orders)
    nothing = Stretch(0, 0)
    assert await shop.session.orders_to_advance(nothing, 10, resting=()) == {first, second}
    # The first has been due for longest; it takes no place from the second.
    assert await shop.session.orders_to_advance(nothing, 1, resting={first}) == {second}
    assert await shop.session.orders_to_advance(nothing, 10, resting={first, second}) == set()


async def test_no_more_calls_are_looked_for_than_there_is_room_for_payments_and_refunds_together(
    shop: PaidShop,
) -> None:
    paid_order, new_order = await paid(shop), await shop.place("c2", sku0=1)
    await shop.ask(RefundPayment(paid_order.order_id, "", Money("GBP", 50), ()))
    await shop.intend(new_order)
    await die(shop)
    await shop.carry_out.fetch("UPDATE refunds SET errand_due_time = now() - interval '1 minute'")
    refunded, begun = paid_order.order_id, new_order.order_id
    await shop.session.connect()
    for room, found in ((0, set()), (1, {refunded}), (2, {refunded, begun})):
        assert await shop.session.orders_to_advance(Stretch(0, 0), room, resting=()) == found


async def test_a_process_that_died_after_the_call_is_replaced(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    intended = await shop.intend(order)
    outcome = await shop.driver._gateway.run_payment(intended)
    assert outcome.handover.client_secret
    await die(shop)
    await shop.round()
    [payment] = (await shop.payments(order)).payments
    assert payment.state is PaymentState.AWAITING_CUSTOMER
    assert len((await shop.sandbox.get("/_sandbox/totals"))["payment_intents"]) == 1


async def test_a_webhook_that_comes_before_the_answer_settles_the_call(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    intended = await shop.intend(order)
    await shop.driver._gateway.run_payment(intended)
    await shop.deliver()
    [payment] = (await shop.payments(order)).payments
    assert (payment.state, payment.errand) == (PaymentState.AWAITING_CUSTOMER, None)


# --- capturing and calling off ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_capture_that_went_wrong_takes_the_money_once(shop: PaidShop, kind: FaultKind) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order, capture_mode=CaptureMode.WHEN_HELD)
    await shop.act(driven.payment, "pay")
    await arm(shop, kind, f"{INTENTS}/{driven.payment.provider_reference}/capture")
    await settle(shop)
    assert (await shop.order(order)).state is OrderState.PAID
    assert await shop.totals() == (200, 0)


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_void_that_went_wrong_is_made_in_the_end(shop: PaidShop, kind: FaultKind) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    await arm(shop, kind, f"{INTENTS}/{driven.payment.provider_reference}/cancel")
    await shop.carry_out(CancelOrder(order.order_id))
    await settle(shop)
    [payment] = (await shop.payments(order)).payments
    assert payment.state is PaymentState.VOIDED
    assert await shop.totals() == (0, 0)


# --- giving back -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [FaultKind.RATE_LIMITED, FaultKind.RESET_BEFORE])
async def test_a_saved_card_is_not_charged_for_an_order_that_was_called_off_meanwhile(
    shop: PaidShop, kind: FaultKind
) -> None:
    order = await shop.place(sku0=2)
    await arm(shop, kind, INTENTS)
    driven = await shop.start(order, wish=Wish(payment_method="pm_card_visa"))
    assert driven.payment.errand is not None
    await shop.ask(CancelOrder(order.order_id))
    await settle(shop)
    [payment] = (await shop.payments(order)).payments
    assert (payment.state, payment.failure_code) == (PaymentState.FAILED, "order_closed")
    assert await shop.totals() == (0, 0)


@pytest.mark.parametrize("kind", sorted(set(FaultKind) - {FaultKind.ERROR_STORED}))
async def test_a_payment_whose_order_was_called_off_meanwhile_is_called_off_without_a_search(
    shop: PaidShop, kind: FaultKind
) -> None:
    """A search goes through all payments of its time, which nobody has the time for on a busy day."""
    order = await shop.place(sku0=2)
    await arm(shop, kind, INTENTS)
    await shop.start(order)
    await shop.ask(CancelOrder(order.order_id))
    await settle(shop)
    [payment] = (await shop.payments(order)).payments
    assert payment.state in {PaymentState.VOIDED, PaymentState.FAILED}
    assert await shop.totals() == (0, 0)
    calls = await shop.sandbox.get("/_sandbox/calls/records")
    assert ("GET", INTENTS) not in {(call["method"], call["path"]) for call in calls}


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_refund_that_went_wrong_gives_back_once(shop: PaidShop, kind: FaultKind) -> None:
    order = await paid(shop)
    await arm(shop, kind, REFUNDS)
    asked = await shop.ask(RefundPayment(order.order_id, "", Money("GBP", 50), ()))
    await shop.give_back(asked)
    assert (await shop.order(order)).refunded_minor == 50
    await settle(shop)
    [refund] = (await shop.payments(order)).refunds
    assert refund.state is RefundState.SUCCEEDED
    assert await shop.totals() == (200, 50)
    assert (await shop.order(order)).refunded_minor == 50


async def test_a_refund_that_fails_later_is_refundable_again(shop: PaidShop) -> None:
    order = await paid(shop)
    asked = await shop.ask(RefundPayment(order.order_id, "", Money("GBP", 50), ()))
    [refund] = await shop.give_back(asked)
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/fail")
    await shop.deliver(times=2)
    payments = await shop.payments(order)
    assert payments.refunds[0].state is RefundState.FAILED
    assert payments.refundable_minor == 200
    after = await shop.order(order)
    assert (after.refunded_minor, after.gifted_minor) == (0, 0)


async def test_a_refund_made_at_the_provider_is_counted(shop: PaidShop) -> None:
    order = await paid(shop)
    [payment] = (await shop.payments(order)).payments
    form = {"payment_intent": payment.provider_reference, "amount": 30}
    answer = await shop.sandbox.post(REFUNDS, form, key="by hand")
    assert answer.status_code == 200
    await shop.deliver(times=2)
    assert (await shop.order(order)).refunded_minor == 30
    [refund] = (await shop.payments(order)).refunds
    assert (refund.state, refund.amount_minor) == (RefundState.SUCCEEDED, 30)
