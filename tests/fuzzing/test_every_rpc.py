"""Whatever a client sends to whichever method: an answer in time, and nothing else happens.

FUZZ_EXAMPLES=1000 for more than the few seconds that each change can wait; see `make fuzz`.
"""

import os
import sys
from collections import Counter, deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzzing.guinea_pig import OURS, SERVICES, GuineaPig, guinea_pig
from tests.fuzzing.page_tokens import next_pages
from tests.fuzzing.wire import LENGTH, bodies, tagged
from tests.process_usage import Usage

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "25"))
"""Calls of each method."""
TOKENS = 4 * EXAMPLES
"""Page tokens that each listing is sent besides."""

CALL_SECONDS_MAX = 20.0
"""An answer that takes longer is none. Machines that run the tests may be busy."""
FOLLOW_SECONDS_MAX = 0.5
"""Of a stream that was asked to go on for ever."""
WATCH = "grpc.health.v1.Health.Watch"
WATCH_SECONDS_MAX = 0.05
"""Of that one, which never ends, nor says anything new."""
IMPATIENT_SECONDS = 0.002
HUGE_MIB = (3, 5, 20)
"""Around the limit of a message, and far beyond it: once for each service."""

RSS_GROWTH_KIB_MAX = 16 * 1024
"""Measured: 2 MiB, of 25 calls of each method and of 60. What was huge takes tens for a while."""
FD_GROWTH_MAX = 16
SESSION_GROWTH_MAX = 6

OURS_TO_GIVE = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.UNAVAILABLE,
}
"""Refusals that only our services make; the others gRPC may make as well, before we hear of a call."""

NEVER = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}

MAY_BE_MISSED = {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}

pytestmark = pytest.mark.timeout(180 + 10 * EXAMPLES)


class Call(NamedTuple):
    """One call. is_patient: it waits for an answer."""

    body: bytes
    metadata: tuple[tuple[str, str | bytes], ...]
    is_patient: bool


def calls(method: MethodDescriptor, pig: GuineaPig) -> st.SearchStrategy[Call]:
    return called_with(bodies(method.input_type, pig.names, samples_of(method, pig)))


def called_with(bodies: st.SearchStrategy[bytes]) -> st.SearchStrategy[Call]:
    is_patient = st.sampled_from((True,) * 15 + (False,))
    return st.builds(Call, body=bodies, metadata=metadata(), is_patient=is_patient)


def samples_of(method: MethodDescriptor, pig: GuineaPig) -> list[Message]:
    return pig.samples.get(method.input_type.full_name, [])


def metadata() -> st.SearchStrategy[tuple[tuple[str, str | bytes], ...]]:
    """Mostly none; else what gRPC lets through: printable ASCII, and any bytes under names in -bin."""
    names = st.sampled_from(("x-actor", "x-request-id", "x-consistency-token", "authorization", "te2"))
    text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
    long = st.sampled_from(("a" * 3_000, "%00%ff", "{x}%s", "0", " "))
    plain = st.tuples(names, st.one_of(text, long))
    binary = st.tuples(st.sampled_from(("x-actor-bin", "odd-bin")), st.binary(max_size=40))
    pairs = st.lists(st.one_of(plain, binary), max_size=3).map(tuple)
    return st.one_of(st.just(()), st.just(()), pairs)


@pytest.fixture
def pig(database_url: str, redis_url: str) -> Iterator[GuineaPig]:
    with guinea_pig(database_url, redis_url) as pig:
        yield pig


def test_whatever_is_sent_is_answered_and_leaves_nothing_behind(pig: GuineaPig) -> None:
    codes: Counter[str] = Counter()
    targets = [(module, method) for module in SERVICES for method in pig.methods(module)]
    assert {method.containing_service.full_name.split(".")[1] for _, method in targets} >= CONTEXTS
    assert {method.full_name for _, method in targets} >= OF_GRPC
    pids = pig.pids()
    warm_up(pig, targets)
    before, session_count = pig.usage(), pig.session_count()
    for module, method in targets:
        with grpc.insecure_channel(pig.shop.deployment.address(module)) as channel:
            fuzz(calls(method, pig), channel, method, codes)
            if "page_token" in method.input_type.fields_by_name:
                [sample] = samples_of(method, pig)
                pages = next_pages(sample, pig.names.of("page_token"))
                fuzz(called_with(pages), channel, method, codes, examples=TOKENS)
    after = pig.usage()
    send_huge(pig, targets, codes)
    sys.stdout.write(f"fuzz: methods={len(targets)} calls={codes.total()} {dict(codes)}\n")
    assert {"OK", "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND"} <= codes.keys(), codes
    assert pig.pids() == pids, "a process died"
    assert pig.tracebacks() == []
    assert_no_leak(before, after)
    assert pig.session_count() <= session_count + SESSION_GROWTH_MAX
    assert pig.violations() == [], codes


