"""How the command service is configured: environment variables of the same names in capitals."""

from datetime import timedelta

from pydantic import Field, PositiveInt
from pydantic_settings import BaseSettings

from command_service import retention
from command_service.checkout import payment_alarms
from command_service.committer import SORTING_SECONDS_MAX, WARY_SECONDS
from command_service.lone_worker import PATIENCE, Patience
from command_service.payment.errands import LEASE
from command_service.retention import Kept
from command_service.servicing import COMMAND_SECONDS_MAX
from command_service.session import TIMEOUTS, Timeouts
from serving.server import DRAIN_SECONDS_MAX
from serving.settings import LogLevel, Port, PostgresUrl, Seconds, SpanSeconds


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name in capitals."""

    database_url: PostgresUrl
    """Where PostgreSQL is, for example postgresql://user:password@host/database."""
    command_address: str = "127.0.0.1:15051"
    """Where the service listens. Several processes may share it (SO_REUSEPORT)."""
    command_metrics_port: Port = 0
    """Port of the Prometheus metrics on 127.0.0.1; 0: none. Each process needs its own."""
    log_level: LogLevel = "INFO"

    batch_rows_max: PositiveInt = 200
    """Commands a transaction; more makes the first wait longer than it saves the last."""
    bulk_batch_rows_max: PositiveInt = 1_000
    """Rows a transaction of bulk commands: two of the longest, well within statement_timeout."""
    queue_length_max: PositiveInt = 5_000
    """Commands waiting; beyond it callers get RESOURCE_EXHAUSTED. About two seconds of work."""
    queue_rows_max: PositiveInt = 50_000
    """Rows that waiting commands are about; likewise. Bulk commands have up to 500 each."""

    database_lock_seconds_max: Seconds = TIMEOUTS.lock_seconds_max
    """How long a batch waits for a lock before it is tried again; this and the next three: ADR 0003."""
    database_statement_seconds_max: Seconds = TIMEOUTS.statement_seconds_max
    """How long a statement may take; a batch that needs longer is done in smaller ones."""
    database_transaction_seconds_max: Seconds = TIMEOUTS.transaction_seconds_max
    """How long a transaction may take: what a stopped process holds is free after that."""
    database_trip_seconds_max: Seconds = TIMEOUTS.trip_seconds_max
    """A database that says nothing for longer is gone: the connection is cut."""

    database_sorting_seconds_max: Seconds = SORTING_SECONDS_MAX
    """How long a batch that is locked out may hold up the next ones; this and the next: ADR 0003."""
    database_wary_seconds: Seconds = WARY_SECONDS
    """How long after that batches are sorted out at the first lock that is not had in haste."""

    command_seconds_max: Seconds = COMMAND_SECONDS_MAX
    """How long a command may wait to be begun, unless its caller has less time."""
    drain_seconds_max: Seconds = DRAIN_SECONDS_MAX
    """How long calls in flight may take after SIGTERM."""

    worker_command_seconds_max: Seconds = PATIENCE.command_seconds_max
    """How long a worker's command may wait to be begun; the next round sends it again."""
    worker_rest_seconds: Seconds = PATIENCE.rest_seconds
    """How long what hit a mistake of ours, or was refused, is left alone by the workers."""
    retention_pause_seconds: Seconds = Field(default=retention.PAUSE_SECONDS, lt=10)
    """Between two rounds of forgetting; a worker's session that is idle for ten seconds is ended."""
    payment_alarms_seconds: Seconds = payment_alarms.LOOK_SECONDS
    """Between two counts of the money that waits for people."""

    provider_lease_seconds: Seconds = LEASE.total_seconds()
    """How long a call to a payment provider is left to the process that claimed it, which may have died:
    after it another makes the same call. At least three times PROVIDER_ATTEMPT_SECONDS_MAX."""

    order_hold_seconds: SpanSeconds = 15 * 60
    """How long an order holds stock while it awaits an online payment, unless the caller says."""
    instore_hold_seconds: SpanSeconds = 24 * 60 * 60
    """How long an order holds stock while it awaits payment at the counter."""
    cart_idle_seconds: SpanSeconds = 30 * 24 * 60 * 60
    """How long a cart stays open after its last change."""

    request_retention_seconds: SpanSeconds = 7 * 24 * 60 * 60
    """How long the same id gets the same answer: longer than any provider retries a webhook (3 days)."""
    cart_retention_seconds: SpanSeconds = 30 * 24 * 60 * 60
    """How long a cart can be looked at after it was ordered, merged or expired."""

    @property
    def timeouts(self) -> Timeouts:
        """The four of the database."""
        return Timeouts(
            lock_seconds_max=self.database_lock_seconds_max,
            statement_seconds_max=self.database_statement_seconds_max,
            transaction_seconds_max=self.database_transaction_seconds_max,
            trip_seconds_max=self.database_trip_seconds_max,
        )

    @property
    def patience(self) -> Patience:
        """Of the workers."""
        return Patience(
            command_seconds_max=self.worker_command_seconds_max, rest_seconds=self.worker_rest_seconds
        )

    @property
    def kept(self) -> Kept:
        """What is kept for how long."""
        return Kept(
            requests=timedelta(seconds=self.request_retention_seconds),
            carts=timedelta(seconds=self.cart_retention_seconds),
        )

    @property
    def provider_lease(self) -> timedelta:
        """provider_lease_seconds as a span of time."""
        return timedelta(seconds=self.provider_lease_seconds)

    @property
    def order_hold(self) -> timedelta:
        """order_hold_seconds as a span of time."""
        return timedelta(seconds=self.order_hold_seconds)

    @property
    def instore_hold(self) -> timedelta:
        """instore_hold_seconds as a span of time."""
        return timedelta(seconds=self.instore_hold_seconds)

    @property
    def cart_idle(self) -> timedelta:
        """cart_idle_seconds as a span of time."""
        return timedelta(seconds=self.cart_idle_seconds)
