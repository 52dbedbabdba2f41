"""Two sessions of one database, whichever it is, and what a test may do to it from outside."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any, Protocol
from uuid import UUID, uuid4

import psycopg

from command_service.checkout import lookouts
from command_service.checkout.expiry import Lookout as ExpiryLookout
from command_service.checkout.payment_worker import Lookout as PaymentLookout
from command_service.inventory.domain import (
    HeldLine,
    Level,
    Reservation,
    ReservationState,
    Stock,
)
from command_service.inventory.events import ReservationReleased
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.session import Session
from command_service.storage import storage
from command_service.unit_of_work import Changed, Found, Keys, Named, NewAnswer, Told, UnitOfWork, Work
from command_service.world import Change, Kind, Mode, Touch
from event_log.appending import LOCK_LOG
from event_log.tokens import ConsistencyToken
from tests.eventually import eventually
from tests.simulation.database import OPENING, Database
from tests.simulation.lookouts import ExpiryLookoutInMemory, PaymentLookoutInMemory
from tests.simulation.loop import SimulatedLoop
from tests.simulation.unit_of_work import Conditions, Fault, MemoryUnitOfWork
from tests.system.cutting_proxy import CuttingProxy, proxied


class Pair(Protocol):
    """Both sessions are connected."""

    first: UnitOfWork
    second: UnitOfWork
    expiry: tuple[ExpiryLookout, ExpiryLookout]
    payments: tuple[PaymentLookout, PaymentLookout]

    async def until_it_waits(self, unit: UnitOfWork) -> None:
        """Returns once a statement of the session waits for a lock."""
        ...

    def others_hold_the_log(self) -> AbstractAsyncContextManager[None]:
        """Somebody else has the log's lock for as long as the block lasts."""
        ...

    async def lose(self, unit: UnitOfWork) -> None:
        """Ends the session's connection from the client's side, without a word."""
        ...

    def lose_next_commit(self, unit: UnitOfWork) -> None:
        """The next commit of the session is carried out, and its answer is lost."""
        ...


History = Callable[[Pair], Coroutine[Any, Any, None]]


# --- in memory ------------------------------------------------------------------------------------


class CuttingConditions(Conditions):
    """No faults but those that are asked for."""

    is_armed = False

    def draw(self) -> Fault | None:
        if not self.is_armed:
            return None
        self.is_armed = False
        return Fault.CUT_AFTER


class PairInMemory:
    """See Pair."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.database = Database(loop, {})
        self.conditions = [CuttingConditions(Random(0), fault_rate=1.0) for _ in range(2)]
        self.first: UnitOfWork = MemoryUnitOfWork(self.database, self.conditions[0], "first")
        self.second: UnitOfWork = MemoryUnitOfWork(self.database, self.conditions[1], "second")
        first, second = self.conditions
        self.expiry: tuple[ExpiryLookout, ExpiryLookout] = (
            ExpiryLookoutInMemory(self.database, first),
            ExpiryLookoutInMemory(self.database, second),
        )
        self.payments: tuple[PaymentLookout, PaymentLookout] = (
            PaymentLookoutInMemory(self.database, first),
            PaymentLookoutInMemory(self.database, second),
        )

    async def until_it_waits(self, unit: UnitOfWork) -> None:
        assert isinstance(unit, MemoryUnitOfWork)
        for _ in range(100):
            link = unit._link
            if link is not None and link.txn is not None and link.txn.waits_for is not None:
                return
            await self.database.loop.pause(0.001)
        raise AssertionError("it does not wait")

    @asynccontextmanager
    async def others_hold_the_log(self) -> AsyncIterator[None]:
        txn = self.database.begin("others")
        await self.database.acquire(txn, "log", is_exclusive=True)
        yield
        self.database.abort(txn)

    async def lose(self, unit: UnitOfWork) -> None:
        assert isinstance(unit, MemoryUnitOfWork)
        unit.drop()

    def lose_next_commit(self, unit: UnitOfWork) -> None:
        assert isinstance(unit, MemoryUnitOfWork)
        assert isinstance(unit.conditions, CuttingConditions)
        unit.conditions.is_armed = True


def play_in_memory(history: History) -> None:
    loop = SimulatedLoop(Random(0), is_shuffled=False)

    async def main() -> None:
        pair = PairInMemory(loop)
        await pair.first.connect()
        await pair.second.connect()
        await history(pair)

    loop.run(main())
    assert loop.errors == []


# --- in PostgreSQL --------------------------------------------------------------------------------

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND wait_event_type = 'Lock'
"""


