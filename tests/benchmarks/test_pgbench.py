"""The plain alternative writes what it says, to the tables as they are."""

import psycopg
import pytest

from benchmarks.pgbench import PgbenchFailed, Plain, PlainShop, read

# It knows of no idempotency, and so stores no answers.
pytestmark = pytest.mark.breaks_invariants

SIZES = {"answer_bytes": 100, "event_bytes": 80}


def held(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT sum(reserved)::int FROM stock_levels").fetchone()
    assert row is not None
    return int(row[0])


async def test_each_transaction_is_a_reservation_with_all_its_rows(database_url: str) -> None:
    plain = PlainShop(database_url, sku_count=10)
    plain.open()

    done = await plain.run("reserve.sql", 1, client_count=2, variables=SIZES)

    assert done.count > 0
    tables = ("requests", "reservations", "reservation_lines", "stock_movements")
    assert {table: plain.count(table) for table in tables} == dict.fromkeys(tables, done.count)
    assert plain.count("events") == 2 * done.count
    assert held(database_url) == done.count


async def test_each_transaction_is_an_order_of_two_lines_from_a_cart(database_url: str) -> None:
    plain = PlainShop(database_url, sku_count=10)
    plain.open()
    number = plain.fill_carts(client_count=2, count_each=10_000)

    variables = {**SIZES, "event_count": 4, "number": number}
    done = await plain.run("place_order.sql", 1, client_count=2, variables=variables)

    assert done.count > 0
    assert plain.count("orders") == plain.count("reservations") == done.count
    assert plain.count("order_lines") == plain.count("stock_movements") == 2 * done.count
    assert plain.count("events") == 4 * done.count
    assert plain.count("carts WHERE state = 2") == done.count
    assert held(database_url) == 2 * done.count


DONE = """
progress: 1.0 s, 900.0 tps, lat 0.470 ms stddev 0.069, 0 failed
progress: 2.0 s, 2000.0 tps, lat 0.470 ms stddev 0.069, 0 failed
progress: 3.0 s, 2200.5 tps, lat 0.470 ms stddev 0.069, 0 failed
number of transactions actually processed: 5100
number of failed transactions: {failed} (0.000%)
tps = 1700.100000 (without initial connection time)
"""
NOTHING = """
progress: 1.0 s, 0.0 tps, lat NaN ms stddev NaN, 0 failed
number of transactions actually processed: 0
number of failed transactions: 0 (NaN%)
"""


def test_what_pgbench_tells_is_read_without_its_first_second() -> None:
    assert read(DONE.format(failed=0)) == Plain(per_second=2100.25, count=5100)


def test_a_span_without_a_transaction_tells_nothing() -> None:
    assert read(NOTHING) is None


def test_failed_transactions_are_no_figure() -> None:
    with pytest.raises(PgbenchFailed):
        read(DONE.format(failed=1))
