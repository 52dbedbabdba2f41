"""A storm: orders are paid while calls fail, webhooks are doubled, and processes are killed.

`python -m tests.system.storm --orders 2000` runs one on servers of its own and tells what came of it.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import grpc
import httpx
import psycopg

from ops.embedded import EmbeddedPostgres
from ops.migrate import migrate
from ops.service_process import LogLine
from ops.services import SERVICES, free_addresses
from ops.supervisor import Deployment
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_AT_ONCE,
    CAPTURE_MODE_WHEN_HELD,
    PAYMENT_FLOW_EMBEDDED,
    PAYMENT_FLOW_HOSTED,
    Payment,
)
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultSettings
from tests.sandboxes.stripe.server import StripeSandbox
from tests.sandboxes.stripe.settings import StripeSettings, WebhookEndpoint
from tests.system.client import Client, new_id, reason_of

AnswerT = TypeVar("AnswerT")

WEBHOOK_SECRET = "whsec_storm"
IN_FLIGHT = 24
"""Customers at a time."""
STOCK = 400
SKU_IDS = [f"sku-{number}" for number in range(10)]
HOLD_SECONDS = 20
"""Of an unpaid order: those that are left open expire before the storm is over."""
ATTEMPT_SECONDS = 2.0
CALM_SECONDS_MAX = 240.0
"""From the last customer to the last open question: a lease and a few growing pauses."""


@dataclass(slots=True)
class Tally:
    """What customers and processes have been through."""

    behaviours: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)


class Storm:
    """One storm. The sandbox lives in this process, the services in others."""

    def __init__(
        self, database_url: str, deployment: Deployment, sandbox: StripeSandbox, url: str, seed: int
    ) -> None:
        self.database_url = database_url
        self.tally = Tally()
        self._deployment = deployment
        self._sandbox = sandbox
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0)
        self._chance = Random(seed)
        self._is_over = False

    async def close(self) -> None:
        await self._http.aclose()

    # --- the storm --------------------------------------------------------------------------------

    async def rage(
        self, order_count: int, *, kill_every_seconds: float, on_done: Callable[[int], None]
    ) -> None:
        """Has customers come and go until all of them are done, then heals everything but time."""
        async with Client(self._deployment.command_address) as client:
            await client.open_shop(SKU_IDS, STOCK * order_count)
        killer = asyncio.create_task(self._kill(kill_every_seconds))
        room = asyncio.Semaphore(IN_FLIGHT)
        done = 0

        async def one(number: int) -> None:
            nonlocal done
            async with room:
                await self._customer(Random(number))
            done += 1
            on_done(done)

        try:
            await asyncio.gather(*(one(number) for number in range(order_count)))
        finally:
            self._is_over = True
            await killer
        self.tally.faults = {str(kind): n for kind, n in self._sandbox.faults.counts.items()}
        self._sandbox.faults.configure(FaultSettings())

    async def _kill(self, every_seconds: float) -> None:
        """Kills a process of the shop now and then; whoever keeps them starts it anew."""
        while not self._is_over:
            await asyncio.sleep(every_seconds * self._chance.uniform(0.5, 1.5))
            running = [process for process in self._deployment.processes if process.is_running]
            if running and not self._is_over:
                victim = self._chance.choice(running)
                self.tally.kills[victim.name] += 1
                victim.kill()

    async def _customer(self, chance: Random) -> None:
        behaviour = chance.choices(
            ["pays", "declined first", "twice", "leaves", "cancelled", "late"],
            weights=[60, 12, 8, 8, 8, 4],
        )[0]
        self.tally.behaviours[behaviour] += 1
        order = await self._order(chance)
        payment = await self._start(order, chance)
        if payment is None:
            return
        match behaviour:
            case "pays":
                await self._act(payment, "pay")
            case "declined first":
                await self._act(payment, "decline")
                await self._act(payment, "pay")
            case "twice":
                second = await self._start(order, chance)
                await self._act(payment, "pay")
                if second is not None:
                    await self._act(second, "pay")
            case "cancelled":
                await asyncio.gather(self._act(payment, "pay"), self._cancel(order))
            case "late":
                await asyncio.sleep(HOLD_SECONDS + 1)
                await self._act(payment, "pay")
            case _:
                pass

    async def _order(self, chance: Random) -> Order:
        cart = None
        while cart is None:
            # A new cart each time: whether a lost one was made does not matter here.
            with suppress(grpc.aio.AioRpcError):
                async with Client(self._deployment.command_address) as client:
                    wanted = chance.sample(SKU_IDS, chance.randint(1, 3))
                    cart = await client.fill_cart({name: chance.randint(1, 3) for name in wanted})
        request = ordering_pb.PlaceOrderRequest(
            request_id=new_id(), cart_id=cart.cart_id, etag=cart.etag, expected_total=cart.total
        )
        placed = await self._insist(lambda client: client.ordering.PlaceOrder(request, timeout=20))
        assert placed is not None
        return placed.order

    async def _start(self, order: Order, chance: Random) -> Payment | None:
        """None when the order does not want money any more."""
        request = payment_pb.StartPaymentRequest(
            request_id=new_id(),
            order_id=order.order_id,
            provider="stripe",
            flow=chance.choice([PAYMENT_FLOW_EMBEDDED, PAYMENT_FLOW_HOSTED]),
            capture_mode=chance.choice([CAPTURE_MODE_AT_ONCE, CAPTURE_MODE_WHEN_HELD]),
            customer_return_url="https://shop.example/paid",
        )
        started = await self._insist(lambda client: client.payment.StartPayment(request, timeout=30))
        return None if started is None else started.payment

    async def _cancel(self, order: Order) -> None:
        request = ordering_pb.CancelOrderRequest(request_id=new_id(), order_id=order.order_id)
        await self._insist(lambda client: client.ordering.CancelOrder(request, timeout=20))

    async def _insist(self, call: Callable[[Client], Awaitable[AnswerT]]) -> AnswerT | None:
        """Sends the same request until it is answered; None when it is refused."""
        while True:
            try:
                async with Client(self._deployment.command_address) as client:
                    return await call(client)
            except grpc.aio.AioRpcError as error:
                if error.code() in {
                    grpc.StatusCode.FAILED_PRECONDITION,
                    grpc.StatusCode.ALREADY_EXISTS,
                    grpc.StatusCode.NOT_FOUND,
                }:
                    self.tally.retries[f"refused {reason_of(error)}"] += 1
                    return None
                self.tally.retries[error.code().name] += 1
            await asyncio.sleep(0.3)

    async def _act(self, payment: Payment, act: str) -> None:
        """What the customer does at the provider, who may have closed the payment meanwhile."""
        kind = "checkout/sessions" if payment.flow == PAYMENT_FLOW_HOSTED else "payment_intents"
        path = f"/_sandbox/{kind}/{payment.provider_reference}/{act}"
        answer = await self._http.post(path, json={})
        self.tally.retries[f"{act} {answer.status_code}"] += 1

    # --- what is left -----------------------------------------------------------------------------

    async def calm(self) -> None:
        """Returns when nothing is open any more; fails after CALM_SECONDS_MAX."""
        async with asyncio.timeout(CALM_SECONDS_MAX):
            while self.open_questions() or self._sandbox.deliveries.outstanding_count:  # noqa: ASYNC110 asked of others
                await asyncio.sleep(0.5)

    def open_questions(self) -> dict[str, int]:
        """What is still on its way, by kind."""
        found = {
            "errands": "SELECT count(*) FROM payments WHERE errand_task IS NOT NULL",
            "refund errands": "SELECT count(*) FROM refunds WHERE errand_task IS NOT NULL",
            "unpaid orders": "SELECT count(*) FROM orders WHERE state IN (1, 2)",
            "surplus": """SELECT count(*) FROM orders
                WHERE state IN (6, 7) AND paid_minor > refunded_minor
                   OR paid_minor - refunded_minor > total_minor""",
            "payable": """SELECT count(*) FROM payments JOIN orders USING (order_id)
                WHERE payments.state IN (2, 3, 4) AND orders.state NOT IN (1, 2)""",
        }
        counts = {name: int(self._number(sql)) for name, sql in found.items()}
        return {name: count for name, count in counts.items() if count}

    def verdict(self) -> "Verdict":
        """What became of the money."""
        totals = self._sandbox.account.totals()
        captured = sum(each["captured_minor"] for each in totals["payment_intents"])
        refunded = sum(each["refunded_minor"] for each in totals["payment_intents"])
        over = [
            each["id"]
            for each in totals["payment_intents"]
            if each["refunded_minor"] > each["captured_minor"]
        ]
        return Verdict(
            captured_minor=captured,
            refunded_minor=refunded,
            paid_orders_minor=self._number(
                "SELECT coalesce(sum(total_minor), 0) FROM orders WHERE state IN (3, 4, 5)"
            ),
            paid_twice=self._number(
                """SELECT count(*) FROM orders WHERE state IN (3, 4, 5)
                   AND paid_minor - refunded_minor <> total_minor"""
            ),
            refunded_too_much=len(over),
            unknown=self._number("SELECT count(*) FROM payments WHERE state = 10")
            + self._number("SELECT count(*) FROM refunds WHERE state = 5"),
            failed_refunds=self._number("SELECT count(*) FROM refunds WHERE state = 4"),
            broken_invariants=self._broken_invariants(),
            orders_by_state=dict(
                self._rows("SELECT state::text, count(*) FROM orders GROUP BY 1 ORDER BY 1")
            ),
        )

    def _broken_invariants(self) -> dict[str, list[Any]]:
        views = self._rows("SELECT viewname FROM pg_views WHERE starts_with(viewname, 'inv_')")
        assert views, "the invariants are views of the database"
        broken = {name: self._rows(f"SELECT * FROM {name} LIMIT 5") for (name,) in views}
        return {name: rows for name, rows in broken.items() if rows}

    def _number(self, sql: str) -> int:
        return int(self._rows(sql)[0][0])

    def _rows(self, sql: str) -> list[Any]:
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The end of a storm, in minor units of the shop's one currency."""

    captured_minor: int
    refunded_minor: int
    paid_orders_minor: int
    paid_twice: int
    refunded_too_much: int
    unknown: int
    failed_refunds: int
    broken_invariants: dict[str, list[Any]]
    orders_by_state: dict[str, int]

    @property
    def is_exact(self) -> bool:
        """Whether every penny is where it must be."""
        return (
            self.captured_minor - self.refunded_minor == self.paid_orders_minor
            and not self.paid_twice
            and not self.refunded_too_much
            and not self.unknown
            and not self.broken_invariants
        )


