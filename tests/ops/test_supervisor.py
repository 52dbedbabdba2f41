"""Deployments of real processes, whose services have nothing in them."""

import asyncio
import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ops.child_process
import ops.service_process
import ops.supervisor
from ops.child_process import ChildProcess
from ops.service_process import LogLine, ServiceProcess
from ops.services import SERVICES, Service, free_addresses
from ops.supervisor import (
    SUPERVISOR,
    AddressInUse,
    Deployment,
    ServiceDidNotStart,
    end_seconds_max,
    is_serving,
)

REPOSITORY = Path(__file__).resolve().parents[2]
FAKE = Service("tests.ops.fake_service", "FAKE", 50999, (), is_scaled=True, stop_stage=0)
FIRST, SECOND = f"{FAKE.module}#0", f"{FAKE.module}#1"
SECONDS_MAX = 20.0


def environment(**more: str) -> dict[str, str]:
    path = {"PYTHONPATH": str(REPOSITORY)}
    return {**os.environ, **path, **free_addresses((FAKE,)), **more}


def deployment(log: list[LogLine] | None = None, *, workers: int = 2, **more: str) -> Deployment:
    sink = (lambda _line: None) if log is None else log.append
    return Deployment(environment(**more), workers=workers, on_log=sink, services=(FAKE,))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        while not condition():  # noqa: ASYNC110 the condition lies in other processes
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_all_workers_of_a_service_share_its_address_and_end_with_the_block() -> None:
    log: list[LogLine] = []
    async with deployment(log) as shop:
        assert [process.name for process in shop.processes] == [FIRST, SECOND]
        assert await is_serving(shop.address(FAKE.module))
        pids = [process.pid for process in shop.processes]
    assert len(set(pids)) == 2
    assert [is_alive(pid) for pid in pids] == [False, False]
    for source in (FIRST, SECOND):
        events = [json.loads(line.text)["event"] for line in log if line.source == source]
        assert events[0] == "configured"
        assert events[-1] == "stopped"


async def test_a_killed_worker_is_restarted_and_that_is_said() -> None:
    log: list[LogLine] = []
    async with deployment(log) as shop:
        pid = shop[SECOND].pid
        shop[SECOND].kill()
        await until(lambda: any(line.source == SUPERVISOR for line in log))
        await shop.wait_until_ready()
        assert shop[SECOND].pid != pid
    said = [json.loads(line.text) for line in log if line.source == SUPERVISOR]
    assert [(entry["level"], entry["exit_status"]) for entry in said] == [("error", -signal.SIGKILL)]
    assert said[0]["event"] == f"{SECOND} ended by itself: restarting"


async def test_a_worker_that_cannot_be_started_again_is_tried_until_it_can(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log: list[LogLine] = []
    failures = [OSError("no memory"), OSError("no memory")]
    start = ServiceProcess.start

    async def fail_twice(process: ServiceProcess) -> None:
        if failures:
            raise failures.pop()
        await start(process)

    async with deployment(log) as shop:
        monkeypatch.setattr(ServiceProcess, "start", fail_twice)
        shop[SECOND].kill()
        await until(lambda: [line.source for line in log].count(SUPERVISOR) == 5)
        await shop.wait_until_ready()
    said = [json.loads(line.text)["event"] for line in log if line.source == SUPERVISOR]
    ended, failed = f"{SECOND} ended by itself: restarting", f"{SECOND} cannot be started: no memory"
    assert said == [ended, failed, ended, failed, ended]


async def test_a_paused_worker_keeps_the_deployment_from_nothing_and_can_be_ended() -> None:
    async with deployment(workers=1) as shop:
        pid = shop[FIRST].pid
        shop[FIRST].pause()
    assert not is_alive(pid)


async def test_a_paused_worker_answers_again_when_resumed() -> None:
    async with deployment(workers=1) as shop:
        shop[FIRST].pause()
        assert not await is_serving(shop.address(FAKE.module))
        shop[FIRST].resume()
        assert await is_serving(shop.address(FAKE.module))


async def test_a_service_that_ends_while_starting_is_told_with_its_last_words() -> None:
    shop = deployment(FAKE_ENDS_AT_ONCE="yes")
    with pytest.raises(ServiceDidNotStart, match="the fake service was told to fail"):
        await shop.start()
    assert [process.is_running for process in shop.processes] == [False, False]


async def test_an_address_somebody_listens_on_is_refused_even_if_it_could_be_shared() -> None:
    async with deployment(workers=1) as shop:
        address = shop.address(FAKE.module)
        second = deployment(FAKE_ADDRESS=address)
        with pytest.raises(AddressInUse, match=f"{address} is in use.*FAKE_ADDRESS"):
            await second.start()
        assert [process.is_running for process in second.processes] == [False, False]


async def test_services_whose_log_is_quiet_become_ready_as_well() -> None:
    log: list[LogLine] = []
    async with deployment(log, workers=1, LOG_LEVEL="WARNING") as shop:
        assert await is_serving(shop.address(FAKE.module))
    assert log == []


async def test_a_service_has_as_long_to_end_as_it_is_told_to_drain(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ops.supervisor, "END_SECONDS_MIN", 0.2)
    log: list[LogLine] = []
    async with deployment(log, workers=1, DRAIN_SECONDS_MAX="60", FAKE_CALL_SECONDS="0.5"):
        log.clear()
    assert [json.loads(line.text)["event"] for line in log] == ["draining", "stopped"]


@pytest.mark.parametrize(
    ("drain", "seconds"),
    [(None, 20), ("60", 95), ("0.001", 20), ("soon", 20), ("inf", 20), ("-1", 20)],
)
def test_no_service_is_killed_sooner_than_it_ends_by_itself(drain: str | None, seconds: float) -> None:
    given = {} if drain is None else {"DRAIN_SECONDS_MAX": drain}
    assert end_seconds_max(given) == seconds


async def test_a_killed_deployment_has_nothing_left_to_stop() -> None:
    shop = deployment()
    await shop.start()
    pids = [process.pid for process in shop.processes]
    shop.kill()
    await shop.stop()
    assert [is_alive(pid) for pid in pids] == [False, False]


async def test_no_worker_survives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ORPHANING, str(pids)), cwd=REPOSITORY
    )
    await until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    process.kill()
    await process.wait()
    await until(lambda: not any(is_alive(int(pid)) for pid in pids.read_text().split()))


