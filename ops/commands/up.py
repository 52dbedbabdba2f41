"""`up`: everything in the foreground."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from types import FrameType
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ops.commands.options import DATA_DIR, RUN, DataDir, console
from ops.console import LogPrinter
from ops.migrate import migrate
from ops.servers import Servers, running_servers
from ops.supervisor import Deployment
from ops.whereabouts import remembered

app = typer.Typer()

REVIVE_POLL_SECONDS = 1.0
WORKERS_MAX = 64

Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        "-w",
        min=1,
        max=WORKERS_MAX,
        help="Processes of the command and query services, each.",
    ),
]


@app.command(rich_help_panel=RUN)
def up(workers: Workers = 1, data_dir: DataDir = DATA_DIR) -> None:
    """Run everything in the foreground, with readable logs.

    Starts an embedded PostgreSQL and Valkey, unless DATABASE_URL and REDIS_URL name others, brings the
    database to the newest schema, then starts all services and restarts those that die. Data stays in
    the data directory. Ctrl-C stops everything in order, a second one at once.

    COMMAND_ADDRESS, QUERY_ADDRESS, HISTORY_ADDRESS, PROJECTIONS_ADDRESS, WEBHOOKS_ADDRESS (host:port)
    move a service; COMMAND_METRICS_PORT, QUERY_METRICS_PORT, HISTORY_METRICS_PORT,
    PROJECTIONS_METRICS_PORT, WEBHOOKS_METRICS_PORT switch Prometheus metrics on: worker n listens on
    that port + n. Payment providers are at work when their settings are there: see docs/payments.md.
    """
    started_seconds = time.monotonic()
    signal.signal(signal.SIGTERM, _interrupt)
    # Before servers are started and a database is migrated for nothing.
    asyncio.run(Deployment(os.environ).refuse_used_addresses())
    with running_servers(data_dir, os.environ, on_step=_say) as servers:
        migrate(servers.database_url, on_step=lambda step: _say(f"migrated: {step}"))
        environment = {**os.environ, **servers.environment}
        deployment = Deployment(environment, workers=workers, on_log=LogPrinter(console))
        with remembered(data_dir, {**servers.environment, **_addresses(deployment)}):
            asyncio.run(_serve(deployment, servers, started_seconds))
            # The loop has put the default back, by which one more would end us before our servers.
            signal.signal(signal.SIGTERM, _interrupt)
    _say("stopped")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """SIGTERM is a Ctrl-C: whoever is at work cleans up behind itself."""
    raise KeyboardInterrupt


async def _serve(deployment: Deployment, servers: Servers, started_seconds: float) -> None:
    stop = _StopRequest(deployment)
    starting = asyncio.create_task(deployment.start())
    try:
        if not await stop.comes_before(starting):
            _print_summary(deployment, servers, time.monotonic() - started_seconds)
            await stop.comes_before(asyncio.create_task(_keep_servers_running(servers, deployment)))
        _say("stopping: commands in flight are finished first (Ctrl-C once more to kill)")
    finally:
        await deployment.stop()


class _StopRequest:
    """Ctrl-C or SIGTERM: the first asks everyone to stop, the next kills the services."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._event = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._on_signal)

    async def comes_before(self, task: asyncio.Task[None]) -> bool:
        """Waits for the request or the task's end; ends the task, and raises what it raised."""
        waiting = asyncio.create_task(self._event.wait())
        await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if task.done():
            task.result()
            return False
        task.cancel()
        await asyncio.wait({task})
        return True

    def _on_signal(self) -> None:
        if self._event.is_set():
            self._deployment.kill()
        self._event.set()


async def _keep_servers_running(servers: Servers, deployment: Deployment) -> None:
    while True:
        await asyncio.sleep(REVIVE_POLL_SECONDS)
        for name in await asyncio.to_thread(servers.revive):
            deployment.say(f"{name} ended by itself and was started again")


def _addresses(deployment: Deployment) -> Mapping[str, str]:
    return {
        "COMMAND_ADDRESS": deployment.command_address,
        "QUERY_ADDRESS": deployment.query_address,
        "HISTORY_ADDRESS": deployment.history_address,
    }


def _print_summary(deployment: Deployment, servers: Servers, took_seconds: float) -> None:
    console.print(Text(f"\nshopkeeper is up ({took_seconds:.1f} s)\n", "bold green"))
    table = Table.grid(padding=(0, 2), pad_edge=True)
    for name, address in (
        ("commands", deployment.command_address),
        ("queries", deployment.query_address),
        ("history", deployment.history_address),
        ("webhooks", f"http://{deployment.address('webhooks')}/webhooks/<provider>"),
        ("PostgreSQL", "embedded" if servers.postgres else "DATABASE_URL"),
        ("Valkey", "embedded" if servers.valkey else "REDIS_URL"),
    ):
        table.add_row(Text(f"  {name}", "bold"), address)
    console.print(table)
    console.print(Text(_what_next(deployment)), soft_wrap=True)


def _what_next(deployment: Deployment) -> str:
    question = "shopkeeper.inventory.v1.InventoryQueryService/GetStock"
    return (
        f"\n  list  grpcurl -plaintext {deployment.command_address} list\n"
        '  ask   grpcurl -plaintext -d \'{"sku_id": "TEAPOT"}\''
        f" {deployment.query_address} {question}\n"
        f'  or    shopkeeper call InventoryQueryService/GetStock \'{{"sku_id": "TEAPOT"}}\'\n'
        f"  stop  Ctrl-C\n"
    )


def _say(text: str) -> None:
    console.print(Text(text), soft_wrap=True)
