"""The RPCs of PaymentCommandService over a real server: sent again, cut off, refused, and counted."""

import asyncio
import time
from collections.abc import AsyncIterator
from random import Random
from typing import Any, cast
from uuid import uuid4

import grpc
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_servicer import PaymentServicer
from command_service.checkout.record_payment import RecordPayment
from command_service.committer import Committer
from command_service.errors import InvalidField
from command_service.money import Money as MoneyOfOurs
from command_service.ordering.domain import OrderState
from command_service.payment.gateway import Gateway
from command_service.payment.payments import PaymentState
from command_service.pipeline import Row
from command_service.servicing import Door
from payment_providers.port import ProviderFailure, Unreachable
from payment_providers.stripe.provider import StripeProvider, StripeSettings
from serving.interceptor import ServicerContext
from shopkeeper.payment.v1 import payment_command_service_pb2 as service
from shopkeeper.payment.v1 import payment_pb2
from shopkeeper.types.v1.money_pb2 import Money
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.checkout.served_shop import (
    DEADLINE_SECONDS,
    CountedCalls,
    Served,
    served,
    start_request,
)
from tests.command_service.checkout.test_payment_faults import arm, die, settle
from tests.command_service.conftest import CarryOut
from tests.sandboxes.faults import FaultKind
from tests.system.client import reason_of, retry_seconds, wrong_fields

INTENTS = "/v1/payment_intents"


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


@pytest_asyncio.fixture
async def front(shop: PaidShop) -> AsyncIterator[Served]:
    async with served(shop) as front:
        yield front


async def refusal(call: Any) -> grpc.aio.AioRpcError:
    try:
        answer = await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError(f"not refused, but {answer}")


async def start(front: Served, request: service.StartPaymentRequest) -> service.StartPaymentResponse:
    answer: service.StartPaymentResponse = await front.stub.StartPayment(
        request, timeout=DEADLINE_SECONDS
    )
    return answer


async def intents(shop: PaidShop) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await shop.sandbox.get("/_sandbox/totals"))["payment_intents"]
    return found


# --- starting -------------------------------------------------------------------------------------


async def test_a_start_answers_the_payment_and_a_secret(shop: PaidShop, front: Served) -> None:
    order = await shop.place(sku0=2)
    answer = await start(front, start_request(order.order_id))
    assert answer.payment.state == payment_pb2.PAYMENT_STATE_AWAITING_CUSTOMER
    assert answer.payment.amount_minor == 200
    assert answer.client_secret.startswith(answer.payment.provider_reference)
    assert answer.consistency_token


async def test_the_same_start_again_hands_the_same_payment_over_again(
    shop: PaidShop, front: Served
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)
    first, again = await start(front, request), await start(front, request)
    assert again.payment == first.payment
    assert again.client_secret == first.client_secret != ""
    assert len(await intents(shop)) == 1
    await shop.sandbox.act(f"payment_intents/{first.payment.provider_reference}/pay")
    await shop.deliver()
    paid = await start(front, request)
    assert paid.payment.state == payment_pb2.PAYMENT_STATE_CAPTURED
    assert paid.client_secret == "", "there is nothing left to do"


async def test_a_hosted_payment_answers_where_to_send_the_customer(
    shop: PaidShop, front: Served
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(
        order.order_id,
        flow=payment_pb2.PAYMENT_FLOW_HOSTED,
        customer_return_url="https://shop.example/paid",
    )
    first, again = await start(front, request), await start(front, request)
    assert first.redirect_url == again.redirect_url
    assert first.redirect_url.startswith("http")
    assert (first.client_secret, again.client_secret) == ("", "")


async def test_starts_of_one_id_at_one_time_make_one_payment(shop: PaidShop, front: Served) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)
    calls = CountedCalls(shop.provider)
    answers = await asyncio.gather(*(start(front, request) for _ in range(8)))
    assert {answer.payment.payment_id for answer in answers} == {f"{order.order_id}.1"}
    assert len({answer.client_secret for answer in answers}) == 1
    assert len(await intents(shop)) == 1
    assert calls.count <= 8


