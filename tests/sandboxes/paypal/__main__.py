"""`python -m tests.sandboxes.paypal --port 0`: prints its base URL when it is ready, ends on SIGTERM."""

import argparse

from tests.sandboxes.command_line import (
    delivery_settings,
    fault_settings,
    parser_of,
    serve_until_told,
)
from tests.sandboxes.faults import FaultKind
from tests.sandboxes.paypal.server import PayPalSandbox
from tests.sandboxes.paypal.settings import PayPalSettings, Webhook


def parser() -> argparse.ArgumentParser:
    """The options; each is a setting of the same name."""
    calm = PayPalSettings()
    options = parser_of("paypal", fault_kinds=tuple(FaultKind))
    add = options.add_argument
    add("--webhook-url", help="where all events go")
    add("--webhook-id", default="WEBHOOKSANDBOX")
    add("--client-id", default=calm.client_id)
    add("--client-secret", default=calm.client_secret)
    add("--token-seconds", type=int, default=calm.token_seconds)
    add("--think-seconds", type=float, default=calm.think_seconds)
    add("--reporting-lag-seconds", type=float, default=calm.reporting_lag_seconds)
    return options


def settings_from(options: argparse.Namespace) -> PayPalSettings:
    """The settings that the options spell out."""
    webhook = Webhook(options.webhook_url, options.webhook_id)
    return PayPalSettings(
        client_id=options.client_id,
        client_secret=options.client_secret,
        token_seconds=options.token_seconds,
        seed=options.seed,
        think_seconds=options.think_seconds,
        reporting_lag_seconds=options.reporting_lag_seconds,
        faults=fault_settings(options),
        deliveries=delivery_settings(options),
        webhooks=(webhook,) if options.webhook_url else (),
    )


if __name__ == "__main__":
    given = parser().parse_args()
    serve_until_told(PayPalSandbox(settings_from(given)).running(port=given.port))
