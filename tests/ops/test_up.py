"""`shopkeeper up` with the real services, as people run it."""

import asyncio
import json
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import ops.commands.up
from ops.account import temporary_data_dir
from ops.embedded import ServerDidNotStart
from ops.servers import Servers
from ops.service_process import LogLine
from ops.services import free_addresses
from ops.supervisor import SUPERVISOR, is_serving
from ops.whereabouts import FILE_NAME
from tests.ops.command_line import DONE, SHOPKEEPER, UNREACHABLE, run
from tests.ops.test_supervisor import deployment, until

SECONDS_MAX = 50.0
READY = "shopkeeper is up"


class Up:
    """A running `shopkeeper up`, and what it has printed so far."""

    def __init__(self, process: asyncio.subprocess.Process, data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.printed = ""

    async def until(self, pattern: str) -> re.Match[str]:
        """Reads on until it has printed this."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS_MAX):
            while not (found := re.search(pattern, self.printed, re.DOTALL)):
                line = await self.process.stdout.readline()
                assert line, f"{pattern!r} was never printed, but:\n{self.printed}"
                self.printed += line.decode()
        return found

    async def ends(self) -> int:
        """Reads to the end; the exit status."""
        assert self.process.stdout is not None
        async with asyncio.timeout(SECONDS_MAX):
            self.printed += (await self.process.stdout.read()).decode()
            return await self.process.wait()

    @property
    def running(self) -> dict[str, str]:
        left: dict[str, str] = json.loads((self.data_dir / FILE_NAME).read_text())
        return left


@asynccontextmanager
async def up(data_dir: Path, *arguments: str, **environment: str) -> AsyncIterator[Up]:
    # The services inherit the data directory: the test finds them by it.
    given = {**free_addresses(), "SHOPKEEPER_DATA_DIR": str(data_dir), **environment}
    process = await asyncio.create_subprocess_exec(
        *(*SHOPKEEPER, "up", *arguments),
        env={**os.environ, "PYTHONUNBUFFERED": "1", **given},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Up(process, data_dir)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def processes_of(data_dir: Path) -> list[int]:
    """Processes that were told of the data directory or work in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            told = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
            told += os.fsencode((path / "cwd").readlink())
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if str(data_dir).encode() in told and int(path.name) != os.getpid():
            found.append(int(path.name))
    return found


async def test_up_serves_says_how_to_go_on_and_stops_in_order(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    async with up(tmp_path, "--workers", "2", **servers) as shop:
        await shop.until(READY)
        await shop.until("stop  Ctrl-C")
        for name in ("COMMAND_ADDRESS", "QUERY_ADDRESS", "HISTORY_ADDRESS"):
            assert shop.running[name] in shop.printed
            assert await is_serving(shop.running[name])
        assert re.search(r"webhooks +http://127\.0\.0\.1:\d+/webhooks/<provider>", shop.printed)
        rebuilt = await asyncio.to_thread(run, "rebuild", cwd=tmp_path, **servers)
        assert (rebuilt.returncode, rebuilt.stderr) == (DONE, "")
        assert "0 differ" in rebuilt.stdout
        back = await asyncio.to_thread(run, "rebuild", "--rollback", cwd=tmp_path, **servers)
        assert "serves again" in back.stdout
        dropped = await asyncio.to_thread(run, "rebuild", "--drop", cwd=tmp_path, **servers)
        assert "is being deleted" in dropped.stdout
        shop.process.send_signal(signal.SIGINT)
        assert await shop.ends() == DONE
        assert not (tmp_path / FILE_NAME).exists()
    stopped = re.findall(r"(\w+)#\d +info +(?:draining|stopped)", shop.printed)
    assert stopped[:6] == ["webhooks"] * 2 + ["command_service"] * 4
    assert set(stopped[6:]) == {"query_service", "history_service", "projections"}
    assert shop.printed.endswith("stopped\n")


async def test_a_service_that_dies_is_restarted_loudly(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    async with up(tmp_path, DATABASE_URL=database_url, REDIS_URL=redis_url) as shop:
        await shop.until(READY)
        worker = next(pid for pid in processes_of(tmp_path) if b"query_service" in command_of(pid))
        os.kill(worker, signal.SIGKILL)
        told = await shop.until(r"error +query_service#0 ended by itself: restarting.*\n")
        assert "exit_status=-9" in told[0]
        await shop.until(r"restarting.*query_service#0 +info +serving")
        shop.process.send_signal(signal.SIGTERM)
        assert await shop.ends() == DONE


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found through /proc")
async def test_nothing_outlives_an_up_that_is_killed_and_its_data_stay() -> None:
    with temporary_data_dir() as data_dir:
        async with up(data_dir) as shop:
            await shop.until(READY)
            assert len(processes_of(data_dir)) >= 7
            shop.process.kill()
            await shop.ends()
        async with asyncio.timeout(SECONDS_MAX):
            while processes_of(data_dir):  # noqa: ASYNC110 they are not our children
                await asyncio.sleep(0.05)
        async with up(data_dir) as shop:
            await shop.until(READY)
            assert "migrated" not in shop.printed
            shop.process.send_signal(signal.SIGINT)
            assert await shop.ends() == DONE


async def test_a_database_that_is_not_there_is_told_and_nothing_is_started(tmp_path: Path) -> None:
    nowhere = "postgresql://u:p@127.0.0.1:1/d"
    async with up(tmp_path, DATABASE_URL=nowhere, REDIS_URL="redis://127.0.0.1:1/0") as shop:
        assert await shop.ends() == UNREACHABLE
    assert shop.printed.startswith("error: the database cannot be used: ")
    assert "Traceback" not in shop.printed


async def test_a_service_that_cannot_start_is_named_and_its_reason_said_once(
    database_url: str, redis_url: str, tmp_path: Path
) -> None:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    async with up(tmp_path, BATCH_ROWS_MAX="0", **servers) as shop:
        assert await shop.ends() == UNREACHABLE
    assert shop.printed.count("BATCH_ROWS_MAX: Input should be greater than 0") == 1
    assert shop.printed.endswith("error: command_service#0 ended while starting\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.skipif(not Path("/proc").exists(), reason="processes are found through /proc")
async def test_nothing_is_left_by_an_up_that_is_told_twice_to_stop(number: signal.Signals) -> None:
    with temporary_data_dir() as data_dir:
        async with up(data_dir) as shop:
            await shop.until(READY)
            shop.process.send_signal(number)
            await shop.until("stopping: ")
            shop.process.send_signal(number)
            # Interrupted, if it had come as far as the servers by then.
            assert await shop.ends() in (DONE, 128 + signal.SIGINT)
        async with asyncio.timeout(SECONDS_MAX):
            while processes_of(data_dir):  # noqa: ASYNC110 they are not our children
                await asyncio.sleep(0.05)
        assert not (data_dir / FILE_NAME).exists()


async def test_services_are_drained_when_a_server_cannot_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def revive(_servers: Servers) -> list[str]:
        raise ServerDidNotStart("no space left")

    monkeypatch.setattr(Servers, "revive", revive)
    monkeypatch.setattr(ops.commands.up, "_print_summary", lambda *_: None)
    log: list[LogLine] = []
    shop = deployment(log)
    with pytest.raises(ServerDidNotStart, match="no space left"):
        await ops.commands.up._serve(shop, Servers("", ""), 0.0)
    assert [json.loads(line.text)["event"] for line in log].count("stopped") == len(shop.processes)
    assert not any(process.is_running for process in shop.processes)


async def test_a_server_that_was_started_again_is_a_line_of_the_log_with_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Servers, "revive", lambda _servers: ["Valkey"])
    monkeypatch.setattr(ops.commands.up, "REVIVE_POLL_SECONDS", 0.01)
    log: list[LogLine] = []
    keeping = asyncio.create_task(
        ops.commands.up._keep_servers_running(Servers("", ""), deployment(log))
    )
    await until(lambda: bool(log))
    keeping.cancel()
    told = json.loads(log[0].text)
    assert (log[0].source, told["event"]) == (SUPERVISOR, "Valkey ended by itself and was started again")
    assert told["timestamp"].endswith("+00:00")