async def test_two_processes_that_get_one_start_make_one_payment(shop: PaidShop, front: Served) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)

    async def insist(process: Served) -> service.StartPaymentResponse:
        while True:
            try:
                return await start(process, request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)

    async with served(shop, is_another=True) as other:
        answers = await asyncio.gather(*(insist(each) for each in (front, other, front, other)))
    assert {answer.payment.payment_id for answer in answers} == {f"{order.order_id}.1"}
    assert len({answer.client_secret for answer in answers} - {""}) == 1
    assert len(await intents(shop)) == 1
    assert len((await shop.payments(order)).payments) == 1


async def test_a_start_whose_process_died_is_taken_up_by_the_next_one(
    shop: PaidShop, front: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)

    async def dies(*_: Any) -> None:
        raise SystemError("the process is gone")

    monkeypatch.setattr(front.driver, "drive", dies)
    assert (await refusal(start(front, request))).code() is grpc.StatusCode.INTERNAL
    monkeypatch.undo()
    waits = await refusal(start(front, request))
    assert reason_of(waits) == "PAYMENT_PROVIDER_UNAVAILABLE", "whoever has claimed it may yet call"
    await die(shop)
    assert (await start(front, request)).client_secret
    assert len(await intents(shop)) == 1


async def test_an_unreachable_provider_is_told_at_once_and_asked_again_with_the_same_request(
    shop: PaidShop, front: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)

    async def unreachable(*_: Any, **__: Any) -> None:
        raise Unreachable("connection")

    monkeypatch.setattr(shop.provider, "begin", unreachable)
    with capture_logs() as lines:
        error = await refusal(start(front, request))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(error) == "PAYMENT_PROVIDER_UNAVAILABLE"
    assert retry_seconds(error) > 0
    [line] = [line for line in lines if line["log_level"] == "warning"]
    assert (line["provider"], line["task"], line["code"]) == ("stripe", "begin", "connection")
    [kept] = (await shop.payments(order)).payments
    assert kept.state is PaymentState.STARTING
    monkeypatch.undo()
    answer = await start(front, request)
    assert answer.client_secret
    assert len((await shop.payments(order)).payments) == 1


async def test_a_start_without_an_answer_is_asked_about_and_not_made_twice(
    shop: PaidShop, front: Served
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)
    await arm(shop, FaultKind.RESET_AFTER, INTENTS)
    error = await refusal(start(front, request))
    assert reason_of(error) == "PAYMENT_PROVIDER_UNAVAILABLE"
    [kept] = (await shop.payments(order)).payments
    assert kept.state is PaymentState.UNKNOWN
    answer = await start(front, request)
    assert answer.payment.state == payment_pb2.PAYMENT_STATE_AWAITING_CUSTOMER
    assert answer.client_secret
    assert len(await intents(shop)) == 1


async def test_a_handover_that_cannot_be_had_is_asked_for_again(
    shop: PaidShop, front: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id)
    await start(front, request)

    async def silent(*_: Any) -> None:
        raise ProviderFailure("timeout")

    monkeypatch.setattr(shop.provider, "hand_over", silent)
    assert reason_of(await refusal(start(front, request))) == "PAYMENT_PROVIDER_UNAVAILABLE"
    monkeypatch.undo()
    assert (await start(front, request)).client_secret


async def test_a_token_that_is_declined_at_once_leaves_the_payment_open(
    shop: PaidShop, front: Served
) -> None:
    order = await shop.place(sku0=2)
    request = start_request(order.order_id, payment_method="pm_card_chargeDeclined")
    answer = await start(front, request)
    assert answer.payment.state == payment_pb2.PAYMENT_STATE_AWAITING_CUSTOMER
    assert answer.payment.failure_code
    assert answer.client_secret


@pytest.mark.parametrize("number", ["4242424242424242", "4242 4242 4242 4242", "3782-822463-10005"])
async def test_a_card_number_is_refused_and_written_nowhere(
    shop: PaidShop, front: Served, number: str
) -> None:
    order = await shop.place(sku0=2)
    error = await refusal(start(front, start_request(order.order_id, payment_method=number)))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert wrong_fields(error) == {"payment_method"}
    assert number not in str(error.details())
    assert (await shop.payments(order)).payments == ()


