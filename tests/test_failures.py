"""Every failure is complete: it has a status, somebody raises it, and the protos tell callers of it."""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, RetryInfo
from google.rpc.status_pb2 import Status

import command_service.errors
import history_service.errors
import query_service.errors
from command_service.server import SERVICES as COMMAND_SERVICES
from command_service.world import Command
from history_service.server import SERVICES as HISTORY_SERVICES
from query_service.server import SERVICES as QUERY_SERVICES
from serving.failures import Code, Failure, Invalid, Violation
from serving.status import encode_failure

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos" / "shopkeeper"

MODULES = (command_service.errors, query_service.errors, history_service.errors)
RETRY_HELPS = {Code.RESOURCE_EXHAUSTED, Code.UNAVAILABLE}


def failures_of(module: object) -> list[type[Failure]]:
    found = [each for each in vars(module).values() if inspect.isclass(each)]
    own = [each for each in found if each.__module__ == getattr(module, "__name__", "")]
    failures = [each for each in own if issubclass(each, Failure)]
    assert failures == own, "errors.py holds nothing else"
    return failures


FAILURES = [(module, each) for module in MODULES for each in failures_of(module)]
IDS = [f"{module.__name__.partition('.')[0]}-{each.__name__}" for module, each in FAILURES]


def made(failure: type[Failure]) -> Failure:
    """One of the class, with a made-up value for each fact that its message names."""
    if issubclass(failure, command_service.errors.OutOfStock):
        return failure([Violation("<sku_id>", "2 wanted, 1 available")])
    if failure.__init__ is not Failure.__init__:
        return failure()
    facts = re.findall(r"{(\w+)}", failure.__doc__ or "")
    return failure(**{name: f"<{name}>" for name in facts})


def reason_of(failure: type[Failure]) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", failure.__name__).upper()


@pytest.mark.parametrize(("_module", "failure"), FAILURES, ids=IDS)
def test_every_failure_has_a_status_that_a_client_can_act_on(
    _module: object, failure: type[Failure]
) -> None:
    status = Status.FromString(encode_failure(made(failure)))
    assert status.code == failure.code
    assert status.message.endswith((".", "later", "again", "method")) or ":" in status.message
    assert "{" not in status.message
    details = {detail.TypeName(): detail for detail in status.details}
    info = ErrorInfo()
    details[ErrorInfo.DESCRIPTOR.full_name].Unpack(info)
    assert (info.reason, info.domain) == (reason_of(failure), "shopkeeper")
    assert (RetryInfo.DESCRIPTOR.full_name in details) is (failure.code in RETRY_HELPS)
    assert (BadRequest.DESCRIPTOR.full_name in details) is issubclass(failure, Invalid)
    is_forbidden = failure.code is Code.FAILED_PRECONDITION
    assert (PreconditionFailure.DESCRIPTOR.full_name in details) is is_forbidden


@pytest.mark.parametrize(("module", "failure"), FAILURES, ids=IDS)
def test_every_failure_is_raised_somewhere(module: object, failure: type[Failure]) -> None:
    package = ROOT / getattr(module, "__name__", "").partition(".")[0]
    assert failure.__name__ in {name for path in package.rglob("*.py") for name in used_names(path)}


@cache
def used_names(path: Path) -> frozenset[str]:
    """The names that a module uses: an import, or a mention in a docstring, is no use."""
    nodes = list(ast.walk(ast.parse(path.read_text())))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    return frozenset(names | {node.attr for node in nodes if isinstance(node, ast.Attribute)})


# --- the protos --------------------------------------------------------------------------------

