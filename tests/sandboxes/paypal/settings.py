"""What a sandbox of PayPal can be told when it starts."""

from dataclasses import dataclass, field

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultSettings


@dataclass(frozen=True, slots=True)
class Webhook:
    """Where events go, and the id that their signatures are made for. `*` ends a pattern of types."""

    url: str
    webhook_id: str
    event_types: tuple[str, ...] = ("*",)


@dataclass(frozen=True, slots=True)
class PayPalSettings:
    """Everything has a default that is calm: no faults, each webhook once and in order."""

    client_id: str = "client_sandbox"
    client_secret: str = "secret_sandbox"
    token_seconds: int = 32_400
    seed: int = 0
    think_seconds: float = 0.0
    """How long a call with a request id is in progress."""
    reporting_lag_seconds: float = 0.0
    """How long transactions take to be listed; at PayPal up to three hours."""
    faults: FaultSettings = field(default_factory=FaultSettings)
    deliveries: DeliverySettings = field(default_factory=DeliverySettings)
    webhooks: tuple[Webhook, ...] = ()
