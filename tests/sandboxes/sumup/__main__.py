"""`python -m tests.sandboxes.sumup --port 0`: prints its base URL when it is ready, ends on SIGTERM."""

import argparse
import asyncio
import signal
import sys
from dataclasses import fields

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.sumup.server import SumUpSandbox
from tests.sandboxes.sumup.settings import FAULT_KINDS, SumUpSettings

DELIVERY_OPTIONS = [each.name for each in fields(DeliverySettings) if each.name != "seed"]


def parser() -> argparse.ArgumentParser:
    """The options; each is a setting of the same name."""
    calm, faults, deliveries = SumUpSettings(), FaultSettings(), DeliverySettings()
    options = argparse.ArgumentParser(prog="python -m tests.sandboxes.sumup", description=__doc__)
    add = options.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--callback-url", default=calm.callback_url, help="where callbacks go, not to return_url")
    add("--api-key", default=calm.api_key)
    add("--merchant-code", default=calm.merchant_code)
    add("--affiliate-key", default=calm.affiliate_key)
    add("--reader-ids", nargs="+", default=calm.reader_ids)
    add("--reader-start-seconds", type=float, default=calm.reader_start_seconds)
    add("--refund-status", type=int, choices=(201, 204), default=calm.refund_status)
    add("--seed", type=int, default=calm.seed, help="of faults and callbacks")
    add("--fault-probability", type=float, default=faults.probability)
    add("--fault-kinds", type=FaultKind, nargs="+", choices=FAULT_KINDS, default=FAULT_KINDS)
    add("--stall-seconds", type=float, default=faults.stall_seconds)
    add("--late-effect-seconds", type=float, default=faults.late_seconds)
    add("--retry-after-seconds", type=int, default=faults.retry_after_seconds)
    for name in DELIVERY_OPTIONS:
        default = getattr(deliveries, name)
        add(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return options


def settings_from(options: argparse.Namespace) -> SumUpSettings:
    """The settings that the options spell out."""
    return SumUpSettings(
        api_key=options.api_key,
        merchant_code=options.merchant_code,
        affiliate_key=options.affiliate_key,
        seed=options.seed,
        reader_ids=tuple(options.reader_ids),
        reader_start_seconds=options.reader_start_seconds,
        refund_status=options.refund_status,
        callback_url=options.callback_url,
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
    )


async def serve(settings: SumUpSettings, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, asked_to_stop.set)
    async with SumUpSandbox(settings).running(port=port) as base_url:
        sys.stdout.write(f"{base_url}\n")
        sys.stdout.flush()
        await asked_to_stop.wait()


if __name__ == "__main__":
    given = parser().parse_args()
    asyncio.run(serve(settings_from(given), given.port))
