"""Refunds of both sides are paired by whatever name there is, and compared."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from command_service.payment.payments import CaptureMode, Payment, PaymentState, Wish
from command_service.payment.refunds import Refund, RefundState
from ops.reconcile.comparison import Ours, differences
from payment_providers.port import Flow, ProviderPayment, ProviderRefund, ProviderState

NOW = datetime(2026, 11, 20, tzinfo=UTC)
SUCCEEDED, FAILED, PENDING = RefundState.SUCCEEDED, RefundState.FAILED, RefundState.PENDING


def ours(*refunds: Refund) -> Ours:
    payment = Payment(
        payment_id="o1.1",
        order_id="o1",
        provider="sumup",
        flow=Flow.HOSTED,
        capture_mode=CaptureMode.AT_ONCE,
        currency_code="EUR",
        amount_minor=200,
        wish=Wish(),
        create_time=NOW,
        update_time=NOW,
        state=PaymentState.CAPTURED,
        captured_minor=200,
    )
    return Ours(payment, refunds)


def here(number: int, amount_minor: int, reference: str = "", state: RefundState = SUCCEEDED) -> Refund:
    return Refund(
        refund_id=f"o1.r{number}",
        payment_id="o1.1",
        order_id="o1",
        amount_minor=amount_minor,
        lines=(),
        gifted_minor=0,
        create_time=NOW,
        update_time=NOW,
        state=state,
        provider_reference=reference,
    )


def there(amount_minor: int, reference: str = "", refund_id: str = "") -> ProviderRefund:
    return ProviderRefund(
        refund_id=refund_id,
        provider_reference=reference,
        payment_reference="",
        state=ProviderRefund.State.SUCCEEDED,
        currency_code="EUR",
        amount_minor=amount_minor,
    )


def told(*refunds: ProviderRefund, currency_code: str = "EUR") -> ProviderPayment:
    """As PayPal's reports tell it: by our id alone."""
    return ProviderPayment(
        payment_id="o1.1",
        provider_reference="",
        state=ProviderState.CAPTURED,
        currency_code=currency_code,
        authorized_minor=0,
        captured_minor=200,
        refunds=refunds,
    )


AGREEING = {
    "by our id": ([here(1, 50)], [there(50, "re1", "o1.r1")]),
    "by the provider's name": ([here(1, 50, "re1")], [there(50, "re1")]),
    "by amount, where no id of ours is kept": ([here(1, 50), here(2, 70)], [there(70), there(50)]),
    "by amount, where we do not know its name": ([here(1, 50)], [there(50, "ev1")]),
    "equal ones, of which one is known by name": (
        [here(1, 50), here(2, 50, "ev1")],
        [there(50, "ev1"), there(50, "ev2")],
    ),
    "given up here, left all the same, and counted anew": (
        [here(1, 50, state=FAILED), here(2, 50, "re1")],
        [there(50, "re1", "o1.r1")],
    ),
    "failed here, and never seen there": ([here(1, 50, state=FAILED)], []),
}


@pytest.mark.parametrize("sides", AGREEING.values(), ids=AGREEING)
def test_refunds_that_agree_are_no_difference(
    sides: tuple[list[Refund], list[ProviderRefund]],
) -> None:
    of_ours, of_theirs = sides
    assert differences(ours(*of_ours), [told(*of_theirs)]) == []


DIFFERING: dict[str, tuple[list[Refund], list[ProviderRefund], list[Any]]] = {
    "another amount under one name": (
        [here(1, 50, "re1")],
        [there(60, "re1", "o1.r1")],
        [("refund", "o1.r1", 50, 60)],
    ),
    "given up here, left all the same, and not counted": (
        [here(1, 50, state=FAILED)],
        [there(50, "re1", "o1.r1")],
        [("refund", "o1.r1", 0, 50)],
    ),
    "one of two equal ones": ([here(1, 50), here(2, 50)], [there(50)], [("refund", "o1.r2", 50, None)]),
    "by hand, of an amount that is ours too": (
        [here(1, 50, "ev1")],
        [there(50, "ev1"), there(50, "ev2")],
        [("refund by hand", "ev2", None, 50)],
    ),
    "done there, and not heard of": (
        [here(1, 50, "re1", PENDING)],
        [there(50, "re1")],
        [("refund", "o1.r1", 50, 50)],
    ),
    "ours, unknown to us": ([], [there(50, "re1", "o1.r9")], [("refund", "o1.r9", None, 50)]),
}


@pytest.mark.parametrize("case", DIFFERING.values(), ids=DIFFERING)
def test_refunds_that_differ_are_told_with_both_amounts(
    case: tuple[list[Refund], list[ProviderRefund], list[Any]],
) -> None:
    of_ours, of_theirs, expected = case
    found = differences(ours(*of_ours), [told(*of_theirs)])
    assert [
        (each.what, each.subject_id, each.here_minor, each.there_minor) for each in found
    ] == expected


def test_money_in_another_currency_is_one_difference() -> None:
    [found] = differences(ours(), [told(currency_code="USD")])
    assert (found.what, found.currency_code, found.there_minor) == ("currency", "USD", 200)
    assert found.told == "here EUR, there USD"


def test_a_refund_that_people_have_recorded_is_no_difference_but_for_its_amount() -> None:
    known = replace(ours(), recorded_minor={"ev1": 50, "bank transfer": 30})
    assert differences(known, [told(there(50, "ev1"))]) == []
    [found] = differences(known, [told(there(60, "ev1"))])
    assert (found.what, found.subject_id) == ("refund by hand", "ev1")
    assert (found.here_minor, found.there_minor) == (50, 60)
