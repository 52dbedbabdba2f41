"""What workers look for again and again takes as long as what is found, not as all there is."""

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from command_service.cart.repository import CARTS_TO_FORGET, DUE_CARTS
from command_service.inventory.repository import DUE_RESERVATIONS
from command_service.ordering.repository import DUE_ORDERS
from command_service.payment.repository import DUE_ERRANDS
from command_service.requests import FORGET_OLD

NOBODY_RESTS: tuple[list[str], list[str], int] = ([], [], 100)


@pytest.mark.parametrize(
    ("sql", "parameters", "bounded"),
    [
        (DUE_ORDERS, NOBODY_RESTS, ["expire_time"]),
        (DUE_RESERVATIONS, NOBODY_RESTS, ["expire_time"]),
        (DUE_CARTS, NOBODY_RESTS, ["expire_time"]),
        (CARTS_TO_FORGET, (timedelta(days=30), 100), ["update_time"]),
        (FORGET_OLD, (timedelta(days=7), 100), ["create_time"]),
        (DUE_ERRANDS, {"resting": [], "count_max": 100}, ["errand_due_time", "errand_due_time"]),
    ],
    ids=["orders", "reservations", "carts", "closed carts", "answers", "calls"],
)
async def test_what_is_not_due_is_not_looked_at(
    database_url: str, sql: str, parameters: Sequence[Any] | Mapping[str, Any], bounded: list[str]
) -> None:
    """The index is entered where the time says, which it cannot be by a time that passes meanwhile."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("SET enable_seqscan = off")  # as with many rows
        cursor = await connection.execute(f"EXPLAIN {sql}".encode(), parameters)
        plan = "\n".join(line for (line,) in await cursor.fetchall())
    assert re.findall(r"Index Cond: \((\w+) <=? ", plan) == bounded, plan
