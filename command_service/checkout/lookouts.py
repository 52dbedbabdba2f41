"""What the workers of checkout find in PostgreSQL: their ports stand beside them."""

from collections.abc import Collection, Mapping
from typing import Any

from command_service.cart.repository import DUE_CARTS
from command_service.checkout.expiry import EXPIRABLES, Resting
from command_service.checkout.payment_worker import Stretch
from command_service.inventory.repository import DUE_RESERVATIONS
from command_service.ordering.repository import DUE_ORDERS
from command_service.payment.repository import DUE_ERRANDS
from command_service.pipeline import Statement
from command_service.session import TIMEOUTS, Session, Timeouts
from event_log.appending import LAST_POSITION

_DUE: Mapping[str, str] = {
    "order": DUE_ORDERS,
    "reservation": DUE_RESERVATIONS,
    "cart": DUE_CARTS,
}

# Whether an order has next steps is for checkout.process alone to say. This says which orders cannot
# have any, which are nearly all: it must let through whatever process.next_steps would act on.
_MAY_HAVE_STEPS = """
EXISTS (SELECT FROM payments WHERE payments.order_id = orders.order_id AND (
    payments.state = 4 AND (orders.state NOT IN (1, 2) OR payments.capture_mode <> 3
        OR payments.failure_code <> '')
    OR payments.state = 2 AND orders.state NOT IN (1, 2)
    OR payments.captured_minor > payments.refunded_minor
        AND (orders.state IN (6, 7) OR orders.paid_minor > orders.total_minor)))
"""

_OF_LOG = f"""
SELECT order_id FROM orders WHERE order_id IN (
    SELECT key FROM events WHERE position > %(after)s::bigint AND position <= %(through)s::bigint
    AND context IN ('ordering', 'payment'))
AND {_MAY_HAVE_STEPS}
"""

# It takes a second and a half a million payments.
_OF_ALL = f"SELECT order_id FROM orders WHERE {_MAY_HAVE_STEPS}"


class ExpiryLookout(Session):
    """Finds what is due; one trip."""

    async def due(self, count_max: int, *, resting: Collection[Resting]) -> list[list[Any]]:
        """See command_service.checkout.expiry.Lookout."""
        statements = []
        for expirable in EXPIRABLES:
            rest = [each for each in resting if each.name == expirable.name]
            keys, times = [each.key for each in rest], [each.expire_time for each in rest]
            statements.append(Statement(_DUE[expirable.name], (keys, times, count_max)))
        return await self.run(statements)


class PaymentLookout(Session):
    """Finds orders that somebody has to see to; each question is one trip."""

    def __init__(self, conninfo: str, application_name: str, timeouts: Timeouts | None = None) -> None:
        super().__init__(conninfo, application_name, (timeouts or TIMEOUTS).patient)

    async def log_position(self) -> int:
        """See command_service.checkout.payment_worker.Lookout."""
        [[(end,)]] = await self.run([Statement(LAST_POSITION)])
        return int(end)

    async def orders_to_advance(
        self, told: Stretch | None, due_count_max: int, *, resting: Collection[str]
    ) -> set[str]:
        """See command_service.checkout.payment_worker.Lookout."""
        limits = {"resting": list(resting), "count_max": due_count_max}
        statements = [Statement(DUE_ERRANDS, limits)]
        if told is None:
            statements.append(Statement(_OF_ALL))
        elif told.after < told.through:
            statements.append(Statement(_OF_LOG, {"after": told.after, "through": told.through}))
        results = await self.run(statements)
        return {order_id for rows in results for (order_id,) in rows}
