"""How the history service is configured: environment variables of the same names in capitals."""

from pydantic import AliasChoices, Field, PositiveInt
from pydantic_settings import BaseSettings

from event_log.reader import ANSWER_SECONDS_MAX as LOG_ANSWER_SECONDS_MAX
from history_service.database import ANSWER_SECONDS_MAX, PLACE_SECONDS_MAX
from serving.server import DRAIN_SECONDS_MAX
from serving.settings import LogLevel, Port, PostgresUrl, Seconds


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name in capitals."""

    history_database_url: PostgresUrl = Field(
        default=..., validation_alias=AliasChoices("HISTORY_DATABASE_URL", "DATABASE_URL")
    )
    """Where PostgreSQL is, at best a replica; DATABASE_URL stands in when it is not set."""
    history_address: str = "127.0.0.1:15053"
    """Where the service listens. Several processes may share it (SO_REUSEPORT)."""
    history_metrics_port: Port = 0
    """Port of the Prometheus metrics on 127.0.0.1; 0: none. Each process needs its own."""
    log_level: LogLevel = "INFO"

    history_connections_max: PositiveInt = 8
    """Connections to PostgreSQL for questions; a stream of the log has one of its own."""
    history_streams_max: PositiveInt = 10
    """Streams of the log at once. All processes together, those of the commands included, share what
    PostgreSQL grants, by default 100."""

    history_answer_seconds_max: Seconds = ANSWER_SECONDS_MAX
    """How long a question may take, unless its caller has less time."""
    history_place_seconds_max: Seconds = PLACE_SECONDS_MAX
    """How long a question waits for a connection before its caller is told that all are busy."""
    log_answer_seconds_max: Seconds = LOG_ANSWER_SECONDS_MAX
    """A database that says nothing to who reads the log for longer is gone."""
    drain_seconds_max: Seconds = DRAIN_SECONDS_MAX
    """How long calls in flight may take after SIGTERM."""
