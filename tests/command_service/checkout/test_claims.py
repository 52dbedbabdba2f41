"""A call is made by whoever has claimed it, while the claim lasts, and by nobody else."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest

from command_service.checkout.advance_order import AdvanceOrder, Claims
from command_service.checkout.claim_payment import Claimed
from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_servicer import PaymentServicer
from command_service.checkout.refund_payment import AskedBack, RefundPayment
from command_service.committer import Committer
from command_service.errors import PaymentProviderUnavailable
from command_service.payment.errands import WAIT_SHARE
from command_service.payment.gateway import Gateway
from command_service.servicing import Door
from command_service.submission import SUCCESS, Answer, Submission
from event_log.tokens import ConsistencyToken
from payment_providers.port import OutcomeUnknown, PaymentProvider
from serving.interceptor import ServicerContext
from shopkeeper.payment.v1 import payment_command_service_pb2 as pb
from tests.command_service.checkout.provider_in_memory import ProviderShop
from tests.command_service.payment.tellings import new_payment

LEASE = timedelta(milliseconds=300)
TOO_LONG_SECONDS = 1.5 * WAIT_SHARE * LEASE.total_seconds()
TOKEN = ConsistencyToken("0000000a", 1)


class Provider:
    """Counts what it is asked for, and gives no answer."""

    remembers_keys = False

    def __init__(self) -> None:
        self.call_count = 0

    async def refund(self, *_wanted: Any, **_key: Any) -> None:
        self.call_count += 1
        raise OutcomeUnknown("silence")

    begin = refund


class Database:
    """Decides what it is told to, and takes its time to commit; a door to it, and a committer."""

    def __init__(self, decision: Any, commit_seconds: float = 0.0) -> None:
        self._decision = decision
        self._commit_seconds = commit_seconds
        self.stored: bytes | None = None
        self.commands: list[Any] = []

    async def submit(self, submission: Submission) -> Answer:
        """As a committer."""
        self.commands.append(submission.command)
        body = submission.encode(self._decision)
        await asyncio.sleep(self._commit_seconds)
        return Answer(SUCCESS, body, TOKEN)

    async def settle(
        self, _request: Any, _context: Any, command: Any, respond: Callable[[Any], Any]
    ) -> Answer:
        """As a door. What another process has stored is answered, whatever was decided here."""
        self.commands.append(command)
        body = respond(self._decision).SerializeToString()
        await asyncio.sleep(self._commit_seconds)
        return Answer(SUCCESS, body if self.stored is None else self.stored, TOKEN)

    def reply(self, response: Any, _token: Any, _context: Any) -> Any:
        """As a door."""
        return response


def driver_of(database: Database, provider: Provider) -> PaymentDriver:
    providers = {"stripe": cast("PaymentProvider", provider)}
    return PaymentDriver(cast("Committer", database), Gateway(providers, lease=LEASE))


def asked_back() -> AskedBack:
    shop = ProviderShop()
    order = shop.paid_order()
    return shop.carry_out(RefundPayment(order.order_id, "", None, (), LEASE))


async def take_up(driver: PaymentDriver) -> None:
    await driver.take_up("o1.1")


async def advance(driver: PaymentDriver) -> None:
    await driver.advance("o1")
    await driver.drain()


async def ask_back(driver: PaymentDriver, database: Database) -> pb.RefundPaymentResponse:
    servicer = PaymentServicer(cast("Door", database), driver)
    return await servicer.RefundPayment(
        pb.RefundPaymentRequest(order_id="o1"), cast("ServicerContext", None)
    )


def a_payment() -> Claimed:
    return Claimed(new_payment(), is_ours=True)


def a_refund() -> Claims:
    asked = asked_back()
    return Claims(asked.payments, (), asked.refunds)


@pytest.mark.parametrize(("decide", "claim"), [(a_payment, take_up), (a_refund, advance)])
async def test_a_claim_whose_commit_took_most_of_its_lease_is_left_to_the_next(
    decide: Callable[[], Any], claim: Callable[[PaymentDriver], Any]
) -> None:
    """Somebody else may be about to make the call: with a provider that takes no key, a second one."""
    provider = Provider()
    driver = driver_of(Database(decide(), TOO_LONG_SECONDS), provider)
    with suppress(PaymentProviderUnavailable):
        await claim(driver)
    assert provider.call_count == 0


@pytest.mark.parametrize(("decide", "claim"), [(a_payment, take_up), (a_refund, advance)])
async def test_a_claim_that_is_committed_in_time_is_driven(
    decide: Callable[[], Any], claim: Callable[[PaymentDriver], Any]
) -> None:
    provider = Provider()
    driver = driver_of(Database(decide()), provider)
    await claim(driver)
    assert provider.call_count == 1


async def test_a_refund_whose_commit_took_most_of_the_lease_is_left_to_the_next() -> None:
    database, provider = Database(asked_back(), TOO_LONG_SECONDS), Provider()
    with pytest.raises(PaymentProviderUnavailable):
        await ask_back(driver_of(database, provider), database)
    assert provider.call_count == 0


async def test_a_refund_that_another_process_decided_is_not_made_by_this_one() -> None:
    """What was decided here was rolled back: the call for it may be another's, with another amount."""
    asked = asked_back()
    database, provider = Database(asked), Provider()
    database.stored = pb.RefundPaymentResponse().SerializeToString()
    claims = Database(Claims(asked.payments, (), ()))
    driver = driver_of(claims, provider)
    await ask_back(driver, database)
    assert provider.call_count == 0
    assert [type(command) for command in claims.commands] == [AdvanceOrder]
