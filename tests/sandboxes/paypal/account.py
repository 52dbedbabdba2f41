"""Everything that one PayPal account holds, in memory."""

from collections import defaultdict
from collections.abc import Callable

from tests.sandboxes.paypal.events import Event, EventLog
from tests.sandboxes.paypal.objects import Json, Order
from tests.sandboxes.paypal.orders import Orders
from tests.sandboxes.paypal.payments import Payments
from tests.sandboxes.paypal.reporting import Reporting
from tests.sandboxes.paypal.settings import PayPalSettings

TAKEN = ("COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED")


class Account:
    """The state, with plain methods: nothing here waits, so each call is atomic."""

    def __init__(
        self, settings: PayPalSettings, *, listen: Callable[[Event], None] = lambda _event: None
    ) -> None:
        self.events = EventLog(listen)
        self.orders = Orders(self.events)
        self.payments = Payments(self.orders, self.events)
        self.reporting = Reporting(self.orders, lag_seconds=settings.reporting_lag_seconds)

    def dump(self) -> Json:
        """Everything, oldest first."""
        api_url = self.events.api_url
        return {
            "orders": [order.as_json(api_url) for order in self.orders.by_id.values()],
            "events": [event.as_json() for event in self.events.by_id.values()],
        }

    def totals(self) -> Json:
        """What was captured and refunded, in ISO minor units, by currency and by order."""
        by_currency: dict[str, dict[str, int]] = defaultdict(
            lambda: {"captured_minor": 0, "refunded_minor": 0}
        )
        orders = [_totals_of(order) for order in self.orders.by_id.values()]
        for order in orders:
            for what in ("captured_minor", "refunded_minor"):
                by_currency[order["currency"]][what] += order[what]
        return {"by_currency": dict(by_currency), "orders": orders}


def _totals_of(order: Order) -> Json:
    taken = [each.amount.minor for each in order.captures if each.status in TAKEN]
    returned = [each.amount.minor for each in order.refunds if each.status in ("COMPLETED", "PENDING")]
    return {
        "id": order.id,
        "custom_id": order.custom_id,
        "status": order.status,
        "currency": order.amount.currency_code,
        "captured_minor": sum(taken),
        "refunded_minor": sum(returned),
    }
