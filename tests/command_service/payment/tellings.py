"""What a provider tells, for tests."""

from datetime import UTC, datetime
from typing import Any

from command_service.payment.errands import Errand, Task
from command_service.payment.payments import CaptureMode, Payment, Wish
from command_service.payment.reports import Told
from payment_providers.port import Flow, ProviderPayment, ProviderRefund, ProviderState

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
AMOUNT_MINOR = 200

FAILED, PENDING, SUCCEEDED = (
    ProviderRefund.State.FAILED,
    ProviderRefund.State.PENDING,
    ProviderRefund.State.SUCCEEDED,
)


def told(state: ProviderState, payment_id: str = "o1.1", **other: Any) -> Told:
    """The whole amount in this state, in pounds, unless told otherwise."""
    is_held, is_taken = state is ProviderState.AUTHORIZED, state is ProviderState.CAPTURED
    facts: dict[str, Any] = {
        "provider_reference": f"pi of {payment_id}",
        "currency_code": "GBP",
        "authorized_minor": AMOUNT_MINOR if is_held else 0,
        "captured_minor": AMOUNT_MINOR if is_taken else 0,
        **other,
    }
    return Told(ProviderPayment(payment_id, state=state, **facts))


def authorized(payment_id: str = "o1.1", amount_minor: int = AMOUNT_MINOR) -> Told:
    return told(ProviderState.AUTHORIZED, payment_id, authorized_minor=amount_minor)


def captured(payment_id: str = "o1.1", amount_minor: int = AMOUNT_MINOR, **other: Any) -> Told:
    return told(ProviderState.CAPTURED, payment_id, captured_minor=amount_minor, **other)


def refund_told(
    state: ProviderRefund.State,
    refund_id: str,
    amount_minor: int,
    payment_id: str = "o1.1",
    **other: Any,
) -> Told:
    facts: dict[str, Any] = {
        "provider_reference": f"re of {refund_id}",
        "payment_reference": f"pi of {payment_id}",
        "currency_code": "GBP",
        **other,
    }
    return Told(
        ProviderRefund(refund_id, state=state, amount_minor=amount_minor, payment_id=payment_id, **facts)
    )


def new_payment(**other: Any) -> Payment:
    """A payment that is being begun."""
    facts: dict[str, Any] = {
        "payment_id": "o1.1",
        "order_id": "o1",
        "provider": "stripe",
        "flow": Flow.EMBEDDED,
        "capture_mode": CaptureMode.WHEN_HELD,
        "currency_code": "GBP",
        "amount_minor": AMOUNT_MINOR,
        "wish": Wish(payment_method="pm_1"),
        "create_time": NOW,
        "update_time": NOW,
        "errand": Errand.claimed_at_once(Task.BEGIN, NOW),
        **other,
    }
    return Payment(**facts)
