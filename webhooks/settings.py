"""How the webhook service is configured: environment variables of the same names in capitals."""

from pydantic_settings import BaseSettings

from serving.server import DRAIN_SECONDS_MAX
from serving.settings import LogLevel, Port, Seconds
from webhooks.hearing import BODY_SECONDS_MAX, COMMAND_SECONDS_MAX


class Settings(BaseSettings):
    """Each field is read from the environment variable of its name in capitals.

    The providers' are in payment_providers.wiring.
    """

    webhooks_address: str = "127.0.0.1:15055"
    """Where providers' calls arrive, by way of whatever ends TLS in front of it."""
    command_address: str = "127.0.0.1:15051"
    """The command service."""
    webhooks_metrics_port: Port = 0
    """Port of the Prometheus metrics on 127.0.0.1; 0: none."""
    log_level: LogLevel = "INFO"

    webhooks_body_seconds_max: Seconds = BODY_SECONDS_MAX
    """How long the body of a call may take to arrive."""
    webhooks_command_seconds_max: Seconds = COMMAND_SECONDS_MAX
    """How long a command may take that a call leads to; the provider is then told to come again."""
    drain_seconds_max: Seconds = DRAIN_SECONDS_MAX
    """How long calls in flight may take after SIGTERM."""
