"""The story of one order, its customer, its provider and its goods: one random act after another."""

from collections.abc import Callable

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.capture_payment import CapturePayment
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import Refusal
from command_service.money import Money
from command_service.ordering.domain import AWAITING
from command_service.ordering.lines import Units
from command_service.payment.errands import LEASE
from command_service.payment.payments import CaptureMode, Payment
from tests.command_service.checkout.order_shop import HOLD
from tests.command_service.checkout.provider_in_memory import ProviderShop

ONE = (Units("mug", 1),)
RETURNED = (ReturnedUnits("mug", 1, restock=True, location_id=""),)

MONEY_ACTS = [
    "start",
    "pay",
    "tell",
    "tell again",
    "advance",
    "take part",
    "cancel",
    "expire",
    "by hand",
    "no stock",
    "new stock",
    "refuse",
]

GOODS_ACTS = [
    "cancel one",
    "ship",
    "return",
    "refund one",
    "refund two",
    "refuse refunds",
    "bounce",
]


class Story:
    """An order, its customer and its provider, one random act after another."""

    def __init__(self, *parts_minor: int) -> None:
        """parts_minor: payments that it begins with, all paid."""
        self.shop = ProviderShop()
        self.order = self.shop.place(mug=2)
        self.payments: list[Payment] = []
        self.told: list[object] = []
        for part_minor in parts_minor:
            amount = Money("GBP", part_minor)
            self.payments.append(
                self.shop.start(self.order, amount=amount, capture_mode=CaptureMode.AT_ONCE)
            )
        for payment in self.payments:
            self.shop.pay(payment)
            self.shop.tell(payment)

    def act(self, name: str, number: int) -> None:
        acts: dict[str, Callable[[int], None]] = {
            "start": self._start,
            "pay": self._pay,
            "tell": self._tell,
            "tell again": self._tell_again,
            "advance": self._advance,
            "take part": self._take_part,
            "cancel": lambda _: self._carry_out(CancelOrder(self.order.order_id)),
            "expire": self._expire,
            "by hand": lambda _: self._carry_out(self.shop.payment(self.order, 100)),
            "no stock": lambda _: self.shop.stock("mug", max(sum(self.shop.counters("mug")[1:]), 0)),
            "new stock": lambda _: self.shop.stock("mug", 10),
            "refuse": lambda n: setattr(self.shop, "refuses_captures", n % 2 == 0),
            "cancel one": lambda _: self._carry_out(CancelOrderLines(self.order.order_id, ONE)),
            "ship": lambda n: self._carry_out(FulfillOrderLines(self.order.order_id, ONE * (n % 2))),
            "return": lambda _: self._carry_out(ReturnOrderLines(self.order.order_id, RETURNED)),
            "refund one": lambda n: self._refund(1, n),
            "refund two": lambda n: self._refund(2, n),
            "refuse refunds": lambda n: setattr(self.shop, "refuses_refunds", n % 2 == 0),
            "bounce": self._bounce,
        }
        acts[name](number)

    def _start(self, number: int) -> None:
        modes = (CaptureMode.AT_ONCE, CaptureMode.WHEN_HELD, CaptureMode.ON_COMMAND)
        amount = Money("GBP", 200) if number % 2 else None
        try:
            payment = self.shop.start(self.order, capture_mode=modes[number % 3], amount=amount)
        except Refusal:
            return
        self.payments.append(payment)

    def _pay(self, number: int) -> None:
        if self.payments:
            self.shop.pay(self.payments[number % len(self.payments)])

    def _tell(self, number: int) -> None:
        if self.payments:
            payment = self.payments[number % len(self.payments)]
            self.told.append(self.shop.at_provider[payment.payment_id].told())
            self.shop.tell(payment)

    def _tell_again(self, number: int) -> None:
        if self.told:
            self.shop.hear(self.told[number % len(self.told)])  # type: ignore[arg-type]

    def _advance(self, number: int) -> None:
        claims = self.shop.advance(self.order)
        for payment in claims.payments:
            self.shop.make_call(payment)
        for refund in claims.refunds:
            self.shop.make_refund(refund)

    def _take_part(self, number: int) -> None:
        """Staff command it; the call is for whoever advances the order later."""
        if self.payments:
            payment = self.payments[number % len(self.payments)]
            self._carry_out(CapturePayment(payment.payment_id, Money("GBP", 100)))

    def _refund(self, quantity: int, number: int) -> None:
        """Asks for units; by the number whoever asked ends before a call is made, or after the first."""
        units = (Units("mug", quantity),)
        try:
            asked = self.shop.carry_out(RefundPayment(self.order.order_id, "", None, units))
        except Refusal:
            return
        for refund in asked.refunds[: number % 3]:
            self.shop.make_refund(refund)

    def _bounce(self, number: int) -> None:
        """A bank sends money back that was told to be refunded."""
        done = sorted(self.shop.refunded_at_provider)
        if done:
            self.shop.fail_refund(done[number % len(done)])

    def _expire(self, _: int) -> None:
        self.shop.pass_time(HOLD)
        self._carry_out(ExpireOrder(self.order.order_id))

    def _carry_out(self, command: object) -> None:
        try:
            self.shop.carry_out(command)  # type: ignore[arg-type]
        except Refusal:
            return

    def end(self) -> None:
        """All that happened is told, calls succeed again, and an order that still waits expires."""
        self.shop.pass_time(LEASE)  # of calls that nobody made
        self.shop.refuses_captures = self.shop.refuses_refunds = False
        for payment in self.payments:
            self.shop.tell(payment)
        self.shop.come_to_rest(self.order)
        if self.shop.order().state in AWAITING:
            self._expire(0)
            self.shop.come_to_rest(self.order)
