"""A storm: orders are paid while calls fail, webhooks are doubled, and processes are killed.

`python -m tests.system.storm --orders 2000` runs one on servers of its own and tells what came of it.
"""

import argparse
import asyncio
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random

import httpx

from ops.account import temporary_data_dir
from ops.embedded import EmbeddedPostgres
from ops.migrate import migrate
from ops.service_process import LogLine
from ops.services import SERVICES, free_addresses
from ops.supervisor import SUPERVISOR, Deployment
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_AT_ONCE,
    CAPTURE_MODE_WHEN_HELD,
    PAYMENT_FLOW_EMBEDDED,
    PAYMENT_FLOW_HOSTED,
    Payment,
)
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultSettings
from tests.sandboxes.stripe import trouble
from tests.sandboxes.stripe.server import StripeSandbox
from tests.system.books import Books, Verdict
from tests.system.client import Client
from tests.system.patient import PatientClient
from tests.system.service_logs import error_in

IN_FLIGHT = 24
"""Customers at a time."""
STOCK = 400
SKU_IDS = [f"sku-{number}" for number in range(10)]
HOLD_SECONDS = 20
"""Of an unpaid order: those that are left open expire before the storm is over."""
ATTEMPT_SECONDS = 2.0


@dataclass(slots=True)
class Tally:
    """What customers and processes have been through."""

    behaviours: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    kills: Counter[str] = field(default_factory=Counter)
    faults: dict[str, int] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)
    """What was logged that only a mistake of ours can have caused, until the last process has ended."""

    def hear(self, line: LogLine) -> None:
        """Listens to the services and to who keeps them."""
        if not _is_kill(line) and (told := error_in(line.text)) is not None:
            self.complaints.append(f"{line.source}: {told}")


def _is_kill(line: LogLine) -> bool:
    """Whether a process ended as we had it end; who ends in another way has failed."""
    if line.source != SUPERVISOR:
        return False
    return bool(json.loads(line.text).get("exit_status") == -signal.SIGKILL)


class Storm:
    """One storm. The sandbox lives in this process, the services in others."""

    def __init__(
        self,
        tally: Tally,
        database_url: str,
        deployment: Deployment,
        sandbox: StripeSandbox,
        url: str,
        seed: int,
    ) -> None:
        self.books = Books(database_url)
        self.tally = tally
        self._client = PatientClient(deployment.command_address, self.tally.retries)
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
                await asyncio.gather(self._act(payment, "pay"), self._client.cancel(order))
            case "late":
                await asyncio.sleep(HOLD_SECONDS + 1)
                await self._act(payment, "pay")
            case _:
                pass

    async def _order(self, chance: Random) -> Order:
        wanted = chance.sample(SKU_IDS, chance.randint(1, 3))
        return await self._client.order({name: chance.randint(1, 3) for name in wanted})

    async def _start(self, order: Order, chance: Random) -> Payment | None:
        return await self._client.start(
            order,
            provider="stripe",
            flow=chance.choice([PAYMENT_FLOW_EMBEDDED, PAYMENT_FLOW_HOSTED]),
            capture_mode=chance.choice([CAPTURE_MODE_AT_ONCE, CAPTURE_MODE_WHEN_HELD]),
        )

    async def _act(self, payment: Payment, act: str) -> None:
        """What the customer does at the provider, who may have closed the payment meanwhile."""
        kind = "checkout/sessions" if payment.flow == PAYMENT_FLOW_HOSTED else "payment_intents"
        path = f"/_sandbox/{kind}/{payment.provider_reference}/{act}"
        answer = await self._http.post(path, json={})
        self.tally.retries[f"{act} {answer.status_code}"] += 1

    # --- what is left -----------------------------------------------------------------------------

    async def calm(self) -> None:
        """Returns when nothing is open any more."""
        await self.books.calm(self._sandbox.deliveries)

    def verdict(self) -> Verdict:
        """What became of the money."""
        payments = self._sandbox.account.totals()["payment_intents"]
        return self.books.verdict(
            {each["id"]: (each["captured_minor"], each["refunded_minor"]) for each in payments}
        )


@asynccontextmanager
async def brewing(database_url: str, *, seed: int = 0) -> AsyncIterator[Storm]:
    """Services and sandbox, with faults, ready for customers."""
    addresses = free_addresses()
    settings = trouble.troubled(
        addresses["WEBHOOKS_ADDRESS"],
        seed=seed,
        attempt_seconds_max=ATTEMPT_SECONDS,
        fault_probability=0.2,
        deliveries=DeliverySettings(
            duplicate_probability=0.5, duplicates_max=5, delay_seconds_max=1.0, late_seconds=5.0
        ),
    )
    services = [each for each in SERVICES if each.module in {"command_service", "webhooks"}]
    sandbox = StripeSandbox(settings)
    async with sandbox.running() as url:
        environment = {
            **os.environ,
            **addresses,
            "DATABASE_URL": database_url,
            **trouble.environment(url, attempt_seconds_max=ATTEMPT_SECONDS),
            "ORDER_HOLD_SECONDS": str(HOLD_SECONDS),
        }
        tally = Tally()
        async with Deployment(
            environment, workers=2, services=services, on_log=tally.hear
        ) as deployment:
            storm = Storm(tally, database_url, deployment, sandbox, url, seed)
            try:
                yield storm
            finally:
                await storm.close()


async def _main(order_count: int, seed: int) -> int:
    """Runs a storm on a PostgreSQL of its own; the exit status."""
    with temporary_data_dir() as folder, EmbeddedPostgres(folder / "postgres") as postgres:
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
        sys.stdout.write(f"{storm.tally}\nnow calm: {storm.books.open_questions()}\n")
        await storm.calm()
        verdict = storm.verdict()
    sys.stdout.write(f"{verdict}\n")
    complaints = storm.tally.complaints
    sys.stdout.writelines(f"logged: {complaint}\n" for complaint in complaints)
    is_exact = verdict.is_exact and not complaints
    sys.stdout.write(f"storm: orders={order_count} exact={'yes' if is_exact else 'NO'}\n")
    return 0 if is_exact else 1


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="python -m tests.system.storm", description=__doc__)
    options.add_argument("--orders", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()
    sys.exit(asyncio.run(_main(given.orders, given.seed)))
