"""How long a call to a provider is left to whoever claimed it: for every claim as it is set."""

import asyncio
import gc
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest

from command_service.checkout.advance_order import AdvanceOrder, Claims
from command_service.checkout.capture_payment import CapturePayment, VoidPayment
from command_service.checkout.claim_payment import ClaimPayment
from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_servicer import PaymentServicer
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.start_payment import StartPayment
from command_service.committer import Committer
from command_service.errors import RequestInProgress
from command_service.ordering.domain import Order
from command_service.payment.errands import CALLS_SHARE, LEASE, WAIT_SHARE, Errand
from command_service.payment.gateway import Gateway
from command_service.payment.payments import CaptureMode, Wish
from command_service.payment.reports import Lost
from command_service.servicing import Door
from command_service.settings import Settings
from command_service.submission import Submission
from command_service.world import Command
from payment_providers.calls import CallLimits
from payment_providers.port import Flow, PaymentProvider
from serving.interceptor import ServicerContext
from shopkeeper.payment.v1 import payment_command_service_pb2 as pb
from tests.command_service.checkout.provider_in_memory import ProviderShop
from tests.command_service.payment.tellings import new_payment

SHORT = timedelta(milliseconds=250)


@pytest.fixture
def shop() -> ProviderShop:
    return ProviderShop()


def claimed_at(shop: ProviderShop, errand: Errand | None) -> bool:
    """Whether it was claimed just now, for so short a time."""
    assert errand is not None
    return errand.is_in_flight and errand.due_time == shop.now + SHORT


def test_a_payment_that_is_begun(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    assert claimed_at(shop, shop.carry_out(starting(order)).errand)


@pytest.mark.parametrize("command", [CapturePayment, VoidPayment])
def test_a_step_with_a_payment(shop: ProviderShop, command: Callable[..., Command[Any]]) -> None:
    authorized_payment(shop)
    assert claimed_at(shop, shop.carry_out(command("o1.1", lease=SHORT)).errand)


def test_a_refund(shop: ProviderShop) -> None:
    order = shop.paid_order()
    asked = shop.carry_out(RefundPayment(order.order_id, "", None, (), SHORT))
    assert [claimed_at(shop, refund.errand) for refund in asked.refunds] == [True]


def test_what_its_sender_left_and_is_taken_up(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    shop.carry_out(starting(order))
    shop.pass_time(SHORT)
    assert claimed_at(shop, shop.carry_out(ClaimPayment("o1.1", SHORT)).payment.errand)
    shop.pass_time(SHORT)
    assert errands_of(shop.carry_out(AdvanceOrder(order.order_id, SHORT)), shop) == [True]


def test_the_next_step_of_an_order(shop: ProviderShop) -> None:
    order = authorized_payment(shop)
    [captured] = shop.carry_out(AdvanceOrder(order.order_id, SHORT)).payments
    assert claimed_at(shop, captured.errand)


# --- who says for how long --------------------------------------------------------------------------


class Noted(Exception):
    """A command came as far as the committer."""


class Commands:
    """A door and a committer that take down what they are given, and do nothing of it."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    async def settle(self, _request: Any, _context: Any, command: Any, _respond: Any) -> None:
        self.taken.append(command)
        raise Noted

    async def submit(self, submission: Submission) -> None:
        self.taken.append(submission.command)
        raise Noted


async def test_every_command_that_claims_a_call_is_told_what_is_set() -> None:
    commands = Commands()
    provider = cast("PaymentProvider", OnlyCards())
    driver = PaymentDriver(cast("Committer", commands), Gateway({"stripe": provider}, lease=SHORT))
    servicer: Any = PaymentServicer(cast("Door", commands), driver)
    for asked in (
        servicer.StartPayment(pb.StartPaymentRequest(provider="stripe"), CONTEXT),
        servicer.CapturePayment(pb.CapturePaymentRequest(), CONTEXT),
        servicer.VoidPayment(pb.VoidPaymentRequest(), CONTEXT),
        servicer.RefundPayment(pb.RefundPaymentRequest(), CONTEXT),
        driver.take_up("o1.1"),
        driver.take_up_refunds("o1", ["o1.1"]),
        driver.advance("o1"),
    ):
        with pytest.raises(Noted):
            await asked
    assert [type(command) for command in commands.taken] == [
        StartPayment,
        CapturePayment,
        VoidPayment,
        RefundPayment,
        ClaimPayment,
        AdvanceOrder,
        AdvanceOrder,
    ]
    assert {command.lease for command in commands.taken} == {SHORT}


class Unsure:
    """A committer that cannot tell what came of a command."""

    async def submit(self, _submission: Submission) -> None:
        raise RequestInProgress


async def test_who_goes_away_leaves_a_refund_to_itself_however_it_ends(shop: ProviderShop) -> None:
    asked = shop.carry_out(RefundPayment(shop.paid_order().order_id, "", None, (), SHORT))
    provider = cast("PaymentProvider", Silent())
    gateway = Gateway({"stripe": provider}, lease=timedelta(milliseconds=20))
    driver = PaymentDriver(cast("Committer", Unsure()), gateway)
    loop, complaints = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: complaints.append(context))
    asking = asyncio.create_task(driver.drive_refunds(asked, claimed_seconds=loop.time()))
    await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await driver.drain()
    del asking
    await asyncio.sleep(0)
    gc.collect()
    assert complaints == []


async def test_calls_that_take_longer_than_their_share_are_given_up() -> None:
    provider = cast("PaymentProvider", Silent())
    gateway = Gateway({"stripe": provider}, lease=timedelta(milliseconds=20))
    assert (await gateway.run_payment(new_payment())).report == Lost("timeout")


def test_the_wait_and_the_calls_leave_room_for_the_report() -> None:
    assert WAIT_SHARE + CALLS_SHARE < 0.95
    assert CALLS_SHARE * LEASE.total_seconds() > CallLimits().total_seconds_max


def test_it_is_half_a_minute_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@localhost/none")
    assert Settings().provider_lease == LEASE
    monkeypatch.setenv("PROVIDER_LEASE_SECONDS", "0.25")
    assert Settings().provider_lease == SHORT


class OnlyCards:
    """As much of a provider as a request is checked against."""

    name = "stripe"
    flows = frozenset({Flow.EMBEDDED})
    authorizes = True


class Silent(OnlyCards):
    """A provider that never answers."""

    remembers_keys = True

    async def begin(self, *_wanted: Any, **_key: Any) -> None:
        await asyncio.Event().wait()

    refund = begin


CONTEXT = cast("ServicerContext", None)


def starting(order: Order) -> StartPayment:
    return StartPayment(
        order.order_id, "stripe", Flow.EMBEDDED, CaptureMode.AT_ONCE, None, Wish(), SHORT
    )


def authorized_payment(shop: ProviderShop) -> Order:
    order = shop.place(mug=2)
    payment = shop.start(order)
    shop.pay(payment)
    shop.tell(payment)
    return order


def errands_of(claims: Claims, shop: ProviderShop) -> list[bool]:
    return [claimed_at(shop, payment.errand) for payment in claims.payments]
