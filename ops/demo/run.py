"""The whole demo: servers, services, five days of orders, the audit, the report."""

import asyncio
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from types import FrameType

import psycopg
import uvloop
from rich.console import Console
from rich.text import Text

from ops.account import temporary_data_dir
from ops.console import LogPrinter
from ops.demo.accounts import Accounts
from ops.demo.audit import audit
from ops.demo.errands import Plan, plan
from ops.demo.provider import Provider, running_provider
from ops.demo.replay import Replay
from ops.demo.report import Outcome, print_report
from ops.demo.sales import Line, read_sales
from ops.demo.shop import Addresses, Shop
from ops.demo.staff import Staff
from ops.failures import ExitStatus, Problem
from ops.migrate import migrate
from ops.progress import progress
from ops.servers import Servers, running_servers
from ops.services import free_addresses
from ops.supervisor import Deployment
from ops.verify import verify
from read_models.connections import connect
from read_models.registry import load_registry

LOG_LEVEL = "WARNING"
"""Refusals are news to a log and business as usual to this demo."""

REDIS_SECONDS_MAX = 5.0
"""For one small key."""


def run_demo(
    console: Console, environment: Mapping[str, str], lines: Sequence[Line] | None = None
) -> int:
    """Runs the demo and returns the exit status: 0 when every claim held.

    lines: what to sell; all five days if absent. DATABASE_URL and REDIS_URL of the environment name the
    servers to use, which must hold no shop yet; what is not named runs embedded, and is gone afterwards.

    Raises:
        Problem: the database or Redis is in use.
        ServerDidNotStart, ServiceDidNotStart: see their last words.
    """
    work = plan(read_sales() if lines is None else lines)
    try:
        with (
            _sigterm_is_ctrl_c(),
            temporary_data_dir() as data_dir,
            running_servers(data_dir, environment, on_step=_sayer(console)) as servers,
        ):
            migrate(servers.database_url)
            _refuse_used_shop(servers.database_url)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                outcome = runner.run(_demo(work, servers, environment, console))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print(Text("interrupted: everything is stopped", "yellow"))
        return ExitStatus.INTERRUPTED
    except BaseExceptionGroup as group:
        raise _first_leaf(group) from group
    print_report(console, outcome)
    return ExitStatus.DONE if outcome.is_good else ExitStatus.REFUSED


async def _demo(
    work: Plan, servers: Servers, environment: Mapping[str, str], console: Console
) -> Outcome:
    _cancel_on_signals()
    await _refuse_used_views(servers.redis_url)
    addresses = free_addresses()
    webhook_url = f"http://{addresses['WEBHOOKS_ADDRESS']}/webhooks/stripe"
    async with running_provider(webhook_url) as provider:
        deployment = Deployment(
            {
                "LOG_LEVEL": LOG_LEVEL,
                **environment,
                **servers.environment,
                **addresses,
                **provider.environment(),
            },
            on_log=LogPrinter(console),
        )
        with console.status("starting the services"):
            await deployment.start()
        try:
            return await _sell(work, servers, provider, _addresses(deployment), console)
        finally:
            with console.status("stopping the services"):
                await deployment.stop()


async def _sell(
    work: Plan, servers: Servers, provider: Provider, addresses: Addresses, console: Console
) -> Outcome:
    accounts = Accounts()
    async with Shop(addresses) as shop:
        with console.status("filling the shop"):
            await Staff(shop).fill_shop(work)
        with progress(console, "invoices") as on_progress:
            done = count(1)
            replay_seconds = await Replay.of(work, shop, provider, accounts).run(
                work, lambda _errand: on_progress("selling", next(done), len(work.errands))
            )
        with console.status("counting orders and stock"):
            found = await audit(shop, provider, work, accounts)
    await _verify(servers, accounts, console)
    return Outcome(work, accounts, found, shop.traffic, replay_seconds)


async def _verify(servers: Servers, accounts: Accounts, console: Console) -> None:
    """Every invariant, and every view against its recomputation from PostgreSQL."""
    with console.status("verifying") as status:
        violations = await verify(
            servers.database_url,
            servers.redis_url,
            on_progress=lambda what, done, total: status.update(
                Text(f"verifying {what}: {done:,} of {total:,}")
            ),
        )
    accounts.mismatches += [f"{each.check}: {each.subject}: {each.explanation}" for each in violations]


def _addresses(deployment: Deployment) -> Addresses:
    return Addresses(
        command=deployment.command_address,
        query=deployment.query_address,
        history=deployment.history_address,
    )


def _sayer(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(Text(text), soft_wrap=True)


def _refuse_used_shop(database_url: str) -> None:
    """The demo counts all orders and all stock, and its ids are always the same."""
    with psycopg.connect(database_url) as connection:
        if connection.execute("SELECT FROM events LIMIT 1").fetchone() is not None:
            raise Problem("the demo needs an empty database: this one holds a shop already")


async def _refuse_used_views(redis_url: str) -> None:
    """The demo's projector would take another shop's views for those of a log that is gone."""
    connection = connect(redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
    try:
        if (await load_registry(connection)).generations:
            raise Problem("the demo needs an empty Redis: this one holds the views of a shop already")
    finally:
        await connection.close()


def _cancel_on_signals() -> None:
    """Ctrl-C and SIGTERM end the demo through its `finally` blocks."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel if task else loop.stop)


@contextmanager
def _sigterm_is_ctrl_c() -> Iterator[None]:
    """Whoever is at work while SIGTERM comes cleans up behind itself, as after Ctrl-C."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _first_leaf(error: BaseException) -> BaseException:
    """The first exception of a task group: the others were cancelled, or followed from it."""
    return _first_leaf(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
