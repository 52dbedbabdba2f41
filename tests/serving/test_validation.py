"""Times in requests: a Timestamp or Duration that is none is refused by its path, wherever it stands."""

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from command_service.server import SERVICES as COMMAND_SERVICES
from history_service.server import SERVICES as HISTORY_SERVICES
from query_service.server import SERVICES as QUERY_SERVICES
from serving.failures import InvalidRequest
from serving.validation import parse_request
from shopkeeper.inventory.v1.inventory_command_service_pb2 import ExtendReservationRequest
from shopkeeper.pricing.v1.pricing_command_service_pb2 import (
    UpsertPriceListsRequest,
    UpsertPromotionsRequest,
)
from shopkeeper.pricing.v1.pricing_pb2 import PriceList

REQUEST_ID = "0189f7ea-ae2c-7809-8aeb-b819cf5e9e7f"
TIMES: dict[str, type[Message]] = {each.DESCRIPTOR.full_name: each for each in (Timestamp, Duration)}

FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799
LONGEST_SECONDS = 315_576_000_000

WRONG: dict[type[Message], list[tuple[int, int]]] = {
    Timestamp: [
        *((0, -1), (0, 10**9), (0, 2**31 - 1), (0, -(2**31))),
        *((FIRST_SECOND - 1, 0), (LAST_SECOND + 1, 0), (2**63 - 1, 0), (-(2**63), 0)),
    ],
    Duration: [
        *((60, -1), (-60, 1), (0, 10**9), (0, -(10**9)), (60, 2**31 - 1), (60, -(2**31))),
        *((LONGEST_SECONDS + 1, 0), (-LONGEST_SECONDS - 1, 0), (2**63 - 1, 0), (-(2**63), 0)),
    ],
}


def paths_of_times(
    message: Descriptor, path: tuple[FieldDescriptor, ...] = ()
) -> Iterator[tuple[FieldDescriptor, ...]]:
    """The way to each Timestamp and Duration that may stand in a message."""
    for field in message.fields:
        inner = field.message_type
        if inner is None or inner in [before.message_type for before in path]:
            continue
        if inner.full_name in TIMES:
            yield (*path, field)
        else:
            yield from paths_of_times(inner, (*path, field))


REQUESTS = [
    method.input_type
    for name in (*COMMAND_SERVICES, *QUERY_SERVICES, *HISTORY_SERVICES)
    for method in Default().FindServiceByName(name).methods
]
PLACES = [(request, path) for request in REQUESTS for path in paths_of_times(request)]


def with_time(request: Descriptor, path: tuple[FieldDescriptor, ...], time: Message) -> bytes:
    """A request that holds nothing but this time."""
    filled: Any = GetMessageClass(request)()
    message = filled
    for field in path:
        value = getattr(message, field.name)
        message = value.add() if field.is_repeated else value
    message.CopyFrom(time)
    return bytes(filled.SerializeToString())


def written(path: tuple[FieldDescriptor, ...]) -> str:
    return ".".join(f"{field.name}[0]" if field.is_repeated else field.name for field in path)


def wrong_fields(body: bytes, request: Descriptor) -> dict[str, str]:
    try:
        parse_request(body, GetMessageClass(request))
    except InvalidRequest as refused:
        return refused.description_by_field
    return {}


@pytest.mark.parametrize(
    ("request_type", "path"), PLACES, ids=[f"{r.name}-{written(path)}" for r, path in PLACES]
)
def test_a_time_that_is_none_is_refused_by_its_path(
    request_type: Descriptor, path: tuple[FieldDescriptor, ...]
) -> None:
    last = path[-1].message_type
    assert last is not None
    kind = TIMES[last.full_name]
    for seconds, nanos in WRONG[kind]:
        time: Any = kind()
        time.seconds, time.nanos = seconds, nanos
        named = wrong_fields(with_time(request_type, path, time), request_type)
        assert "nanos" in named.get(written(path), ""), (seconds, nanos, named)


def test_the_requests_that_tell_a_time_are_among_them() -> None:
    named = {f"{request.name}.{written(path)}" for request, path in PLACES}
    assert named >= {
        "UpsertPriceListsRequest.price_lists[0].start_time",
        "UpsertPromotionsRequest.promotions[0].end_time",
        "PlaceOrderRequest.hold_duration",
        "ReserveStockRequest.hold_duration",
        "ExtendReservationRequest.hold_duration",
        "ExplainStockRequest.at_time",
    }


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(FIRST_SECOND, 0), (LAST_SECOND, 999_999_999), (-1, 999_999_999), (0, 1)]
)
def test_every_moment_of_the_years_1_to_9999_is_a_time(seconds: int, nanos: int) -> None:
    retail = PriceList(price_list_id="l", title="L", currency_code="GBP")
    retail.start_time.seconds, retail.start_time.nanos = seconds, nanos
    request = UpsertPriceListsRequest(request_id=REQUEST_ID, price_lists=[retail])
    assert wrong_fields(request.SerializeToString(), request.DESCRIPTOR) == {}


@pytest.mark.parametrize(
    ("seconds", "nanos", "is_allowed"),
    [(1, 0, True), (1, 999_999_999, True), (0, 999_999_999, False), (0, -999_999_999, False)],
)
def test_a_span_that_is_one_is_left_to_the_rules_of_its_field(
    seconds: int, nanos: int, *, is_allowed: bool
) -> None:
    request = ExtendReservationRequest(
        request_id=REQUEST_ID,
        reservation_id="r",
        hold_duration=Duration(seconds=seconds, nanos=nanos),
    )
    wrong = wrong_fields(request.SerializeToString(), request.DESCRIPTOR)
    assert (wrong == {}) is is_allowed
    assert "nanos" not in wrong.get("hold_duration", "")


def test_each_of_many_rows_is_told_apart() -> None:
    request = UpsertPromotionsRequest(request_id=REQUEST_ID)
    for row in range(3):
        promotion = request.promotions.add(promotion_id=str(row), title="P")
        promotion.free_shipping.SetInParent()
        promotion.end_time.nanos = -1 if row == 1 else 1
    assert list(wrong_fields(request.SerializeToString(), request.DESCRIPTOR)) == [
        "promotions[1].end_time"
    ]
