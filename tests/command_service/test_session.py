"""The session of the committer: its limits are the server's, not only ours."""

import pytest

from command_service import server
from command_service.checkout.lookouts import PaymentLookout
from command_service.database_failures import DatabaseFailure
from command_service.pipeline import Statement
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.session import Session, Timeouts
from command_service.settings import Settings
from command_service.storage import storage

LIMITS = {
    "lock_timeout": "2s",
    "statement_timeout": "4s",
    "transaction_timeout": "5s",
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "5",
    "default_transaction_isolation": "read committed",
}


async def test_the_server_knows_the_limits_of_a_session(database_url: str) -> None:
    session = Session(database_url, "tests")
    await session.connect()
    rows = await session.run([Statement(f"SHOW {name}") for name in LIMITS])
    await session.close()
    assert {name: value for name, [(value,)] in zip(LIMITS, rows, strict=True)} == LIMITS


async def test_only_a_hasty_transaction_waits_less_for_locks(database_url: str) -> None:
    session = Session(database_url, "tests")
    unit = PostgresqlUnitOfWork(session, storage())
    await unit.connect()
    waits = []
    for is_hasty in (False, True, False):
        await unit.claim([], is_hasty=is_hasty)
        [[(wait,)]] = await session.run([Statement("SHOW lock_timeout")])
        waits.append(wait)
        await unit.end()
    await session.close()
    assert waits == ["2s", "100ms", "2s"]


async def test_a_session_at_a_server_that_only_reads_begins_anew(database_url: str) -> None:
    """After a failover it may be the old primary; whoever answers at the same address next may write."""
    session = Session(database_url, "tests")
    await session.connect()
    await session.run([Statement("SET default_transaction_read_only = on")])
    with pytest.raises(DatabaseFailure, match="read-only"):
        await session.run([Statement("CREATE TABLE never (n int)")])
    with pytest.raises(AssertionError, match="connect first"):
        await session.run([Statement("SELECT 1")])


def test_the_shortest_limit_is_a_limit_all_the_same() -> None:
    shortest = Timeouts(lock_seconds_max=0.0001, statement_seconds_max=0.0001)
    assert shortest.options == "-c lock_timeout=1 -c statement_timeout=1 -c transaction_timeout=5000"


async def test_a_worker_that_looks_through_all_payments_has_longer(database_url: str) -> None:
    """Six million take nine seconds; a look that is ended begins anew, and would never get further."""
    session = PaymentLookout(database_url, "tests")
    await session.connect()
    rows = await session.run(
        [Statement("SHOW statement_timeout"), Statement("SHOW transaction_timeout")]
    )
    await session.close()
    assert rows == [[("9s",)], [("9500ms",)]]


async def test_every_session_of_the_service_has_the_limits_that_are_set(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Timeouts(0.5, 1.0, 1.5, 4.0)
    for name in ("lock", "statement", "transaction", "trip"):
        value = getattr(limits, f"{name}_seconds_max")
        monkeypatch.setenv(f"DATABASE_{name.upper()}_SECONDS_MAX", str(value))
    monkeypatch.setenv("DATABASE_URL", database_url)
    opened: dict[str, Timeouts | None] = {}
    begin = Session.__init__

    def begin_and_note(
        self: Session, conninfo: str, application_name: str, timeouts: Timeouts | None = None
    ) -> None:
        opened[application_name] = timeouts
        begin(self, conninfo, application_name, timeouts)

    async def run_nothing(*_parts: object, **_options: object) -> None:
        pass

    monkeypatch.setattr(Session, "__init__", begin_and_note)
    monkeypatch.setattr(server, "run", run_nothing)
    await server.serve(Settings())
    patient = {"shopkeeper payments", "shopkeeper payment alarms"}
    assert len(opened) == 9
    assert opened == {name: limits.patient if name in patient else limits for name in opened}
    assert limits.patient == Timeouts(0.5, 3.6, 3.8, 4.0)
