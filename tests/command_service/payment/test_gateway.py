"""From an errand to its provider: when it is asked first, and what its silences and refusals mean."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from command_service.payment.domain import OrderPayments
from command_service.payment.errands import KEY_LIFE, Errand, Task
from command_service.payment.gateway import NOT_WANTED, UNREADABLE, Gateway, name_of
from command_service.payment.payments import Payment, PaymentState, Wish
from command_service.payment.refunds import Refund, RefundState
from command_service.payment.reports import Lost, NoTrace, Postponed, Refused, Told
from payment_providers.port import (
    Begun,
    Flow,
    Handover,
    KeySpent,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    PaymentProvider,
    ProviderFailure,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
)
from tests.command_service.payment.tellings import (
    NOW,
    authorized,
    captured,
    new_payment,
    refund_told,
    told,
)

LATER = NOW + timedelta(minutes=1)


def by_provider(report: Told) -> Any:
    return report.by_provider


@dataclass
class Provider:
    """Answers as it is told to, or fails; notes what it was asked and with which key."""

    found: ProviderPayment | ProviderRefund | Exception | None = None
    answer: Any = None
    remembers_keys: bool = True
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def call(*_: Any, key: str = "") -> Any:
            self.asked.append(f"{name} {key}".strip())
            reply: Any = self.found if name.startswith("read") else self.answer
            if isinstance(reply, Exception):
                raise reply
            if name == "begin":
                return Begun(reply, Handover(client_secret="s"))
            return reply

        return call


def gateway(provider: Provider) -> Gateway:
    return Gateway({"stripe": cast("PaymentProvider", provider)})


def lost(task: Task, *, is_key_spent: bool = False) -> Payment:
    errand = Errand.claimed_at_once(task, NOW).lost(NOW, is_key_spent=is_key_spent).claimed(LATER)
    return new_payment(state=PaymentState.UNKNOWN, errand=errand, provider_reference="pi_1")


@pytest.mark.parametrize(
    ("failure", "report"),
    [
        (NotAccepted("no"), Refused("no")),
        (NotDone("later", retry_after_seconds=3), Postponed("later", 3)),
        (OutcomeUnknown("timeout"), Lost("timeout")),
        (KeySpent("as I said"), Lost("as I said", is_key_spent=True)),
    ],
)
async def test_each_failure_has_its_meaning(failure: ProviderFailure, report: object) -> None:
    outcome = await gateway(Provider(answer=failure)).run_payment(new_payment())
    assert outcome.report == report


@pytest.mark.parametrize("mistake", [KeyError("status"), TypeError(), ValueError(), AttributeError()])
async def test_an_answer_of_an_unknown_form_leaves_the_outcome_unknown(mistake: Exception) -> None:
    misread = gateway(Provider(answer=mistake, found=mistake))
    with capture_logs() as lines:
        assert (await misread.run_payment(new_payment())).report == Lost(UNREADABLE)
        assert (await misread.run_payment(lost(Task.CAPTURE))).report == Lost(UNREADABLE)
        assert await misread.run_refund(*lost_refund()) == Lost(UNREADABLE)
        with pytest.raises(OutcomeUnknown, match=UNREADABLE):
            await misread.hand_over(new_payment())
    assert [line["event"] for line in lines] == ["a provider's answer cannot be read"] * 4
    assert all(line["log_level"] == "error" for line in lines)


async def test_a_first_call_is_made_without_asking() -> None:
    provider = Provider(answer=by_provider(told(ProviderState.AWAITING_CUSTOMER)))
    outcome = await gateway(provider).run_payment(new_payment())
    assert provider.asked == ["begin o1.1:begin:1"]
    assert outcome.handover.client_secret == "s"


@pytest.mark.parametrize("task", [Task.BEGIN, Task.CAPTURE, Task.VOID])
async def test_a_call_without_an_answer_is_asked_about_first(task: Task) -> None:
    provider = Provider(found=by_provider(captured()), remembers_keys=False)
    outcome = await gateway(provider).run_payment(lost(task))
    assert outcome.report == captured()
    assert provider.asked == ["read"]


async def test_a_payment_is_begun_again_under_a_key_that_tells_what_became_of_it() -> None:
    provider = Provider(answer=by_provider(captured()))
    assert (await gateway(provider).run_payment(lost(Task.BEGIN))).report == captured()
    assert provider.asked == ["begin o1.1:begin:1"]


@pytest.mark.parametrize("task", [Task.BEGIN, Task.CAPTURE, Task.VOID])
async def test_what_became_of_a_call_whose_key_is_spent_is_asked(task: Task) -> None:
    provider = Provider(found=by_provider(captured()))
    spent = await gateway(provider).run_payment(lost(task, is_key_spent=True))
    assert spent.report == captured()
    assert provider.asked == ["read"]


def test_a_payment_is_looked_for_among_those_begun_before_its_key_was_spent() -> None:
    assert name_of(lost(Task.BEGIN)).last_sent_time is None
    assert name_of(lost(Task.BEGIN, is_key_spent=True)).last_sent_time == NOW


@pytest.mark.parametrize("task", [Task.CAPTURE, Task.VOID])
async def test_what_had_no_effect_is_done_again_with_the_same_key(task: Task) -> None:
    provider = Provider(found=by_provider(authorized()), answer=by_provider(captured()))
    await gateway(provider).run_payment(lost(task))
    assert provider.asked == ["read", f"{task.name.lower()} o1.1:{task.name.lower()}:1"]
    spent = await gateway(provider).run_payment(lost(task, is_key_spent=True))
    assert spent.report == NoTrace()


@pytest.mark.parametrize("task", [Task.BEGIN, Task.CAPTURE, Task.VOID])
async def test_a_question_that_is_refused_is_no_answer(task: Task) -> None:
    provider = Provider(found=NotAccepted("resource_missing"), remembers_keys=False)
    outcome = await gateway(provider).run_payment(lost(task))
    assert outcome.report == Postponed("resource_missing")


async def test_a_refused_call_is_told_with_the_payment_as_it_is() -> None:
    errand = Errand.claimed_at_once(Task.CAPTURE, NOW)
    payment = new_payment(state=PaymentState.CAPTURING, errand=errand)
    for found in (by_provider(captured()), None):
        provider = Provider(found=found, answer=NotAccepted("no"))
        assert (await gateway(provider).run_payment(payment)).report == Refused("no", found)


async def test_a_call_of_yesterday_is_asked_about_before_its_key_is_used_again() -> None:
    first = Errand.claimed_at_once(Task.BEGIN, NOW)
    payment = new_payment(errand=first.claimed(NOW + KEY_LIFE + timedelta(seconds=1)))
    provider = Provider(found=by_provider(told(ProviderState.AWAITING_CUSTOMER)))
    await gateway(provider).run_payment(payment)
    assert provider.asked == ["read"]


async def test_nobody_is_asked_for_money_that_is_not_wanted_any_more() -> None:
    postponed = Errand.claimed_at_once(Task.BEGIN, NOW).postponed(NOW, None).claimed(LATER)
    provider = Provider(answer=by_provider(captured()))
    outcome = await gateway(provider).run_payment(new_payment(errand=postponed), is_wanted=False)
    assert outcome.report == Refused(NOT_WANTED)
    assert provider.asked == []


@pytest.mark.parametrize(("found", "report"), [(captured(), captured()), (None, Refused(NOT_WANTED))])
@pytest.mark.parametrize("what", [{"wish": Wish(payment_method="pm_1")}, {"flow": Flow.READER}])
async def test_a_lost_call_for_money_that_is_not_wanted_is_looked_for_and_not_repeated(
    found: Told | None, report: object, what: dict[str, Any]
) -> None:
    """It would charge a saved card, or ask a customer who has gone."""
    provider = Provider(found=by_provider(found) if found else None, answer=by_provider(captured()))
    payment = replace(lost(Task.BEGIN), **what)
    outcome = await gateway(provider).run_payment(payment, is_wanted=False)
    assert outcome.report == report
    assert provider.asked == ["read"]


async def test_what_only_waits_for_a_customer_is_made_to_be_called_off() -> None:
    """By its key: to be looked for among all that were begun takes longer the more there are."""
    provider = Provider(answer=by_provider(told(ProviderState.AWAITING_CUSTOMER)))
    payment = replace(lost(Task.BEGIN), flow=Flow.EMBEDDED, wish=Wish())
    outcome = await gateway(provider).run_payment(payment, is_wanted=False)
    assert outcome.report == told(ProviderState.AWAITING_CUSTOMER)
    assert provider.asked == ["begin o1.1:begin:1"]


@pytest.mark.parametrize("failure", [OutcomeUnknown("timeout"), NotDone("timeout"), KeyError("id")])
async def test_a_look_that_fails_does_not_make_the_next_one_longer(failure: Exception) -> None:
    payment = replace(lost(Task.BEGIN), wish=Wish(payment_method="pm_1"))
    assert payment.errand is not None
    last_sent_time = payment.errand.last_sent_time
    for minutes in range(2, 5):
        outcome = await gateway(Provider(found=failure)).run_payment(payment, is_wanted=False)
        assert isinstance(outcome.report, Postponed)
        now = NOW + timedelta(minutes=minutes)
        payment = payment.heard(outcome.report, now, attempt="").claimed(now)
        assert payment.errand is not None
        assert payment.errand.last_sent_time == last_sent_time


async def test_money_that_is_held_is_taken_or_let_go_whatever_is_wanted() -> None:
    for task in (Task.CAPTURE, Task.VOID):
        provider = Provider(answer=by_provider(captured()))
        payment = new_payment(errand=Errand.claimed_at_once(task, NOW), provider_reference="pi_1")
        await gateway(provider).run_payment(payment, is_wanted=False)
        assert provider.asked == [f"{task.name.lower()} o1.1:{task.name.lower()}:1"]


async def test_a_provider_that_is_not_configured_any_more_is_waited_for() -> None:
    outcome = await Gateway({}).run_payment(new_payment())
    assert outcome.report == Postponed("provider_not_configured")


# --- refunds --------------------------------------------------------------------------------------


def refund(errand: Errand) -> tuple[Refund, OrderPayments]:
    asked = Refund("o1.r1", "o1.1", "o1", 50, (), 0, NOW, NOW, errand=errand)
    payment = replace(new_payment(errand=None), state=PaymentState.CAPTURED, captured_minor=200)
    return asked, OrderPayments("o1", (payment,)).with_refund(asked)


def lost_refund(*, is_key_spent: bool = False) -> tuple[Refund, OrderPayments]:
    claimed = Errand.claimed_at_once(Task.REFUND, NOW)
    return refund(claimed.lost(NOW, is_key_spent=is_key_spent).claimed(LATER))


async def test_a_refund_without_an_answer_is_looked_for_first() -> None:
    done = refund_told(ProviderRefund.State.SUCCEEDED, "o1.r1", 50)
    provider = Provider(found=by_provider(done))
    assert await gateway(provider).run_refund(*lost_refund()) == done
    assert provider.asked == ["read_refund"]


async def test_a_refund_that_was_not_made_is_made_with_the_same_key() -> None:
    done = refund_told(ProviderRefund.State.SUCCEEDED, "o1.r1", 50)
    provider = Provider(found=None, answer=by_provider(done))
    assert await gateway(provider).run_refund(*lost_refund()) == done
    assert provider.asked == ["read_refund", "refund o1.r1:refund:1"]
    assert await gateway(provider).run_refund(*lost_refund(is_key_spent=True)) == NoTrace()


async def test_a_refund_whose_outcome_is_unknown_is_not_given_up_for_a_refused_question() -> None:
    provider = Provider(found=NotAccepted("bad_request"))
    report = await gateway(provider).run_refund(*lost_refund())
    assert report == Postponed("bad_request"), "the money may have left: it is not free again"


def pending_refund() -> tuple[Refund, OrderPayments]:
    asked, payments = refund(Errand.asking(NOW).claimed(LATER))
    asked = replace(asked, state=RefundState.PENDING, provider_reference="re_1")
    return asked, payments.with_refund(asked)


@pytest.mark.parametrize("state", ProviderRefund.State)
async def test_a_refund_that_is_pending_is_only_asked_for(state: ProviderRefund.State) -> None:
    told = refund_told(state, "o1.r1", 50)
    provider = Provider(found=by_provider(told))
    assert await gateway(provider).run_refund(*pending_refund()) == told
    assert provider.asked == ["read_refund"]


@pytest.mark.parametrize(
    ("found", "report"),
    [
        (None, Postponed("refund_not_seen")),
        (NotAccepted("not_found"), Postponed("not_found")),
        (NotDone("rate_limit", retry_after_seconds=9), Postponed("rate_limit", 9)),
        (OutcomeUnknown("http_500"), Postponed("http_500")),
        (KeySpent("http_500"), Postponed("http_500")),
        (LookupError("of another form"), Postponed("unreadable_answer")),
    ],
)
async def test_a_question_without_an_answer_sends_nothing_and_is_put_again(
    found: Any, report: Postponed
) -> None:
    provider = Provider(found=found)
    assert await gateway(provider).run_refund(*pending_refund()) == report
    assert provider.asked == ["read_refund"]
