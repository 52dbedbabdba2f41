"""Money, held against what commands asked for, the tables and the provider's account. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_ON_COMMAND,
    PAYMENT_STATE_VOIDED,
    REFUND_STATE_FAILED,
)
from tests.torture.evidence import PaymentRow, RefundRow
from tests.torture.history import Operation
from tests.torture.views import ORDER, PAYMENT
from tests.torture.violations import Case, Violation, calls_by_subject, shown_by, shown_by_subjects


def check_money(case: Case) -> Iterator[Violation]:
    """An order has received and given back what was recorded and what its payments say, and no more."""
    paid, refunded = _recorded(case, "RecordPayment"), _recorded(case, "RecordRefund")
    for payment in case.evidence.payments:
        paid[payment.order_id] += payment.captured_minor
        refunded[payment.order_id] += payment.refunded_minor
    calls_by_order = calls_by_subject(case.history)
    for order in case.evidence.orders.values():
        if order.paid_minor != paid[order.order_id]:
            told = f"order {order.order_id} has {order.paid_minor}, paid were {paid[order.order_id]}"
            yield shown_by("money not conserved", told, calls_by_order[order.order_id])
        if order.refunded_minor != refunded[order.order_id]:
            told = (
                f"order {order.order_id} has given back {order.refunded_minor},"
                f" refunded were {refunded[order.order_id]}"
            )
            yield shown_by("money not conserved", told, calls_by_order[order.order_id])
    yield from _provider_differs(case, calls_by_order)


def _recorded(case: Case, method: str) -> Counter[str]:
    """By order, what such commands have told of money that came or went another way.

    What was recorded under the name of a refund of ours is that refund, and counts with its payment.
    """
    found, told_names = Counter[str](), case.evidence.refund_names
    for _, call in case.carried_out(method):
        if call.asked.get("refund_reference") in told_names:
            continue
        found[call.asked["order_id"]] += int(call.asked["amount"]["amount_minor"])
    return found


def _provider_differs(case: Case, calls_by_order: dict[str, list[Operation]]) -> Iterator[Violation]:
    if case.evidence.provider_money is None:
        return
    left = dict(case.evidence.provider_money)
    for payment in case.evidence.payments:
        at_provider = left.pop(payment.provider_reference, (0, 0))
        ours = (payment.captured_minor, payment.refunded_minor)
        if ours != at_provider:
            told = f"payment {payment.payment_id}: {ours} captured and refunded, provider {at_provider}"
            yield shown_by("money not conserved", told, calls_by_order[payment.order_id])
    for reference, (captured_minor, refunded_minor) in left.items():
        if captured_minor != refunded_minor:
            told = f"{reference} of the provider has {captured_minor - refunded_minor} of no payment"
            yield Violation("money not conserved", told)


def check_refunds(case: Case) -> Iterator[Violation]:
    """At no moment more is given back than has come, and of each refund what was asked for."""
    too_much: list[tuple[str, str]] = []
    for showing in case.evidence.showings:
        has_money = showing.view in {ORDER, PAYMENT} and len(showing.state) > 2
        # Of an order version and state stand first, of a payment its state alone.
        begin = 2 if showing.view == ORDER else 1
        came, went = showing.state[begin : begin + 2] if has_money else (0, 0)
        if int(went) > int(came):
            told = f"{showing.view} {showing.key} has {came}, and gave back {went} at {showing.position}"
            order_id = showing.key if showing.view == ORDER else showing.key.rpartition(".")[0]
            too_much.append((order_id, told))
    yield from shown_by_subjects(case, "refunded too much", too_much)
    by_payment: dict[str, int] = defaultdict(int)
    for refund in case.evidence.refunds:
        by_payment[refund.payment_id] += (
            0 if refund.state == REFUND_STATE_FAILED else refund.amount_minor
        )
    unequal = [
        (payment.order_id, f"{payment}: its refunds come to {by_payment[payment.payment_id]}")
        for payment in case.evidence.payments
        if payment.refunded_minor != by_payment[payment.payment_id]
    ]
    yield from shown_by_subjects(case, "money not conserved", unequal)
    yield from _refunded_otherwise(case)


def _refunded_otherwise(case: Case) -> Iterator[Violation]:
    request_of = {event.position: event.request_id for event in case.evidence.events}
    made: dict[str, list[RefundRow]] = defaultdict(list)
    for refund in case.evidence.refunds:
        made[request_of.get(refund.position, "")].append(refund)
    for request_id, call in case.carried_out("RefundPayment"):
        refunds = made[request_id]
        asked = call.asked
        is_of_it = all(
            refund.order_id == asked["order_id"]
            and refund.payment_id == asked.get("payment_id", refund.payment_id)
            for refund in refunds
        )
        total_minor = sum(refund.amount_minor for refund in refunds)
        wanted_minor = int(asked["amount"]["amount_minor"]) if "amount" in asked else total_minor
        if not refunds or not is_of_it or total_minor != wanted_minor:
            told = f"to give back was {dict(asked)}, given back are {refunds or 'none'}"
            yield shown_by("not as asked", told, case.commands[request_id])


def check_captures(case: Case) -> Iterator[Violation]:
    """What waits for a command is taken on one only, and as much; and never once it was called off."""
    captures: dict[str, list[Operation]] = defaultdict(list)
    for _, call in case.carried_out("CapturePayment"):
        captures[call.asked["payment_id"]].append(call)
    for payment in case.evidence.payments:
        if payment.capture_mode == CAPTURE_MODE_ON_COMMAND and payment.captured_minor:
            asked = [call.asked.get("amount") for call in captures[payment.payment_id]]
            amounts = {int(amount["amount_minor"]) for amount in asked if amount}
            if None not in asked and payment.captured_minor not in amounts:
                told = f"{payment}: asked for were {sorted(amounts) or 'none'}"
                yield shown_by("not as asked", told, captures[payment.payment_id])
    yield from _taken_after_voiding(case, {each.payment_id: each for each in case.evidence.payments})


def _taken_after_voiding(case: Case, payments: dict[str, PaymentRow]) -> Iterator[Violation]:
    for call in case.history:
        if call.method != "VoidPayment":
            continue
        for payment_id, state in call.told.get(PAYMENT, {}).items():
            payment = payments.get(payment_id)
            if state[0] == PAYMENT_STATE_VOIDED and payment is not None and payment.captured_minor:
                told = f"{payment}: whoever called it off was told that it is"
                yield shown_by("not as asked", told, [call])