async def test_a_rehearsed_start_calls_nobody(shop: PaidShop, front: Served) -> None:
    order = await shop.place(sku0=2)
    calls = CountedCalls(shop.provider)
    request = start_request(order.order_id, validate_only=True)
    answer = await start(front, request)
    assert answer.payment.amount_minor == 200
    assert (calls.count, answer.client_secret) == (0, "")
    assert (await shop.payments(order)).payments == ()


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"provider": "nobody"}, "provider"),
        ({"flow": payment_pb2.PAYMENT_FLOW_READER}, "flow"),
        ({"flow": payment_pb2.PAYMENT_FLOW_HOSTED}, "customer_return_url"),
        (
            {"flow": payment_pb2.PAYMENT_FLOW_HOSTED, "customer_return_url": "javascript:alert(1)"},
            "customer_return_url",
        ),
        (
            {
                "flow": payment_pb2.PAYMENT_FLOW_HOSTED,
                "customer_return_url": "https://shop.example",
                "customer_cancel_url": "shop.example",
            },
            "customer_cancel_url",
        ),
        ({"amount": Money(currency_code="GBP", amount_minor=0)}, "amount.amount_minor"),
    ],
)
async def test_a_start_that_cannot_be_meant_names_its_field(fields: dict[str, Any], wrong: str) -> None:
    settings = StripeSettings("sk_test_nobody", ())
    provider = StripeProvider(settings, monotonic=time.monotonic, chance=Random(1))
    driver = PaymentDriver(cast("Committer", None), Gateway({"stripe": provider}))
    servicer = PaymentServicer(cast("Door", None), driver)
    with pytest.raises(InvalidField) as refused:
        await servicer.StartPayment(start_request("o1", **fields), cast("ServicerContext", None))
    assert list(refused.value.description_by_field) == [wrong]
    await provider.close()


async def test_a_start_that_the_order_forbids_is_refused(shop: PaidShop, front: Served) -> None:
    order = await shop.place(sku0=2)
    euro, more = Money(currency_code="EUR", amount_minor=1), Money(currency_code="GBP", amount_minor=201)
    for order_id, amount, reason in (
        ("none", None, "ORDER_NOT_FOUND"),
        (order.order_id, euro, "CURRENCY_MISMATCH"),
        (order.order_id, more, "PAYMENT_EXCEEDS_ORDER"),
    ):
        error = await refusal(start(front, start_request(order_id, amount=amount)))
        assert reason_of(error) == reason
    error = await refusal(start(front, start_request("o1", request_id="once", flow=7)))
    assert wrong_fields(error) == {"request_id", "flow"}


# --- capturing, calling off, giving back ----------------------------------------------------------


async def authorized(shop: PaidShop, front: Served, cart_id: str = "c1") -> payment_pb2.Payment:
    """Of the whole price, which waits to be captured by a command."""
    order = await shop.place(cart_id, sku0=2)
    mode = payment_pb2.CAPTURE_MODE_ON_COMMAND
    payment = (await start(front, start_request(order.order_id, capture_mode=mode))).payment
    await shop.sandbox.act(f"payment_intents/{payment.provider_reference}/pay")
    await shop.deliver()
    return payment


async def test_a_capture_sent_again_takes_the_money_once(shop: PaidShop, front: Served) -> None:
    payment = await authorized(shop, front)
    request = service.CapturePaymentRequest(request_id=str(uuid4()), payment_id=payment.payment_id)
    answer = await front.stub.CapturePayment(request, timeout=DEADLINE_SECONDS)
    assert answer.payment.state == payment_pb2.PAYMENT_STATE_CAPTURED
    repeated = await front.stub.CapturePayment(request, timeout=DEADLINE_SECONDS)
    assert repeated.payment == answer.payment
    again = service.CapturePaymentRequest(request_id=str(uuid4()), payment_id=payment.payment_id)
    assert (await front.stub.CapturePayment(again, timeout=DEADLINE_SECONDS)).payment == answer.payment
    assert await shop.totals() == (200, 0)
    void = service.VoidPaymentRequest(request_id=str(uuid4()), payment_id=payment.payment_id)
    assert reason_of(await refusal(front.stub.VoidPayment(void))) == "PAYMENT_ALREADY_CAPTURED"


