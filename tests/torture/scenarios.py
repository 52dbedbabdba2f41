"""Seconds of a small shop that show one mistake, if the code makes it, and nothing if it does not."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC
from io import StringIO
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psycopg
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1 import cart_query_service_pb2 as carts_pb
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1.inventory_pb2 import ReservationLine
from tests.eventually import eventually
from tests.system.client import LOCATION, Client
from tests.torture.calls import Caller
from tests.torture.checker import OVERDUE_SECONDS_MAX, check, healthy_seconds
from tests.torture.evidence import read_evidence
from tests.torture.heartbeat import Heartbeat
from tests.torture.history import History, Operation, Outcome, Pulse
from tests.torture.implants import mutated
from tests.torture.mutants import Mutant
from tests.torture.shop import COMMAND, PROJECTIONS, QUERY, SETTINGS, Shop, services_of
from tests.torture.violations import Violation
from tests.torture.workload import SKU_IDS

STOCK = 10
PATIENCE_SECONDS = 10.0
BUYER_COUNT = 24
ROUND_COUNT = 12

ANSWERS_MAX = 500
"""In a scenario: ten seconds if each takes 20 ms and none comes beside another. Answers and not seconds,
because the machine may be busy with other tests."""
HEALTHY_SECONDS_MAX = 10.0
"""That pass in a scenario that waits until a shop has been well for so long."""


@dataclass(slots=True)
class Stage:
    """A small shop, what its clients went through, and two of them."""

    shop: Shop
    history: History
    heartbeat: Heartbeat
    stack: AsyncExitStack
    callers: list[Caller] = field(default_factory=list)

    async def caller(self) -> Caller:
        """Another client."""
        number = len(self.callers)
        caller = Caller(
            f"client {number}",
            self.shop.doors,
            self.history,
            Random(number),
            patience_seconds=PATIENCE_SECONDS,
        )
        self.callers.append(await self.stack.enter_async_context(caller))
        return caller

    def violations(self) -> list[Violation]:
        """What the checker sees."""
        evidence = read_evidence(self.shop.database_url)
        return check(self.history.as_of(self.history.mark()), evidence, self.history.pulses)


Scenario = Callable[[Stage], Awaitable[None]]


def excess(operations: Iterable[Operation], pulses: Iterable[Pulse]) -> str:
    """What of a scenario is more than ten seconds of a machine that has nothing else to do; or ""."""
    answer_count = sum(operation.is_decided for operation in operations)
    seconds = sum(pulse.end_seconds - pulse.begin_seconds for pulse in pulses if pulse.is_well)
    if answer_count > ANSWERS_MAX:
        return f"{answer_count} answers"
    return f"{seconds:.1f} s of health" if seconds > HEALTHY_SECONDS_MAX else ""


@asynccontextmanager
async def staged(
    postgres: EmbeddedPostgres,
    valkey: EmbeddedValkey,
    database_url: str,
    folder: Path,
    *,
    counts: Mapping[str, int],
    mutant: Mutant | None,
) -> AsyncIterator[Stage]:
    """A shop of so many processes, all of them with that mistake."""
    settings = {**SETTINGS, **(mutated(mutant.mutations) if mutant else {})}
    shop = Shop(postgres, valkey, database_url, folder, "http://127.0.0.1:1", settings)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(services_of(shop, counts))
        assert not shop.deaths, shop.deaths
        async with Client(shop.members_of(COMMAND)[0].address) as client:
            await client.open_shop(SKU_IDS, STOCK)
        if mutant is not None and mutant.sql:
            with psycopg.connect(database_url, autocommit=True) as connection:
                connection.execute(mutant.sql.encode())
        history = History(StringIO())
        yield Stage(shop, history, Heartbeat(shop.doors, history, deciders=shop.deciders), stack)


WITHOUT_VIEWS = {COMMAND: 2}
ONE_PROCESS = {COMMAND: 1}
WITH_VIEWS = {COMMAND: 1, PROJECTIONS: 1, QUERY: 1}


def received(quantity: int = 1, *, sku_id: str = SKU_IDS[0]) -> Any:
    """A delivery."""
    row = inventory_pb.StockRow(sku_id=sku_id, location_id=LOCATION, quantity=quantity)
    return inventory_pb.ReceiveStockRequest(request_id=str(uuid4()), rows=[row])


def reserved(seconds: int = 3600) -> Any:
    """A unit put aside."""
    return inventory_pb.ReserveStockRequest(
        request_id=str(uuid4()),
        reservation_id=str(uuid4()),
        reference="put aside",
        lines=[ReservationLine(sku_id=SKU_IDS[0], quantity=1)],
        hold_duration=Duration(seconds=seconds),
    )


async def write_and_read(stage: Stage) -> None:
    """A client asks for what it has just written."""
    await until_shown(stage)
    caller = await stage.caller()
    for _ in range(ROUND_COUNT):
        written, _ = await caller.command(received(), units={SKU_IDS[0]: 1})
        await caller.query(stock_pb.GetStockRequest(sku_id=SKU_IDS[0], at_least_as_fresh=written.token))


async def write_and_read_slowly(stage: Stage) -> None:
    """The same, where views take their time."""
    await until_shown(stage)
    stage.shop.links[f"{PROJECTIONS}#0 valkey"].slow_seconds = 0.05
    await write_and_read(stage)


async def fill_and_read_slowly(stage: Stage) -> None:
    """A customer looks at the cart that was just made, where views take their time."""
    await until_shown(stage)
    stage.shop.links[f"{PROJECTIONS}#0 valkey"].slow_seconds = 0.05
    caller = await stage.caller()
    for _ in range(ROUND_COUNT):
        request = cart_pb.CreateCartRequest(
            request_id=str(uuid4()), cart_id=str(uuid4()), currency_code="GBP"
        )
        made, _ = await caller.command(request)
        await caller.query(
            carts_pb.GetCartRequest(cart_id=request.cart_id, at_least_as_fresh=made.token)
        )


async def flush_and_read(stage: Stage) -> None:
    """Clients ask for what is there while its views are lost, and told anew."""
    await until_shown(stage)
    caller = await stage.caller()
    written, _ = await caller.command(received(), units={SKU_IDS[0]: 1})
    wanted = stock_pb.GetStockRequest(sku_id=SKU_IDS[0], at_least_as_fresh=written.token)
    async with Redis.from_url(stage.shop.valkey.url) as redis:
        for _ in range(3):
            await redis.flushall()
            for _ in range(30):
                await caller.query(wanted)
            await until_shown(stage)


async def kill_after_answer(stage: Stage) -> None:
    """The process that has answered is killed."""
    caller = await stage.caller()
    member = stage.shop.members[f"{COMMAND}#0"]
    for _ in range(3):
        await caller.command(received(), units={SKU_IDS[0]: 1})
    member.is_wanted = False
    member.process.kill()
    await member.process.wait()
    await stage.shop.start(member)
    await stage.shop.until_well()


async def send_again(stage: Stage) -> None:
    """The same requests reach one process after the other, and both at once."""
    callers = [await stage.caller() for _ in range(2)]
    for _ in range(ROUND_COUNT):
        request = received()
        units = {SKU_IDS[0]: 1}
        for caller in callers:
            await caller.command(request, units=units)
        request = received()
        await asyncio.gather(*(caller.command(request, units=units) for caller in callers))


async def race(stage: Stage) -> None:
    """Many want the last units, of two processes."""
    callers = [await stage.caller() for _ in range(BUYER_COUNT)]
    for _ in range(ROUND_COUNT):
        await callers[0].command(received(4), units={SKU_IDS[0]: 4})
        await asyncio.gather(*(caller.command(reserved()) for caller in callers))


async def deliver_side_by_side(stage: Stage) -> None:
    """Two processes write at once, of goods that have nothing to do with each other."""
    callers = [await stage.caller() for _ in range(4)]
    for _ in range(ROUND_COUNT):
        deliveries = [received(sku_id=sku_id) for sku_id in SKU_IDS]
        await asyncio.gather(
            *(
                caller.command(delivery, units={sku_id: 1})
                for caller, delivery, sku_id in zip(callers, deliveries, SKU_IDS, strict=False)
            )
        )


async def let_expire(stage: Stage) -> None:
    """A hold of a second is left alone, until it is overdue by more than it may be."""
    caller = await stage.caller()
    beating = asyncio.create_task(stage.heartbeat.beat())
    _, answer = await caller.command(reserved(seconds=1))
    expired_seconds = answer.reservation.expire_time.ToDatetime(UTC).timestamp()

    async def has_been_well() -> bool:
        spent = healthy_seconds(stage.history.pulses, expired_seconds, time.time())
        return spent > OVERDUE_SECONDS_MAX + 0.5

    try:
        # Of healthy service: on a machine that is busy there is little of it.
        await eventually(has_been_well, seconds=100)
    finally:
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


async def until_shown(stage: Stage) -> None:
    """Returns when queries are answered."""
    caller = await stage.caller()

    async def is_shown() -> bool:
        operation, _ = await caller.query(stock_pb.GetStockRequest(sku_id=SKU_IDS[0]))
        return operation.outcome is Outcome.OK

    await eventually(is_shown, seconds=30)