ORPHANING = """
import asyncio, pathlib, sys
from tests.ops.test_supervisor import deployment

async def main():
    async with deployment() as shop:
        pathlib.Path(sys.argv[1]).write_text(" ".join(str(p.pid) for p in shop.processes))
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_process_that_nobody_can_watch_does_not_stay(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when no more processes may be made: just after the one that was to be watched."""
    unwatched: list[int] = []

    def refuse(pid: int, _signal: signal.Signals) -> None:
        unwatched.append(pid)
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(ops.service_process, "Watcher", refuse)
    monkeypatch.setattr(ops.child_process, "Watcher", refuse)
    process = ServiceProcess(FIRST, FAKE.module, environment=environment(), on_log=lambda _line: None)
    with pytest.raises(BlockingIOError):
        await process.start()
    with pytest.raises(BlockingIOError):
        ChildProcess(
            ["/bin/sleep", "60"],
            log_path=tmp_path / "log",
            signal_on_our_death=signal.SIGKILL,
        )
    assert [is_alive(pid) for pid in unwatched] == [False, False]


async def test_a_line_longer_than_any_limit_does_not_stop_the_log(tmp_path: Path) -> None:
    (tmp_path / "chatty.py").write_text("print('x' * 3_000_000)\nprint('after')\n")
    log: list[LogLine] = []
    chatty = Service("chatty", "CHATTY", None, (), is_scaled=False, stop_stage=0)
    shop = Deployment({"PYTHONPATH": str(tmp_path)}, on_log=log.append, services=(chatty,))
    with pytest.raises(ServiceDidNotStart):
        await shop.start()
    assert [line.text for line in log][1:] == ["after"]
    assert log[0].text == "x" * len(log[0].text)


async def test_a_log_that_cannot_be_shown_does_not_stop_the_service(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "chatty.py").write_text("print('half \\ud800')\nprint('after')\n")
    log: list[LogLine] = []

    def show(line: LogLine) -> None:
        log.append(line)
        raise ValueError("\ud800")

    chatty = Service("chatty", "CHATTY", None, (), is_scaled=False, stop_stage=0)
    given = {"PYTHONPATH": str(tmp_path), "PYTHONIOENCODING": "utf-8:surrogatepass"}
    shop = Deployment(given, on_log=show, services=(chatty,))
    with pytest.raises(ServiceDidNotStart):
        await shop.start()
    assert [line.text for line in log][1:] == ["after"]
    assert capsys.readouterr().err.count("a log line cannot be shown: ValueError('\\ud800')") == 2


def test_each_worker_has_a_metrics_port_of_its_own_and_none_by_default() -> None:
    command = SERVICES[0]
    assert [command.metrics_port({}, index) for index in (0, 1)] == ["0", "0"]
    given = {"COMMAND_METRICS_PORT": "9101"}
    assert [command.environment(given, i)["COMMAND_METRICS_PORT"] for i in (0, 1)] == ["9101", "9102"]


def test_a_service_learns_of_the_servers_it_uses_only() -> None:
    given = {"DATABASE_URL": "postgresql://", "REDIS_URL": "redis://"}
    told = {
        service.module: sorted(given.keys() & service.environment(given, 0).keys())
        for service in SERVICES
    }
    assert told == {
        "command_service": ["DATABASE_URL"],
        "query_service": ["REDIS_URL"],
        "history_service": ["DATABASE_URL"],
        "projections": ["DATABASE_URL", "REDIS_URL"],
        "webhooks": [],
    }
