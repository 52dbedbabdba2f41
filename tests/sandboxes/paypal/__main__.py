"""`python -m tests.sandboxes.paypal --port 0`: prints its base URL when it is ready, ends on SIGTERM."""

import argparse
import asyncio
import signal
import sys
from dataclasses import fields

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.paypal.server import PayPalSandbox
from tests.sandboxes.paypal.settings import PayPalSettings, Webhook

DELIVERY_OPTIONS = [each.name for each in fields(DeliverySettings) if each.name != "seed"]


def parser() -> argparse.ArgumentParser:
    """The options; each is a setting of the same name."""
    calm, faults, deliveries = PayPalSettings(), FaultSettings(), DeliverySettings()
    options = argparse.ArgumentParser(prog="python -m tests.sandboxes.paypal", description=__doc__)
    add = options.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--webhook-url", help="where all events go")
    add("--webhook-id", default="WEBHOOKSANDBOX")
    add("--client-id", default=calm.client_id)
    add("--client-secret", default=calm.client_secret)
    add("--token-seconds", type=int, default=calm.token_seconds)
    add("--seed", type=int, default=calm.seed, help="of faults and webhooks")
    add("--think-seconds", type=float, default=calm.think_seconds)
    add("--reporting-lag-seconds", type=float, default=calm.reporting_lag_seconds)
    add("--fault-probability", type=float, default=faults.probability)
    add("--fault-kinds", type=FaultKind, nargs="+", default=faults.kinds)
    add("--stall-seconds", type=float, default=faults.stall_seconds)
    add("--late-effect-seconds", type=float, default=faults.late_seconds)
    add("--retry-after-seconds", type=int, default=faults.retry_after_seconds)
    for name in DELIVERY_OPTIONS:
        default = getattr(deliveries, name)
        add(f"--{name.replace('_', '-')}", type=type(default), default=default)
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
        faults=FaultSettings(
            probability=options.fault_probability,
            kinds=tuple(options.fault_kinds),
            seed=options.seed,
            stall_seconds=options.stall_seconds,
            late_seconds=options.late_effect_seconds,
            retry_after_seconds=options.retry_after_seconds,
        ),
        deliveries=DeliverySettings(
            seed=options.seed, **{name: getattr(options, name) for name in DELIVERY_OPTIONS}
        ),
        webhooks=(webhook,) if options.webhook_url else (),
    )


async def serve(settings: PayPalSettings, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, asked_to_stop.set)
    async with PayPalSandbox(settings).running(port=port) as base_url:
        sys.stdout.write(f"{base_url}\n")
        sys.stdout.flush()
        await asked_to_stop.wait()


if __name__ == "__main__":
    given = parser().parse_args()
    asyncio.run(serve(settings_from(given), given.port))
