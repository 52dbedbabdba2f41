"""Webhooks over real HTTP: what is believed, what is refused, and what becomes of either."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from ops.ports import free_port
from payment_providers.port import Callback, NotAccepted, NotDone, ProviderPayment, ProviderState
from payment_providers.stripe.provider import StripeProvider, StripeSettings
from serving.validation import parse_request
from shopkeeper.payment.v1 import payment_command_service_pb2 as service
from tests.eventually import eventually
from tests.sandboxes.stripe.webhook_delivery import signature_header
from webhooks.hearing import BODY_SECONDS_MAX, HEARD, PAYMENT_ID_LENGTH_MAX, Hearing
from webhooks.server import BODY_BYTES_MAX, HttpServer, application

SECRET = "whsec_test"
COMMAND_SECONDS_MAX = 7.5
REFUSAL = "Refund re_1, recorded by hand for order o1, failed at its provider."


class Status(grpc.aio.AioRpcError):
    """An answer of the command service."""

    def __init__(self, code: grpc.StatusCode) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=REFUSAL)


@dataclass
class Commands:
    """Stands for the command service: notes what is asked, answers as it is told to."""

    asked: list[service.ReportProviderEventRequest] = field(default_factory=list)
    timeouts_seconds: list[float] = field(default_factory=list)
    failure: grpc.StatusCode | None = None
    pause: asyncio.Event | None = None

    async def ReportProviderEvent(  # noqa: N802 gRPC dictates the name
        self, request: service.ReportProviderEventRequest, **options: Any
    ) -> service.ReportProviderEventResponse:
        self.timeouts_seconds.append(options["timeout"])
        if self.pause is not None:
            await self.pause.wait()
        if self.failure is not None:
            raise Status(self.failure)
        self.asked.append(request)
        return service.ReportProviderEventResponse(is_ours=True)


@dataclass
class Ear:
    """A webhook service, and a provider that calls it."""

    commands: Commands
    provider: StripeProvider
    http: httpx.AsyncClient
    server: HttpServer
    port: int

    async def call(
        self, body: bytes, *, age_seconds: int = 0, secret: str = SECRET, path: str = "stripe"
    ) -> httpx.Response:
        sent_seconds = int(time.time()) - age_seconds
        signature = signature_header(body, (secret,), sent_seconds=sent_seconds)
        headers = {"Stripe-Signature": signature}
        return await self.http.post(f"/webhooks/{path}", content=body, headers=headers)


def heard(outcome: str, provider: str = "stripe") -> float:
    return float(HEARD.labels(provider, outcome)._value.get())


@pytest.fixture
def body_seconds_max() -> float:
    """How long a body may take to arrive; overridden where that is what is tested."""
    return BODY_SECONDS_MAX


@pytest_asyncio.fixture
async def ear(body_seconds_max: float) -> AsyncIterator[Ear]:
    commands: Any = Commands()
    settings = StripeSettings("sk_test_1", (SECRET,))
    provider = StripeProvider(settings, monotonic=time.monotonic, chance=Random(1))
    hearing = Hearing(
        {"stripe": provider},
        commands,
        lambda: datetime.now(UTC),
        command_seconds_max=COMMAND_SECONDS_MAX,
    )
    port = free_port()
    server = HttpServer(f"127.0.0.1:{port}", application(hearing, body_seconds_max=body_seconds_max))
    await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60.0) as http:
        yield Ear(commands, provider, http, server, port)
    await server.drain()
    await provider.close()


def event(event_id: str = "evt_1", **of_intent: Any) -> bytes:
    """A payment of ours that was captured, unless told otherwise."""
    intent = {
        "object": "payment_intent",
        "id": "pi_1",
        "status": "succeeded",
        "currency": "gbp",
        "amount_received": 200,
        "created": 1_790_000_000,
        "metadata": {"payment_id": "o1.1"},
        **of_intent,
    }
    told = {"id": event_id, "type": "payment_intent.succeeded", "data": {"object": intent}}
    return json.dumps(told).encode()


# --- what is believed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"metadata": None},
        {"metadata": {"payment_id": 5}},
        {"metadata": {"payment_id": "\ud800"}},
        {"amount_received": 10**30},
        {"amount_received": 12.5},
        {"created": 10**18},
        {"currency": 5},
        {"status": "of tomorrow"},
    ],
    ids=str,
)
async def test_a_signed_event_of_an_unknown_form_is_refused_and_counted(
    ear: Ear, wrong: dict[str, Any]
) -> None:
    before = heard("malformed")
    assert (await ear.call(event(**wrong))).status_code == 400
    assert heard("malformed") == before + 1
    assert ear.commands.asked == []


async def test_a_signed_body_nested_too_deep_is_refused_and_counted(ear: Ear) -> None:
    before = heard("malformed")
    assert (await ear.call(b"[" * 100_000)).status_code == 400
    assert heard("malformed") == before + 1


async def test_a_word_that_is_too_long_does_not_keep_money_from_being_counted(ear: Ear) -> None:
    answer = await ear.call(event(last_payment_error={"code": "x" * 5_000}))
    assert answer.status_code == 200
    [asked] = ear.commands.asked
    assert (asked.payment.captured_minor, len(asked.payment.failure_code)) == (200, 100)


async def test_a_signed_event_becomes_a_command(ear: Ear) -> None:
    assert (await ear.call(event())).status_code == 200
    [asked] = ear.commands.asked
    assert ear.commands.timeouts_seconds == [COMMAND_SECONDS_MAX]
    assert (asked.provider, asked.payment.payment_id) == ("stripe", "o1.1")
    assert asked.payment.state == service.PROVIDER_PAYMENT_STATE_CAPTURED
    assert asked.payment.captured_minor == 200


async def test_the_names_by_which_people_know_the_money_are_told_as_well(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SumUp's transaction code, say; one that no command would take does not keep the money away."""
    names = ("", "x" * 5_000, *(f"old {n}" for n in range(150)), "TAAA1", "x" * 200)

    async def interpret(callback: Callback) -> list[ProviderPayment]:
        return [
            ProviderPayment("o1.1", "checkout", ProviderState.CAPTURED, "GBP", 0, 200, other_names=names)
        ]

    monkeypatch.setattr(ear.provider, "interpret", interpret)
    assert (await ear.call(event())).status_code == 200
    [asked] = ear.commands.asked
    assert list(asked.payment.other_names) == list(names[-100:])
    parse_request(asked.SerializeToString(), type(asked))


