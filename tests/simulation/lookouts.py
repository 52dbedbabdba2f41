"""What the workers find in the database in memory: equal in meaning to checkout/lookouts.py."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from command_service.checkout.expiry import EXPIRABLES, Resting
from command_service.checkout.payment_worker import Stretch
from command_service.database_failures import ConnectionLost, FellSilent, Interrupted
from command_service.ordering.domain import AWAITING, CLOSED, Order
from command_service.payment.domain import OrderPayments
from command_service.payment.payments import CaptureMode, Payment, PaymentState
from command_service.payment.refunds import Refund, RefundState
from command_service.world import LockRank
from tests.simulation.database import KEY_ROW, Database
from tests.simulation.unit_of_work import TRIP_SECONDS_MAX, Conditions, Fault

ResultT = TypeVar("ResultT")


IDLE_SECONDS_MAX = 10.0
"""Of a session that holds a worker's lock: the server ends one that asks nothing, as
command_service.session has it do."""

STALL_SECONDS_MAX = 13.0
"""Of a worker that stops between two trips: some stop until the server has ended their session."""


@dataclass(slots=True, eq=False)
class ServerSession:
    """A session as the server sees it."""

    is_over: bool = False


class LookoutInMemory:
    """A worker's session: it may hold its lock, and may lose its connection."""

    def __init__(self, database: Database, conditions: Conditions) -> None:
        self.database = database
        self._conditions = conditions
        self._session = ServerSession()

    async def take_worker_lock(self, number: int) -> bool:
        def take(session: ServerSession) -> bool:
            return self.database.worker_locks.setdefault(number, session) is session

        return await self._trip(take)

    def drop(self) -> None:
        """The server notices at once."""
        self._end(self._session)
        self._session = ServerSession()

    async def close(self) -> None:
        self.drop()

    async def _trip(self, talk: Callable[[ServerSession], ResultT]) -> ResultT:
        await self.database.loop.pause(0.001)
        fault = self._conditions.draw()
        if fault is None:
            return talk(self._session)
        return await self._faulty(fault, talk)

    async def _faulty(self, fault: Fault, talk: Callable[[ServerSession], ResultT]) -> ResultT:
        loop, session, draw = self.database.loop, self._session, self._conditions.chance.random
        self.database.trace.append(("fault", loop.time(), "a worker", fault.name))
        if fault is Fault.STALL:
            timer = loop.call_later(IDLE_SECONDS_MAX, self._end, session)
            await loop.pause(draw() * STALL_SECONDS_MAX)
            timer.cancel()
            if session.is_over:
                raise Interrupted("idle-session timeout", code="57")
            return talk(session)
        if fault is Fault.TERMINATED:
            self.drop()
            raise Interrupted("terminated by an administrator", code="57")
        if fault in (Fault.CUT_AFTER, Fault.SILENCE_AFTER):
            talk(session)
        # Its lock is nobody else's until the server notices that nobody is there.
        loop.call_later(draw() ** 3 * IDLE_SECONDS_MAX, self._end, session)
        self._session = ServerSession()
        if fault in (Fault.SILENCE_BEFORE, Fault.SILENCE_AFTER):
            await loop.pause(TRIP_SECONDS_MAX)
            raise FellSilent("the database did not answer", code="08")
        raise ConnectionLost("the connection is lost", code="08")

    def _end(self, session: ServerSession) -> None:
        session.is_over = True
        locks = self.database.worker_locks
        for number in [number for number, holder in locks.items() if holder is session]:
            del locks[number]


class ExpiryLookoutInMemory(LookoutInMemory):
    """See command_service.checkout.expiry.Lookout."""

    async def due(
        self, count_max: int, *, resting: Collection[Resting]
    ) -> Sequence[Sequence[tuple[str, datetime]]]:
        return await self._trip(lambda _: self._due(count_max, resting))

    def _due(self, count_max: int, resting: Collection[Resting]) -> list[list[tuple[str, datetime]]]:
        now = self.database.now
        found: dict[str, list[tuple[str, datetime]]] = {each.name: [] for each in EXPIRABLES}
        for kind, key, expire_time in expiring(self.database):
            if expire_time <= now and Resting(kind, key, expire_time) not in resting:
                found[kind].append((key, expire_time))
        return [sorted(rows, key=lambda row: row[1])[:count_max] for rows in found.values()]


def expiring(database: Database) -> list[tuple[str, str, datetime]]:
    """Everything that expires at some time: its kind, key and time."""
    found = []
    for (rank, key), row in database.rows.items():
        if rank in _EXPIRING and row is not KEY_ROW:
            kind, states = _EXPIRING[rank]
            if row.state in states and not (rank is LockRank.RESERVATION and row.is_of_order):
                found.append((kind, key, row.expire_time))
    return found


_EXPIRING: dict[LockRank, tuple[str, frozenset[int]]] = {
    LockRank.CART: ("cart", frozenset({1})),
    LockRank.ORDER: ("order", frozenset(AWAITING)),
    LockRank.RESERVATION: ("reservation", frozenset({1})),
}


_CONTEXTS_OF_ORDERS = frozenset({"ordering", "payment"})


class PaymentLookoutInMemory(LookoutInMemory):
    """See command_service.checkout.payment_worker.Lookout."""

    async def log_position(self) -> int:
        return await self._trip(lambda _: self.database.last_position)

    async def orders_to_advance(
        self, told: Stretch | None, due_count_max: int, *, resting: Collection[str]
    ) -> set[str]:
        return await self._trip(lambda _: self._to_advance(told, due_count_max, resting))

    def _to_advance(
        self, told: Stretch | None, due_count_max: int, resting: Collection[str]
    ) -> set[str]:
        named = None
        if told is not None:
            events = (each.told.event for each in self.database.log[told.after : told.through])
            named = {event.key for event in events if event.context in _CONTEXTS_OF_ORDERS}
        found = set()
        due: list[tuple[datetime, str]] = []
        for (rank, order_id), payments in self.database.rows.items():
            if rank is LockRank.ORDER_PAYMENTS and payments is not KEY_ROW:
                if order_id not in resting:
                    due += ((due_time, order_id) for due_time in self._due_times(payments))
                order = self.database.rows[LockRank.ORDER, order_id]
                if (named is None or order_id in named) and may_have_steps(order, payments):
                    found.add(order_id)
        return found.union(order_id for _, order_id in sorted(due)[:due_count_max])

    def _due_times(self, payments: OrderPayments) -> list[datetime]:
        now = self.database.now
        subjects: tuple[Payment | Refund, ...] = (*payments.payments, *payments.refunds)
        errands = [each.errand for each in subjects]
        due = [each.due_time for each in errands if each is not None and each.due_time <= now]
        unasked = [each for each in payments.refunds if each.errand is None]
        due += [each.update_time for each in unasked if each.state is RefundState.PENDING]
        return due


def may_have_steps(order: Order, payments: OrderPayments) -> bool:
    """As _MAY_HAVE_STEPS says in SQL."""
    return any(_may_have_step(order, payment) for payment in payments.payments)


def _may_have_step(order: Order, payment: Payment) -> bool:
    is_waiting = order.state in AWAITING
    if payment.state is PaymentState.AUTHORIZED and (
        not is_waiting or payment.capture_mode is not CaptureMode.ON_COMMAND or payment.failure_code
    ):
        return True
    if payment.state is PaymentState.AWAITING_CUSTOMER and not is_waiting:
        return True
    return payment.captured_minor > payment.refunded_minor and (
        order.state in CLOSED or order.paid_minor > order.total_minor
    )
