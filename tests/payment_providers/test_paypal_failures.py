"""What is known of a call to PayPal that went wrong, and what becomes of it."""

import asyncio
import itertools
from collections.abc import AsyncIterator

import httpx
import pytest

from payment_providers.breaker import BreakerState
from payment_providers.calls import CallLimits
from payment_providers.paypal.failures import failure_of
from payment_providers.port import (
    Declined,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderState,
    RefundWanted,
    Unreachable,
)
from tests.payment_providers.paypal_shop import (
    ORDERS,
    Both,
    begun,
    insisting,
    name_of,
    paid,
    provider_at,
    read,
    speaking,
    taken_minor,
    wanted,
)
from tests.sandboxes.paypal.connection import Connection


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with speaking() as pair:
        yield pair


# --- what goes wrong --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("error_before", OutcomeUnknown),
        ("error_stored", OutcomeUnknown),
        ("error_after", OutcomeUnknown),
        ("reset_before", OutcomeUnknown),
        ("reset_after", OutcomeUnknown),
        ("unavailable", OutcomeUnknown),
        ("key_in_use", NotDone),
        ("rate_limited", NotDone),
    ],
)
async def test_each_fault_says_what_is_known_of_the_effect(
    both: Both, fault: str, failure: type[Exception]
) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")
    await sandbox.arm(fault, f"{ORDERS}/{name.provider_reference}/capture")
    with pytest.raises(failure) as caught:
        await provider.capture(name, 2000, key="c")
    assert type(caught.value) is failure
    has_effect = fault in ("error_after", "reset_after")
    assert await taken_minor(sandbox) == (2000 if has_effect else 0)
    assert (await provider.capture(name, 2000, key="c")).captured_minor == 2000
    assert await taken_minor(sandbox) == 2000


@pytest.mark.parametrize("fault", ["stall_before", "stall_after", "late_effect"])
async def test_a_stalled_call_is_repeated_and_has_one_effect(fault: str) -> None:
    limits = CallLimits(attempt_seconds_max=2.0, total_seconds_max=120.0, repeat_count_max=20)
    async with speaking(limits) as both:
        provider, sandbox = both
        name, _ = await paid(both)
        path = "/v2/payments/captures"
        await sandbox.arm(fault, path)
        refund = await provider.refund(RefundWanted("o1.r1", name, 500, is_whole=False), key="r")
        assert refund.amount_minor == 500
        totals = await sandbox.look("totals")
        assert totals["by_currency"]["USD"]["refunded_minor"] == 500


async def test_a_rate_limit_says_when_to_come_back(both: Both) -> None:
    provider, sandbox = both
    await sandbox.act("faults", retry_after_seconds=3)
    await sandbox.arm("rate_limited", ORDERS)
    with pytest.raises(NotDone) as caught:
        await provider.begin(wanted(), key="k")
    assert (caught.value.code, caught.value.retry_after_seconds) == ("RATE_LIMIT_REACHED", 3.0)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (302, b"", OutcomeUnknown),
        (400, b'{"name":"INVALID_REQUEST"}', NotAccepted),
        (403, b'{"name":"NOT_AUTHORIZED","details":[{"issue":"PERMISSION_DENIED"}]}', NotDone),
        (401, b'{"name":"AUTHENTICATION_FAILURE"}', NotDone),
        (403, b"<html>Access denied</html>", OutcomeUnknown),
        (404, b"<html>Not found</html>", OutcomeUnknown),
        (409, b'{"name":"RESOURCE_CONFLICT"}', NotDone),
        (422, b'{"details":[{"issue":"PAYER_CANNOT_PAY"}]}', Declined),
        (422, b'{"details":[{"issue":"ORDER_COMPLETION_IN_PROGRESS"}]}', NotDone),
        (422, b'{"details":[{"issue":"REFUND_FAILED_INSUFFICIENT_FUNDS"}]}', NotDone),
        (422, b'{"details":[{"issue":"REFUND_TIME_LIMIT_EXCEEDED"}]}', NotAccepted),
        (429, b"<html>Slow down</html>", NotDone),
        (503, b'{"name":"SERVICE_UNAVAILABLE"}', OutcomeUnknown),
    ],
)
def test_each_answer_has_one_meaning(status: int, body: bytes, failure: type[Exception]) -> None:
    assert type(failure_of(httpx.Response(status, content=body))) is failure


async def test_nobody_there_means_that_nothing_was_sent(unused_tcp_port: int) -> None:
    provider = provider_at(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unreachable):
        await provider.begin(wanted(), key="k")
    await provider.close()


