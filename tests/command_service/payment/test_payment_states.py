"""A payment in every state hears every report, in any order: money is a fact, and nothing goes back."""

from collections.abc import Callable
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.errors import (
    CaptureExceedsAuthorization,
    PaymentAlreadyCaptured,
    PaymentInProgress,
    PaymentNotAuthorized,
)
from command_service.payment.errands import Errand, Task
from command_service.payment.payments import Payment, PaymentState
from command_service.payment.reports import Lost, NoTrace, Postponed, Refused, Report, Told
from payment_providers.port import ProviderPayment, ProviderState
from tests.command_service.payment.tellings import (
    AMOUNT_MINOR,
    NOW,
    authorized,
    captured,
    new_payment,
    told,
)

LATER = NOW + timedelta(seconds=40)
S, P = PaymentState, ProviderState

_TASK = {S.STARTING: Task.BEGIN, S.CAPTURING: Task.CAPTURE, S.VOIDING: Task.VOID}


def payment_in(state: PaymentState, task: Task = Task.BEGIN) -> Payment:
    """A payment in the state; task: of one whose outcome is unknown."""
    errand = None
    if state in _TASK:
        errand = Errand.claimed_at_once(_TASK[state], NOW)
    if state is S.UNKNOWN:
        errand = Errand.claimed_at_once(task, NOW).lost(NOW, is_key_spent=False)
    is_held = state in {S.AUTHORIZED, S.CAPTURING, S.VOIDING} or (errand and task is Task.CAPTURE)
    return new_payment(
        state=state,
        errand=errand,
        authorized_minor=AMOUNT_MINOR if is_held and state is not S.STARTING else 0,
        captured_minor=AMOUNT_MINOR if state is S.CAPTURED else 0,
    )


ALL = [
    *(payment_in(state) for state in S if state is not S.UNKNOWN),
    *(payment_in(S.UNKNOWN, task) for task in (Task.BEGIN, Task.CAPTURE, Task.VOID)),
]


def by_provider(report: Told) -> ProviderPayment:
    assert isinstance(report.by_provider, ProviderPayment)
    return report.by_provider


REPORTS: list[Report] = [
    *(told(state) for state in P),
    Refused("no"),
    *(Refused("no", by_provider(told(state))) for state in P),
    Postponed("later"),
    Lost("timeout"),
    Lost("as I said", is_key_spent=True),
    NoTrace(),
]


@pytest.mark.parametrize(("before", "report"), list(product(ALL, REPORTS)))
def test_whatever_is_heard_leaves_a_payment_that_makes_sense(before: Payment, report: Report) -> None:
    after = before.heard(report, LATER)
    assert after.captured_minor >= before.captured_minor
    assert (after.errand is not None) == (after.state in {S.STARTING, S.CAPTURING, S.VOIDING, S.UNKNOWN})
    known = report.by_provider if isinstance(report, Told | Refused) else None
    if isinstance(known, ProviderPayment) and known.captured_minor:
        assert (after.state, after.captured_minor) == (S.CAPTURED, AMOUNT_MINOR)
    if after.state in {S.CAPTURED, S.VOIDED, S.FAILED, S.AWAITING_CUSTOMER, S.PROCESSING}:
        assert after.authorized_minor == 0
    if after.state in {S.AUTHORIZED, S.CAPTURING}:
        assert after.authorized_minor == AMOUNT_MINOR
    if after.state is not before.state:
        assert after.update_time == LATER


