"""The client against a server in this process that can be told to fail."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from ops.demo.shop import TWICE_ONE_IN, Addresses, Shop, quantile_ms
from ops.wire import calls, rpcs
from ops.wire.calls import Refused
from shopkeeper.cart.v1.cart_command_service_pb2 import CreateCartRequest, CreateCartResponse
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass
class Counter:
    """Answers every call with the next of its answers, the last one for ever; keeps the requests."""

    answers: list[Callable[[Context], Any]]
    requests: list[CreateCartRequest] = field(default_factory=list)

    async def handle(self, body: bytes, context: Context) -> bytes:
        self.requests.append(CreateCartRequest.FromString(body))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return bytes(await answer(context))


async def taken(_context: Context) -> bytes:
    return CreateCartResponse(consistency_token="t").SerializeToString()


def refused(code: grpc.StatusCode, reason: str) -> Callable[[Context], Any]:
    async def answer(context: Context) -> None:
        status = Status(code=code.value[0], message="no")
        for detail in (ErrorInfo(reason=reason), RetryInfo()):
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        trailers = (
            ("grpc-status-details-bin", status.SerializeToString()),
            ("x-consistency-token", "t"),
        )
        await context.abort(code, "no", trailers)

    return answer


@pytest.fixture
def counter() -> Counter:
    return Counter([taken])


@pytest.fixture
async def shop(counter: Counter) -> AsyncIterator[Shop]:
    server = grpc.aio.server()
    for path in (rpcs.CREATE_CART.path, rpcs.GET_CART.path):
        _, service, method = path.split("/")
        handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(counter.handle)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {method: handler}),)
        )
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with Shop(Addresses(address, address, address)) as client:
        yield client
    await server.stop(None)


async def create_cart(shop: Shop) -> CreateCartResponse:
    return await shop.command(rpcs.CREATE_CART, CreateCartRequest(cart_id="c"), actor="buyer")


async def test_a_command_is_sent_again_under_its_id_until_it_is_answered(
    shop: Shop, counter: Counter
) -> None:
    counter.answers[:0] = [
        refused(grpc.StatusCode.UNAVAILABLE, "DRAINING"),
        refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL"),
    ]
    assert (await create_cart(shop)).consistency_token == "t"
    assert len(counter.requests) == 3
    assert len({request.request_id for request in counter.requests}) == 1
    assert shop.traffic.retries.count_by_code == {"UNAVAILABLE": 1, "RESOURCE_EXHAUSTED": 1}


async def test_a_shop_that_never_answers_is_given_up(
    shop: Shop, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "ATTEMPTS_MAX", 3)
    counter.answers = [refused(grpc.StatusCode.UNAVAILABLE, "DRAINING")]
    with pytest.raises(grpc.aio.AioRpcError):
        await create_cart(shop)
    assert len(counter.requests) == 3


async def test_a_refusal_is_not_sent_again_and_tells_its_reason_and_token(
    shop: Shop, counter: Counter
) -> None:
    counter.answers = [refused(grpc.StatusCode.FAILED_PRECONDITION, "OUT_OF_STOCK")]
    with pytest.raises(Refused) as caught:
        await create_cart(shop)
    assert (caught.value.reason, caught.value.token) == ("OUT_OF_STOCK", "t")
    assert len(counter.requests) == 1


async def test_each_command_has_an_id_of_its_own(shop: Shop, counter: Counter) -> None:
    for _ in range(3):
        await create_cart(shop)
    assert len({request.request_id for request in counter.requests}) == 3


async def test_one_command_in_eight_is_sent_twice(shop: Shop, counter: Counter) -> None:
    for _ in range(2 * TWICE_ONE_IN):
        await create_cart(shop)
    assert len(counter.requests) == 2 * TWICE_ONE_IN + 2
    assert len({request.request_id for request in counter.requests}) == 2 * TWICE_ONE_IN
    assert shop.traffic.sent_twice_count == 2
    assert shop.traffic.different_replies == []


async def test_another_second_answer_is_noticed(shop: Shop, counter: Counter) -> None:
    counter.answers = [taken] * TWICE_ONE_IN + [
        refused(grpc.StatusCode.ALREADY_EXISTS, "CART_ALREADY_EXISTS")
    ]
    for _ in range(TWICE_ONE_IN - 1):
        await create_cart(shop)
    await create_cart(shop)
    assert shop.traffic.different_replies == [rpcs.CREATE_CART.path]


async def test_the_same_refusal_twice_is_the_same_answer(shop: Shop, counter: Counter) -> None:
    counter.answers = [refused(grpc.StatusCode.FAILED_PRECONDITION, "CART_EMPTY")]
    for _ in range(TWICE_ONE_IN):
        with pytest.raises(Refused, match="CART_EMPTY"):
            await create_cart(shop)
    assert shop.traffic.sent_twice_count == 1
    assert shop.traffic.different_replies == []


async def test_only_queries_count_as_queries(shop: Shop) -> None:
    await create_cart(shop)
    await shop.query(rpcs.GET_CART, GetCartRequest(cart_id="c"))
    await shop.query(rpcs.GET_CART, GetCartRequest(cart_id="c"))
    assert len(shop.traffic.command_seconds) == 1
    assert len(shop.traffic.query_seconds) == 2


def test_a_quantile_is_a_time_that_was_measured() -> None:
    seconds = [number / 1000 for number in range(1, 101)]
    assert quantile_ms(seconds, 0.99) == 99
    assert quantile_ms(seconds, 0.5) == 50
    assert quantile_ms([0.004], 0.99) == 4
    assert quantile_ms([], 0.99) == 0