async def test_a_void_sent_again_calls_it_off_once(shop: PaidShop, front: Served) -> None:
    payment = await authorized(shop, front)
    request = service.VoidPaymentRequest(request_id=str(uuid4()), payment_id=payment.payment_id)
    for _ in range(3):
        answer = await front.stub.VoidPayment(request, timeout=DEADLINE_SECONDS)
        assert answer.payment.state == payment_pb2.PAYMENT_STATE_VOIDED
    capture = service.CapturePaymentRequest(request_id=str(uuid4()), payment_id=payment.payment_id)
    assert reason_of(await refusal(front.stub.CapturePayment(capture))) == "PAYMENT_NOT_AUTHORIZED"
    assert await shop.totals() == (0, 0)


async def test_a_refund_sent_again_gives_back_once_and_tells_how_far_it_came(
    shop: PaidShop, front: Served
) -> None:
    payment = await authorized(shop, front)
    capture = service.CapturePaymentRequest(request_id=str(uuid4()), payment_id=payment.payment_id)
    await front.stub.CapturePayment(capture, timeout=DEADLINE_SECONDS)
    request = service.RefundPaymentRequest(
        request_id=str(uuid4()),
        order_id=payment.order_id,
        amount=Money(currency_code="GBP", amount_minor=70),
    )
    rehearsed = service.RefundPaymentRequest()
    rehearsed.CopyFrom(request)
    rehearsed.validate_only = True
    assert len((await front.stub.RefundPayment(rehearsed)).refunds) == 1
    assert await shop.totals() == (200, 0)
    await arm(shop, FaultKind.RESET_AFTER, "/v1/refunds")
    [first] = (await front.stub.RefundPayment(request, timeout=DEADLINE_SECONDS)).refunds
    assert first.state == payment_pb2.REFUND_STATE_UNKNOWN
    await settle(shop)
    [again] = (await front.stub.RefundPayment(request, timeout=DEADLINE_SECONDS)).refunds
    assert again.state == payment_pb2.REFUND_STATE_SUCCEEDED
    assert again.refund_id == first.refund_id
    assert await shop.totals() == (200, 70)


async def test_a_refund_sent_again_drives_all_on_that_it_claims(shop: PaidShop, front: Served) -> None:
    order = await shop.place(sku0=2)
    payment = (await start(front, start_request(order.order_id))).payment
    left = await shop.intend(order)
    await shop.sandbox.act(f"payment_intents/{payment.provider_reference}/pay")
    await shop.deliver()
    request = service.RefundPaymentRequest(request_id=str(uuid4()), order_id=payment.order_id)
    await front.stub.RefundPayment(request, timeout=DEADLINE_SECONDS)
    await die(shop)
    await front.stub.RefundPayment(request, timeout=DEADLINE_SECONDS)
    await front.driver.drain()
    found = {each.payment_id: each.state for each in (await shop.payments(order)).payments}
    assert found[left.payment_id] is not PaymentState.STARTING


async def test_a_refund_is_of_an_amount_or_of_lines(front: Served) -> None:
    request = service.RefundPaymentRequest(
        request_id=str(uuid4()), order_id="o1", amount=Money(currency_code="GBP", amount_minor=1)
    )
    request.lines.add(line_id="sku0", quantity=1)
    error = await refusal(front.stub.RefundPayment(request))
    assert wrong_fields(error) == {"amount"}


# --- locks ----------------------------------------------------------------------------------------

OPEN_TRANSACTIONS = """
SELECT application_name FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend' AND xact_start IS NOT NULL
    AND pid <> pg_backend_pid()
"""