@pytest.mark.parametrize(
    ("state", "heard", "expected"),
    [
        (S.AWAITING_CUSTOMER, P.PROCESSING, S.PROCESSING),
        (S.PROCESSING, P.AWAITING_CUSTOMER, S.AWAITING_CUSTOMER),
        (S.AWAITING_CUSTOMER, P.AUTHORIZED, S.AUTHORIZED),
        (S.AUTHORIZED, P.AWAITING_CUSTOMER, S.AUTHORIZED),
        (S.AUTHORIZED, P.PROCESSING, S.AUTHORIZED),
        (S.AUTHORIZED, P.VOIDED, S.VOIDED),
        (S.VOIDED, P.AUTHORIZED, S.VOIDED),
        (S.VOIDED, P.CAPTURED, S.CAPTURED),
        (S.CAPTURED, P.VOIDED, S.CAPTURED),
        (S.CAPTURED, P.AUTHORIZED, S.CAPTURED),
        (S.FAILED, P.CAPTURED, S.CAPTURED),
        (S.FAILED, P.AWAITING_CUSTOMER, S.AWAITING_CUSTOMER),
        (S.CAPTURING, P.AUTHORIZED, S.CAPTURING),
        (S.CAPTURING, P.AWAITING_CUSTOMER, S.CAPTURING),
        (S.CAPTURING, P.VOIDED, S.VOIDED),
        (S.VOIDING, P.AUTHORIZED, S.VOIDING),
        (S.VOIDING, P.CAPTURED, S.CAPTURED),
        (S.STARTING, P.AWAITING_CUSTOMER, S.AWAITING_CUSTOMER),
        (S.STARTING, P.CAPTURED, S.CAPTURED),
    ],
)
def test_what_is_told_moves_a_payment_forward_only(
    state: PaymentState, heard: ProviderState, expected: PaymentState
) -> None:
    assert payment_in(state).heard(told(heard), LATER).state is expected


@given(st.permutations([P.AWAITING_CUSTOMER, P.PROCESSING, P.AUTHORIZED]))
def test_an_authorization_is_kept_in_whatever_order_it_is_told(order: list[ProviderState]) -> None:
    payment = payment_in(S.AWAITING_CUSTOMER)
    for state in order:
        payment = payment.heard(told(state), LATER)
    assert (payment.state, payment.authorized_minor) == (S.AUTHORIZED, AMOUNT_MINOR)
    assert payment.capture(payment.authorized_minor, LATER).state is S.CAPTURING


@given(st.lists(st.sampled_from([told(state) for state in P]), max_size=8))
def test_money_never_becomes_less_and_a_capture_is_never_taken_back(reports: list[Report]) -> None:
    payment = payment_in(S.AWAITING_CUSTOMER)
    for report in reports:
        after = payment.heard(report, LATER)
        assert after.captured_minor >= payment.captured_minor
        assert after.heard(report, LATER) == after, "what is told twice is told once"
        payment = after
    assert (payment.state is S.CAPTURED) == (captured() in reports)


def test_a_report_older_than_the_money_keeps_what_is_held_for_us() -> None:
    payment = payment_in(S.AUTHORIZED).heard(told(P.AWAITING_CUSTOMER), LATER)
    assert payment.authorized_minor == AMOUNT_MINOR


def test_a_refused_capture_stays_refused_whoever_tells_of_the_authorization() -> None:
    known = by_provider(authorized())
    refused = payment_in(S.CAPTURING).heard(Refused("card_velocity", known), LATER)
    assert (refused.state, refused.failure_code) == (S.AUTHORIZED, "card_velocity")
    again = refused.heard(authorized(), LATER)
    assert again.failure_code == "card_velocity"


def test_a_payment_that_the_provider_has_no_trace_of_is_called_off_for_good() -> None:
    after = payment_in(S.VOIDING).heard(Refused("gone"), LATER)
    assert (after.state, after.errand) == (S.VOIDED, None)


def begun_after(report: Report) -> Payment:
    """Begun by the second call for it; report: of the first."""
    first = payment_in(S.STARTING)
    second = first.heard(report, NOW).claimed(LATER)
    return second.heard(told(P.AWAITING_CUSTOMER), LATER)


def test_a_payment_knows_when_it_was_begun_if_no_call_before_can_have_done_it() -> None:
    postponed = begun_after(Postponed("reader_busy"))
    assert (postponed.begun_time, postponed.create_time) == (LATER, NOW)
    assert postponed.void(LATER).heard(told(P.VOIDED), LATER).begun_time == LATER
    assert begun_after(Lost("timeout")).begun_time is None


def test_a_refused_void_is_asked_for_again() -> None:
    """With a new key: under the old one the provider would only repeat itself."""
    known, before = by_provider(authorized()), payment_in(S.VOIDING)
    after = before.heard(Refused("not now", known), LATER)
    assert after.state is S.VOIDING
    assert before.errand is not None
    assert after.errand is not None
    assert not after.errand.is_in_flight
    assert after.errand.key_generation == before.errand.key_generation + 1