@asynccontextmanager
async def brewing(database_url: str, *, seed: int = 0) -> AsyncIterator[Storm]:
    """Services and sandbox, with faults, ready for customers."""
    addresses = free_addresses()
    settings = StripeSettings(
        seed=seed,
        double_event_probability=0.1,
        refund_settle_seconds=0.5,
        faults=FaultSettings(
            probability=0.2, seed=seed, stall_seconds=2 * ATTEMPT_SECONDS, late_seconds=0.5
        ),
        deliveries=DeliverySettings(
            seed=seed,
            duplicate_probability=0.5,
            duplicates_max=5,
            delay_seconds_max=1.0,
            late_probability=0.05,
            late_seconds=5.0,
        ),
        webhook_endpoints=(
            WebhookEndpoint(
                f"http://{addresses['WEBHOOKS_ADDRESS']}/webhooks/stripe", (WEBHOOK_SECRET,)
            ),
        ),
    )
    services = [each for each in SERVICES if each.module in {"command_service", "webhooks"}]
    sandbox = StripeSandbox(settings)
    async with sandbox.running() as url:
        environment = {
            **os.environ,
            **addresses,
            "DATABASE_URL": database_url,
            "STRIPE_API_KEY": settings.secret_key,
            "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "STRIPE_API_URL": url,
            "PROVIDER_ATTEMPT_SECONDS_MAX": str(ATTEMPT_SECONDS),
            "ORDER_HOLD_SECONDS": str(HOLD_SECONDS),
        }
        lines: list[LogLine] = []
        async with Deployment(
            environment, workers=2, services=services, on_log=lines.append
        ) as deployment:
            storm = Storm(database_url, deployment, sandbox, url, seed)
            try:
                yield storm
            finally:
                await storm.close()


async def _main(order_count: int, seed: int) -> int:
    """Runs a storm on a PostgreSQL of its own; the exit status."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres(Path(folder)) as postgres:
        migrate(postgres.url())
        return await _run(postgres.url(), order_count, seed)


async def _run(database_url: str, order_count: int, seed: int) -> int:
    begun = time.monotonic()

    def tell(done: int) -> None:
        if done % 50 == 0:
            sys.stdout.write(f"{done} of {order_count} customers, {time.monotonic() - begun:.0f} s\n")
            sys.stdout.flush()

    async with brewing(database_url, seed=seed) as storm:
        await storm.rage(order_count, kill_every_seconds=5.0, on_done=tell)
        sys.stdout.write(f"{storm.tally}\nnow calm: {storm.open_questions()}\n")
        await storm.calm()
        verdict = storm.verdict()
    sys.stdout.write(f"{verdict}\n")
    sys.stdout.write(f"storm: orders={order_count} exact={'yes' if verdict.is_exact else 'NO'}\n")
    return 0 if verdict.is_exact else 1


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m tests.system.storm", description=__doc__)
    options.add_argument("--orders", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    sys.exit(asyncio.run(_main(given.orders, given.seed)))
