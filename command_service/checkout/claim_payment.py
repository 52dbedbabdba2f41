"""ClaimPayment: whoever sends a request again takes up what its first sender left. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.checkout.start_payment import payments_of
from command_service.ordering.commands import order_of
from command_service.ordering.domain import ORDER
from command_service.payment.domain import ORDER_PAYMENTS, order_id_of
from command_service.payment.errands import LEASE
from command_service.payment.payments import Payment
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class Claimed:
    """A payment as it is.

    is_ours: whether its call is now ours to make. is_wanted: whether its order can still be paid.
    """

    payment: Payment
    is_ours: bool
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class ClaimPayment(Command[Claimed]):
    """Takes the call of a payment, if there is one and nobody is making it."""

    payment_id: str
    lease: timedelta = LEASE

    def touches(self) -> Iterable[Touch]:
        """The order and its payments."""
        order_id = order_id_of(self.payment_id)
        return ORDER.change(order_id), ORDER_PAYMENTS.change(order_id)

    def decide(self, world: World, now: datetime) -> Decision[Claimed]:
        """Whoever sends it has the payment from an answer of ours."""
        payments = payments_of(world, order_id_of(self.payment_id))
        before = payments.payment(self.payment_id)
        if before.errand is None or not before.errand.is_free(now, is_urgent=True):
            return Decision(Claimed(before, is_ours=False))
        after = before.claimed(now, lease=self.lease)
        change = ORDER_PAYMENTS.changed(payments.order_id, payments.with_payment(after))
        is_wanted = order_of(world, payments.order_id).holds_stock(now)
        return Decision(Claimed(after, is_ours=True, is_wanted=is_wanted), [change])
