"""`python -m tests.sandboxes.stripe --port 0`: prints its base URL when it is ready, ends on SIGTERM."""

import argparse
import asyncio
import signal
import sys
from dataclasses import fields

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.stripe.server import StripeSandbox
from tests.sandboxes.stripe.settings import StripeSettings, WebhookEndpoint

DELIVERY_OPTIONS = [each.name for each in fields(DeliverySettings) if each.name != "seed"]


def parser() -> argparse.ArgumentParser:
    """The options; each is a setting of the same name."""
    calm, faults, deliveries = StripeSettings(), FaultSettings(), DeliverySettings()
    options = argparse.ArgumentParser(prog="python -m tests.sandboxes.stripe", description=__doc__)
    add = options.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--webhook-url", help="where all events go")
    add("--webhook-secret", default="whsec_sandbox")
    add("--secret-key", default=calm.secret_key)
    add("--seed", type=int, default=calm.seed, help="of faults, webhooks and doubled events")
    add("--created-base-seconds", type=int)
    add("--double-event-probability", type=float, default=calm.double_event_probability)
    add("--refund-settle-seconds", type=float)
    add("--think-seconds", type=float, default=calm.think_seconds)
    add("--intent-made-at-once", action="store_true")
    add("--fault-probability", type=float, default=faults.probability)
    add("--fault-kinds", type=FaultKind, nargs="+", default=faults.kinds)
    add("--stall-seconds", type=float, default=faults.stall_seconds)
    add("--late-effect-seconds", type=float, default=faults.late_seconds)
    add("--retry-after-seconds", type=int, default=faults.retry_after_seconds)
    for name in DELIVERY_OPTIONS:
        default = getattr(deliveries, name)
        add(f"--{name.replace('_', '-')}", type=type(default), default=default)
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
        webhook_endpoints=(webhook,) if options.webhook_url else (),
    )


async def serve(settings: StripeSettings, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, asked_to_stop.set)
    async with StripeSandbox(settings).running(port=port) as base_url:
        sys.stdout.write(f"{base_url}\n")
        sys.stdout.flush()
        await asked_to_stop.wait()


if __name__ == "__main__":
    given = parser().parse_args()
    asyncio.run(serve(settings_from(given), given.port))
