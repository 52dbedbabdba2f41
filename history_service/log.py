"""The event stream, for other teams: LogService."""

import asyncio
from collections.abc import AsyncIterator

import psycopg

from event_log.codec import timestamp
from event_log.reader import ANSWER_SECONDS_MAX, LogBatch, LogReader, StoredEvent
from event_log.tokens import ConsistencyToken, MalformedTokenError
from history_service.errors import (
    DatabaseUnavailable,
    LogIncarnationChanged,
    ReadersBusy,
    StreamEnded,
)
from serving.failures import InvalidField
from serving.interceptor import ServicerContext
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest, ReadEventsResponse
from shopkeeper.log.v1.log_service_pb2_grpc import LogServiceServicer

POLL_SECONDS = 1.0
"""How long a follower sleeps when no bell rings; also how soon a drain is noticed."""


class LogServicer(LogServiceServicer):
    """Streams events; a part of the server, so that a drain ends the streams that follow."""

    def __init__(
        self,
        conninfo: str,
        *,
        stream_count_max: int,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        """stream_count_max: each has a connection to the database of its own.

        answer_seconds_max: a database that says nothing for longer is gone.
        """
        self._conninfo = conninfo
        self._answer_seconds_max = answer_seconds_max
        self._places = asyncio.Semaphore(stream_count_max)
        self._is_draining = False

    async def start(self) -> None:
        """Nothing to begin."""

    async def drain(self) -> None:
        """Asks the streams to end; the server waits until they have."""
        self._is_draining = True

    async def ReadEvents(
        self, request: ReadEventsRequest, context: ServicerContext
    ) -> AsyncIterator[ReadEventsResponse]:
        """Events after a token, and with `follow` those that are committed later."""
        after = _parsed(request.after_token)
        if self._places.locked():
            raise ReadersBusy
        async with self._places:
            reader = LogReader(
                self._conninfo,
                application_name="shopkeeper history log",
                answer_seconds_max=self._answer_seconds_max,
            )
            try:
                async for batch in self._batches(reader, request, after):
                    for event in batch.events:
                        yield _response(event, batch.incarnation)
            except (psycopg.OperationalError, TimeoutError) as error:
                raise DatabaseUnavailable from error
            finally:
                await reader.close()

    async def _batches(
        self, reader: LogReader, request: ReadEventsRequest, after: ConsistencyToken | None
    ) -> AsyncIterator[LogBatch]:
        position = 0 if after is None else after.position
        incarnation = None if after is None else after.incarnation
        end: int | None = None
        while True:
            batch = await reader.read(after=position, contexts=request.contexts, key=request.key or None)
            if incarnation is not None and incarnation > batch.incarnation:
                raise DatabaseUnavailable  # a replica that has yet to hear of it
            if incarnation not in (None, batch.incarnation):
                raise LogIncarnationChanged(incarnation=batch.incarnation)
            yield batch
            incarnation, position = batch.incarnation, batch.through_position
            # Without follow, what is committed while we read is not waited for.
            end = batch.last_position if end is None else end
            if position >= end and not request.follow:
                return
            if self._is_draining:
                raise StreamEnded
            if position >= batch.last_position:
                await reader.wait(seconds_max=POLL_SECONDS)


def _parsed(after_token: str) -> ConsistencyToken | None:
    try:
        return ConsistencyToken.parse(after_token) if after_token else None
    except MalformedTokenError as error:
        raise InvalidField(field="after_token", description="is not a consistency token") from error


def _response(event: StoredEvent, incarnation: str) -> ReadEventsResponse:
    return ReadEventsResponse(
        position=event.position,
        token=str(ConsistencyToken(incarnation, event.position)),
        recorded_time=timestamp(event.recorded_time),
        context=event.context,
        type=event.type,
        key=event.key,
        payload=event.payload,
        actor=event.actor,
        request_id=event.request_id,
    )
