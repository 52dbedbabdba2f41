"""How the query service is configured: environment variables of the same names in capitals."""

from pydantic import PositiveInt
from pydantic_settings import BaseSettings

from query_service.freshness import WAIT_SECONDS_MAX
from serving.server import DRAIN_SECONDS_MAX
from serving.settings import LogLevel, Port, RedisUrl, Seconds


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name in capitals."""

    redis_url: RedisUrl
    """Where the read models are: redis://..., or redis+cluster://... for a cluster."""
    query_address: str = "127.0.0.1:15052"
    """Where the service listens. Several processes may share it (SO_REUSEPORT)."""
    query_metrics_port: Port = 0
    """Port of the Prometheus metrics on 127.0.0.1; 0: none. Each process needs its own."""
    query_redis_answer_seconds_max: Seconds = 0.2
    """A Redis that says nothing for longer is away: the caller is told, and may ask another process."""
    query_wait_seconds_max: Seconds = WAIT_SECONDS_MAX
    """How long a query waits for views as fresh as it asks for, unless its caller has less time: the
    projections are milliseconds behind, or hang."""
    query_redis_connections_max: PositiveInt = 64
    """Connections of one process to each server of a cluster; a single server needs one for all."""
    query_in_flight_max: PositiveInt = 10_000
    """Queries of one process at once, those that wait for the views included, and those that Redis has
    yet to answer though their callers gave up: a few seconds' work. Who came behind them would wait
    longer than anyone does, and is told so at once."""
    log_level: LogLevel = "INFO"

    drain_seconds_max: Seconds = DRAIN_SECONDS_MAX
    """How long calls in flight may take after SIGTERM."""
