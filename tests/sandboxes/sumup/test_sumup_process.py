"""The sandbox as a process of its own, as the demonstration starts it."""

import asyncio
import signal
import sys

import httpx

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.receiver import receiving
from tests.sandboxes.sumup.__main__ import parser, settings_from
from tests.sandboxes.sumup.settings import FAULT_KINDS, SumUpSettings

PATIENCE_SECONDS = 60.0
WISH = {
    "checkout_reference": "o1.1",
    "amount": 20,
    "currency": "EUR",
    "merchant_code": "MOWN",
}


async def test_a_process_says_where_it_is_calls_back_and_ends_on_sigterm() -> None:
    async with receiving() as receiver:
        options = ("--merchant-code", "MOWN", "--api-key", "own", "--callback-url", receiver.url)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "tests.sandboxes.sumup", "--port", "0", *options),
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                address = (await process.stdout.readline()).decode().strip()
            await pay(address)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not receiver.received:  # noqa: ASYNC110 the other process delivers
                    await asyncio.sleep(0.02)
            assert receiver.received[0].json()["event_type"] == "CHECKOUT_STATUS_CHANGED"
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_SECONDS):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def pay(address: str) -> None:
    headers = {"Authorization": "Bearer own"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=PATIENCE_SECONDS) as http:
        made = await http.post("/v0.1/checkouts", json=WISH)
        assert made.status_code == 201, made.text
        paid = await http.post(f"/_sandbox/checkouts/{made.json()['id']}/pay")
        assert paid.json()["status"] == "PAID"


def test_without_options_everything_is_calm() -> None:
    assert settings_from(parser().parse_args([])) == SumUpSettings()
    assert FaultKind.KEY_IN_USE not in FAULT_KINDS


def test_every_option_is_a_setting() -> None:
    given = "--callback-url http://w --api-key k --merchant-code M --affiliate-key a --seed 7"
    given += " --reader-ids r1 r2 --reader-start-seconds 9 --refund-status 201"
    given += " --fault-probability 0.2 --fault-kinds error_after late_effect --stall-seconds 5"
    given += " --late-effect-seconds 2 --retry-after-seconds 4 --duplicate-probability 0.5"
    given += " --duplicates-max 5 --delay-seconds-max 1.5"
    assert settings_from(parser().parse_args(given.split())) == SumUpSettings(
        api_key="k",
        merchant_code="M",
        affiliate_key="a",
        seed=7,
        reader_ids=("r1", "r2"),
        reader_start_seconds=9,
        refund_status=201,
        callback_url="http://w",
        faults=FaultSettings(
            probability=0.2,
            kinds=(FaultKind.ERROR_AFTER, FaultKind.LATE_EFFECT),
            seed=7,
            stall_seconds=5,
            late_seconds=2,
            retry_after_seconds=4,
        ),
        deliveries=DeliverySettings(
            seed=7, duplicate_probability=0.5, duplicates_max=5, delay_seconds_max=1.5
        ),
    )