async def test_each_event_is_one_request_however_often_it_comes(ear: Ear) -> None:
    for event_id in ("evt_1", "evt_2", "evt_1", "evt_1", "evt_2"):
        assert (await ear.call(event(event_id))).status_code == 200
    ids = [asked.request_id for asked in ear.commands.asked]
    assert ids == [ids[0], ids[1], ids[0], ids[0], ids[1]]
    assert ids[0] != ids[1]


async def test_an_event_that_is_read_anew_and_tells_more_is_another_request(ear: Ear) -> None:
    """PayPal and SumUp tell where to look: the first answer may be lost, and there be more to see."""
    for amount_minor in (200, 150, 200):
        assert (await ear.call(event(amount_received=amount_minor))).status_code == 200
    ids = [asked.request_id for asked in ear.commands.asked]
    assert ids[0] == ids[2] != ids[1]


async def test_a_body_in_chunks_is_read_byte_for_byte(ear: Ear) -> None:
    body = event()
    signature = signature_header(body, (SECRET,), sent_seconds=int(time.time()))

    async def chunks() -> AsyncIterator[bytes]:
        for place in range(0, len(body), 7):
            yield body[place : place + 7]

    answer = await ear.http.post(
        "/webhooks/stripe", content=chunks(), headers={"Stripe-Signature": signature}
    )
    assert answer.status_code == 200
    assert len(ear.commands.asked) == 1


@pytest.mark.parametrize("payment_id", ["", "x" * (PAYMENT_ID_LENGTH_MAX + 1)])
async def test_what_cannot_be_ours_is_taken_without_a_command(ear: Ear, payment_id: str) -> None:
    before = heard("not_ours")
    assert (await ear.call(event(metadata={"payment_id": payment_id}))).status_code == 200
    assert heard("not_ours") == before + 1
    assert ear.commands.asked == []


