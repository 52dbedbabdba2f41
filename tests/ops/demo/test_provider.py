"""The demo's payment provider is there for as long as the demo, and no longer."""

import signal
import subprocess
import sys

import psutil
import pytest

from ops.demo import provider
from ops.demo.provider import running_provider

STARTS_IT_AND_WAITS = """
import asyncio
from ops.demo.provider import running_provider

async def main():
    async with running_provider("http://127.0.0.1:1"):
        print("running", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""
GONE_SECONDS_MAX = 30.0


def test_it_does_not_survive_the_death_of_the_demo() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_IT_AND_WAITS], stdout=subprocess.PIPE, text=True
    ) as demo:
        assert demo.stdout is not None
        assert demo.stdout.readline() == "running\n"
        [sandbox] = filter(is_sandbox, psutil.Process(demo.pid).children())
        demo.send_signal(signal.SIGKILL)
    sandbox.wait(GONE_SECONDS_MAX)


def is_sandbox(process: psutil.Process) -> bool:
    return "tests.sandboxes.stripe" in process.cmdline()


async def test_one_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provider, "_MANNERS", {"no-such-manner": 1})
    with pytest.raises(RuntimeError, match="ended as it was started"):
        async with running_provider("http://127.0.0.1:1"):
            pass
