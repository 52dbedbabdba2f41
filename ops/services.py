"""Which processes make up a Shopkeeper, and the environment each of them is configured by."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

from ops.ports import HOST, free_port


@dataclass(frozen=True, slots=True)
class Service:
    """One service: `python -m <module>`, configured by variables that begin with `prefix`.

    default_port: of its address; None for a service that has none. server_urls: the variables that tell
    it where its servers are. is_scaled: several of it share one port (SO_REUSEPORT). stop_stage:
    services of a lower one are stopped first. is_http: it speaks HTTP at its address, and not gRPC.
    """

    module: str
    prefix: str
    default_port: int | None
    server_urls: tuple[str, ...]
    is_scaled: bool
    stop_stage: int
    is_http: bool = False

    def says_serving(self, environment: Mapping[str, str]) -> bool:
        """Whether its log tells when it is ready, which it does at the level INFO."""
        levels = logging.getLevelNamesMapping()
        return levels.get(environment.get("LOG_LEVEL", "").upper(), logging.INFO) <= logging.INFO

    def address(self, environment: Mapping[str, str]) -> str | None:
        """The address, host:port; None for a service that has none."""
        if self.default_port is None:
            return None
        return environment.get(f"{self.prefix}_ADDRESS") or f"{HOST}:{self.default_port}"

    def metrics_port(self, environment: Mapping[str, str], index: int) -> str:
        """The Prometheus port of one worker, 0 for none; each has one of its own, in sequence."""
        first = environment.get(f"{self.prefix}_METRICS_PORT") or "0"
        # What is no number is passed on: the service says what is wrong with it.
        return str(int(first) + index) if first.isdecimal() and int(first) else first

    def environment(self, given: Mapping[str, str], index: int) -> dict[str, str]:
        """What one worker is started with: `given`, made its own."""
        # A service is told of the servers it uses and of no others: queries cannot reach PostgreSQL.
        withheld = {"DATABASE_URL", "HISTORY_DATABASE_URL", "REDIS_URL"}.difference(self.server_urls)
        own = {name: value for name, value in given.items() if name not in withheld}
        address = self.address(given)
        if address is not None:
            own[f"{self.prefix}_ADDRESS"] = address
        own[f"{self.prefix}_METRICS_PORT"] = self.metrics_port(given, index)
        # Through a pipe, Python would keep log lines back until it has 8 KiB of them.
        own["PYTHONUNBUFFERED"] = "1"
        return own


# The ports lie below those of outgoing connections (32768 on Linux): a port from there may be taken by
# somebody's connection at the moment when a service starts.
# The command service drains first, while everything that its last events concern still runs.
SERVICES = (
    Service("command_service", "COMMAND", 15051, ("DATABASE_URL",), is_scaled=True, stop_stage=1),
    Service("query_service", "QUERY", 15052, ("REDIS_URL",), is_scaled=True, stop_stage=2),
    Service(
        *("history_service", "HISTORY", 15053),
        ("DATABASE_URL", "HISTORY_DATABASE_URL"),
        is_scaled=False,
        stop_stage=2,
    ),
    Service(
        *("projections", "PROJECTIONS", 15054),
        ("DATABASE_URL", "REDIS_URL"),
        is_scaled=False,
        stop_stage=2,
    ),
    # Stopped first: what it hears it hands to the command service.
    Service("webhooks", "WEBHOOKS", 15055, (), is_scaled=False, stop_stage=0, is_http=True),
)


def free_addresses(services: tuple[Service, ...] = SERVICES) -> dict[str, str]:
    """Variables that give each service a port that nobody uses at this moment."""
    return {
        f"{service.prefix}_ADDRESS": f"{HOST}:{free_port()}"
        for service in services
        if service.default_port is not None
    }
