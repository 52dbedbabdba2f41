"""The same work as plain SQL, one transaction each, by PostgreSQL's own pgbench: the alternative to us.

The tables are the shop's own, with their constraints and indexes, in a database of their own on the same
server; the rows are as many as the shop writes, their answers and payloads as long. Nothing is checked
that a service would check, no answer is put together, nobody is told. Positions come from a sequence: a
plain service has no log that must be in commit order.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import psycopg
from psycopg.conninfo import conninfo_to_dict

from benchmarks.bulk import analyze, checkpoint
from ops.account import postgres_programs, unprivileged

SCRIPTS = Path(__file__).parent / "plain"
THREAD_COUNT = 2
ATTEMPTS_MAX = 4
SPAN_SECONDS_MIN = 2
WARM_UP_SECONDS = 1
"""Sessions begin without plans and caches; it tells its rate second by second."""

_RATE = re.compile(r"^progress: [0-9.]+ s, ([0-9.]+) tps", re.MULTILINE)
_COUNT = re.compile(r"^number of transactions actually processed: (\d+)$", re.MULTILINE)
_FAILED = re.compile(r"^number of failed transactions: (\d+)", re.MULTILINE)


class PgbenchFailed(Exception):
    """pgbench could not run its script; its words say why."""


@dataclass(frozen=True, slots=True)
class Plain:
    """What pgbench did within a span of time."""

    per_second: float
    count: int

    def __str__(self) -> str:
        return f"{self.per_second:,.0f} transactions/s"


class PlainShop:
    """A database with the shop's tables and as many SKUs, and pgbench to work on it."""

    def __init__(self, url: str, sku_count: int) -> None:
        self.url = url
        self._sku_count = sku_count
        self._cart_count_by_client = 0

    def open(self) -> None:
        """Fills it; its tables are there."""
        self._execute("open_shop.sql", {"sku_count": self._sku_count})
        analyze(self.url, ("stock_items", "stock_levels"))

    def fill_carts(self, client_count: int, count_each: int) -> int:
        """Makes carts of two lines for each client; the number before that of their first one."""
        before = self._cart_count_by_client
        self._cart_count_by_client += count_each
        numbers = {"first": before + 1, "last": self._cart_count_by_client}
        self._execute("fill_carts.sql", {"client_count": client_count, **numbers})
        analyze(self.url, ("carts", "cart_lines"))
        return before

    def count(self, table: str) -> int:
        """Rows of a table."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        return int(row[0])

    async def run(
        self, script: str, span_seconds: float, *, client_count: int, variables: Mapping[str, int]
    ) -> Plain:
        """Runs a script of `plain/` over and over; for longer if no transaction came to its end.

        Raises:
            PgbenchFailed: it, or a transaction of it, failed.
        """
        await asyncio.to_thread(checkpoint, self.url)
        seconds = whole_seconds(span_seconds)
        arguments = {**variables, "sku_count": self._sku_count}
        for attempt in range(ATTEMPTS_MAX):
            done = read(await self._run(script, seconds << attempt, client_count, arguments))
            if done is not None:
                return done
        raise PgbenchFailed(f"not one transaction of {script} came to its end")

    async def _run(
        self, script: str, seconds: int, client_count: int, variables: Mapping[str, int]
    ) -> str:
        process = await asyncio.create_subprocess_exec(
            *(str(postgres_programs(unprivileged()) / "pgbench"), "--no-vacuum", "--protocol=prepared"),
            *(f"--client={client_count}", f"--jobs={THREAD_COUNT}", f"--time={seconds}"),
            "--progress=1",
            *(f"--define={name}={value}" for name, value in variables.items()),
            f"--file={SCRIPTS / script}",
            env=_environment(self.url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise PgbenchFailed(output.decode())
        return output.decode()

    def _execute(self, script: str, parameters: Mapping[str, int]) -> None:
        text = (SCRIPTS / script).read_text(encoding="utf-8")
        # psycopg sends parameters with single statements only: these are numbers of ours.
        with psycopg.connect(self.url) as connection:
            connection.execute((text % parameters).encode())


def _environment(url: str) -> dict[str, str]:
    """Where the database is; arguments would show its password to everyone."""
    told = conninfo_to_dict(url)
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    return {**{name: str(told[key]) for name, key in names.items()}, "PGDATABASE": str(told["dbname"])}


def whole_seconds(span_seconds: float) -> int:
    """How long it works for a figure of that span, at the most."""
    return WARM_UP_SECONDS + max(SPAN_SECONDS_MIN, round(span_seconds))


def read(output: str) -> Plain | None:
    """What pgbench tells, the first second left out; None if no transaction came to its end after it."""
    number, failed = _COUNT.search(output), _FAILED.search(output)
    if number is None or failed is None or failed[1] != "0":
        raise PgbenchFailed(output)
    rates = [float(rate) for rate in _RATE.findall(output)[WARM_UP_SECONDS:]]
    if not any(rates):
        return None
    return Plain(per_second=mean(rates), count=int(number[1]))