async def test_a_debug_id_goes_with_the_failure(both: Both) -> None:
    name = await begun(both)
    with pytest.raises(NotAccepted) as caught:
        await both[0].capture(name, 2000, key="c")
    [note] = caught.value.__notes__
    assert note.startswith("PayPal's debug_id is ")


async def test_everybody_is_paid_once_whatever_happens() -> None:
    limits = CallLimits(attempt_seconds_max=2.0, total_seconds_max=120.0, repeat_count_max=0)
    ticks = itertools.count(step=10.0)  # so that an open breaker soon lets a probe through
    async with speaking(limits, monotonic=lambda: next(ticks)) as both:
        _, sandbox = both
        await sandbox.act("faults", probability=0.2, seed=3, late_seconds=0.05)
        for number in range(10):
            await paid_whatever_happens(both, number)
        totals = await sandbox.look("totals")
        assert totals["by_currency"]["USD"] == {"captured_minor": 20_000, "refunded_minor": 5_000}


async def paid_whatever_happens(both: Both, number: int) -> None:
    """What a careful caller does: the same key until there is an answer."""
    provider, sandbox = both
    wish = wanted(payment_id=f"o{number}.1", order_id=f"o{number}")
    first = await insisting(lambda: provider.begin(wish, key=f"b{number}"))
    name = name_of(wish, first.payment.provider_reference)
    await sandbox.act(f"orders/{name.provider_reference}/approve")
    await insisting(lambda: provider.capture(name, 2000, key=f"c{number}"))
    refund = RefundWanted(f"o{number}.r1", name, 500, is_whole=False)
    await insisting(lambda: provider.refund(refund, key=f"r{number}"))


# --- tokens ---------------------------------------------------------------------------------------


async def token_count(sandbox: Connection) -> int:
    return int((await sandbox.look("calls"))["by_route"].get("POST /v1/oauth2/token", 0))


async def test_one_token_serves_all_callers(both: Both) -> None:
    provider, sandbox = both
    await asyncio.gather(*(provider.begin(wanted(payment_id=f"o{n}.1"), key=f"k{n}") for n in range(10)))
    assert await token_count(sandbox) == 1


async def test_a_token_is_renewed_before_it_ends() -> None:
    seconds = 0.0
    async with speaking(monotonic=lambda: seconds) as both:
        _, sandbox = both
        name = await begun(both)
        seconds = 32_400 - 61.0
        await read(both, name)
        assert await token_count(sandbox) == 1
        seconds = 32_400 - 59.0
        await read(both, name)
        assert await token_count(sandbox) == 2


async def test_a_token_that_ended_early_is_renewed_once_and_the_call_goes_on(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")
    await sandbox.act("tokens/revoke")
    reads = await asyncio.gather(*(provider.read(name) for _ in range(10)))
    assert {each.state for each in reads if each} == {ProviderState.AUTHORIZED}
    assert await token_count(sandbox) == 2


async def test_a_body_goes_along_again_with_the_new_token(both: Both) -> None:
    provider, sandbox = both
    await begun(both)
    await sandbox.act("tokens/revoke")
    posted = await provider.begin(wanted(payment_id="o2.1"), key="k")
    assert posted.payment.payment_id == "o2.1"


async def test_wrong_credentials_cost_no_payment_its_life() -> None:
    async with speaking(client_secret="wrong") as (provider, sandbox):
        with pytest.raises(NotDone) as caught:
            await provider.begin(wanted(), key="k")
        assert type(caught.value) is NotDone
        assert caught.value.code == "token_invalid_client"
        assert (await sandbox.look("state"))["orders"] == []


@pytest.mark.parametrize(
    ("fault", "failure"),
    [("error_before", Unreachable), ("reset_before", Unreachable), ("rate_limited", NotDone)],
)
async def test_without_a_token_nothing_was_asked_for(
    both: Both, fault: str, failure: type[Exception]
) -> None:
    provider, sandbox = both
    await sandbox.arm(fault, "/v1/oauth2/token")
    with pytest.raises(failure) as caught:
        await provider.begin(wanted(), key="k")
    assert type(caught.value) is failure
    assert (await provider.begin(wanted(), key="k")).payment.payment_id == "o1.1"


async def test_the_breaker_opens_after_failures_in_a_row_and_not_after_refusals(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both)
    for _ in range(10):
        with pytest.raises(NotAccepted):
            await provider.capture(name, 2000, key="c")
    assert provider.calls.breaker.state is BreakerState.CLOSED
    for number in range(5):
        await sandbox.arm("error_before", ORDERS)
        with pytest.raises(OutcomeUnknown):
            await provider.begin(wanted(), key=f"k{number}")
    assert provider.calls.breaker.state.value == "open"
