"""What a sandbox of Stripe can be told when it starts."""

from dataclasses import dataclass, field

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultSettings


@dataclass(frozen=True, slots=True)
class WebhookEndpoint:
    """Where events go, and the secrets that sign them: two while they are being rolled."""

    url: str
    secrets: tuple[str, ...]
    enabled_events: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class StripeSettings:
    """Everything has a default that is calm: no faults, each webhook once and in order."""

    secret_key: str = "sk_test_sandbox"
    api_version: str = "2026-10-28.endive"
    """Of the account: the shape of events, and of answers to calls that name no version."""
    seed: int = 0
    created_base_seconds: int | None = None
    """What `created` starts from; None is the real time. Signatures always bear the real time."""
    double_event_probability: float = 0.0
    """That two events tell of one change."""
    refund_settle_seconds: float | None = None
    """After this, refunds that are not final become so; None leaves it to the control endpoint."""
    is_intent_made_at_once: bool = False
    """Whether a Checkout Session has its PaymentIntent before the customer acts: not documented."""
    think_seconds: float = 0.0
    """How long a call with an idempotency key is in progress."""
    faults: FaultSettings = field(default_factory=FaultSettings)
    deliveries: DeliverySettings = field(default_factory=DeliverySettings)
    webhook_endpoints: tuple[WebhookEndpoint, ...] = ()
