"""A sandbox of Stripe that is as troublesome as the real one may be at its worst."""

from dataclasses import replace

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultSettings
from tests.sandboxes.stripe.settings import StripeSettings, WebhookEndpoint

API_KEY = "sk_test_trouble"
WEBHOOK_SECRET = "whsec_trouble"


def troubled(
    webhooks_address: str,
    *,
    seed: int,
    attempt_seconds_max: float,
    deliveries: DeliverySettings,
    fault_probability: float,
) -> StripeSettings:
    """Calls fail and stall, changes are told in two events, refunds and webhooks take their time.

    webhooks_address: host:port of our webhook service. attempt_seconds_max: of ours; some take longer.
    """
    endpoint = WebhookEndpoint(f"http://{webhooks_address}/webhooks/stripe", (WEBHOOK_SECRET,))
    return StripeSettings(
        secret_key=API_KEY,
        seed=seed,
        double_event_probability=0.1,
        refund_settle_seconds=0.3,
        faults=FaultSettings(
            probability=fault_probability,
            seed=seed,
            stall_seconds=2 * attempt_seconds_max,
            late_seconds=0.3,
        ),
        deliveries=replace(deliveries, seed=seed, late_probability=0.05),
        webhook_endpoints=(endpoint,),
    )


def environment(api_url: str, *, attempt_seconds_max: float) -> dict[str, str]:
    """What services are told of it: that calls may take so long, and for whom that is too long.

    Whoever was killed is not waited for; and who was frozen finds that its call was made by another.
    """
    return {
        "STRIPE_API_KEY": API_KEY,
        "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "STRIPE_API_URL": api_url,
        "PROVIDER_ATTEMPT_SECONDS_MAX": str(attempt_seconds_max),
        "PROVIDER_LEASE_SECONDS": str(3 * attempt_seconds_max),
    }
