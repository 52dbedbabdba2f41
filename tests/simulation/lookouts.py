"""What the workers find in the database in memory: equal in meaning to checkout/lookouts.py."""

from collections.abc import Collection, Sequence
from datetime import datetime

from command_service.checkout.expiry import EXPIRABLES, Resting
from command_service.checkout.payment_worker import Stretch
from command_service.database_failures import ConnectionLost
from command_service.ordering.domain import AWAITING, CLOSED, Order
from command_service.payment.domain import OrderPayments
from command_service.payment.payments import CaptureMode, Payment, PaymentState
from command_service.payment.refunds import Refund
from command_service.world import LockRank
from tests.simulation.database import KEY_ROW, Database
from tests.simulation.unit_of_work import Conditions


class LookoutInMemory:
    """A worker's session: it may hold its lock, and may lose its connection."""

    def __init__(self, database: Database, conditions: Conditions) -> None:
        self.database = database
        self._conditions = conditions

    async def take_worker_lock(self, number: int) -> bool:
        await self._trip()
        return self.database.worker_locks.setdefault(number, self) is self

    def drop(self) -> None:
        for number, holder in list(self.database.worker_locks.items()):
            if holder is self:
                del self.database.worker_locks[number]

    async def close(self) -> None:
        self.drop()

    async def _trip(self) -> None:
        await self.database.loop.pause(0.001)
        if self._conditions.draw() is not None:
            self.drop()
            raise ConnectionLost("the connection is lost", code="08")


class ExpiryLookoutInMemory(LookoutInMemory):
    """See command_service.checkout.expiry.Lookout."""

    async def due(
        self, count_max: int, *, resting: Collection[Resting]
    ) -> Sequence[Sequence[tuple[str, datetime]]]:
        await self._trip()
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


class PaymentLookoutInMemory(LookoutInMemory):
    """See command_service.checkout.payment_worker.Lookout."""

    async def log_position(self) -> int:
        await self._trip()
        return self.database.last_position

    async def orders_to_advance(
        self, told: Stretch | None, due_count_max: int, *, resting: Collection[str]
    ) -> set[str]:
        await self._trip()
        named = None
        if told is not None:
            stretch = self.database.log[told.after : told.through]
            named = {logged.told.event.key for logged in stretch}
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
        return [each.due_time for each in errands if each is not None and each.due_time <= now]


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
