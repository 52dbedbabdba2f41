"""The session of the committer: its limits are the server's, not only ours."""

from command_service.checkout.lookouts import PaymentLookout
from command_service.pipeline import Statement
from command_service.session import Session, Timeouts

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
