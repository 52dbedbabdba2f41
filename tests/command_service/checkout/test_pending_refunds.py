"""Refunds that a provider holds pending, and whose end no webhook tells: it is asked again."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.report_payment import ReportRefund
from command_service.money import Money
from command_service.ordering.domain import Order
from command_service.payment.errands import ASK_PAUSE_FIRST, LEASE, Task
from command_service.payment.refunds import Refund, RefundState
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.conftest import CarryOut
from tests.sandboxes.faults import FaultKind

REFUNDS = "/v1/refunds"


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


async def pending(shop: PaidShop) -> tuple[Order, Refund]:
    """A paid order of 2.00 of which 0.50 are on their way back, as the answer of the call told."""
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    await shop.act(driven.payment, "pay", payment_method="pm_card_pendingRefund")
    await shop.deliver()
    asked = await shop.ask(RefundPayment(order.order_id, "", Money("GBP", 50), ()))
    [refund] = await shop.give_back(asked)
    assert refund.state is RefundState.PENDING
    return order, refund


async def refund_of(shop: PaidShop, order: Order) -> Refund:
    [refund] = (await shop.payments(order)).refunds
    return refund


async def asked_later(shop: PaidShop) -> None:
    """A round of the worker when the pause, or the lease of whoever died, is over."""
    await shop.carry_out.fetch("UPDATE refunds SET errand_due_time = now()")
    await shop.round()


async def calls(shop: PaidShop, method: str) -> int:
    """Calls for refunds that have reached Stripe."""
    records = await shop.sandbox.get("/_sandbox/calls/records")
    return sum(call["method"] == method and call["path"].startswith(REFUNDS) for call in records)


async def log_position(shop: PaidShop) -> Any:
    return await shop.carry_out.fetch("SELECT max(position) FROM events")


@pytest.mark.parametrize("end", [RefundState.SUCCEEDED, RefundState.FAILED])
async def test_a_refund_whose_end_no_webhook_tells_is_asked_for_until_it_ends(
    shop: PaidShop, end: RefundState
) -> None:
    order, refund = await pending(shop)
    told = await log_position(shop)
    for _ in range(3):
        await asked_later(shop)
    still = await refund_of(shop, order)
    assert (still.state, still.update_time) == (RefundState.PENDING, refund.update_time)
    assert await log_position(shop) == told, "nothing is new"
    act = "succeed" if end is RefundState.SUCCEEDED else "fail"
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/{act}")
    await asked_later(shop)
    ended = await refund_of(shop, order)
    assert (ended.state, ended.errand) == (end, None)
    assert (await calls(shop, "POST"), await calls(shop, "GET")) == (1, 4)
    back_minor = 50 if end is RefundState.SUCCEEDED else 0
    assert await shop.totals() == (200, back_minor)
    after = await shop.order(order)
    assert (after.refunded_minor, after.gifted_minor) == (back_minor, back_minor)
    await shop.deliver(times=2)
    assert await refund_of(shop, order) == ended, "the webhooks that come after all say the same"


async def test_it_is_not_asked_for_before_its_pause_is_over_and_each_is_longer(shop: PaidShop) -> None:
    order, _ = await pending(shop)
    await shop.round()
    assert await calls(shop, "GET") == 0
    pauses = []
    for _ in range(3):
        await asked_later(shop)
        await shop.round()
        refund = await refund_of(shop, order)
        assert refund.errand is not None
        [(left,)] = await shop.carry_out.fetch("SELECT errand_due_time - now() FROM refunds")
        pauses.append(left / ASK_PAUSE_FIRST)
    assert await calls(shop, "GET") == 3
    assert [round(pause) for pause in pauses] == [2, 4, 8]


async def test_whoever_died_while_asking_is_replaced_when_its_lease_is_over(shop: PaidShop) -> None:
    order, refund = await pending(shop)
    await shop.carry_out.fetch("UPDATE refunds SET errand_due_time = now()")
    claimed, _ = await shop.driver._claims(order.order_id)
    [left] = claimed.claims.refunds
    assert left.errand is not None
    assert (left.errand.task, left.errand.is_in_flight) == (Task.ASK, True)
    await shop.round()
    assert await calls(shop, "GET") == 0, "it is leased"
    [(leased,)] = await shop.carry_out.fetch("SELECT errand_due_time - now() FROM refunds")
    assert timedelta() < leased <= LEASE
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/succeed")
    await asked_later(shop)
    assert (await refund_of(shop, order)).state is RefundState.SUCCEEDED
    assert (await calls(shop, "POST"), await calls(shop, "GET")) == (1, 1)


@pytest.mark.parametrize("kind", FaultKind)
async def test_a_question_that_went_wrong_leaves_the_refund_pending(
    shop: PaidShop, kind: FaultKind
) -> None:
    order, refund = await pending(shop)
    body = {"kind": kind.value, "method": "GET", "path_prefix": REFUNDS}
    armed = await shop.sandbox.http.post("/_sandbox/faults/armed", json=body)
    assert armed.status_code == 200, armed.text
    await asked_later(shop)
    still = await refund_of(shop, order)
    assert (still.state, still.resolve_deadline) == (RefundState.PENDING, None)
    assert still.update_time == refund.update_time
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/succeed")
    await asked_later(shop)
    assert (await refund_of(shop, order)).state is RefundState.SUCCEEDED
    assert await calls(shop, "POST") == 1


async def test_a_webhook_that_comes_while_it_is_asked_for_settles_it(shop: PaidShop) -> None:
    order, refund = await pending(shop)
    await shop.carry_out.fetch("UPDATE refunds SET errand_due_time = now()")
    claimed, _ = await shop.driver._claims(order.order_id)
    [asked] = claimed.claims.refunds
    early = await shop.driver._gateway.run_refund(asked, claimed.claims.all)
    await shop.deliver()
    in_hand = await refund_of(shop, order)
    assert in_hand.errand == asked.errand, "PENDING once more is no answer to the call in hand"
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/succeed")
    await shop.deliver()
    assert (await refund_of(shop, order)).state is RefundState.SUCCEEDED
    assert asked.errand is not None
    late = ReportRefund(asked.payment_id, asked.refund_id, early, asked.errand.attempt(asked.refund_id))
    await shop.ask(late)
    ended = await refund_of(shop, order)
    assert (ended.state, ended.errand) == (RefundState.SUCCEEDED, None)


async def test_one_that_a_program_of_before_has_left_is_asked_for_as_well(shop: PaidShop) -> None:
    order, refund = await pending(shop)
    await shop.carry_out.fetch("UPDATE refunds SET errand_task = NULL, errand_due_time = NULL")
    assert (await refund_of(shop, order)).errand is None
    await shop.round()
    assert (await refund_of(shop, order)).errand is not None
    assert await calls(shop, "GET") == 0, "after a pause, as any other"
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/succeed")
    await asked_later(shop)
    assert (await refund_of(shop, order)).state is RefundState.SUCCEEDED


async def test_one_that_was_made_at_the_provider_is_asked_for_as_well(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    await shop.act(driven.payment, "pay", payment_method="pm_card_pendingRefund")
    form = {"payment_intent": driven.payment.provider_reference, "amount": 30}
    made = (await shop.sandbox.post(REFUNDS, form, key="by hand")).json()
    await shop.deliver(times=2)
    assert (await refund_of(shop, order)).state is RefundState.PENDING
    await shop.sandbox.act(f"refunds/{made['id']}/succeed")
    await asked_later(shop)
    assert (await refund_of(shop, order)).state is RefundState.SUCCEEDED
    assert (await shop.order(order)).refunded_minor == 30
