"""The layer that answers the same call under the same key with the same answer."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.sandboxes.stripe.errors import key_in_use, key_reused, key_too_long
from tests.sandboxes.stripe.forms import Tree

KEY_CHARS_MAX = 255


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as bytes: what is stored is what is replayed."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    is_replay: bool = False


@dataclass(slots=True)
class Execution:
    """A call under a key: in progress while it has no reply."""

    endpoint: str
    parameter_hash: str
    reply: Reply | None = None


class IdempotencyKeys:
    """The keys of one account. They never grow old here; `forget` is their pruning."""

    def __init__(self) -> None:
        self._executions: dict[str, Execution] = {}

    def find_reply(self, key: str, *, endpoint: str, parameters: Tree) -> Reply | None:
        """The stored reply, or None if the key is new. Another use of the key is refused."""
        if len(key) > KEY_CHARS_MAX:
            raise key_too_long(KEY_CHARS_MAX)
        known = self._executions.get(key)
        if known is None:
            return None
        if known.endpoint != endpoint:
            other = f"for the same endpoint they were first used for ('{known.endpoint}')"
            raise key_reused(key, other=other)
        if known.parameter_hash != parameter_hash(parameters):
            raise key_reused(key, other="with the same parameters they were first used with")
        if known.reply is None:
            raise key_in_use(key)
        return Reply(known.reply.status, known.reply.body, known.reply.headers, is_replay=True)

    @contextmanager
    def executing(self, key: str, *, endpoint: str, parameters: Tree) -> Iterator[Execution]:
        """Holds the key while a call is executed; one that sets no reply leaves the key unused."""
        execution = Execution(endpoint, parameter_hash(parameters))
        self._executions[key] = execution
        try:
            yield execution
        finally:
            if execution.reply is None:
                del self._executions[key]

    def forget(self, key: str) -> None:
        """Prunes a key, as happens after 24 hours at the earliest: its next use is a new call."""
        self._executions.pop(key, None)


def parameter_hash(parameters: Tree) -> str:
    """The same for the same parameters in any order."""
    return hashlib.sha256(json.dumps(parameters, sort_keys=True).encode()).hexdigest()
