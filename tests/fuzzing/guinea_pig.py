"""A whole shop that the fuzzer calls, in a thread of its own, and what it looks at afterwards."""

import asyncio
import json
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
import psycopg
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default, DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

from ops.service_process import LogLine
from ops.verify import Violation, verify
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from shopkeeper.inventory.v1.inventory_history_service_pb2_grpc import InventoryHistoryServiceStub
from shopkeeper.ordering.v1.ordering_history_service_pb2 import ExplainOrderRequest, SearchOrdersRequest
from shopkeeper.ordering.v1.ordering_history_service_pb2_grpc import OrderingHistoryServiceStub
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_PAID
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    ListCustomerOrdersRequest,
    ListOrdersByStateRequest,
)
from shopkeeper.ordering.v1.ordering_query_service_pb2_grpc import OrderingQueryServiceStub
from tests.fuzzing.wire import Names
from tests.process_usage import Usage, usage_of
from tests.sandboxes.stripe.server import StripeSandbox
from tests.system.client import DEADLINE_SECONDS, Client, call_raw, new_id
from tests.system.conftest import WholeShop, listened_shop
from tests.system.test_idempotency import PATH_BY_REQUEST_TYPE, requests_of_every_kind, with_id
from tests.system.variants import follow, places

OURS = "shopkeeper."
SERVICES = ("command_service", "query_service", "history_service")

OPEN_SECONDS_MAX = 150.0
CLOSE_SECONDS_MAX = 60.0


@dataclass
class GuineaPig:
    """A shop at work with something of everything in it.

    samples: requests that are right, by the full names of their types. names: of the things there are.
    """

    shop: WholeShop
    lines: list[LogLine]
    samples: dict[str, list[Message]] = field(default_factory=dict)
    names: Names = field(default_factory=lambda: Names(()))

    def methods(self, module: str) -> list[MethodDescriptor]:
        """Every method that a service itself tells of, those of gRPC's own services too."""
        with grpc.insecure_channel(self.shop.deployment.address(module)) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            told = [
                DescriptorPool(database).FindServiceByName(n) for n in sorted(database.get_services())
            ]
            return [method for service in told for method in service.methods]

    def tracebacks(self) -> list[str]:
        """Log lines that tell of a mistake of ours."""
        return [line.text for line in self.lines if is_of_a_mistake(line.text)]

    def usage(self) -> dict[str, Usage]:
        """Of each process."""
        return {process.name: usage_of(process.pid) for process in self.shop.deployment.processes}

    def pids(self) -> list[int]:
        """Of the processes: one that died was started anew under another."""
        return [process.pid for process in self.shop.deployment.processes]

    def violations(self) -> list[Violation]:
        """Every rule that is broken, and every view that is not what the tables say."""
        servers = (self.shop.database_url, self.shop.redis_url)
        return asyncio.run(verify(*servers, on_progress=lambda _what, _done, _of: None))

    def session_count(self) -> int:
        """Sessions of the services at the database."""
        sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'shopkeeper%'"
        with psycopg.connect(self.shop.database_url, autocommit=True) as connection:
            row = connection.execute(sql).fetchone()
        assert row is not None
        return int(row[0])


def is_of_a_mistake(text: str) -> bool:
    """Whether a log line tells what no client should be able to cause, at whatever level."""
    if "Traceback" in text:
        return True
    try:
        entry = json.loads(text)
    except ValueError:
        # A library that writes to standard error by itself, or an interpreter on its way down.
        return "Error" in text
    return entry.get("level") in {"error", "critical"} or "exception" in entry


@contextmanager
def guinea_pig(database_url: str, redis_url: str) -> Iterator[GuineaPig]:
    """A shop until the block ends. Its loop has a thread, so that hypothesis can stay synchronous."""
    loop = asyncio.new_event_loop()
    stop, opened = asyncio.Event(), Future[GuineaPig]()
    thread = threading.Thread(target=loop.run_forever, name="guinea pig")
    thread.start()
    living = asyncio.run_coroutine_threadsafe(_live(database_url, redis_url, opened, stop), loop)

    def tell_why(ended: "Future[None]") -> None:
        """If it cannot be opened."""
        if not opened.done():
            opened.set_exception(ended.exception() or AssertionError("it ended before it began"))

    living.add_done_callback(tell_why)
    try:
        yield opened.result(OPEN_SECONDS_MAX)
    finally:
        loop.call_soon_threadsafe(stop.set)
        try:
            living.result(CLOSE_SECONDS_MAX)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()


