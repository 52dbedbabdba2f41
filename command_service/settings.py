"""How the command service is configured: environment variables of the same names in capitals."""

from datetime import timedelta

from pydantic import PositiveInt
from pydantic_settings import BaseSettings

from command_service.payment.errands import LEASE
from command_service.retention import Kept
from command_service.session import TIMEOUTS, Timeouts
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
