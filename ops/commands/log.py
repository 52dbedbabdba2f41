"""`log`: what happened, in the order in which it was committed."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

import grpc
import typer
from google.protobuf import descriptor_pool, json_format, message_factory
from rich.text import Text

from event_log.tokens import ConsistencyToken
from ops.commands.options import DATA_DIR, FLAG, LOOK, Address, DataDir, console
from ops.explanations import moment_text
from ops.failures import errors, visible
from ops.rpc import CALL_SECONDS_MAX, address_of, channel_to
from projections.contexts import CONTEXTS
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest, ReadEventsResponse
from shopkeeper.log.v1.log_service_pb2_grpc import LogServiceStub

app = typer.Typer()
log = typer.Typer(name="log", no_args_is_help=True, help="Read the event log.")
app.add_typer(log, rich_help_panel=LOOK)

EVENTS_SHOWN = 20
RECONNECT_SECONDS = 1.0


@log.callback()
def log_group() -> None:
    """Read the event log."""


@log.command()
def tail(
    *,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow", "-f", metavar=FLAG, help="Go on as events are committed, until Ctrl-C."
        ),
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="The last how many.")
    ] = EVENTS_SHOWN,
    after: Annotated[
        str, typer.Option(metavar="TOKEN", help="All behind this consistency token instead.")
    ] = "",
    context: Annotated[
        list[str] | None, typer.Option(help="Only this context, for example ordering; repeatable.")
    ] = None,
    key: Annotated[str, typer.Option(help="Only of this aggregate: an order id, a SKU.")] = "",
    as_json: Annotated[
        bool, typer.Option("--json", metavar=FLAG, help="A JSON object a line, for jq.")
    ] = False,
    address: Address = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Show the last events of the log, and with -f those that follow."""
    _know_all_events()
    if unknown := set(context or ()).difference(CONTEXTS):
        raise typer.BadParameter(
            f"{', '.join(sorted(unknown))}: no such context; there are {', '.join(CONTEXTS)}"
        )
    request = ReadEventsRequest(after_token=after, contexts=context or (), key=key)
    where = address_of("history_service", address, data_dir)
    last_count = None if after else lines
    asyncio.run(_tail(where, request, last_count=last_count, follow=follow, as_json=as_json))


async def _tail(
    address: str,
    request: ReadEventsRequest,
    *,
    last_count: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    async with channel_to(address) as channel:
        stub = LogServiceStub(channel)
        if last_count is not None:
            request.after_token = await _token_before_last(stub, request, last_count)
        await _show(stub, request, as_json=as_json)
        while follow:
            request.follow = True
            try:
                await _show(stub, request, as_json=as_json)
            except grpc.aio.AioRpcError as error:
                # It restarts, or renews its connections, as it does every ten minutes.
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                errors.print("waiting for the history service", highlight=False)
            await asyncio.sleep(RECONNECT_SECONDS)


async def _show(stub: LogServiceStub, request: ReadEventsRequest, *, as_json: bool) -> None:
    """Prints the events asked for; the request then asks for those behind them."""
    async for event in _events(stub, request, seconds_max=None):
        if as_json:
            console.out(json.dumps(_as_dict(event), ensure_ascii=False), highlight=False)
        else:
            console.print(_as_text(event), soft_wrap=True)
        request.after_token = event.token


async def _token_before_last(stub: LogServiceStub, request: ReadEventsRequest, count: int) -> str:
    """The token behind which `count` matching events stand, "" if there are no more than that.

    Found by bisection, in some forty short questions: the log cannot be read backwards, and reading
    it forwards takes minutes once it is long.
    """
    probe = ReadEventsRequest(contexts=request.contexts, key=request.key)
    first = await _first_events(stub, probe, 1)
    if not first:
        return ""
    incarnation = ConsistencyToken.parse(first[0].token).incarnation

    async def has_enough_behind(position: int) -> bool:
        probe.after_token = str(ConsistencyToken(incarnation, position))
        return len(await _first_events(stub, probe, max(count, 1))) >= max(count, 1)

    enough, too_few = 0, 1
    while await has_enough_behind(too_few):
        enough, too_few = too_few, 2 * too_few
    while too_few - enough > 1:
        middle = (enough + too_few) // 2
        enough, too_few = (middle, too_few) if await has_enough_behind(middle) else (enough, middle)
    # Behind `too_few` less than one event stands when none are wanted.
    return str(ConsistencyToken(incarnation, enough if count else too_few))


async def _first_events(
    stub: LogServiceStub, request: ReadEventsRequest, count: int
) -> list[ReadEventsResponse]:
    events: list[ReadEventsResponse] = []
    async for event in _events(stub, request, seconds_max=CALL_SECONDS_MAX):
        events.append(event)
        if len(events) == count:
            break
    return events


async def _events(
    stub: LogServiceStub, request: ReadEventsRequest, *, seconds_max: float | None
) -> AsyncIterator[ReadEventsResponse]:
    """The events asked for; the call ends with the loop that reads them."""
    # A follower was answered before: it waits until the service is there again.
    call = stub.ReadEvents(request, timeout=seconds_max, wait_for_ready=request.follow)
    try:
        async for event in call:
            yield event
    finally:
        call.cancel()


def _know_all_events() -> None:
    """Loads the events' messages into the descriptor pool, by which their payloads are decoded."""
    for context in CONTEXTS:
        importlib.import_module(f"shopkeeper.{context}.v1.{context}_events_pb2")


def _payload(event: ReadEventsResponse) -> dict[str, Any]:
    """The decoded payload; of a type that is newer than this program, its bytes in hexadecimal."""
    try:
        descriptor = descriptor_pool.Default().FindMessageTypeByName(event.type)
    except KeyError:
        return {"undecoded": event.payload.hex()}
    message = message_factory.GetMessageClass(descriptor).FromString(event.payload)
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def _as_dict(event: ReadEventsResponse) -> dict[str, Any]:
    shown = json_format.MessageToDict(event, preserving_proto_field_name=True)
    return {**shown, "position": event.position, "payload": _payload(event)}


def _as_text(event: ReadEventsResponse) -> Text:
    return Text.assemble(
        (f"{event.position:>8} {moment_text(event.recorded_time)} ", "dim"),
        (f"{event.context}.{event.type.rpartition('.')[2]} ", "bold"),
        (f"{visible(event.key)} ", "cyan"),
        visible(json.dumps(_payload(event), ensure_ascii=False)),
        (f" by {visible(event.actor)}", "dim"),
    )
