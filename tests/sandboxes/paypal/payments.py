"""Payments v2: authorizations, captures, refunds."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from tests.sandboxes.paypal.errors import not_found, unprocessable
from tests.sandboxes.paypal.events import EventLog
from tests.sandboxes.paypal.fields import Fields
from tests.sandboxes.paypal.money import Money
from tests.sandboxes.paypal.objects import Authorization, Capture, Refund, now
from tests.sandboxes.paypal.orders import PENDING_REASON, Orders

HONOR_PERIOD = timedelta(days=3)
AUTHORIZATION_SHARE_MAX = 1.15
"""Up to 115 % of what was authorized can be captured."""


@dataclass(frozen=True, slots=True)
class CaptureAuthorization:
    """POST /v2/payments/authorizations/{id}/capture."""

    amount: Money | None
    is_final: bool

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Reads its fields."""
        fields.text("invoice_id", chars_max=127)
        fields.text("note_to_payer", chars_max=255)
        return cls(fields.money("amount"), fields.boolean("final_capture", default=False))


@dataclass(frozen=True, slots=True)
class RefundCapture:
    """POST /v2/payments/captures/{id}/refund."""

    amount: Money | None
    custom_id: str | None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Reads its fields."""
        fields.text("invoice_id", chars_max=127)
        fields.text("note_to_payer", chars_max=255)
        return cls(fields.money("amount"), fields.text("custom_id", chars_max=127))


class Payments:
    """What became of the orders."""

    def __init__(self, orders: Orders, events: EventLog) -> None:
        self._orders = orders
        self._events = events

    def authorization(self, id_: str) -> Authorization:
        """One, by its id."""
        for order in self._orders.by_id.values():
            for found in order.authorizations:
                if found.id == id_:
                    return found
        raise not_found("authorization_id", id_)

    def capture(self, id_: str) -> Capture:
        """One, by its id."""
        for order in self._orders.by_id.values():
            for found in order.captures:
                if found.id == id_:
                    return found
        raise not_found("capture_id", id_)

    def refund(self, id_: str) -> Refund:
        """One, by its id."""
        for order in self._orders.by_id.values():
            for found in order.refunds:
                if found.id == id_:
                    return found
        raise not_found("refund_id", id_)

    def capture_authorization(self, id_: str, request: CaptureAuthorization) -> Capture:
        """Takes held money; a final capture releases the rest."""
        held = self.authorization(id_)
        refusals = {
            "VOIDED": "AUTHORIZATION_VOIDED",
            "CAPTURED": "AUTHORIZATION_ALREADY_CAPTURED",
            "DENIED": "AUTHORIZATION_DENIED",
        }
        if held.status in refusals:
            raise unprocessable(refusals[held.status])
        amount = request.amount or held.amount
        if amount.currency_code != held.amount.currency_code:
            raise unprocessable("AUTH_CAPTURE_CURRENCY_MISMATCH")
        before = sum(each.amount.units for each in held.order.captures if each.authorization is held)
        if before + amount.units > held.amount.units * AUTHORIZATION_SHARE_MAX:
            raise unprocessable("MAX_CAPTURE_AMOUNT_EXCEEDED")
        capture = self._capture(held, amount)
        is_all = before + amount.units >= held.amount.units
        held.status = "CAPTURED" if request.is_final or is_all else "PARTIALLY_CAPTURED"
        return capture

    def _capture(self, held: Authorization, amount: Money) -> Capture:
        is_slow = held.order.instrument == "slow"
        capture = Capture(held.order, amount, "PENDING" if is_slow else "COMPLETED", held)
        capture.reason = PENDING_REASON if is_slow else None
        held.order.captures.append(capture)
        self._events.tell(f"PAYMENT.CAPTURE.{capture.status}", capture)
        return capture

    def void(self, id_: str) -> Authorization:
        """Lets go of held money."""
        held = self.authorization(id_)
        if held.status == "VOIDED":
            raise unprocessable("PREVIOUSLY_VOIDED")
        if held.status in ("CAPTURED", "PARTIALLY_CAPTURED"):
            raise unprocessable("PREVIOUSLY_CAPTURED")
        held.status = "VOIDED"
        self._events.tell("PAYMENT.AUTHORIZATION.VOIDED", held)
        return held

    def reauthorize(self, id_: str, amount: Money | None) -> Authorization:
        """Holds the money anew, once the first three days are over."""
        held = self.authorization(id_)
        if held.status != "CREATED" or now() - held.create_time <= HONOR_PERIOD:
            raise unprocessable("REAUTHORIZATION_NOT_SUPPORTED")
        again = Authorization(held.order, amount or held.amount)
        held.order.authorizations.append(again)
        self._events.tell("PAYMENT.AUTHORIZATION.CREATED", again)
        return again

    def refund_capture(self, id_: str, request: RefundCapture) -> Refund:
        """Gives money back; without an amount all that is left."""
        capture = self.capture(id_)
        if capture.status == "PENDING":
            raise unprocessable("PENDING_CAPTURE")
        if capture.status == "REFUNDED":
            raise unprocessable("CAPTURE_FULLY_REFUNDED")
        if capture.status not in ("COMPLETED", "PARTIALLY_REFUNDED"):
            raise unprocessable("REFUND_NOT_ALLOWED")
        left_units = capture.amount.units - capture.refunded_units
        amount = request.amount or Money(left_units, capture.amount.currency_code)
        if amount.currency_code != capture.amount.currency_code:
            raise unprocessable("REFUND_CAPTURE_CURRENCY_MISMATCH")
        if amount.units > left_units:
            raise unprocessable("REFUND_AMOUNT_EXCEEDED")
        refund = Refund(capture.order, capture, amount, request.custom_id)
        refund.status = "PENDING" if capture.are_refunds_slow else "COMPLETED"
        capture.order.refunds.append(refund)
        self._tell_refund(refund)
        return refund

    def settle_refund(self, refund: Refund, *, succeeds: bool) -> None:
        """The last word on one that was pending."""
        refund.status = "COMPLETED" if succeeds else "FAILED"
        refund.reason = None if succeeds else "ECHECK"
        self._tell_refund(refund)

    def settle_capture(self, capture: Capture, *, succeeds: bool) -> None:
        """The last word on one that was pending."""
        capture.status, capture.reason = ("COMPLETED" if succeeds else "DECLINED"), None
        type_ = "PAYMENT.CAPTURE.COMPLETED" if succeeds else "PAYMENT.CAPTURE.DENIED"
        self._events.tell(type_, capture)

    def _tell_refund(self, refund: Refund) -> None:
        capture = refund.capture
        if capture.refunded_units == 0:
            capture.status = "COMPLETED"
        else:
            is_all = capture.refunded_units >= capture.amount.units
            capture.status = "REFUNDED" if is_all else "PARTIALLY_REFUNDED"
        if refund.status == "COMPLETED":
            self._events.tell("PAYMENT.CAPTURE.REFUNDED", refund)
        else:
            self._events.tell(f"PAYMENT.REFUND.{refund.status}", refund)
