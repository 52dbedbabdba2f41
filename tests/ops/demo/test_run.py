"""The first hours of the demo, against real services in processes of their own."""

import io
import os
import re
from contextlib import closing

import psycopg
import pytest
import redis
from rich.console import Console

from ops.demo.run import run_demo
from ops.demo.sales import read_sales
from ops.failures import Problem
from read_models.registry import REGISTRY_KEY, Generation, Registry

LINE_COUNT = 250
COUNTED = f"demo: lines={LINE_COUNT} accounted={LINE_COUNT} oversold=0 mismatches=0 stale_reads=0"


def test_the_first_hours_are_sold_without_a_flaw(database_url: str, redis_url: str) -> None:
    file = io.StringIO()
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    status = run_demo(Console(file=file, width=200), environment, read_sales()[:LINE_COUNT])
    last = file.getvalue().splitlines()[-1]
    assert re.fullmatch(COUNTED + r" query_p99_ms=\d+ orders_per_second=\d+", last), file.getvalue()
    assert status == 0


def test_a_database_that_holds_a_shop_is_left_alone(database_url: str, redis_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("""
            INSERT INTO events
                (position, recorded_time, context, type, key, payload, actor, request_id)
            VALUES (1, now(), 'cart', 'CartCreated', 'c', '', 'buyer', gen_random_uuid())
            """)
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with pytest.raises(Problem, match="empty database"):
        run_demo(Console(file=io.StringIO()), environment)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_a_redis_that_holds_the_views_of_a_shop_is_left_alone(database_url: str, redis_url: str) -> None:
    with closing(redis.Redis.from_url(redis_url)) as client:
        client.set(REGISTRY_KEY, Registry(1, (Generation(1, "00000000"),)).to_text())
    environment = {**os.environ, "DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with pytest.raises(Problem, match="empty Redis"):
        run_demo(Console(file=io.StringIO()), environment)