@dataclass
class PairInPostgresql:
    """See Pair. proxy: the first session leads through it."""

    database_url: str
    sessions: Mapping[str, Session]
    proxy: CuttingProxy

    def __post_init__(self) -> None:
        kept = storage()
        self.units = {name: PostgresqlUnitOfWork(s, kept) for name, s in self.sessions.items()}
        self.first: UnitOfWork = self.units["first"]
        self.second: UnitOfWork = self.units["second"]
        url = self.database_url
        self.expiries = lookouts.ExpiryLookout(url, "e1"), lookouts.ExpiryLookout(url, "e2")
        self.expiry: tuple[ExpiryLookout, ExpiryLookout] = self.expiries
        self.payers = lookouts.PaymentLookout(url, "p1"), lookouts.PaymentLookout(url, "p2")
        self.payments: tuple[PaymentLookout, PaymentLookout] = self.payers

    def _name(self, unit: UnitOfWork) -> str:
        return next(name for name, each in self.units.items() if each is unit)

    async def until_it_waits(self, unit: UnitOfWork) -> None:
        async with await self._others() as others:

            async def waits() -> bool:
                cursor = await others.execute(WAITING, (self._name(unit),))
                return await cursor.fetchone() == (1,)

            await eventually(waits, seconds=30)

    async def _others(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        return await psycopg.AsyncConnection.connect(self.database_url, autocommit=True)

    @asynccontextmanager
    async def others_hold_the_log(self) -> AsyncIterator[None]:
        async with await self._others() as others, others.transaction():
            await others.execute(LOCK_LOG.encode())
            yield

    async def lose(self, unit: UnitOfWork) -> None:
        self.sessions[self._name(unit)].drop()

    def lose_next_commit(self, unit: UnitOfWork) -> None:
        assert unit is self.first, "it is the one that has a proxy"
        self.proxy.is_armed = True


def play_in_postgresql(database_url: str, history: History) -> None:
    async def main() -> None:
        async with proxied(database_url) as (proxy, proxied_url):
            sessions = {
                "first": Session(proxied_url, "first"),
                "second": Session(database_url, "second"),
            }
            pair = PairInPostgresql(database_url, sessions, proxy)
            workers = (*pair.expiries, *pair.payers)
            for session in (*sessions.values(), *workers):
                await session.connect()
            try:
                await history(pair)
            finally:
                for session in (*sessions.values(), *workers):
                    await session.close()

    asyncio.run(main())


# --- what histories are made of -------------------------------------------------------------------

LATER = OPENING + timedelta(days=10_000)


def level(on_hand: int, *, reserved: int = 0) -> Level:
    return Level("main", 0, on_hand=on_hand, reserved=reserved)


def stock(sku_id: str, on_hand: int, *, reserved: int = 0) -> Stock:
    return Stock(sku_id, (level(on_hand, reserved=reserved),))


def reservation(reservation_id: str) -> Reservation:
    lines = (HeldLine("mug", "main", 1),)
    return Reservation(reservation_id, False, "", ReservationState.HELD, lines, LATER)


def named(*touches: Touch) -> list[Named]:
    """As a transaction asks for them: by kind, keys sorted."""
    kinds: dict[Any, tuple[Kind[Any, Any], list[tuple[Any, Mode]]]] = {}
    for touch in touches:
        kinds.setdefault(touch.kind.rank, (touch.kind, []))[1].append((touch.key, touch.mode))
    return [(kind, Keys(sorted(modes))) for _, (kind, modes) in sorted(kinds.items())]


async def load(unit: UnitOfWork, *touches: Touch) -> list[Any]:
    """The aggregates in the order of their kinds and keys."""
    found: Sequence[Found] = await unit.load(named(*touches))
    return [aggregate for of_kind in found for aggregate in of_kind.values()]


async def begin(unit: UnitOfWork, *touches: Touch) -> list[Any]:
    await unit.claim([])
    return await load(unit, *touches)


def work(
    *changes: tuple[Change, Any],
    event_count: int = 0,
    answers: Sequence[NewAnswer] = (),
    not_created: Sequence[Touch] = (),
) -> Work:
    """changes: each with the aggregate as it was before."""
    told = ReservationReleased("r", expired=True)
    by_kind: dict[Any, tuple[Kind[Any, Any], list[Changed[Any, Any]]]] = {}
    for change, before in changes:
        of_kind = by_kind.setdefault(change.kind.rank, (change.kind, []))[1]
        of_kind.append(Changed(change.key, before, change.after))
    return Work(
        OPENING,
        [entry for _, entry in sorted(by_kind.items())],
        [(touch.kind, [touch.key]) for touch in not_created],
        [
            Told(told, ("shopkeeper.inventory.v1.ReservationReleased", b""), "tester", uuid4())
            for _ in range(event_count)
        ],
        answers or [answer_to(uuid4())],
    )


def answer_to(request_id: UUID, body: bytes = b"done") -> NewAnswer:
    return NewAnswer(request_id, "Do", b"payload", 0, body)


async def keep(unit: UnitOfWork, *changes: Change) -> ConsistencyToken:
    """Commits aggregates that are not there yet."""
    await begin(unit, *(change.kind.create(change.key) for change in changes))
    return await unit.write(work(*((change, None) for change in changes)))


async def seen(unit: UnitOfWork, *touches: Touch) -> list[Any]:
    """What is committed."""
    found = await begin(unit, *touches)
    await unit.end()
    return found
