"""`call` and `repair`: one RPC from the command line, for whoever has no grpcurl at hand."""

import asyncio
import getpass
import json
import sys
import uuid
from collections.abc import Iterator
from typing import Annotated

import grpc
import typer
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from rich import box
from rich.table import Table

from ops.commands.options import DATA_DIR, FLAG, LOOK, REPAIR, Address, DataDir, console
from ops.failures import ExitStatus, Problem, errors
from ops.rpc import CALL_SECONDS_MAX, address_of, blocking_channel_to, channel_to
from shopkeeper.inventory.v1.inventory_command_service_pb2 import (
    RepairStockRequest,
    RepairStockResponse,
)
from shopkeeper.inventory.v1.inventory_command_service_pb2_grpc import InventoryCommandServiceStub

app = typer.Typer()
repair = typer.Typer(name="repair", no_args_is_help=True, help="Put right what is provably wrong.")
app.add_typer(repair, rich_help_panel=REPAIR)

OURS = "shopkeeper."
MODULES = ("command_service", "query_service", "history_service")


@app.command(rich_help_panel=LOOK)
def call(
    method: Annotated[
        str,
        typer.Argument(metavar="SERVICE/METHOD", help="For example InventoryQueryService/GetStock."),
    ] = "",
    request_json: Annotated[
        str, typer.Argument(metavar="JSON", help="The request; - reads it from standard input.")
    ] = "{}",
    actor: Annotated[str, typer.Option(help="Who does it.", show_default="you")] = "",
    address: Address = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Call any method of any service, in JSON; without arguments, list them all.

    The service's package may be left out. A command without a request_id is given one, which is
    printed: send it again with the request to repeat it safely.
    """
    if not method:
        _print_methods([address] if address else [address_of(m, None, data_dir) for m in MODULES])
        return
    service_name, _, method_name = method.replace("/", ".").rpartition(".")
    if not service_name:
        raise Problem(
            f"{method} names no method: write SERVICE/METHOD; `shopkeeper call` lists them all",
            ExitStatus.USAGE,
        )
    where = address_of(_module(service_name), address, data_dir)
    text = sys.stdin.read() if request_json == "-" else request_json
    _require_object(text)
    with blocking_channel_to(where) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        descriptor = _method(database, service_name, method_name)
        for answer in _answers(channel, descriptor, _request(descriptor, text), actor):
            console.out(json_format.MessageToJson(answer, ensure_ascii=False), highlight=False)


@repair.command("stock")
def repair_stock(
    sku: Annotated[str, typer.Argument(metavar="SKU", help="Its id.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", metavar=FLAG, help="Only tell what would change.")
    ] = False,
    address: Address = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Make a SKU's counters equal the sums of their movements, and say which did not."""
    request = RepairStockRequest(request_id=str(uuid.uuid4()), validate_only=dry_run, sku_id=sku)
    where = address_of("command_service", address, data_dir)
    repaired = asyncio.run(_repair(where, request)).repaired
    if not repaired:
        console.print("every counter is the sum of its movements; nothing to repair")
        return
    for counter in repaired:
        console.print(json_format.MessageToJson(counter, indent=None), markup=False, soft_wrap=True)
    console.print("would be repaired" if dry_run else "repaired")


async def _repair(address: str, request: RepairStockRequest) -> RepairStockResponse:
    async with channel_to(address) as channel:
        stub = InventoryCommandServiceStub(channel)
        metadata = (("x-actor", _actor("")),)
        return await stub.RepairStock(request, timeout=CALL_SECONDS_MAX, metadata=metadata)


def _module(service_name: str) -> str:
    """Which process answers, by the last word of the service's name."""
    if service_name.endswith("CommandService"):
        return "command_service"
    return "query_service" if service_name.endswith("QueryService") else "history_service"


def _method(
    database: ProtoReflectionDescriptorDatabase, service_name: str, method_name: str
) -> MethodDescriptor:
    services = [
        n for n in database.get_services() if n == service_name or n.endswith(f".{service_name}")
    ]
    if len(services) != 1:
        raise Problem(
            f"there is no service {service_name} here; `shopkeeper call` lists them all",
            ExitStatus.USAGE,
        )
    methods = DescriptorPool(database).FindServiceByName(services[0]).methods_by_name
    if method_name not in methods:
        raise Problem(
            f"{services[0]} has no method {method_name}; it has {', '.join(sorted(methods))}",
            ExitStatus.USAGE,
        )
    return methods[method_name]


def _require_object(text: str) -> None:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Problem(f"the request is not JSON: {error}", ExitStatus.USAGE) from None
    if not isinstance(found, dict):
        raise Problem(
            'the request must be a JSON object, such as {"sku_id": "TEAPOT"}', ExitStatus.USAGE
        )


def _request(method: MethodDescriptor, text: str) -> Message:
    request = GetMessageClass(method.input_type)()
    try:
        json_format.Parse(text, request, descriptor_pool=method.containing_service.file.pool)
    except json_format.ParseError as error:
        raise Problem(
            f"this is not a {method.input_type.full_name}: {error}", ExitStatus.USAGE
        ) from error
    field = method.input_type.fields_by_name.get("request_id")
    if field is not None and not getattr(request, field.name):
        setattr(request, field.name, str(uuid.uuid4()))
        errors.print(f"request_id: {getattr(request, field.name)}", highlight=False)
    return request


def _answers(
    channel: grpc.Channel, method: MethodDescriptor, request: Message, actor: str
) -> Iterator[Message]:
    path = f"/{method.containing_service.full_name}/{method.name}"
    answer_type = GetMessageClass(method.output_type)
    metadata = (("x-actor", _actor(actor)),)
    if method.server_streaming:
        # No deadline: a stream may follow the log until Ctrl-C.
        stream = channel.unary_stream(path, _serialized, answer_type.FromString)
        yield from stream(request, metadata=metadata)
    else:
        ask = channel.unary_unary(path, _serialized, answer_type.FromString)
        yield ask(request, metadata=metadata, timeout=CALL_SECONDS_MAX)


def _serialized(message: Message) -> bytes:
    return message.SerializeToString()


def _actor(given: str) -> str:
    actor = given or getpass.getuser()
    if not (actor.isascii() and actor.isprintable()):
        raise Problem(
            f"the actor {actor!r} is not of printable ASCII characters; name another by --actor",
            ExitStatus.USAGE,
        )
    return actor


def _print_methods(addresses: list[str]) -> None:
    table = Table("address", "service", "methods", box=box.SIMPLE_HEAD)
    for address in addresses:
        with blocking_channel_to(address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            pool = DescriptorPool(database)
            for name in sorted(name for name in database.get_services() if name.startswith(OURS)):
                methods = pool.FindServiceByName(name).methods_by_name
                table.add_row(address, name, " ".join(methods))
    console.print(table)
