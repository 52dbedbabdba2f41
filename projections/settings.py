"""What the projection service is told by its environment."""

from pydantic import PositiveInt
from pydantic_settings import BaseSettings

from event_log.reader import ANSWER_SECONDS_MAX as LOG_ANSWER_SECONDS_MAX
from projections.projector import FAILING_SECONDS_MAX
from projections.set_aside import RETRY_SECONDS
from serving.server import DRAIN_SECONDS_MAX
from serving.settings import LogLevel, Port, PostgresUrl, RedisUrl, Seconds


class Settings(BaseSettings):
    """Each field is an environment variable of the same name in capitals."""

    database_url: PostgresUrl
    """Where the log is; a replica will do."""
    redis_url: RedisUrl
    """Where the read models are: redis://... or redis+cluster://..."""
    projections_address: str = "127.0.0.1:15054"
    """Where health is answered."""
    projections_metrics_port: Port = 0
    """Port of the Prometheus metrics on 127.0.0.1; 0 for none."""
    projections_batch_events_max: PositiveInt = 1000
    """Events retold at once: more is faster when far behind, and uses more memory."""
    log_level: LogLevel = "INFO"

    projections_redis_answer_seconds_max: Seconds = 5.0
    """A Redis that says nothing for longer is away: to write a full batch takes milliseconds."""
    log_answer_seconds_max: Seconds = LOG_ANSWER_SECONDS_MAX
    """A database that says nothing to who reads the log for longer is gone."""
    projections_failing_seconds_max: Seconds = FAILING_SECONDS_MAX
    """How long rounds may fail before the service says that it is not well."""
    projections_retry_seconds: Seconds = RETRY_SECONDS
    """How long a generation that cannot be fed is set aside, while the others are."""
    drain_seconds_max: Seconds = DRAIN_SECONDS_MAX
    """How long calls in flight may take after SIGTERM."""