async def _live(
    database_url: str, redis_url: str, opened: "Future[GuineaPig]", stop: asyncio.Event
) -> None:
    lines: list[LogLine] = []
    async with StripeSandbox().running() as url:
        settings = {
            "STRIPE_API_KEY": "sk_test_sandbox",
            "STRIPE_API_URL": url,
            "QUERY_REDIS_ANSWER_SECONDS_MAX": "10",
        }
        shop_running = listened_shop(database_url, redis_url, settings, lines.append, workers=1)
        async with shop_running as shop:
            pig = GuineaPig(shop, lines)
            await _furnish(pig)
            opened.set_result(pig)
            await stop.wait()


async def _furnish(pig: GuineaPig) -> None:
    """Fills the shop, keeps a right request of each kind, and the names in requests and answers."""
    pairs: list[tuple[str, bytes]] = []
    async with Client(pig.shop.command_address) as client:
        await client.open_shop(["sku", "other"], 1000)
        await client.add_coupon("TEN")
        for request in await requests_of_every_kind(client):
            with_id(request, new_id())
            pig.samples.setdefault(request.DESCRIPTOR.full_name, []).append(request)
            pairs += [*_texts(request), *_texts(await _answer(client, request))]
    pig.names = Names([*pairs, *await _list(pig)])


async def _answer(client: Client, request: Message) -> Message:
    """What a request is answered that is only rehearsed."""
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    service, method = path.strip("/").split("/")
    answer_type = Default().FindServiceByName(service).methods_by_name[method].output_type
    rehearsed = type(request)()
    rehearsed.CopyFrom(request)
    rehearsed.validate_only = True  # type: ignore[attr-defined]
    try:
        body = await call_raw(client, path, rehearsed.SerializeToString())
    except grpc.aio.AioRpcError:
        return rehearsed
    return GetMessageClass(answer_type).FromString(body)


async def _list(pig: GuineaPig) -> list[tuple[str, bytes]]:
    """Asks for the first page of each kind of listing, and keeps the requests for the second ones.

    Returns the page tokens that were given.
    """
    async with (
        grpc.aio.insecure_channel(pig.shop.query_address) as queries,
        grpc.aio.insecure_channel(pig.shop.environment["HISTORY_ADDRESS"]) as history,
    ):
        ordering, past = OrderingQueryServiceStub(queries), OrderingHistoryServiceStub(history)
        by_state = ListOrdersByStateRequest(state=ORDER_STATE_PAID, page_size=1)
        listed = await ordering.ListOrdersByState(by_state, timeout=DEADLINE_SECONDS)
        order = ExplainOrderRequest(order_id=listed.orders[0].order_id, page_size=1)
        stock = ExplainStockRequest(sku_id="sku", page_size=1)
        told = await past.ExplainOrder(order, timeout=DEADLINE_SECONDS)
        moved = await InventoryHistoryServiceStub(history).ExplainStock(stock, timeout=DEADLINE_SECONDS)
    for request, answer in ((by_state, listed), (order, told), (stock, moved)):
        assert answer.next_page_token, "there is more than one page"
        request.page_token = answer.next_page_token
    # Those of which there is one page only: what a token does there has to be forged.
    found = SearchOrdersRequest(email="ada@example.com", page_size=1)
    of_customer = ListCustomerOrdersRequest(customer_id="ada", page_size=1)
    samples = (by_state, order, stock, found, of_customer)
    pig.samples |= {request.DESCRIPTOR.full_name: [request] for request in samples}
    return [("page_token", each.page_token.encode()) for each in samples if each.page_token]


def _texts(message: Message) -> Iterator[tuple[str, bytes]]:
    """Every text in a message, at any depth, with the name of the field that it would fit."""
    for steps in places(message):
        for told, value in follow(message, steps).ListFields():
            values = [value] if isinstance(value, str) else value if isinstance(value, Iterable) else ()
            fitting = "at_least_as_fresh" if told.name == "consistency_token" else told.name
            for each in values:
                if isinstance(each, str):
                    # A list of ids bears their name: sku_ids.
                    yield from ((name, each.encode()) for name in (fitting, f"{fitting}s"))
