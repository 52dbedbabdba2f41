"""The projection service: `python -m projections`."""

from event_log.reader import LogReader
from event_log.schema import until_migrated
from projections.contexts import PROJECTIONS
from projections.feeding import Feeder
from projections.projector import Projector
from projections.settings import Settings
from projections.sweeper import Sweeper
from read_models.connections import REDIS_AWAY, Connection, connect
from serving.process import run_service
from serving.server import CannotServe, GrpcServer, run
from serving.waiting import answer_of


class EvictionNotRefused(CannotServe):
    """Redis would throw views away when it is full, and queries would deny what exists."""

    def __init__(self, policies: set[str]) -> None:
        super().__init__(
            f"Redis has maxmemory-policy {', '.join(sorted(policies))}; it must be noeviction, or an"
            " evicted view would be answered with NOT_FOUND. Use: CONFIG SET maxmemory-policy noeviction"
        )


async def refuse_eviction(connection: Connection) -> None:
    """Looks at the servers' configuration; waits until they can be reached.

    Raises:
        EvictionNotRefused: a server may evict keys.
    """
    policies = await answer_of("Redis", connection.eviction_policies, REDIS_AWAY)
    if policies != {"noeviction"}:
        raise EvictionNotRefused(policies)


async def serve(settings: Settings) -> None:
    """Waits for both servers and the database's tables, then runs until SIGTERM or SIGINT.

    Raises:
        EvictionNotRefused: Redis may evict keys.
    """
    connection = connect(
        settings.redis_url, answer_seconds_max=settings.projections_redis_answer_seconds_max
    )
    try:
        await refuse_eviction(connection)
        await until_migrated(settings.database_url)
        reader = LogReader(
            settings.database_url,
            application_name="shopkeeper projections",
            answer_seconds_max=settings.log_answer_seconds_max,
        )
        batch_events_max = settings.projections_batch_events_max
        feeder = Feeder(connection, reader, PROJECTIONS, batch_events_max=batch_events_max)
        server = GrpcServer(
            settings.projections_address,
            [],
            lambda _server: None,
            drain_seconds_max=settings.drain_seconds_max,
        )
        projector = Projector(
            connection,
            reader,
            feeder,
            server,
            failing_seconds_max=settings.projections_failing_seconds_max,
            retry_seconds=settings.projections_retry_seconds,
        )
        await run(
            [projector, Sweeper(connection), server],
            metrics_port=settings.projections_metrics_port,
        )
    finally:
        await connection.close()


if __name__ == "__main__":
    run_service("projections", Settings, serve)
