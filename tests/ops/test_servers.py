"""Which servers a shop runs on, and what its services are told of them."""

import os
import signal
import time
from pathlib import Path

import pytest

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.failures import Problem
from ops.servers import Servers, running_servers
from ops.services import SERVICES

GIVEN = {"DATABASE_URL": "postgresql://shop", "REDIS_URL": "redis://views"}
REPLICA = {"HISTORY_DATABASE_URL": "postgresql://replica"}
OF_HISTORY = next(service for service in SERVICES if service.module == "history_service")


def test_servers_that_the_environment_names_are_used_with_their_replica(tmp_path: Path) -> None:
    with running_servers(tmp_path, GIVEN) as servers:
        told = OF_HISTORY.environment({**REPLICA, **servers.environment}, 0)
    assert told["HISTORY_DATABASE_URL"] == "postgresql://replica"
    assert list(tmp_path.iterdir()) == []


def test_a_replica_of_another_shop_does_not_answer_for_an_embedded_database(tmp_path: Path) -> None:
    servers = Servers("postgresql://embedded", "redis://views", EmbeddedPostgres(tmp_path), None)
    told = OF_HISTORY.environment({**REPLICA, **servers.environment}, 0)
    assert told["HISTORY_DATABASE_URL"] == "postgresql://embedded"


@pytest.mark.parametrize(
    ("module", "known"),
    [
        ("command_service", {"DATABASE_URL"}),
        ("query_service", {"REDIS_URL"}),
        ("history_service", {"DATABASE_URL", "HISTORY_DATABASE_URL"}),
        ("projections", {"DATABASE_URL", "REDIS_URL"}),
    ],
)
def test_a_service_is_told_of_its_own_servers_only(module: str, known: set[str]) -> None:
    service = next(each for each in SERVICES if each.module == module)
    told = service.environment({**GIVEN, **REPLICA}, 0)
    assert {name for name in told if name.endswith("_URL")} == known


@pytest.mark.parametrize("variable", GIVEN)
def test_what_is_no_address_is_told_before_anything_is_started(variable: str, tmp_path: Path) -> None:
    with (
        pytest.raises(Problem, match=f"{variable} must begin with"),
        running_servers(tmp_path, {variable: "nonsense"}),
    ):
        raise AssertionError("there is nothing to run on")
    assert list(tmp_path.iterdir()) == []


def test_embedded_servers_that_were_killed_are_revived_where_they_were(tmp_path: Path) -> None:
    with EmbeddedValkey(tmp_path) as valkey:
        servers = Servers("postgresql://shop", valkey.url, None, valkey)
        assert servers.revive() == []
        os.kill(valkey.pid, signal.SIGKILL)
        while valkey.is_running:
            time.sleep(0.01)
        assert servers.revive() == ["Valkey"]
        assert valkey.url == servers.redis_url
        assert valkey.is_running
