"""Payments and the money of orders, looked up."""

from typing import Any

import pytest

from projections.projector import Projector
from shopkeeper.payment.v1.payment_events_pb2 import PaymentChanged, PaymentStarted, RefundRequested
from shopkeeper.payment.v1.payment_pb2 import (
    PAYMENT_STATE_CAPTURED,
    PAYMENT_STATE_STARTING,
    REFUND_STATE_REQUESTED,
    OrderMoney,
    Payment,
    Refund,
)
from shopkeeper.payment.v1.payment_query_service_pb2 import GetOrderMoneyRequest, GetPaymentRequest
from shopkeeper.payment.v1.payment_query_service_pb2_grpc import PaymentQueryServiceStub
from tests.query_service.conftest import Shop
from tests.read_side import Log, settle

pytestmark = pytest.mark.usefixtures("unhurried")


@pytest.fixture
def payment_queries(shop: Shop) -> Any:
    return PaymentQueryServiceStub(shop.channel)


def payment(payment_id: str, **other: Any) -> Payment:
    facts: dict[str, Any] = {"state": PAYMENT_STATE_STARTING, "amount_minor": 200, **other}
    return Payment(payment_id=payment_id, order_id="o", currency_code="GBP", **facts)


async def test_a_payment_and_its_orders_money_are_found(
    log: Log, shop: Shop, payment_queries: Any, projector: Projector
) -> None:
    captured = payment("o.1", state=PAYMENT_STATE_CAPTURED, captured_minor=200)
    refunded = payment("o.1", state=PAYMENT_STATE_CAPTURED, captured_minor=200, refunded_minor=50)
    refund = Refund(refund_id="o.r1", payment_id="o.1", state=REFUND_STATE_REQUESTED, amount_minor=50)
    log.record(
        PaymentStarted(payment=payment("o.1")),
        PaymentStarted(payment=payment("o.2")),
        PaymentChanged(payment=captured),
        RefundRequested(refund=refund, payment=refunded),
    )
    await settle(projector)
    found = await payment_queries.GetPayment(GetPaymentRequest(payment_id="o.1"))
    assert found.payment == refunded
    money = (await payment_queries.GetOrderMoney(GetOrderMoneyRequest(order_id="o"))).money
    assert money == OrderMoney(
        order_id="o",
        currency_code="GBP",
        captured_minor=200,
        refunded_minor=50,
        refundable_minor=150,
        payments=[refunded, payment("o.2")],
        refunds=[refund],
    )


async def test_what_there_is_not_is_named(
    shop: Shop, payment_queries: Any, projector: Projector
) -> None:
    await settle(projector)
    error = await shop.refusal(payment_queries.GetPayment(GetPaymentRequest(payment_id="o.1")))
    assert (error.code, error.reason) == ("NOT_FOUND", "PAYMENT_NOT_FOUND")
    error = await shop.refusal(payment_queries.GetOrderMoney(GetOrderMoneyRequest(order_id="o")))
    assert (error.code, error.reason) == ("NOT_FOUND", "ORDER_MONEY_NOT_FOUND")
    error = await shop.refusal(payment_queries.GetPayment(GetPaymentRequest()))
    assert error.fields == ["payment_id"]
