"""The payment provider of the demo: a sandbox of Stripe in a process of its own, with bad manners.

It is the strict one that the tests use. Calls to it fail now and then in every way that calls can, some
after they had their effect; its webhooks come doubled, late and in any order.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from ops.child_process import Watcher

REPOSITORY = Path(__file__).resolve().parent.parent.parent

FAULT_PERCENT = 5
DOUBLED_PERCENT = 20
LATE_PERCENT = 5

SECRET_KEY = "sk_test_demo"  # noqa: S105 of a sandbox that lives for a minute
WEBHOOK_SECRET = "whsec_demo"  # noqa: S105 likewise

ATTEMPT_SECONDS_MAX = 1.0
"""Of our services' calls; a stalled one takes three times as long."""

START_SECONDS_MAX = 60.0
END_SECONDS_MAX = 10.0

_MANNERS = {
    "fault-probability": FAULT_PERCENT / 100,
    "stall-seconds": 3 * ATTEMPT_SECONDS_MAX,
    "duplicate-probability": DOUBLED_PERCENT / 100,
    "duplicates-max": 3,
    "delay-seconds-max": 0.2,
    "late-probability": LATE_PERCENT / 100,
    "late-seconds": 2,
}


class Provider:
    """The sandbox as customers, and the audit, see it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=60.0)

    async def close(self) -> None:
        """Lets go of the connection."""
        await self._http.aclose()

    def environment(self) -> dict[str, str]:
        """What our services need to know of it."""
        return {
            "STRIPE_API_KEY": SECRET_KEY,
            "STRIPE_WEBHOOK_SECRETS": WEBHOOK_SECRET,
            "STRIPE_API_URL": self.url,
            "PROVIDER_ATTEMPT_SECONDS_MAX": str(ATTEMPT_SECONDS_MAX),
        }

    async def decline(self, provider_reference: str) -> None:
        """The customer's first card is refused."""
        await self._act(provider_reference, "decline")

    async def pay(self, provider_reference: str) -> None:
        """The customer pays."""
        await self._act(provider_reference, "pay")

    async def totals_minor(self, currency_code: str) -> tuple[int, int]:
        """What was captured and refunded in all."""
        answer = await self._http.get("/_sandbox/totals")
        totals = answer.raise_for_status().json()["by_currency"].get(currency_code.lower(), {})
        return totals.get("captured_minor", 0), totals.get("refunded_minor", 0)

    async def fault_count(self) -> int:
        """How many calls went wrong on purpose."""
        counts = (await self._http.get("/_sandbox/faults")).raise_for_status().json()["counts"]
        return sum(counts.values())

    async def deliveries(self) -> dict[str, Any]:
        """Webhooks: what was tried and what arrived."""
        found: dict[str, Any] = (await self._http.get("/_sandbox/deliveries")).raise_for_status().json()
        return found

    async def _act(self, provider_reference: str, act: str) -> None:
        path = f"/_sandbox/payment_intents/{provider_reference}/{act}"
        (await self._http.post(path, json={})).raise_for_status()


@asynccontextmanager
async def running_provider(webhook_url: str) -> AsyncIterator[Provider]:
    """The sandbox, for as long as the block runs.

    Raises:
        TimeoutError: it does not start in time.
        RuntimeError: it ended instead.
    """
    options = [f"--{name}={value}" for name, value in _MANNERS.items()]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.sandboxes.stripe", "--port", "0", *options),
        *("--webhook-url", webhook_url, "--webhook-secret", WEBHOOK_SECRET),
        *("--secret-key", SECRET_KEY),
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        # In a group of its own: Ctrl-C is for us, who end it when our services need it no more.
        start_new_session=True,
    )
    watcher = Watcher(process.pid, signal.SIGKILL)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS_MAX):
            url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise RuntimeError("the payment provider of the demo ended as it was started")
        provider = Provider(url)
        try:
            yield provider
        finally:
            await provider.close()
    finally:
        await _end(process)
        watcher.dismiss()


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(END_SECONDS_MAX):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
