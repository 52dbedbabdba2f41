"""What the projection service is told by its environment."""

from pydantic import PositiveInt
from pydantic_settings import BaseSettings

from serving.settings import LogLevel, Port, PostgresUrl, RedisUrl


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
