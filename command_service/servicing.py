"""From an RPC to the committer and back: what every command servicer shares."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message

from command_service.committer import Committer
from command_service.errors import InvalidField
from command_service.rehearsal import Rehearsal
from command_service.row_outcome import RowOutcome
from command_service.submission import SUCCESS, Answer, Submission, fingerprint
from command_service.world import AnswerT, Command
from event_log.codec import to_message
from event_log.tokens import ConsistencyToken
from serving.interceptor import Answered, ServicerContext, call_facts
from shopkeeper.types.v1 import row_outcome_pb2

ResponseT = TypeVar("ResponseT", bound=Message)

COMMAND_SECONDS_MAX = 30.0
"""Unless told otherwise, also for callers that set no deadline, such as people with grpcurl."""

TOKEN_METADATA_KEY = "x-consistency-token"  # noqa: S105 not a secret
ACTOR_DEFAULT = "anonymous"

# Every command response ends with `string consistency_token = 15`; a field may be appended to
# serialized bytes, so the token need not be known when the response is stored.
_TOKEN_TAG = bytes([15 << 3 | 2])


class CommandRequest(Protocol):
    """What every command request has."""

    DESCRIPTOR: Any
    request_id: str
    validate_only: bool

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes:  # noqa: N802 protobuf's name
        """As every message."""
        ...


class Door:
    """The way in for commands: each is carried out once per request id, or rehearsed.

    command_seconds_max: how long one may wait to be begun, unless its caller has less time.
    """

    def __init__(
        self,
        committer: Committer,
        rehearsal: Rehearsal,
        *,
        command_seconds_max: float = COMMAND_SECONDS_MAX,
    ) -> None:
        self._command_seconds_max = command_seconds_max
        self._committer = committer
        self._rehearsal = rehearsal

    async def carry_out(
        self,
        request: Any,
        context: ServicerContext,
        command: Command[AnswerT],
        respond: Callable[[AnswerT], ResponseT],
    ) -> ResponseT:
        """Carries the command out and returns the serialized response, token included.

        The return type is that of the response, for the type checker: the bytes pass through the
        interceptor's serializer as they are.

        Raises:
            Answered: the domain refused.
            Failure: of a category that is not stored.
        """
        answer = await self.settle(request, context, command, respond)
        return cast("ResponseT", _with_token(answer.body, answer.token, context))

    async def settle(
        self,
        request: Any,
        context: ServicerContext,
        command: Command[AnswerT],
        respond: Callable[[AnswerT], Message],
    ) -> Answer:
        """Likewise, for a servicer that has more to do before it replies.

        Raises:
            Answered, Failure: as above.
        """
        submission = self._submission(request, context, command, respond)
        if request.validate_only:
            answer = await self._rehearsal.rehearse(submission)
        else:
            answer = await self._committer.submit(submission)
        if answer.code != SUCCESS:
            _send_token(answer.token, context)
            raise Answered(answer.body)
        return answer

    def reply(self, response: ResponseT, token: ConsistencyToken, context: ServicerContext) -> ResponseT:
        """The response of such a servicer. token: of the last thing that it had carried out."""
        return cast("ResponseT", _with_token(response.SerializeToString(), token, context))

    def _submission(
        self,
        request: CommandRequest,
        context: ServicerContext,
        command: Command[AnswerT],
        respond: Callable[[AnswerT], Message],
    ) -> Submission:
        return Submission(
            request_id=UUID(request.request_id),
            # Each RPC has a request type of its own: its name tells the method.
            method=request.DESCRIPTOR.full_name,
            fingerprint=fingerprint(_without_request_id(request)),
            actor=_actor(context),
            command=command,
            encode=lambda answer: respond(answer).SerializeToString(),
            deadline=_deadline(context, seconds_max=self._command_seconds_max),
        )


def _send_token(token: ConsistencyToken, context: ServicerContext) -> None:
    context.set_trailing_metadata(((TOKEN_METADATA_KEY, str(token)),))


def _with_token(body: bytes, token: ConsistencyToken, context: ServicerContext) -> bytes:
    """A serialized response with its consistency_token, which is told in the metadata as well."""
    _send_token(token, context)
    text = str(token).encode()
    return body + _TOKEN_TAG + bytes([len(text)]) + text


def refuse_repeated(keys: Iterable[str], path: str) -> None:
    """Refuses a bulk request that names a row twice. path: of a row's key, with {} for the index.

    Raises:
        InvalidField: names the second of the two.
    """
    seen = set()
    for index, key in enumerate(keys):
        if key in seen:
            raise InvalidField(field=path.format(index), description="appears twice in the request")
        seen.add(key)


def outcome_messages(outcomes: Iterable[RowOutcome]) -> list[row_outcome_pb2.RowOutcome]:
    """What became of the rows of a bulk request, for its response."""
    return [to_message(outcome, row_outcome_pb2.RowOutcome) for outcome in outcomes]


def _without_request_id(request: CommandRequest) -> bytes:
    """The payload in canonical form: field 1, the id of 36 characters, always comes first."""
    return request.SerializeToString(deterministic=True)[2 + len(request.request_id) :]


def _actor(context: ServicerContext) -> str:
    return call_facts(context).get("actor") or ACTOR_DEFAULT


def _deadline(context: ServicerContext, *, seconds_max: float) -> float:
    # None when the caller set no deadline, whatever the stubs say.
    remaining: float | None = context.time_remaining()
    allowed = seconds_max if remaining is None else min(remaining, seconds_max)
    return asyncio.get_running_loop().time() + allowed
