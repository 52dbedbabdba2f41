"""What the sandboxes' command lines have in common: faults, deliveries, and to serve until SIGTERM."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings

DELIVERY_OPTIONS = [each.name for each in fields(DeliverySettings) if each.name != "seed"]


def parser_of(provider: str, *, fault_kinds: Sequence[FaultKind]) -> argparse.ArgumentParser:
    """The options that all have; each is a setting of the same name. fault_kinds: those it knows."""
    faults, deliveries = FaultSettings(), DeliverySettings()
    program = f"python -m tests.sandboxes.{provider}"
    options = argparse.ArgumentParser(
        prog=program,
        description=f"`{program} --port 0`: prints its base URL when it is ready, ends on SIGTERM.",
    )
    add = options.add_argument
    add("--port", type=int, default=0, help="on 127.0.0.1; 0 takes a free one")
    add("--seed", type=int, default=faults.seed, help="of all that happens by chance")
    add("--fault-probability", type=float, default=faults.probability)
    add("--fault-kinds", type=FaultKind, nargs="+", choices=fault_kinds, default=fault_kinds)
    add("--stall-seconds", type=float, default=faults.stall_seconds)
    add("--late-effect-seconds", type=float, default=faults.late_seconds)
    add("--retry-after-seconds", type=int, default=faults.retry_after_seconds)
    for name in DELIVERY_OPTIONS:
        default = getattr(deliveries, name)
        add(f"--{name.replace('_', '-')}", type=type(default), default=default)
    return options


def fault_settings(options: argparse.Namespace) -> FaultSettings:
    """The faults that the options spell out."""
    return FaultSettings(
        probability=options.fault_probability,
        kinds=tuple(options.fault_kinds),
        seed=options.seed,
        stall_seconds=options.stall_seconds,
        late_seconds=options.late_effect_seconds,
        retry_after_seconds=options.retry_after_seconds,
    )


def delivery_settings(options: argparse.Namespace) -> DeliverySettings:
    """How webhooks are delivered, likewise."""
    return DeliverySettings(
        seed=options.seed, **{name: getattr(options, name) for name in DELIVERY_OPTIONS}
    )


def serve_until_told(running: AbstractAsyncContextManager[str]) -> None:
    """Serves until SIGTERM or SIGINT. running: gives the base URL."""
    asyncio.run(_serve(running))


async def _serve(running: AbstractAsyncContextManager[str]) -> None:
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, asked_to_stop.set)
    async with running as base_url:
        sys.stdout.write(f"{base_url}\n")
        sys.stdout.flush()
        await asked_to_stop.wait()
