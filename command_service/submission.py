"""One command on its way through the committer, and its answer."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from command_service.world import Command
from event_log.tokens import ConsistencyToken

SUCCESS = 0


class Answer(NamedTuple):
    """What was decided: the same bytes, however often the request is sent.

    code: gRPC status code, 0 for success. body: the serialized response, or a serialized
    google.rpc.Status when code is not 0. token: how far the log had come; a replay names the log's
    incarnation of now.
    """

    code: int
    body: bytes
    token: ConsistencyToken


@dataclass(slots=True, eq=False)
class Submission:
    """A command and all that the committer needs to carry it out once.

    encode: turns the command's answer into response bytes; runs inside the batch, since the bytes are
    stored with the effect. deadline: loop time in seconds after which it is not begun any more.
    is_begun: it may have been carried out, here or elsewhere: nobody is told that it was not begun.
    is_urgent: of a worker of ours, and others wait for it. It is let in where callers are refused, and
    comes first: they will ask again, but what a provider told would be lost, and what is overdue stays
    so.
    """

    request_id: UUID
    method: str
    fingerprint: bytes
    actor: str
    command: Command[Any]
    encode: Callable[[Any], bytes]
    deadline: float
    is_begun: bool = False
    is_urgent: bool = False
    future: asyncio.Future[Answer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def is_same_request(self, method: str, fingerprint: bytes) -> bool:
        """True when an earlier request with this id was the same one."""
        return self.method == method and self.fingerprint == fingerprint


def fingerprint(canonical_request: bytes) -> bytes:
    """32 bytes that tell one payload from another."""
    return hashlib.sha256(canonical_request).digest()
