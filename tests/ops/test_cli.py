"""The command line, as a process: what it prints and how it ends."""

import json
import re
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from ops.commands.call import _actor
from ops.embedded import EmbeddedPostgres
from ops.failures import Problem
from ops.ports import free_port
from ops.services import SERVICES, free_addresses
from ops.whereabouts import FILE_NAME, remembered
from projections.contexts import CONTEXTS
from tests.ops.command_line import DONE, REFUSED, SHOPKEEPER, UNREACHABLE, USAGE, run


def incarnation(database_url: str) -> str:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT incarnation FROM log_incarnation").fetchone()
    assert row is not None
    return str(row[0])


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "demo",
        "migrate",
        "rebuild",
        "verify",
        "explain stock",
        "explain order",
        "explain total",
        "log tail",
        "call",
        "repair stock",
        "new-incarnation",
        "race",
    ],
)
def test_every_command_has_help(command: str, tmp_path: Path) -> None:
    ended = run(*command.split(), "--help", cwd=tmp_path)
    assert ended.returncode == DONE
    assert f"Usage: shopkeeper {command}" in ended.stdout
    # Of --help itself, which is typer's: a flag takes no value.
    assert ended.stdout.count("<bool>") == 1


def test_the_help_of_up_names_every_address_and_metrics_port(tmp_path: Path) -> None:
    told = run("up", "--help", cwd=tmp_path).stdout
    names = [f"{each.prefix}_{kind}" for each in SERVICES for kind in ("ADDRESS", "METRICS_PORT")]
    assert [name for name in names if name not in told] == []


def test_an_unknown_command_is_wrong_usage(tmp_path: Path) -> None:
    assert run("fly", cwd=tmp_path).returncode == USAGE


@pytest.mark.parametrize("command", ["migrate", "new-incarnation --yes"])
def test_a_database_that_nobody_named_is_asked_for(command: str, tmp_path: Path) -> None:
    ended = run(*command.split(), cwd=tmp_path)
    assert ended.returncode == UNREACHABLE
    assert ended.stderr == (
        f"error: DATABASE_URL is not set, and no `shopkeeper up` runs in {tmp_path}/.shopkeeper\n"
    )


