"""A shop in memory whose customers pay at a provider in memory: no network, no database, no time."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from command_service.checkout.advance_order import AdvanceOrder, Claims
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.report_payment import (
    ReportPayment,
    ReportProviderEvent,
    ReportRefund,
)
from command_service.checkout.start_payment import StartPayment
from command_service.money import Money
from command_service.ordering.domain import Order
from command_service.ordering.lines import Units
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import Task
from command_service.payment.payments import CaptureMode, Payment, Wish
from command_service.payment.refunds import Refund
from command_service.payment.reports import Refused, Report, Told
from payment_providers.port import Flow, ProviderPayment, ProviderRefund, ProviderState
from tests.command_service.checkout.order_shop import OrderShop
from tests.command_service.payment.tellings import refund_told

ROUNDS_MAX = 50
"""More than any order needs to come to rest."""

_OPEN = {ProviderState.AWAITING_CUSTOMER, ProviderState.AUTHORIZED}


@dataclass(slots=True)
class AtProvider:
    """A payment as the provider has it."""

    wanted: Payment
    state: ProviderState = ProviderState.AWAITING_CUSTOMER
    authorized_minor: int = 0
    captured_minor: int = 0

    def told(self) -> ProviderPayment:
        return ProviderPayment(
            self.wanted.payment_id,
            f"pi of {self.wanted.payment_id}",
            self.state,
            self.wanted.currency_code,
            self.authorized_minor,
            self.captured_minor,
        )

    def take(self, amount_minor: int) -> None:
        self.state, self.authorized_minor = ProviderState.CAPTURED, 0
        self.captured_minor = amount_minor

    def call_off(self) -> None:
        self.state, self.authorized_minor = ProviderState.VOIDED, 0


class ProviderShop(OrderShop):
    """Keeps both sides: our tables, and the provider's."""

    def __init__(self) -> None:
        super().__init__()
        self.at_provider: dict[str, AtProvider] = {}
        self.refunded_at_provider: dict[str, ProviderRefund] = {}
        self.refuses_captures = False
        self.refuses_refunds = False

    # --- what the customer does -------------------------------------------------------------------

    def start(self, order: Order, **other: Any) -> Payment:
        """A payment that its provider has made."""
        facts: dict[str, Any] = {
            "provider": "stripe",
            "flow": Flow.EMBEDDED,
            "capture_mode": CaptureMode.WHEN_HELD,
            "amount": None,
            "wish": Wish(),
            **other,
        }
        return self.make_call(self.carry_out(StartPayment(order.order_id, **facts)))

    def pay(self, payment: Payment) -> None:  # type: ignore[override]  # here by way of a provider
        """Authorizes it, if that is still possible; nobody is told."""
        found = self.at_provider[payment.payment_id]
        if found.state is not ProviderState.AWAITING_CUSTOMER:
            return
        if payment.capture_mode is CaptureMode.AT_ONCE:
            found.take(payment.amount_minor)
        else:
            found.state, found.authorized_minor = ProviderState.AUTHORIZED, payment.amount_minor

    def tell(self, payment: Payment) -> None:
        """What a webhook would report now."""
        self.hear(self.at_provider[payment.payment_id].told())

    def hear(self, told: ProviderPayment | ProviderRefund) -> bool:
        return self.carry_out(ReportProviderEvent("stripe", Told(told)))

    def pay_by_hand(self, order: Order) -> None:
        self.carry_out(self.payment(order))

    def paid_order(self, **other: Any) -> Order:
        """Two mugs for 5.00, paid."""
        order = self.place(mug=2)
        payment = self.start(order, **other)
        self.pay(payment)
        self.tell(payment)
        self.come_to_rest(order)
        return self.order(order.order_id)

    # --- what the worker does ---------------------------------------------------------------------

    def advance(self, order: Order) -> Claims:
        return self.carry_out(AdvanceOrder(order.order_id))

    def make_call(self, payment: Payment) -> Payment:
        assert payment.errand is not None
        attempt = payment.errand.attempt(payment.payment_id)
        return self.carry_out(ReportPayment(payment.payment_id, self._answer(payment), attempt))

    def make_refund(self, refund: Refund) -> Refund | None:
        assert refund.errand is not None
        attempt = refund.errand.attempt(refund.refund_id)
        report = self._refund_answer(refund)
        return self.carry_out(ReportRefund(refund.payment_id, refund.refund_id, report, attempt))

    def come_to_rest(self, order: Order) -> None:
        """Steps and calls until there are none; fails if that never comes."""
        for _ in range(ROUNDS_MAX):
            event_count = len(self.events)
            claims = self.advance(order)
            for payment in claims.payments:
                self.make_call(payment)
            for refund in claims.refunds:
                self.make_refund(refund)
            if len(self.events) == event_count and not claims.payments and not claims.refunds:
                return
            self.pass_time(timedelta(seconds=1))
        raise AssertionError("it never comes to rest")

    # --- what the provider does -------------------------------------------------------------------

    def _answer(self, payment: Payment) -> Report:
        assert payment.errand is not None
        found = self.at_provider.setdefault(payment.payment_id, AtProvider(payment))
        match payment.errand.task:
            case Task.CAPTURE if self.refuses_captures and found.state is ProviderState.AUTHORIZED:
                return Refused("capture_refused", found.told())
            case Task.CAPTURE if found.state is ProviderState.AUTHORIZED:
                found.take(payment.errand.amount_minor)
            case Task.VOID if found.state in _OPEN:
                found.call_off()
            case Task.CAPTURE | Task.VOID:
                return Refused("not_in_that_state", found.told())
            case _:
                pass
        return Told(found.told())

    def _refund_answer(self, refund: Refund) -> Report:
        if self.refuses_refunds:
            return Refused("refund_refused")
        told = ProviderRefund(
            refund.refund_id,
            f"re of {refund.refund_id}",
            f"pi of {refund.payment_id}",
            ProviderRefund.State.SUCCEEDED,
            "GBP",
            refund.amount_minor,
            payment_id=refund.payment_id,
        )
        self.refunded_at_provider[refund.refund_id] = told
        return Told(told)

    def fail_refund(self, refund_id: str) -> None:
        """The customer's bank sends it back, and that is told."""
        told = self.refunded_at_provider.pop(refund_id)
        self.hear(replace(told, state=ProviderRefund.State.FAILED, failure_code="account_closed"))

    # --- what there is ----------------------------------------------------------------------------

    def payments(self, order: Order) -> OrderPayments:
        self._load([ORDER_PAYMENTS.read(order.order_id)])
        return self.world.get(ORDER_PAYMENTS, order.order_id) or OrderPayments(order.order_id)

    @property
    def kept_at_provider_minor(self) -> int:
        """What the provider has taken and not given back."""
        captured_minor = sum(each.captured_minor for each in self.at_provider.values())
        return captured_minor - sum(each.amount_minor for each in self.refunded_at_provider.values())


def ask_back(
    shop: ProviderShop,
    order: Order,
    amount_minor: int | None = None,
    *units: Units,
    payment_id: str = "",
) -> list[Refund]:
    """Refunds that are asked for; nobody has called the provider yet."""
    amount = None if amount_minor is None else Money("GBP", amount_minor)
    return list(shop.carry_out(RefundPayment(order.order_id, payment_id, amount, units)).refunds)


def provider_refund(refund_id: str, amount_minor: int, **other: Any) -> ProviderRefund:
    """One that was done, as its provider tells it."""
    told = refund_told(ProviderRefund.State.SUCCEEDED, refund_id, amount_minor, **other)
    assert isinstance(told.by_provider, ProviderRefund)
    return told.by_provider
