"""What those who run the services look at: health, reflection, metrics; asked of real processes."""

import asyncio
import json
import os
import subprocess
import sysconfig
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from grpc_health.v1 import health_pb2
from prometheus_client.parser import text_string_to_metric_families

from command_service.server import SERVICES as COMMAND_SERVICES
from event_log.schema import REVISION, until_migrated
from history_service.server import SERVICES as HISTORY_SERVICES
from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.migrate import MIGRATIONS, migrate
from ops.ports import free_port
from ops.service_process import LogLine
from ops.services import free_addresses
from ops.supervisor import Deployment, is_serving
from query_service.server import SERVICES as QUERY_SERVICES
from shopkeeper.inventory.v1.inventory_query_service_pb2 import GetStockRequest
from shopkeeper.inventory.v1.inventory_query_service_pb2_grpc import InventoryQueryServiceStub
from tests.eventually import eventually
from tests.system.client import Client, reason_of
from tests.system.conftest import WholeShop

BUF = Path(sysconfig.get_path("scripts")) / "buf"
SERVED = {
    "COMMAND_ADDRESS": COMMAND_SERVICES,
    "QUERY_ADDRESS": QUERY_SERVICES,
    "HISTORY_ADDRESS": HISTORY_SERVICES,
}


@pytest.fixture
async def shop(database_url: str, redis_url: str) -> AsyncIterator[WholeShop]:
    """All services, each with metrics."""
    metrics = {
        f"{name}_METRICS_PORT": str(free_port())
        for name in ("COMMAND", "QUERY", "HISTORY", "PROJECTIONS")
    }
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    environment = {**os.environ, **servers, **metrics, **free_addresses()}
    async with Deployment(environment) as deployment:
        yield WholeShop(database_url, redis_url, environment, deployment)


def alembic(database_url: str = "") -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["database_url"] = database_url
    return config


def scraped(shop: WholeShop, service: str) -> dict[tuple[str, str], float]:
    """What Prometheus would read: each sample's value by its name and its lane or code."""
    url = f"http://127.0.0.1:{shop.environment[f'{service}_METRICS_PORT']}/metrics"
    with urllib.request.urlopen(url, timeout=5) as answer:
        text = answer.read().decode()
    samples: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if "le" not in sample.labels:
                label = sample.labels.get("lane") or sample.labels.get("code") or ""
                key = (sample.name, label)
                samples[key] = samples.get(key, 0) + sample.value
    return samples


async def test_metrics_tell_of_queue_batches_commits_and_projection_lag(shop: WholeShop) -> None:
    async with Client(shop.command_address) as client:
        await client.open_shop(["sku"], 10)
        await asyncio.gather(*(client.fill_cart({"sku": 1}) for _ in range(20)))
    commands = scraped(shop, "COMMAND")
    assert commands["shopkeeper_queue_length", "short"] == 0
    assert commands["shopkeeper_batch_size_sum", "short"] == 40
    assert 1 <= commands["shopkeeper_batch_size_count", "short"] <= 40
    assert commands["shopkeeper_batch_size_sum", "bulk"] >= 5
    assert commands["shopkeeper_commit_seconds_sum", "short"] > 0
    assert commands["grpc_server_handled_total", "OK"] >= 45

    async def has_caught_up() -> bool:
        shown = scraped(shop, "PROJECTIONS")
        is_level = shown["shopkeeper_projection_lag_events", ""] == 0
        return is_level and shown["shopkeeper_projection_position", ""] >= 45

    await eventually(has_caught_up, seconds=20)
    assert scraped(shop, "PROJECTIONS")["shopkeeper_projection_lag_seconds", ""] == 0
    for service in ("QUERY", "HISTORY"):
        assert ("process_cpu_seconds_total", "") in scraped(shop, service)


async def test_a_client_without_any_file_can_call_by_reflection(shop: WholeShop) -> None:
    """Buf curl asks for reflection v1 first, as grpcurl does; the method is called in JSON."""
    address = shop.environment["QUERY_ADDRESS"]
    method = "shopkeeper.inventory.v1.InventoryQueryService/BatchGetStock"
    arguments = ("curl", "--protocol", "grpc", "--http2-prior-knowledge", "--reflect")
    for protocol in ("grpc-v1", "grpc-v1alpha"):
        finished = await asyncio.to_thread(
            subprocess.run,
            [
                *(BUF, *arguments, "--reflect-protocol", protocol),
                *("-d", '{"sku_ids": ["nothing"]}', f"http://{address}/{method}"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert json.loads(finished.stdout) == {}


def test_services_wait_for_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(alembic()).get_current_head() == REVISION


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (None, "is not migrated"),
        ("0001", f"is at revision 0001, this program needs {REVISION}"),
    ],
)
async def test_services_that_come_before_the_migration_say_so_and_wait_for_it(
    empty_database_url: str, redis_url: str, found: str | None, state: str
) -> None:
    log: list[LogLine] = []
    if found is not None:
        command.upgrade(alembic(empty_database_url), found)
    servers = {"DATABASE_URL": empty_database_url, "REDIS_URL": redis_url}
    deployment = Deployment({**os.environ, **servers, **free_addresses()}, on_log=log.append)
    starting = asyncio.create_task(deployment.start())
    try:

        async def all_wait() -> bool:
            said = {line.source for line in log if state in line.text}
            return said == {"command_service#0", "history_service#0", "projections#0"}

        await eventually(all_wait, seconds=60)
        migrate(empty_database_url)
        await starting
    finally:
        starting.cancel()
        await asyncio.wait({starting})
        await deployment.stop()
    told = [json.loads(line.text) for line in log if state in line.text]
    assert {(each["level"], each["event"]) for each in told} == {("warning", "waiting for the database")}
    assert {each["reason"] for each in told} == {f"the database {state}: run `shopkeeper migrate`"}


async def test_a_database_of_a_newer_release_is_taken(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    async with asyncio.timeout(60):
        await until_migrated(database_url)


@pytest.mark.parametrize("address", SERVED)
async def test_health_is_told_of_the_process_and_of_each_service(shop: WholeShop, address: str) -> None:
    async with grpc.aio.insecure_channel(shop.environment[address]) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        for name in ("", *SERVED[address]):
            answer = await check(health_pb2.HealthCheckRequest(service=name), timeout=5)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.aio.AioRpcError) as unknown:
            await check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=5)
        assert unknown.value.code() is grpc.StatusCode.NOT_FOUND


async def test_health_is_about_the_process_and_not_about_its_servers(
    shop: WholeShop, postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    """See docs/adr/0012: whoever cannot reach a server still has the better answer for its callers."""
    async with Client(shop.command_address) as client:
        await client.open_shop(["sku"], 10)
        postgres.stop()
        valkey.stop()
        try:
            for address in SERVED:
                assert await is_serving(shop.environment[address])
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.receive({"sku": 1})
            assert reason_of(refused.value) == "DATABASE_UNAVAILABLE"
            async with grpc.aio.insecure_channel(shop.query_address) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await InventoryQueryServiceStub(channel).GetStock(
                        GetStockRequest(sku_id="sku"), timeout=5
                    )
            assert reason_of(refused.value) == "READ_MODEL_UNAVAILABLE"
        finally:
            postgres.start()
            valkey.start()

        async def goes_on() -> bool:
            try:
                await client.receive({"sku": 1})
            except grpc.aio.AioRpcError as error:
                return reason_of(error) != "DATABASE_UNAVAILABLE"
            return True

        await eventually(goes_on, seconds=30)