def test_a_database_that_cannot_be_reached_is_told_in_a_sentence(tmp_path: Path) -> None:
    port = free_port()
    ended = run("migrate", cwd=tmp_path, DATABASE_URL=f"postgresql://u:secret@127.0.0.1:{port}/d")
    assert ended.returncode == UNREACHABLE
    assert ended.stderr.startswith("error: the database cannot be used: ")
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.parametrize(
    "command",
    [
        "explain stock MUG",
        "explain order 1",
        "explain total cart 1",
        "log tail",
        "call",
        "repair stock MUG",
    ],
)
def test_a_service_that_cannot_be_reached_is_told_in_a_sentence(command: str, tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = run(*command.split(), "--address", address, cwd=tmp_path)
    assert ended.returncode == UNREACHABLE
    assert ended.stderr.startswith(f"error: {address} cannot be reached: ")
    assert "Traceback" not in ended.stderr


def test_migrating_a_current_database_says_so(database_url: str, tmp_path: Path) -> None:
    ended = run("migrate", cwd=tmp_path, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stdout) == (DONE, "the schema was current already\n")


def test_the_database_of_a_running_up_is_found(database_url: str, tmp_path: Path) -> None:
    with remembered(tmp_path / ".shopkeeper", {"DATABASE_URL": database_url}):
        left = tmp_path / ".shopkeeper" / FILE_NAME
        assert left.stat().st_mode & 0o077 == 0
        assert json.loads(left.read_text()) == {"DATABASE_URL": database_url}
        assert run("migrate", cwd=tmp_path).returncode == DONE
    assert not left.exists()


def test_what_an_up_left_that_was_killed_is_not_believed(tmp_path: Path) -> None:
    left = {"DATABASE_URL": "postgresql://127.0.0.1:1/d", "HISTORY_ADDRESS": "127.0.0.1:1"}
    data_dir = tmp_path / ".shopkeeper"
    data_dir.mkdir()
    (data_dir / FILE_NAME).write_text(json.dumps(left))
    for command in ("verify", "log tail"):
        ended = run(*command.split(), cwd=tmp_path)
        assert ended.returncode == UNREACHABLE
        assert f"no `shopkeeper up` runs in {data_dir}" in ended.stderr


def test_with_the_wrong_data_directory_no_other_shop_is_asked(tmp_path: Path) -> None:
    ended = run("log", "tail", "--data-dir", str(tmp_path / "elsewhere"), cwd=tmp_path)
    assert ended.returncode == UNREACHABLE
    assert ended.stderr == (
        f"error: no `shopkeeper up` runs in {tmp_path}/elsewhere;"
        " name the service by --address or HISTORY_ADDRESS\n"
    )


@pytest.mark.parametrize("step", ["", "--drop", "--rollback"])
def test_a_generation_that_does_not_exist_is_told(
    step: str, database_url: str, redis_url: str, tmp_path: Path
) -> None:
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    ended = run(*f"rebuild {step} --generation 5".split(), cwd=tmp_path, **servers)
    assert (ended.returncode, ended.stdout) == (REFUSED, "")
    assert ended.stderr == "error: there is no generation 5; there are: none\n"


@pytest.mark.parametrize("command", ["verify --database-only", "new-incarnation --yes"])
def test_a_database_without_a_shop_is_told(
    postgres: EmbeddedPostgres, command: str, tmp_path: Path
) -> None:
    ended = run(*command.split(), cwd=tmp_path, DATABASE_URL=postgres.url())
    assert ended.returncode == REFUSED
    assert ended.stderr == (
        "error: the database holds no shop of this version; run `shopkeeper migrate` first\n"
    )


def test_a_new_incarnation_is_not_made_without_yes(database_url: str, tmp_path: Path) -> None:
    before = incarnation(database_url)
    ended = run("new-incarnation", cwd=tmp_path, DATABASE_URL=database_url)
    assert ended.returncode == REFUSED
    assert "--yes" in ended.stderr
    assert incarnation(database_url) == before


def test_a_new_incarnation_is_another_one_and_both_are_told(database_url: str, tmp_path: Path) -> None:
    before = incarnation(database_url)
    ended = run("new-incarnation", "--yes", cwd=tmp_path, DATABASE_URL=database_url)
    after = incarnation(database_url)
    assert ended.returncode == DONE
    assert re.fullmatch("[0-9a-f]{8}", after)
    assert after != before
    assert f"incarnation is {after}; it was {before}" in ended.stdout
    assert "order numbers: 1,000,000 are skipped" in ended.stdout


def test_as_a_process_it_answers_with_a_sentence_and_an_exit_status_too(tmp_path: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = subprocess.run(
        [*SHOPKEEPER, "explain", "stock", "MUG", "--address", address],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        text=True,
        timeout=50,
    )
    assert ended.returncode == UNREACHABLE
    assert ended.stderr.startswith(f"error: {address} cannot be reached: ")
    assert ended.stdout == ""


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("migrate --database-url nonsense", "DATABASE_URL must begin with postgresql:// or postgres://"),
        ("verify --database-url postgres://x --redis-url x", "REDIS_URL must begin with redis:// or"),
        (
            "migrate --database-url postgresql://u@h:abc/d",
            "DATABASE_URL must have a number for its port",
        ),
        (
            "verify --database-url postgresql://u@h/d?x=y --database-only",
            "DATABASE_URL must be an address as libpq understands it",
        ),
        (
            "rebuild --database-url postgres://x --redis-url redis://:p@h:abc",
            "REDIS_URL must have a number for its port",
        ),
        ("call GetStock", "GetStock names no method"),
        ("call CartCommandService/CreateCart []", "the request must be a JSON object"),
        ("call CartCommandService/CreateCart {", "the request is not JSON: "),
    ],
)
def test_wrong_arguments_are_told_in_a_sentence(command: str, told: str, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    ended = run(*command.split(), cwd=tmp_path, COMMAND_ADDRESS=nowhere)
    assert ended.returncode == USAGE
    assert ended.stderr.startswith(f"error: {told}")


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (
            "rebuild --status --database-url postgres://x --redis-url redis+cluster://127.0.0.1:1/0",
            "Redis cannot be used: ",
        ),
        ("repair stock X", "127.0.0.1:"),
    ],
)
def test_what_cannot_be_reached_is_told_in_a_sentence(command: str, told: str, tmp_path: Path) -> None:
    nowhere = f"127.0.0.1:{free_port()}"
    ended = run(*command.split(), cwd=tmp_path, COMMAND_ADDRESS=nowhere)
    assert ended.returncode == UNREACHABLE
    assert ended.stderr.startswith(f"error: {told}")


def test_an_actor_that_no_header_can_carry_is_told() -> None:
    with pytest.raises(Problem, match="the actor 'é' is not of printable ASCII"):
        _actor("é")


def test_a_context_that_does_not_exist_is_not_an_empty_log(tmp_path: Path) -> None:
    ended = run("log", "tail", "--context", "nope", cwd=tmp_path)
    assert ended.returncode == USAGE
    assert "no such context" in ended.stderr


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_log_of_every_context_can_be_asked_for(context: str, tmp_path: Path) -> None:
    elsewhere = str(tmp_path / "elsewhere")
    ended = run("log", "tail", "--context", context, "--data-dir", elsewhere, cwd=tmp_path)
    assert ended.returncode == UNREACHABLE, ended.stderr


def test_up_looks_for_a_used_port_before_it_starts_anything(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = run("up", cwd=tmp_path, **{**free_addresses(), "HISTORY_ADDRESS": address})
    assert ended.returncode == UNREACHABLE
    assert ended.stderr.startswith(f"error: {address} is in use; ")
    assert not (tmp_path / ".shopkeeper").exists()


def test_up_refuses_what_is_no_address(tmp_path: Path) -> None:
    ended = run("up", cwd=tmp_path, COMMAND_ADDRESS="garbage")
    assert ended.returncode == USAGE
    assert ended.stderr == "error: COMMAND_ADDRESS is 'garbage'; it must be host:port\n"


def test_up_where_no_data_can_be_kept_names_the_place(tmp_path: Path) -> None:
    ended = run("up", "--data-dir", "/dev/null/shop", cwd=tmp_path, **free_addresses())
    assert ended.returncode == REFUSED
    assert re.fullmatch(r"error: /dev/null\S*: Not a directory\n", ended.stderr)


def test_the_default_ports_are_none_of_outgoing_connections() -> None:
    # Linux hands out ports from 32768 on, the even ones first: 50052 was taken now and then.
    assert all(service.default_port < 32_768 for service in SERVICES if service.default_port)