OF_GRPC = {
    "grpc.health.v1.Health.Check",
    WATCH,
    "grpc.reflection.v1alpha.ServerReflection.ServerReflectionInfo",
}
CONTEXTS = {"cart", "catalog", "inventory", "log", "ordering", "payment", "pricing"}


def warm_up(pig: GuineaPig, targets: list[tuple[str, MethodDescriptor]]) -> None:
    """Calls each method once: the first call of each loads what stays loaded."""
    for module, method in targets:
        with grpc.insecure_channel(pig.shop.deployment.address(module)) as channel:
            for body in (
                b"",
                *(m.SerializeToString() for m in samples_of(method, pig)),
            ):
                outcome(channel, method, Call(body, (), is_patient=True))


def send_huge(pig: GuineaPig, targets: list[tuple[str, MethodDescriptor]], codes: Counter[str]) -> None:
    """To one method of each service. Last: what a process has had for it once, it keeps for a while."""
    for module, method in targets:
        if method.index == 0:
            with grpc.insecure_channel(pig.shop.deployment.address(module)) as channel:
                for mib in HUGE_MIB:
                    body = tagged(999, LENGTH, bytes(mib * 2**20))
                    codes[outcome(channel, method, Call(body, (), is_patient=True))] += 1


def fuzz(
    calls: st.SearchStrategy[Call],
    channel: grpc.Channel,
    method: MethodDescriptor,
    codes: Counter[str],
    *,
    examples: int = EXAMPLES,
) -> None:
    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        # Nothing is made smaller: each attempt would be a call to a shop that has changed meanwhile.
        phases=(Phase.explicit, Phase.reuse, Phase.generate),
        database=None,
    )
    @given(call=calls)
    def send(call: Call) -> None:
        codes[outcome(channel, method, call)] += 1

    send()


def outcome(channel: grpc.Channel, method: MethodDescriptor, call: Call) -> str:
    """The code of the answer, if it is one that may be."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    seconds = CALL_SECONDS_MAX if call.is_patient else IMPATIENT_SECONDS
    if follows(method, call.body):
        seconds = min(seconds, FOLLOW_SECONDS_MAX if method.full_name != WATCH else WATCH_SECONDS_MAX)
    try:
        if method.client_streaming:
            talk: Any = channel.stream_stream(path)
            deque(talk(iter((call.body,) * 2), timeout=seconds, metadata=call.metadata), maxlen=0)
        elif method.server_streaming:
            stream: Any = channel.unary_stream(path)
            deque(stream(call.body, timeout=seconds, metadata=call.metadata), maxlen=0)
        else:
            ask: Any = channel.unary_unary(path)
            ask(call.body, timeout=seconds, metadata=call.metadata)
    except grpc.RpcError as error:
        assert_fair(method, call, error)
        return str(error.code().name)
    return "OK"


def follows(method: MethodDescriptor, body: bytes) -> bool:
    """Whether a stream is asked for that never ends; one that is not has to end."""
    if method.full_name == WATCH:
        return True
    try:
        return bool(getattr(GetMessageClass(method.input_type).FromString(body), "follow", False))
    except DecodeError:
        return False


def assert_fair(method: MethodDescriptor, call: Call, error: Any) -> None:
    told = (method.full_name, error.code(), error.details(), call)
    assert error.code() not in NEVER, told
    if error.code() in MAY_BE_MISSED:
        assert not call.is_patient or follows(method, call.body), told
        return
    if not method.full_name.startswith(OURS):
        # gRPC's own services refuse in gRPC's own way.
        return
    trailers = dict(error.trailing_metadata() or ())
    status = Status.FromString(trailers.get("grpc-status-details-bin", b""))
    infos = [detail for detail in status.details if detail.Is(ErrorInfo.DESCRIPTOR)]
    if error.code() in OURS_TO_GIVE:
        assert len(infos) == 1, told
        assert error.details(), told


def assert_no_leak(before: dict[str, Usage], after: dict[str, Usage]) -> None:
    for name, used in before.items():
        assert after[name].resident_kib < used.resident_kib + RSS_GROWTH_KIB_MAX, (before, after)
        assert after[name].file_count < used.file_count + FD_GROWTH_MAX, (before, after)