SERVICE = re.compile(r"((?:^//.*\n)+)service (\w+) {\n", re.MULTILINE)
METHOD = re.compile(r"((?:^  //.*\n)+)  rpc (\w+)\(", re.MULTILINE)
EVERY_COMMAND = {
    "REQUEST_ID_REUSED",
    "QUEUE_FULL",
    "REQUEST_IN_PROGRESS",
    "DATABASE_UNAVAILABLE",
    "DRAINING",
    "DEADLINE_MISSED",
    "INVALID_REQUEST",
    "INVALID_FIELD",
    "INTERNAL",
}
EVERY_QUERY = {
    "TOO_MANY_QUERIES",
    "READ_MODEL_BEHIND",
    "READ_MODEL_UNAVAILABLE",
    "READ_MODEL_REBUILDING",
    "LOG_INCARNATION_CHANGED",
    "INVALID_REQUEST",
    "INVALID_FIELD",
}
EVERY_QUESTION = {"DATABASE_UNAVAILABLE", "READERS_BUSY", "DEADLINE_MISSED", "INVALID_REQUEST"}
EVERYWHERE = [
    *((name, EVERY_COMMAND) for name in COMMAND_SERVICES),
    *((name, EVERY_QUERY) for name in QUERY_SERVICES),
    *((name, EVERY_QUESTION) for name in HISTORY_SERVICES),
]


def reasons_in(comment: str) -> set[str]:
    return set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)*\b", comment))


@cache
def services() -> dict[str, tuple[str, str]]:
    """Each service: its comment, and its file."""
    return {
        match[2]: (match[1], text)
        for text in (path.read_text() for path in PROTOS.rglob("*_service.proto"))
        for match in SERVICE.finditer(text)
    }


@pytest.mark.parametrize(("full_name", "reasons"), EVERYWHERE, ids=[name for name, _ in EVERYWHERE])
def test_every_service_tells_what_each_of_its_methods_may_be_answered_with(
    full_name: str, reasons: set[str]
) -> None:
    comment, _ = services()[full_name.rpartition(".")[2]]
    assert reasons <= reasons_in(comment)


NEVER_TOLD = {"CART_NOT_FORGETTABLE"}
"""Refused to workers of ours only: see OF_WORKERS."""


@pytest.mark.parametrize(("module", "failure"), FAILURES, ids=IDS)
def test_the_protos_tell_of_every_failure(module: object, failure: type[Failure]) -> None:
    side = {"command_service": "command", "query_service": "query"}.get(
        getattr(module, "__name__", "").partition(".")[0], ""
    )
    paths = [p for p in PROTOS.rglob("*_service.proto") if p.stem.endswith(f"{side}_service")]
    told = reasons_in("\n".join(path.read_text() for path in paths))
    assert (reason_of(failure) in told) is (reason_of(failure) not in NEVER_TOLD)


def all_subclasses(parent: type[Command[Any]]) -> Iterator[type[Command[Any]]]:
    for child in parent.__subclasses__():
        if child.__module__.startswith("command_service."):
            yield child
            yield from all_subclasses(child)


def commands_with_refusals() -> Iterator[tuple[str, set[str]]]:
    """Each command that says in its code what it refuses, and that as reasons."""
    refusals = {each.__name__: reason_of(each) for each in failures_of(command_service.errors)}
    for command in all_subclasses(Command):
        told = inspect.getdoc(command.decide) or ""
        named = [reason for name, reason in refusals.items() if re.search(rf"\b{name}\b", told)]
        if named and not command.__name__.startswith("_"):
            yield command.__name__, set(named)


OF_WORKERS = {"ForgetCart"}
"""Commands of workers of ours that no RPC has: nobody outside is ever told what they refuse."""

REFUSALS_BY_COMMAND = dict(commands_with_refusals())


@pytest.mark.parametrize("name", OF_WORKERS)
def test_no_rpc_has_the_name_of_a_worker_s_command(name: str) -> None:
    assert name in REFUSALS_BY_COMMAND
    assert not documentation(name)


@pytest.mark.parametrize("name", sorted(REFUSALS_BY_COMMAND.keys() - OF_WORKERS))
def test_what_a_command_refuses_is_told_where_it_is_asked_for(name: str) -> None:
    told = documentation(name)
    assert told, "the RPC has the name of its command"
    assert REFUSALS_BY_COMMAND[name] <= reasons_in(told)


def documentation(method_name: str) -> str:
    """What the protos say of an RPC: at its service, itself, and in its request."""
    for comment, text in services().values():
        for match in METHOD.finditer(text):
            if match[2] == method_name:
                request = text.partition(f"message {method_name}Request {{\n")[2].partition("\n}\n")[0]
                return comment + match[1] + request
    return ""
