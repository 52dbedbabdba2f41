"""A shop on PostgreSQL whose customers pay at the sandbox of Stripe, all in one process."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any
from uuid import uuid4

from command_service.checkout.lookouts import PaymentLookout
from command_service.checkout.payment_driver import Driven, PaymentDriver
from command_service.checkout.payment_worker import PaymentWorker
from command_service.checkout.refund_payment import AskedBack
from command_service.checkout.report_payment import ReportProviderEvent
from command_service.checkout.start_payment import StartPayment, payments_of
from command_service.committer import Committer, Lane, Limits
from command_service.lone_worker import ask
from command_service.ordering.domain import ORDER, Order
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.gateway import Gateway
from command_service.payment.payments import CaptureMode, Payment, Wish
from command_service.payment.refunds import Refund
from command_service.payment.reports import Told
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.session import Session
from command_service.world import AnswerT, Command, Decision, Touch, World
from payment_providers.calls import CallLimits
from payment_providers.port import Callback, Flow
from payment_providers.stripe.provider import StripeProvider, StripeSettings
from tests.command_service.checkout.orders_on_postgresql import (
    LookAtOrder,
    open_stocked_shop,
    place,
)
from tests.command_service.conftest import CarryOut
from tests.sandboxes.stripe_connection import Connection, connected

LIMITS = CallLimits(attempt_seconds_max=2.0, total_seconds_max=2.0, repeat_count_max=0)
"""Short, since some calls never get an answer; one that is late for another reason is made again."""


def just_now() -> float:
    """By the loop's clock, as claims are timed."""
    return asyncio.get_running_loop().time()


@dataclass(frozen=True, slots=True)
class LookAtPayments(Command[OrderPayments]):
    """Answers the order's payments as they are stored."""

    order_id: str

    def touches(self) -> list[Touch]:
        return [ORDER.read(self.order_id), ORDER_PAYMENTS.read(self.order_id)]

    def decide(self, world: World, now: datetime) -> Decision[OrderPayments]:
        return Decision(payments_of(world, self.order_id))


class PaidShop:
    """What a test needs: the shop, its driver and worker, and the sandbox.

    commands: the session on which commands of one order are carried out.
    """

    def __init__(
        self, carry_out: CarryOut, committer: Committer, sandbox: Connection, commands: Session
    ) -> None:
        self.carry_out = carry_out
        self.commands = commands
        self.committer = committer
        self.sandbox = sandbox
        self.provider = StripeProvider(
            StripeSettings("sk_test_sandbox", ("whsec_1",), api_url=sandbox.url, limits=LIMITS),
            monotonic=time.monotonic,
            chance=Random(7),
        )
        self.driver = PaymentDriver(committer, Gateway({"stripe": self.provider}))
        self.session = PaymentLookout(carry_out.database_url, "a round of the worker")
        self.worker = PaymentWorker(self.session, self.driver)
        self._told_count = 0

    async def ask(self, command: Command[AnswerT]) -> AnswerT:
        """Has a command carried out and answers what it decided."""
        asked = await ask(self.committer, command, request_id=uuid4(), actor="tester")
        assert asked.decided is not None, "it was refused"
        return asked.decided

    async def place(self, cart_id: str = "c1", **quantities: int) -> Order:
        return await place(self.carry_out, cart_id, None, **quantities)

    async def intend(self, order: Order, **other: Any) -> Payment:
        """The first commit of StartPayment: the provider is not called."""
        return await self.ask(starting(order, **other))

    async def start(self, order: Order, **other: Any) -> Driven:
        """Intent, call and report."""
        intended = await self.intend(order, **other)
        return await self.driver.drive(intended, claimed_seconds=just_now())

    async def give_back(self, asked: AskedBack) -> list[Refund]:
        """The calls of refunds that were asked for, and their reports."""
        refunds, _ = await self.driver.drive_refunds(asked, claimed_seconds=just_now())
        return refunds

    async def act(self, payment: Payment, act: str, **arguments: Any) -> None:
        """What the customer does at Stripe."""
        await self.sandbox.act(f"payment_intents/{payment.provider_reference}/{act}", **arguments)

    async def deliver(self, *, times: int = 1) -> int:
        """Reports every event that the sandbox has told since, each so often; how many are new."""
        events = (await self.sandbox.get("/_sandbox/state"))["events"]
        new, self._told_count = events[self._told_count :], len(events)
        for event in new * times:
            callback = callback_of(event)
            for told in await self.provider.interpret(callback):
                await self.ask(ReportProviderEvent("stripe", Told(told)))
        return len(new)

    async def round(self) -> None:
        """One round of the worker, and all the calls that it begins."""
        await self.session.connect()
        await self.worker.look(self.session)
        await self.driver.drain()

    async def order(self, order: Order) -> Order:
        found = await self.carry_out(LookAtOrder(order.order_id))
        assert found is not None
        return found

    async def payments(self, order: Order) -> OrderPayments:
        return await self.carry_out(LookAtPayments(order.order_id))

    async def totals(self) -> tuple[int, int]:
        """What Stripe has captured and refunded in all."""
        totals = (await self.sandbox.get("/_sandbox/totals"))["by_currency"].get("gbp", {})
        return totals.get("captured_minor", 0), totals.get("refunded_minor", 0)


def starting(order: Order, **other: Any) -> StartPayment:
    facts: dict[str, Any] = {
        "order_id": order.order_id,
        "provider": "stripe",
        "flow": Flow.EMBEDDED,
        "capture_mode": CaptureMode.AT_ONCE,
        "amount": None,
        "wish": Wish(),
        **other,
    }
    return StartPayment(**facts)


def callback_of(event: dict[str, Any]) -> Callback:
    """The event as its webhook tells it, once it is found to be signed."""
    return Callback(event["id"], event["type"], json.dumps(event).encode(), is_signed=True)


@asynccontextmanager
async def paid_shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    """An open shop with stock."""
    await open_stocked_shop(carry_out)
    sessions = {name: Session(carry_out.database_url, name) for name in ("short", "bulk")}
    committer = Committer(
        *(
            Lane(name, PostgresqlUnitOfWork(session, carry_out.storage), Limits())
            for name, session in sessions.items()
        )
    )
    await committer.start()
    async with connected() as sandbox:
        shop = PaidShop(carry_out, committer, sandbox, sessions["short"])
        try:
            yield shop
        finally:
            await shop.driver.drain()
            await shop.provider.close()
            await shop.session.close()
            await committer.drain()
            for session in sessions.values():
                await session.close()
