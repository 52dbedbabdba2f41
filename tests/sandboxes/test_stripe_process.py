"""The sandbox as a process of its own, as the demonstration starts it."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.receiver import receiving
from tests.sandboxes.stripe.__main__ import parser, settings_from
from tests.sandboxes.stripe.settings import StripeSettings, WebhookEndpoint

PATIENCE_SECONDS = 60.0


@asynccontextmanager
async def started(*options: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The process and its address; it must end by SIGTERM with status 0."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.sandboxes.stripe", "--port", "0", *options),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            address = (await process.stdout.readline()).decode().strip()
        yield process, address
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_process_says_where_it_is_and_ends_on_sigterm() -> None:
    async with (
        receiving() as receiver,
        started("--webhook-url", receiver.url, "--secret-key", "sk_test_own") as (_, address),
        httpx.AsyncClient(base_url=address, timeout=PATIENCE_SECONDS, auth=("sk_test_own", "")) as http,
    ):
        form = {"amount": "2000", "currency": "usd"}
        answer = await http.post("/v1/payment_intents", data=form)
        assert answer.status_code == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not receiver.received:  # noqa: ASYNC110 the other process delivers
                await asyncio.sleep(0.02)
        assert receiver.types() == ["payment_intent.created"]


async def test_a_process_ends_on_sigterm_while_a_call_stalls_and_a_webhook_waits() -> None:
    nowhere = "http://127.0.0.1:9/hook"
    options = ("--fault-probability", "1", "--fault-kinds", "late_effect", "--webhook-url", nowhere)
    async with started(*options) as (process, address):
        call = asyncio.create_task(pay(address))
        async with httpx.AsyncClient(base_url=address, timeout=PATIENCE_SECONDS) as http:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not (await http.get("/_sandbox/faults")).json()["counts"]:  # noqa: ASYNC110 as above
                    await asyncio.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        assert isinstance(await call, httpx.TransportError)


async def pay(address: str) -> httpx.Response | httpx.TransportError:
    """An answer, or why there is none."""
    async with httpx.AsyncClient(auth=("sk_test_sandbox", ""), timeout=PATIENCE_SECONDS) as http:
        try:
            return await http.post(
                f"{address}/v1/payment_intents", data={"amount": "50", "currency": "usd"}
            )
        except httpx.TransportError as error:
            return error


def test_without_options_everything_is_calm() -> None:
    assert settings_from(parser().parse_args([])) == StripeSettings()


def test_every_option_is_a_setting() -> None:
    given = "--webhook-url http://w --webhook-secret s --seed 7 --fault-probability 0.2"
    given += " --fault-kinds error_after late_effect --stall-seconds 5 --late-effect-seconds 2"
    given += " --retry-after-seconds 4 --duplicate-probability 0.5 --duplicates-max 5"
    given += " --delay-seconds-max 1.5 --late-probability 0.1 --late-seconds 9 --in-flight-max 3"
    given += " --double-event-probability 0.1 --refund-settle-seconds 0.5 --created-base-seconds 1000"
    given += " --intent-made-at-once --think-seconds 0.1"
    assert settings_from(parser().parse_args(given.split())) == StripeSettings(
        seed=7,
        created_base_seconds=1000,
        double_event_probability=0.1,
        refund_settle_seconds=0.5,
        is_intent_made_at_once=True,
        think_seconds=0.1,
        faults=FaultSettings(
            probability=0.2,
            kinds=(FaultKind.ERROR_AFTER, FaultKind.LATE_EFFECT),
            seed=7,
            stall_seconds=5,
            late_seconds=2,
            retry_after_seconds=4,
        ),
        deliveries=DeliverySettings(
            seed=7,
            duplicate_probability=0.5,
            duplicates_max=5,
            delay_seconds_max=1.5,
            late_probability=0.1,
            late_seconds=9,
            in_flight_max=3,
        ),
        webhook_endpoints=(WebhookEndpoint("http://w", ("s",)),),
    )
