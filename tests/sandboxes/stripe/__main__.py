"""`python -m tests.sandboxes.stripe --port 0`: prints its base URL when it is ready, ends on SIGTERM."""

import argparse

from tests.sandboxes.command_line import (
    delivery_settings,
    fault_settings,
    parser_of,
    serve_until_told,
)
from tests.sandboxes.faults import FaultKind
from tests.sandboxes.stripe.server import StripeSandbox
from tests.sandboxes.stripe.settings import StripeSettings, WebhookEndpoint


def parser() -> argparse.ArgumentParser:
    """The options; each is a setting of the same name."""
    calm = StripeSettings()
    options = parser_of("stripe", fault_kinds=tuple(FaultKind))
    add = options.add_argument
    add("--webhook-url", help="where all events go")
    add("--webhook-secret", default="whsec_sandbox")
    add("--secret-key", default=calm.secret_key)
    add("--created-base-seconds", type=int)
    add("--double-event-probability", type=float, default=calm.double_event_probability)
    add("--refund-settle-seconds", type=float)
    add("--think-seconds", type=float, default=calm.think_seconds)
    add("--intent-made-at-once", action="store_true")
    return options


def settings_from(options: argparse.Namespace) -> StripeSettings:
    """The settings that the options spell out."""
    webhook = WebhookEndpoint(options.webhook_url, (options.webhook_secret,))
    return StripeSettings(
        secret_key=options.secret_key,
        seed=options.seed,
        created_base_seconds=options.created_base_seconds,
        double_event_probability=options.double_event_probability,
        refund_settle_seconds=options.refund_settle_seconds,
        is_intent_made_at_once=options.intent_made_at_once,
        think_seconds=options.think_seconds,
        faults=fault_settings(options),
        deliveries=delivery_settings(options),
        webhook_endpoints=(webhook,) if options.webhook_url else (),
    )


if __name__ == "__main__":
    given = parser().parse_args()
    serve_until_told(StripeSandbox(settings_from(given)).running(port=given.port))
