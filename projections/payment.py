"""Payments as they are shown: each by id, and the money of each order."""

from google.protobuf.message import Message

from projections.retelling import Retelling
from read_models.partitions import DocumentAddress
from read_models.views import ORDER_MONEY, PAYMENT
from shopkeeper.payment.v1.payment_events_pb2 import (
    PaymentChanged,
    PaymentStarted,
    RefundChanged,
    RefundRequested,
)
from shopkeeper.payment.v1.payment_pb2 import OrderMoney, Payment, Refund

NOT_SHOWN: dict[str, str] = {}

Told = PaymentStarted | PaymentChanged | RefundRequested | RefundChanged
"""Each event tells the payment as it is after it."""


def payment_after(_view: Payment | None, event: Told) -> Payment:
    """The payment as told."""
    return event.payment


def money_after(view: OrderMoney | None, event: Told) -> OrderMoney:
    """The order's money with the payment, and the refund if there is one, as told."""
    payment = event.payment
    money = view or OrderMoney(order_id=payment.order_id, currency_code=payment.currency_code)
    _put_payment(money, payment)
    if isinstance(event, RefundRequested | RefundChanged):
        _put_refund(money, event.refund)
    money.authorized_minor = sum(each.authorized_minor for each in money.payments)
    money.captured_minor = sum(each.captured_minor for each in money.payments)
    money.refunded_minor = sum(each.refunded_minor for each in money.payments)
    money.refundable_minor = money.captured_minor - money.refunded_minor
    return money


def _put_payment(money: OrderMoney, payment: Payment) -> None:
    for known in money.payments:
        if known.payment_id == payment.payment_id:
            known.CopyFrom(payment)
            return
    money.payments.append(payment)


def _put_refund(money: OrderMoney, refund: Refund) -> None:
    for known in money.refunds:
        if known.refund_id == refund.refund_id:
            known.CopyFrom(refund)
            return
    money.refunds.append(refund)


def _payment(event: Told) -> DocumentAddress:
    return PAYMENT.address(event.payment.payment_id)


def _money(event: Told) -> DocumentAddress:
    return ORDER_MONEY.address(event.payment.order_id)


_TOLD = (
    Retelling(Payment, _payment, payment_after),
    Retelling(OrderMoney, _money, money_after),
)

RETELLINGS: dict[type[Message], tuple[Retelling, ...]] = {
    PaymentStarted: _TOLD,
    PaymentChanged: _TOLD,
    RefundRequested: _TOLD,
    RefundChanged: _TOLD,
}
