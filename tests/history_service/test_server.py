"""The furniture: health, reflection, an absent database, deadlines, and that nothing is written."""

import asyncio

import grpc
import psycopg
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from history_service.database import Database
from history_service.errors import ReadersBusy
from history_service.money_text import money_text
from history_service.server import SERVICES
from serving.failures import DeadlineMissed
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest
from tests.history_service.conftest import History, Refused, refused, serving
from tests.history_service.stored_shop import StoredShop

NOWHERE = "postgresql://127.0.0.1:1/nowhere"


class _Answer:
    """A row of one column."""

    def __init__(self, answer: object) -> None:
        self.answer = answer


@pytest.mark.parametrize("service", ["", *SERVICES])
async def test_each_service_is_healthy(history: History, service: str) -> None:
    check = history.channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest.SerializeToString,
        health_pb2.HealthCheckResponse.FromString,
    )
    answer = await check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_names_each_service(history: History, version: str) -> None:
    call = history.channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        reflection_pb2.ServerReflectionRequest.SerializeToString,
        reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    answer = await anext(aiter(call))
    assert set(SERVICES) <= {service.name for service in answer.list_services_response.service}


async def test_without_a_database_it_is_unavailable() -> None:
    async with serving(NOWHERE) as history:
        failure = await refused(history.inventory.ExplainStock(ExplainStockRequest(sku_id="A")))
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert failure.reason == "DATABASE_UNAVAILABLE"
        assert failure.has_retry_info
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(history.log.ReadEvents(ReadEventsRequest())))
        assert Refused(caught.value).reason == "DATABASE_UNAVAILABLE"


async def test_it_goes_on_after_its_connections_were_cut(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=1)
    request = ExplainStockRequest(sku_id="A")
    await history.inventory.ExplainStock(request)
    shop.rows("""
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'shopkeeper history'""")
    answer = await history.inventory.ExplainStock(request)
    assert answer.stock.available == 1


async def test_a_missing_field_is_named(history: History) -> None:
    failure = await refused(history.inventory.ExplainStock(ExplainStockRequest()))
    assert (failure.code, failure.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["sku_id"])


async def test_it_cannot_write(database_url: str) -> None:
    database = Database(database_url, connection_count_max=1)
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with database.snapshot(5) as snapshot:
            await snapshot.fetch("DELETE FROM requests", {}, _Answer)
    await database.drain()


async def test_a_slow_query_ends_at_the_caller_s_deadline(database_url: str) -> None:
    database = Database(database_url, connection_count_max=1)
    begun = asyncio.get_running_loop().time()
    with pytest.raises(DeadlineMissed):
        async with database.snapshot(0.3) as snapshot:
            await snapshot.fetch("SELECT pg_sleep(60)::text AS answer", {}, _Answer)
    # The query alone would take 60 s.
    assert asyncio.get_running_loop().time() - begun < 30
    async with database.snapshot(5) as snapshot:
        found = await snapshot.fetch_one("SELECT 1 AS answer", {}, _Answer)
    assert found is not None
    assert found.answer == 1
    await database.drain()


async def test_who_finds_all_connections_busy_is_told_so(database_url: str) -> None:
    database = Database(database_url, connection_count_max=1)
    async with database.snapshot(5):
        with pytest.raises(ReadersBusy):
            async with database.snapshot(0.1):
                raise AssertionError("there is one connection only")
    await database.drain()


async def test_a_caller_who_goes_away_gives_the_connection_s_place_back(database_url: str) -> None:
    database = Database(database_url, connection_count_max=1)

    async def sleep() -> None:
        async with database.snapshot(20) as snapshot:
            await snapshot.fetch("SELECT pg_sleep(20)::text AS answer", {}, _Answer)

    caller = asyncio.ensure_future(sleep())
    await asyncio.sleep(0.2)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    async with database.snapshot(5) as snapshot:
        assert await snapshot.fetch("SELECT 1 AS answer", {}, _Answer)
    await database.drain()


@pytest.mark.parametrize(
    ("amount_minor", "currency_code", "written"),
    [
        (255, "GBP", "2.55 GBP"),
        (-5, "GBP", "-0.05 GBP"),
        (0, "XXX", "0.00 XXX"),
        (255, "JPY", "255 JPY"),
        (-100, "JPY", "-100 JPY"),
        (1, "KWD", "0.001 KWD"),
        (123_456, "CLF", "12.3456 CLF"),
    ],
)
def test_amounts_are_written_with_the_digits_of_their_currency(
    amount_minor: int, currency_code: str, written: str
) -> None:
    assert money_text(amount_minor, currency_code) == written
