"""Everything that one Stripe account holds, in memory."""

from collections import defaultdict
from collections.abc import Callable

from tests.sandboxes.stripe.charges import Charges
from tests.sandboxes.stripe.checkout_sessions import CheckoutSessions
from tests.sandboxes.stripe.events import Event, EventLog
from tests.sandboxes.stripe.objects import Json, clock_from
from tests.sandboxes.stripe.payment_intents import PaymentIntents
from tests.sandboxes.stripe.payment_methods import PaymentMethods
from tests.sandboxes.stripe.refunds import Refund, Refunds
from tests.sandboxes.stripe.settings import StripeSettings


class Account:
    """The state, with plain methods: nothing here waits, so each call is atomic."""

    def __init__(
        self,
        settings: StripeSettings,
        *,
        listen: Callable[[Event], None] = lambda _event: None,
        count_listeners: Callable[[str], int] = lambda _type: 0,
        settle_later: Callable[[Refund], None] = lambda _refund: None,
    ) -> None:
        clock = clock_from(settings.created_base_seconds)
        self.events = EventLog(
            clock,
            api_version=settings.api_version,
            listen=listen,
            count_listeners=count_listeners,
            double_probability=settings.double_event_probability,
            seed=settings.seed,
        )
        self.charges = Charges(self.events, clock)
        self.intents = PaymentIntents(self.charges, PaymentMethods(), self.events, clock)
        self.refunds = Refunds(self.intents, self.charges, self.events, clock, settle_later)
        self.sessions = CheckoutSessions(
            self.intents, self.events, clock, is_intent_made_at_once=settings.is_intent_made_at_once
        )

    def find(self, id_: str) -> Json | None:
        """Any object that another one may refer to."""
        for found in (self.intents.by_id.get(id_), self.charges.by_id.get(id_)):
            if found is not None:
                return found.as_json()
        return None

    def dump(self) -> Json:
        """Everything, oldest first."""
        return {
            "payment_intents": [intent.as_json() for intent in self.intents.by_id.values()],
            "charges": [charge.as_json() for charge in self.charges.by_id.values()],
            "refunds": [refund.as_json() for refund in self.refunds.by_id.values()],
            "checkout_sessions": [session.as_json() for session in self.sessions.by_id.values()],
            "events": [event.as_json() for event in self.events.by_id.values()],
        }

    def totals(self) -> Json:
        """What was captured and refunded, by currency and by intent. Released holds are neither."""
        by_currency: dict[str, dict[str, int]] = defaultdict(
            lambda: {"captured_minor": 0, "refunded_minor": 0}
        )
        intents = [self._totals_of(id_) for id_ in self.intents.by_id]
        for intent in intents:
            for what in ("captured_minor", "refunded_minor"):
                by_currency[intent["currency"]][what] += intent[what]
        return {"by_currency": dict(by_currency), "payment_intents": intents}

    def _totals_of(self, intent_id: str) -> Json:
        intent = self.intents.by_id[intent_id]
        charge = self.charges.by_id.get(intent.latest_charge or "")
        return {
            "id": intent.id,
            "session": intent.session,
            "metadata": dict(intent.metadata),
            "status": intent.status,
            "currency": intent.currency,
            "captured_minor": charge.amount_captured_minor if charge else 0,
            "refunded_minor": charge.amount_refunded_minor if charge else 0,
        }
