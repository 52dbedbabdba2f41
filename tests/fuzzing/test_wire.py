"""What the fuzzer sends is what it means to send, and what it must not hear it would notice."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import DecodeError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from shopkeeper.cart.v1.cart_command_service_pb2 import AddCartLineRequest
from shopkeeper.ordering.v1.ordering_command_service_pb2 import PlaceOrderRequest
from tests.fuzzing.guinea_pig import is_of_a_mistake
from tests.fuzzing.test_every_rpc import Call, assert_fair
from tests.fuzzing.wire import LENGTH, VARINT, Names, bodies, messages, tagged, varint

NAMES = Names([("sku_id", b"sku"), ("cart_id", b"cart"), ("currency_code", b"GBP")])
PLACE = PlaceOrderRequest.DESCRIPTOR
METHOD = (
    Default().FindServiceByName("shopkeeper.cart.v1.CartCommandService").methods_by_name["AddCartLine"]
)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 2**31 - 1, 2**63 - 1, -1, -(2**31), -(2**63)])
def test_numbers_are_written_as_protobuf_writes_them(number: int) -> None:
    if -(2**31) <= number < 2**31:
        expected = AddCartLineRequest(quantity=number).SerializeToString()
        assert (tagged(7, VARINT, varint(number)) if number else b"") == expected
    assert len(varint(number)) <= 10


def test_texts_are_written_as_protobuf_writes_them() -> None:
    assert tagged(6, LENGTH, b"mug") == AddCartLineRequest(sku_id="mug").SerializeToString()


@pytest.mark.parametrize(
    ("sent", "share_min", "share_max"),
    [
        (messages(PLACE, NAMES, gentle=True), 0.5, 1.0),
        (bodies(PLACE, NAMES, [PlaceOrderRequest(cart_id="cart")]), 0.2, 0.98),
    ],
    ids=["gentle", "all"],
)
def test_most_of_what_is_sent_can_be_read_and_not_all(
    sent: st.SearchStrategy[bytes], share_min: float, share_max: float
) -> None:
    read: list[bool] = []

    @settings(max_examples=200, database=None, derandomize=True, phases=[Phase.generate])
    @given(sent)
    def send(body: bytes) -> None:
        try:
            PlaceOrderRequest.FromString(body)
        except DecodeError:
            read.append(False)
        else:
            read.append(True)

    send()
    assert share_min <= sum(read) / len(read) <= share_max


class Refusal:
    """As gRPC tells an error."""

    def __init__(self, code: grpc.StatusCode, *trailers: tuple[str, bytes]) -> None:
        self._code, self._trailers = code, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "told"

    def trailing_metadata(self) -> Any:
        return self._trailers


@pytest.mark.parametrize(
    ("code", "is_patient"),
    [
        (grpc.StatusCode.INTERNAL, True),
        (grpc.StatusCode.UNKNOWN, False),
        (grpc.StatusCode.DEADLINE_EXCEEDED, True),
        (grpc.StatusCode.UNAVAILABLE, True),
        (grpc.StatusCode.INVALID_ARGUMENT, True),
    ],
)
def test_an_answer_that_may_not_be_is_noticed(code: grpc.StatusCode, is_patient: bool) -> None:
    with pytest.raises(AssertionError):
        assert_fair(METHOD, Call(b"", (), is_patient), Refusal(code))


@pytest.mark.parametrize("code", [grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED])
def test_who_does_not_wait_gets_no_answer_and_that_is_fair(code: grpc.StatusCode) -> None:
    assert_fair(METHOD, Call(b"", (), is_patient=False), Refusal(code))


@pytest.mark.parametrize(
    ("line", "is_mistake"),
    [
        ('{"event": "refused", "level": "info", "code": "NOT_FOUND"}', False),
        ('{"event": "waiting", "level": "warning"}', False),
        ('{"event": "a request failed", "level": "error"}', True),
        ('{"event": "x", "level": "warning", "exception": []}', True),
        ('{"event": "Traceback (most recent call last):\\n ...", "level": "warning"}', True),
        ("Traceback (most recent call last):", True),
        ("a word of a library", False),
    ],
)
def test_only_mistakes_of_ours_are_taken_for_such(line: str, is_mistake: bool) -> None:
    assert is_of_a_mistake(line) is is_mistake


def test_names_go_where_they_stood() -> None:
    assert NAMES.of("sku_id") == [b"sku"]
    assert NAMES.of("unheard_of") == [b"sku", b"cart", b"GBP"]