async def test_an_event_of_another_kind_is_taken_and_forgotten(ear: Ear) -> None:
    assert (await ear.call(event(object="customer"))).status_code == 200
    assert ear.commands.asked == []


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcome", "arguments"),
    [
        ("unsigned", {"secret": "whsec_other"}),
        ("stale", {"age_seconds": 400}),
        ("future", {"age_seconds": -400}),
    ],
)
async def test_what_is_not_signed_just_now_is_refused_and_counted(
    ear: Ear, outcome: str, arguments: dict[str, Any]
) -> None:
    before = heard(outcome)
    assert (await ear.call(event(), **arguments)).status_code == 400
    assert heard(outcome) == before + 1
    assert ear.commands.asked == []


async def test_a_call_without_a_signature_is_refused(ear: Ear) -> None:
    answer = await ear.http.post("/webhooks/stripe", content=event())
    assert answer.status_code == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"id": 1, "type": "x"}', b"\xff"])
async def test_what_cannot_be_read_is_refused_though_it_is_signed(ear: Ear, body: bytes) -> None:
    before = heard("malformed")
    assert (await ear.call(body)).status_code == 400
    assert heard("malformed") == before + 1


async def test_what_is_longer_than_any_event_is_not_read(ear: Ear) -> None:
    before = heard("oversized")
    assert (await ear.call(b"x" * (BODY_BYTES_MAX + 1))).status_code == 413
    assert heard("oversized") == before + 1
    assert (await ear.call(b"x" * BODY_BYTES_MAX)).status_code == 400


async def test_nobody_else_is_heard(ear: Ear) -> None:
    assert (await ear.call(event(), path="nobody")).status_code == 404
    assert (await ear.http.get("/webhooks/stripe")).status_code == 405
    assert (await ear.http.get("/healthz")).status_code == 200
    assert ear.commands.asked == []


# --- what comes again -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
    ],
)
async def test_what_is_not_durable_comes_again(ear: Ear, code: grpc.StatusCode) -> None:
    ear.commands.failure = code
    assert (await ear.call(event())).status_code == 503
    ear.commands.failure = None
    assert (await ear.call(event())).status_code == 200
    assert len(ear.commands.asked) == 1


@pytest.mark.parametrize("code", [grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION])
async def test_what_is_refused_for_good_is_for_people_and_does_not_come_again(
    ear: Ear, code: grpc.StatusCode
) -> None:
    before = heard("for_people")
    ear.commands.failure = code
    with capture_logs() as lines:
        assert (await ear.call(event())).status_code == 200
    assert heard("for_people") == before + 1
    [line] = [line for line in lines if line["event"] == "an event of a provider is for people"]
    assert (line["code"], line["refusal"]) == (code.name, REFUSAL)


async def test_what_the_provider_cannot_tell_now_comes_again(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(_: Any) -> None:
        raise NotDone("connection")

    monkeypatch.setattr(ear.provider, "interpret", silent)
    assert (await ear.call(event())).status_code == 503


async def test_what_the_provider_does_not_show_us_is_not_ours(
    ear: Ear, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuses(_: Any) -> None:
        raise NotAccepted("resource_missing")

    monkeypatch.setattr(ear.provider, "interpret", refuses)
    assert (await ear.call(event())).status_code == 200
    assert ear.commands.asked == []


# --- many at once ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def dribbling(ear: Ear) -> AsyncIterator[asyncio.StreamReader]:
    """A client that promises a body and does not send it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", ear.port)
    writer.write(b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    await writer.drain()
    try:
        yield reader
    finally:
        writer.close()


async def test_slow_clients_do_not_keep_others_waiting(ear: Ear) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            await stack.enter_async_context(dribbling(ear))
        assert (await ear.call(event())).status_code == 200


@pytest.mark.parametrize("body_seconds_max", [0.05])
async def test_a_body_that_never_comes_is_not_waited_for(ear: Ear) -> None:
    before = heard("slow")
    async with dribbling(ear) as reader:
        line = await reader.readline()
    assert line.split()[1] == b"408"
    assert heard("slow") == before + 1


async def test_what_was_begun_is_answered_before_the_server_stops(ear: Ear) -> None:
    ear.commands.pause = asyncio.Event()
    call = asyncio.create_task(ear.call(event()))

    async def is_inside() -> bool:
        return ear.commands.pause is not None and len(ear.server._server.server_state.tasks) > 0

    await eventually(is_inside, seconds=30)
    draining = asyncio.create_task(ear.server.drain())
    await asyncio.sleep(0)
    ear.commands.pause.set()
    assert (await call).status_code == 200
    await draining
    with pytest.raises(httpx.ConnectError):
        await ear.http.get("/healthz")
