"""The fuzzer sees a stream that hangs, and lets one that was asked to follow go on."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from shopkeeper.log.v1 import log_service_pb2
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest
from tests.fuzzing import test_every_rpc as fuzzer

READ_EVENTS = log_service_pb2.DESCRIPTOR.services_by_name["LogService"].methods_by_name["ReadEvents"]


@pytest.fixture
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[grpc.Channel]:
    """To a log that tells one event, and then nothing more, whoever asks."""
    monkeypatch.setattr(fuzzer, "CALL_SECONDS_MAX", 0.3)
    monkeypatch.setattr(fuzzer, "FOLLOW_SECONDS_MAX", 0.1)
    stopped = threading.Event()

    def hang(_body: bytes, _context: object) -> Iterator[bytes]:
        yield b""
        stopped.wait()

    method: Any = grpc.unary_stream_rpc_method_handler(hang)
    handler = grpc.method_handlers_generic_handler(
        READ_EVENTS.containing_service.full_name, {READ_EVENTS.name: method}
    )
    server = grpc.server(ThreadPoolExecutor(4), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as opened:
        yield opened
    stopped.set()
    server.stop(None).wait()


def call_of(request: ReadEventsRequest) -> fuzzer.Call:
    return fuzzer.Call(request.SerializeToString(), (), is_patient=True)


def test_a_stream_that_does_not_follow_has_to_end(channel: grpc.Channel) -> None:
    with pytest.raises(AssertionError):
        fuzzer.outcome(channel, READ_EVENTS, call_of(ReadEventsRequest()))


def test_a_stream_that_follows_may_go_on(channel: grpc.Channel) -> None:
    told = fuzzer.outcome(channel, READ_EVENTS, call_of(ReadEventsRequest(follow=True)))
    assert told == "DEADLINE_EXCEEDED"