def test_the_token_of_a_means_of_payment_is_forgotten_once_the_payment_is_made() -> None:
    for report in (told(P.AWAITING_CUSTOMER), captured(), Refused("no")):
        assert payment_in(S.STARTING).heard(report, LATER).wish.payment_method == ""
    for unheard in (Postponed("later"), Lost("timeout"), NoTrace()):
        assert payment_in(S.STARTING).heard(unheard, LATER).wish.payment_method == "pm_1"


# --- attempts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [Lost("timeout"), Postponed("later"), NoTrace(), Refused("no")])
def test_an_attempt_that_was_replaced_is_not_listened_to(report: Report) -> None:
    first = payment_in(S.STARTING)
    assert first.errand is not None
    attempt = first.errand.attempt(first.payment_id)
    second = first.claimed(LATER)
    assert second.heard(report, LATER, attempt=attempt) == second
    assert first.heard(report, LATER, attempt=attempt) != first


def test_an_attempt_that_was_replaced_is_believed_what_it_was_told() -> None:
    first = payment_in(S.CAPTURING)
    assert first.errand is not None
    attempt = first.errand.attempt(first.payment_id)
    known = by_provider(captured())
    for report in (captured(), Refused("done already", known)):
        after = first.claimed(LATER).heard(report, LATER, attempt=attempt)
        assert (after.state, after.captured_minor) == (S.CAPTURED, AMOUNT_MINOR)


def test_a_late_refusal_of_the_beginning_does_not_end_the_capture() -> None:
    begun = payment_in(S.STARTING)
    assert begun.errand is not None
    attempt = begun.errand.attempt(begun.payment_id)
    capturing = begun.heard(authorized(), NOW).capture(AMOUNT_MINOR, NOW)
    assert capturing.heard(Refused("no"), LATER, attempt=attempt) == capturing


# --- keys -----------------------------------------------------------------------------------------


def test_no_two_calls_of_a_payment_have_one_key() -> None:
    payment, keys = payment_in(S.STARTING), []
    steps: list[Callable[[Payment], Payment]] = [
        lambda p: p.heard(authorized(), LATER).capture(1, LATER),
        lambda p: p.heard(Refused("no", by_provider(authorized())), LATER).void(LATER),
        lambda p: p.heard(NoTrace(), LATER),
        lambda p: p.heard(told(P.VOIDED), LATER),
    ]
    for step in steps:
        assert payment.errand is not None
        keys.append(payment.errand.key(payment.payment_id))
        payment = step(payment)
    assert len(set(keys)) == len(keys)


# --- what is asked --------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [S.STARTING, S.CAPTURING, S.VOIDING, S.UNKNOWN])
def test_a_payment_whose_provider_is_being_asked_takes_no_second_call(state: PaymentState) -> None:
    payment = payment_in(state)
    with pytest.raises(PaymentInProgress):
        payment.capture(1, LATER)
    with pytest.raises(PaymentInProgress):
        payment.void(LATER)


@pytest.mark.parametrize("state", [S.AWAITING_CUSTOMER, S.PROCESSING, S.CAPTURED, S.VOIDED, S.FAILED])
def test_only_authorized_money_is_captured(state: PaymentState) -> None:
    with pytest.raises(PaymentNotAuthorized):
        payment_in(state).capture(1, LATER)


def test_no_more_is_captured_than_authorized() -> None:
    with pytest.raises(CaptureExceedsAuthorization):
        payment_in(S.AUTHORIZED).capture(AMOUNT_MINOR + 1, LATER)


def test_captured_money_is_not_called_off() -> None:
    with pytest.raises(PaymentAlreadyCaptured):
        payment_in(S.CAPTURED).void(LATER)


def test_each_name_that_is_told_is_known_and_those_of_its_money_once_there_is_some() -> None:
    """Stripe may tell of a page's intent before it answers the call that made the page."""
    asked = told(ProviderState.AWAITING_CUSTOMER, provider_reference="pi_1", other_names=("try_1",))
    answered = told(ProviderState.AWAITING_CUSTOMER, provider_reference="cs_1")
    payment = new_payment().heard(asked, NOW).heard(answered, NOW)
    assert (payment.provider_reference, payment.other_names) == ("pi_1", ("cs_1",))
    paid = payment.heard(captured(provider_reference="pi_1", other_names=("ch_1",)), NOW)
    assert (paid.provider_reference, paid.other_names) == ("pi_1", ("cs_1", "ch_1"))
