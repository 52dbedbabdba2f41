"""The embedded servers start, stop, recover, and never outlive us."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from ops import account
from ops.account import (
    NOBODY,
    NoPlaceToRun,
    temporary_data_dir,
    unprivileged,
)
from ops.embedded import EmbeddedPostgres, EmbeddedValkey, ServerDidNotStart
from ops.ports import HOST, free_port

AS_ROOT = os.geteuid() == 0
GONE_SECONDS_MAX = 10.0

STARTS_BOTH_AND_WAITS = """
import sys, time
from pathlib import Path
from ops.embedded import EmbeddedPostgres, EmbeddedValkey

root = Path(sys.argv[1])
with EmbeddedPostgres(root / "postgres") as postgres, EmbeddedValkey(root / "valkey") as valkey:
    print(postgres.port, valkey.port, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with temporary_data_dir() as path:
        yield path


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def waits_until_gone(*ports: int) -> bool:
    deadline = time.monotonic() + GONE_SECONDS_MAX
    while any(map(is_listening, ports)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not any(map(is_listening, ports))


def test_postgres_keeps_its_data_and_port_over_a_stop_and_a_crash(data_dir: Path) -> None:
    with EmbeddedPostgres(data_dir / "postgres") as server:
        address = server.url()
        with psycopg.connect(address) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        server.stop()
        assert not is_listening(server.port)
        server.start()
        with psycopg.connect(address) as connection:
            connection.execute("UPDATE kept SET number = 2")
        server.crash()
        assert not is_listening(server.port)
        server.start()
        assert server.url() == address
        assert one(address, "SELECT number FROM kept") == 2
        assert "was not properly shut down" in server.log_path.read_text()


def test_postgres_starts_in_folders_that_it_makes_itself_whatever_the_umask_is(data_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        with EmbeddedPostgres(data_dir / "made" / "by itself") as server:
            assert server.port
    finally:
        os.umask(before)


def test_a_first_start_that_was_interrupted_is_begun_anew(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that has a PG_VERSION may lack all the rest: initdb writes it early."""

    def interrupted(_server: EmbeddedPostgres, cluster: Path) -> None:
        (cluster / "PG_VERSION").write_text("18\n")
        raise KeyboardInterrupt

    server = EmbeddedPostgres(data_dir / "postgres")
    with monkeypatch.context() as patched:
        patched.setattr(EmbeddedPostgres, "_initialise_cluster", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.start()
    with server:
        assert one(server.url(), "SELECT 1") == 1


def test_postgres_is_durable_by_default_and_takes_settings(data_dir: Path) -> None:
    settings = {"work_mem": "9MB"}
    with EmbeddedPostgres(data_dir / "postgres", settings=settings) as server:
        assert one(server.url(), "SHOW server_version_num") >= "180000"  # type: ignore[operator]
        assert one(server.url(), "SHOW fsync") == "on"
        assert one(server.url(), "SHOW synchronous_commit") == "on"
        assert one(server.url(), "SHOW work_mem") == "9MB"


def test_postgres_asks_for_the_password(postgres: EmbeddedPostgres) -> None:
    without = f"postgresql://shopkeeper@{HOST}:{postgres.port}/postgres"
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(without, passfile="/dev/null")


def test_a_second_server_in_the_same_directory_is_refused_with_the_reason(
    postgres: EmbeddedPostgres,
) -> None:
    with pytest.raises(ServerDidNotStart, match="another PostgreSQL uses this data"):
        EmbeddedPostgres(postgres.data_dir).start()
    assert one(postgres.url(), "SELECT 1") == 1


def test_a_setting_that_is_refused_shows_in_the_error(data_dir: Path) -> None:
    broken = EmbeddedPostgres(data_dir / "postgres", settings={"no_such_setting": "1"})
    with pytest.raises(ServerDidNotStart, match="no_such_setting"):
        broken.start()


def test_two_of_each_run_side_by_side(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, data_dir: Path
) -> None:
    with (
        EmbeddedPostgres(data_dir / "postgres") as other_postgres,
        EmbeddedValkey(data_dir / "valkey") as other_valkey,
    ):
        assert one(postgres.url(), "SELECT 1") == one(other_postgres.url(), "SELECT 1") == 1
        assert len({postgres.port, other_postgres.port, valkey.port, other_valkey.port}) == 4


def test_a_taken_port_is_left_for_another(
    data_dir: Path, valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = free_port()
    ports = iter([valkey.port, free])
    monkeypatch.setattr("ops.embedded.free_port", lambda: next(ports))
    with EmbeddedValkey(data_dir / "valkey") as server:
        assert server.port == free


def test_valkey_refuses_to_evict_and_forgets_when_killed(data_dir: Path) -> None:
    with EmbeddedValkey(data_dir / "valkey") as server:
        with redis.Redis.from_url(server.url, decode_responses=True) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            client.set("key", "value")
        server.kill()
        assert not is_listening(server.port)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.dbsize() == 0


def test_a_cluster_of_one_serves_every_slot_also_after_a_restart(data_dir: Path) -> None:
    with EmbeddedValkey(data_dir / "valkey", cluster_enabled=True) as server:
        server.kill()
        server.start()
        with redis.Redis.from_url(server.url) as client:
            assert client.set("{a}", "1")
            with pytest.raises(redis.ResponseError, match="hash to the same slot"):
                client.mset({"{a}": "1", "{b}": "2"})


def test_neither_server_survives_the_death_of_its_parent(data_dir: Path) -> None:
    command = [sys.executable, "-c", STARTS_BOTH_AND_WAITS, str(data_dir)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        ports = [int(port) for port in parent.stdout.readline().split()]
        assert all(map(is_listening, ports))
        parent.send_signal(signal.SIGKILL)
    assert waits_until_gone(*ports)


def test_stopping_twice_is_harmless_and_starting_twice_is_refused(data_dir: Path) -> None:
    with EmbeddedValkey(data_dir / "valkey") as server:
        with pytest.raises(RuntimeError, match="already running"):
            server.start()
        server.stop()
        server.stop()


@pytest.mark.skipif(not AS_ROOT, reason="only root is refused by PostgreSQL")
def test_root_gets_a_postgres_that_runs_as_nobody(postgres: EmbeddedPostgres) -> None:
    # The server made this file itself.
    lock_file = postgres.data_dir / "cluster" / "postmaster.pid"
    assert lock_file.stat().st_uid == NOBODY.user


@pytest.mark.skipif(not AS_ROOT, reason="everybody else reaches what they made")
def test_root_is_refused_a_directory_that_nobody_can_enter(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path / "postgres")
    with pytest.raises(NoPlaceToRun, match="cannot enter"):
        server.start()
    assert list(server.data_dir.iterdir()) == []


def test_the_programs_are_copied_to_where_the_account_can_run_them(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "temporary_root", lambda: data_dir)
    programs = account._copied(account.installed_postgres())
    assert unprivileged().may_execute(programs / "bin" / "initdb")
    assert account._copied(account.installed_postgres()) == programs