async def test_no_transaction_is_open_while_a_provider_is_asked(
    shop: PaidShop, front: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it locked would be locked for as long as somebody else's server likes."""
    make, open_during_calls = shop.provider.calls.make, list[list[Row]]()

    async def watched(call: Any, **other: Any) -> Any:
        answer = await make(call, **other)
        open_during_calls.append(await shop.carry_out.fetch(OPEN_TRANSACTIONS))
        return answer

    monkeypatch.setattr(shop.provider.calls, "make", watched)
    kept = await authorized(shop, front, "kept")
    capture = service.CapturePaymentRequest(request_id=str(uuid4()), payment_id=kept.payment_id)
    await front.stub.CapturePayment(capture, timeout=DEADLINE_SECONDS)
    refund = service.RefundPaymentRequest(request_id=str(uuid4()), order_id=kept.order_id)
    await front.stub.RefundPayment(refund, timeout=DEADLINE_SECONDS)
    left = await authorized(shop, front, "left")
    void = service.VoidPaymentRequest(request_id=str(uuid4()), payment_id=left.payment_id)
    await front.stub.VoidPayment(void, timeout=DEADLINE_SECONDS)
    assert await shop.totals() == (200, 200)
    assert open_during_calls == [[]] * 5, "two starts, a capture, a refund, a void"


# --- webhooks -------------------------------------------------------------------------------------


async def test_money_recorded_by_the_name_that_people_see_is_not_counted_when_it_is_told(
    shop: PaidShop, front: Served
) -> None:
    order = await shop.place(sku0=2)
    payment = (await start(front, start_request(order.order_id))).payment
    await shop.carry_out(RecordPayment(order.order_id, "TAAA1", MoneyOfOurs("GBP", 200)))
    told = service.ProviderPayment(
        payment_id=payment.payment_id,
        provider_reference=payment.provider_reference,
        state=service.PROVIDER_PAYMENT_STATE_CAPTURED,
        currency_code="GBP",
        captured_minor=200,
        other_names=["checkout", "TAAA1"],
    )
    request = service.ReportProviderEventRequest(
        request_id=str(uuid4()), provider="stripe", payment=told
    )
    assert (await front.stub.ReportProviderEvent(request, timeout=DEADLINE_SECONDS)).is_ours
    after = await shop.order(order)
    assert (after.state, after.paid_minor) == (OrderState.PAID, 200)
    await shop.sandbox.act(f"payment_intents/{payment.provider_reference}/pay")


# --- budgets --------------------------------------------------------------------------------------


async def test_a_start_is_one_call_and_few_statements(shop: PaidShop, front: Served) -> None:
    await start(front, start_request((await shop.place("warm up", sku0=1)).order_id))
    order = await shop.place(sku0=2)
    calls = CountedCalls(shop.provider)
    statements, trips = front.commands.statement_count, front.commands.trip_count
    await start(front, start_request(order.order_id))
    assert calls.count == 1
    assert front.commands.statement_count - statements <= 26
    assert front.commands.trip_count - trips <= 10


async def test_a_webhook_that_pays_an_order_makes_no_call_and_few_statements(
    shop: PaidShop, front: Served
) -> None:
    order = await shop.place(sku0=2)
    payment = (await start(front, start_request(order.order_id))).payment
    calls = CountedCalls(shop.provider)
    statements, trips = front.commands.statement_count, front.commands.trip_count
    told = service.ProviderPayment(
        payment_id=payment.payment_id,
        provider_reference=payment.provider_reference,
        state=service.PROVIDER_PAYMENT_STATE_CAPTURED,
        currency_code="GBP",
        captured_minor=200,
    )
    request = service.ReportProviderEventRequest(
        request_id=str(uuid4()), provider="stripe", payment=told
    )
    assert (await front.stub.ReportProviderEvent(request, timeout=DEADLINE_SECONDS)).is_ours
    assert calls.count == 0
    assert front.commands.statement_count - statements <= 26
    assert front.commands.trip_count - trips <= 6
    [payment_row] = (await shop.payments(order)).payments
    assert payment_row.state is PaymentState.CAPTURED
    await shop.sandbox.act(f"payment_intents/{payment.provider_reference}/pay")
