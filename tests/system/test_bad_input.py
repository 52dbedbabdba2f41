"""Bad input of every kind: a clear answer that names the field, nothing written, nothing leaked."""

import re
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from tests.system.client import Client, call_raw, new_id, status_of, wrong_fields
from tests.system.conftest import CommandServices
from tests.system.test_idempotency import (
    PATH_BY_REQUEST_TYPE,
    contents,
    requests_of_every_kind,
    with_id,
)

OUR_CODES = {"INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "ABORTED"}
"""What a client may be at fault for. INTERNAL or UNKNOWN would be our fault."""

LEAKS = re.compile(
    r"Traceback|psycopg|SELECT |INSERT |UPDATE |File \"|Exception|asyncio|/[a-z]+/[a-z]+/", re.IGNORECASE
)

WRONG_TEXTS = ["a\0b", "\0", "x" * 70_000, " ", "💥" * 200]
WRONG_NUMBERS = [-1, 0, 2**31 - 1, -(2**31)]
WRONG_BIG_NUMBERS = [*WRONG_NUMBERS, 2**63 - 1, -(2**63)]


def wrong_values(field: Any) -> list[Any]:
    if field.type == FieldDescriptor.TYPE_STRING:
        return WRONG_TEXTS
    if field.type == FieldDescriptor.TYPE_INT32:
        return WRONG_NUMBERS
    if field.type == FieldDescriptor.TYPE_INT64:
        return WRONG_BIG_NUMBERS
    if field.type == FieldDescriptor.TYPE_ENUM:
        return [0, 99, -7]
    return []


def spoiled(
    request: Message, message: Message | None = None, path: str = ""
) -> Iterator[tuple[str, Message]]:
    """Copies of the request, each wrong in one field at any depth; and the field's path."""
    message = request if message is None else message
    for field in message.DESCRIPTOR.fields:
        name = f"{path}{field.name}"
        if field.name in ("request_id", "validate_only") and not path:
            continue
        if field.is_repeated:
            yield from _spoiled_list(request, message, field, name)
        elif field.message_type is not None:
            if message.HasField(field.name):
                yield from spoiled(request, getattr(message, field.name), f"{name}.")
                yield name, _changed(request, message, lambda m, f=field: m.ClearField(f.name))
        else:
            for value in wrong_values(field):
                yield name, _changed(request, message, lambda m, f=field, v=value: setattr(m, f.name, v))


def _spoiled_list(
    request: Message, message: Message, field: Any, name: str
) -> Iterator[tuple[str, Message]]:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        yield name, _changed(request, message, lambda m: getattr(m, field.name).update({"\0": "x"}))
        return
    items = list(getattr(message, field.name))
    yield name, _changed(request, message, lambda m: m.ClearField(field.name))
    if not items:
        return
    yield name, _changed(request, message, lambda m: getattr(m, field.name).extend(items * 1200))
    if field.message_type is not None:
        yield from spoiled(request, getattr(message, field.name)[0], f"{name}[0].")


def _changed(request: Message, part: Message, change: Any) -> Message:
    """A copy of the request after `change` was made to `part` of it; the request stays as it was."""
    saved = type(part).FromString(part.SerializeToString())
    change(part)
    copy = type(request).FromString(request.SerializeToString())
    part.CopyFrom(saved)
    return copy


@pytest.fixture
async def shop(two_services: CommandServices) -> CommandServices:
    async with two_services.client() as client:
        await client.open_shop(["sku", "other"], 1000)
        await client.add_coupon("TEN")
    return two_services


async def error_of(client: Client, request: Message) -> grpc.aio.AioRpcError | None:
    path = PATH_BY_REQUEST_TYPE[request.DESCRIPTOR.full_name]
    try:
        await call_raw(client, path, request.SerializeToString())
    except grpc.aio.AioRpcError as error:
        return error
    return None


def traces(shop: CommandServices, request_id: str) -> list[tuple[object, ...]]:
    """How many answers and events a request has left behind."""
    return shop.fetch(
        "SELECT (SELECT count(*) FROM requests WHERE request_id = %s::uuid),"
        " (SELECT count(*) FROM events WHERE request_id = %s::uuid)",
        request_id,
        request_id,
    )


def assert_clear(error: grpc.aio.AioRpcError, context: object) -> None:
    assert error.code().name in OUR_CODES, (error, context)
    assert error.details(), context
    assert not LEAKS.search(error.details() or ""), (error.details(), context)
    assert status_of(error).details, context


async def test_a_request_that_is_wrong_in_any_one_field_is_answered_clearly(
    shop: CommandServices,
) -> None:
    async with shop.client() as client:
        refused_count = 0
        for valid in await requests_of_every_kind(client):
            for path, request in spoiled(valid):
                error = await error_of(client, with_id(request, request_id := new_id()))
                if error is None:
                    continue
                refused_count += 1
                assert_clear(error, (path, request.DESCRIPTOR.name))
                if error.code() is not grpc.StatusCode.INVALID_ARGUMENT:
                    continue
                named = wrong_fields(error)
                root = re.split(r"[.\[]", path)[0]
                assert any(name.startswith(root) for name in named), (path, named)
                assert traces(shop, request_id) == [(0, 0)], path
    assert refused_count > 300
    assert shop.broken_invariants() == {}


@pytest.mark.parametrize("request_id", ["", "1", "not-a-uuid", "\0" * 36, "x" * 36])
async def test_every_command_needs_a_uuid_as_its_request_id(
    shop: CommandServices, request_id: str
) -> None:
    async with shop.client() as client:
        requests = await requests_of_every_kind(client)
        before = contents(shop.database_url)
        for request in requests:
            error = await error_of(client, with_id(request, request_id))
            assert error is not None
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert "request_id" in wrong_fields(error)
        assert contents(shop.database_url) == before


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xff\xff",
        b"\x0a\x05ab",
        b"\x1a\x03\xed\xa0\x80",  # field 3 is text: a lone surrogate is not UTF-8
        b"\x00",
    ],
)
async def test_bytes_that_are_no_message_are_refused(shop: CommandServices, body: bytes) -> None:
    async with shop.client() as client:
        before = contents(shop.database_url)
        for path in PATH_BY_REQUEST_TYPE.values():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call_raw(client, path, body)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, path
            assert_clear(refused.value, path)
        assert contents(shop.database_url) == before


async def test_a_message_over_4_mib_is_refused_by_name(shop: CommandServices) -> None:
    async with shop.client() as client:
        before = contents(shop.database_url)
        body = b"\x1a\xc0\x96\xb1\x02" + b"x" * 5_000_000
        for path in PATH_BY_REQUEST_TYPE.values():
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call_raw(client, path, body)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT, path
            assert wrong_fields(refused.value) == {"request"}
        assert contents(shop.database_url) == before


async def test_an_unknown_method_is_unimplemented(shop: CommandServices) -> None:
    async with shop.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call_raw(client, "/shopkeeper.cart.v1.CartCommandService/Nothing", b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
