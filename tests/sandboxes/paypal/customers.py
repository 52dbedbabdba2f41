"""The people outside: a customer at PayPal, PayPal's own reviewers, and time."""

from collections.abc import Callable
from datetime import timedelta

from tests.sandboxes.paypal.account import Account
from tests.sandboxes.paypal.errors import invalid, unprocessable
from tests.sandboxes.paypal.objects import Json, Order

APPROVABLE = ("CREATED", "PAYER_ACTION_REQUIRED")
DAYS_PAST_HONOR = timedelta(days=4)


class Customers:
    """Acts by name."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._events = account.events

    def act_on_order(self, id_: str, act: str) -> Json:
        """What the customer does, or time.

        `approve`, `approve_slowly` (the capture will be pending), `decline` (approves with an instrument
        that will be refused), `fail` (one that will be declined in a 201), `cancel` (walks away),
        `expire` (PayPal forgets the order), `reverse` (PayPal takes the approval back).
        """
        order = self._account.orders.get(id_)
        acts: dict[str, Callable[[], None]] = {
            "approve": lambda: self._approve(order, "good"),
            "approve_slowly": lambda: self._approve(order, "slow"),
            "decline": lambda: self._approve(order, "refused"),
            "fail": lambda: self._approve(order, "declined"),
            "cancel": lambda: None,
            "expire": lambda: _expire(order),
            "reverse": lambda: self._reverse(order),
        }
        _perform(acts, act)
        return order.as_json(self._events.api_url)

    def act_on_capture(self, id_: str, act: str) -> Json:
        """`settle` or `deny` a pending one; `slow_refunds` has its refunds pend."""
        payments = self._account.payments
        capture = payments.capture(id_)
        acts: dict[str, Callable[[], None]] = {
            "settle": lambda: payments.settle_capture(capture, succeeds=True),
            "deny": lambda: payments.settle_capture(capture, succeeds=False),
            "slow_refunds": lambda: setattr(capture, "are_refunds_slow", True),
        }
        _perform(acts, act)
        return capture.as_json(self._events.api_url)

    def act_on_refund(self, id_: str, act: str) -> Json:
        """`settle` or `fail` a pending one."""
        payments = self._account.payments
        refund = payments.refund(id_)
        acts: dict[str, Callable[[], None]] = {
            "settle": lambda: payments.settle_refund(refund, succeeds=True),
            "fail": lambda: payments.settle_refund(refund, succeeds=False),
        }
        _perform(acts, act)
        return refund.as_json(self._events.api_url)

    def act_on_authorization(self, id_: str, act: str) -> Json:
        """`age` it past its first three days, or `expire` it."""
        held = self._account.payments.authorization(id_)
        acts: dict[str, Callable[[], object]] = {
            "age": lambda: setattr(held, "create_time", held.create_time - DAYS_PAST_HONOR),
            "expire": lambda: self._account.payments.void(id_),
        }
        _perform(acts, act)
        return held.as_json(self._events.api_url)

    def _approve(self, order: Order, instrument: str) -> None:
        if order.status not in APPROVABLE:
            raise unprocessable("ORDER_CANNOT_BE_CONFIRMED")
        order.status, order.instrument = "APPROVED", instrument
        self._events.tell("CHECKOUT.ORDER.APPROVED", order)

    def _reverse(self, order: Order) -> None:
        order.status = "VOIDED"
        unit = order.as_json(self._events.api_url)["purchase_units"][0]
        told = {"order_id": order.id, "purchase_units": [unit]}
        self._events.tell_json("CHECKOUT.PAYMENT-APPROVAL.REVERSED", told)


def _expire(order: Order) -> None:
    if order.status == "COMPLETED":
        raise unprocessable("ORDER_ALREADY_COMPLETED")
    order.is_gone = True


def _perform(acts: dict[str, Callable[[], None]] | dict[str, Callable[[], object]], act: str) -> None:
    if act not in acts:
        raise invalid("INVALID_PARAMETER_VALUE", field="/act", value=act)
    acts[act]()
