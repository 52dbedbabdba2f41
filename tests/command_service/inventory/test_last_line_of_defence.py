"""The database refuses to sell a unit twice even when the code forgets to lock it."""

import asyncio
from collections.abc import Sequence

import psycopg
import pytest

from command_service.inventory import repository
from command_service.inventory.domain import Demand
from command_service.inventory.reservation_commands import ReserveStock
from command_service.pipeline import Row, Statement
from command_service.session import Session
from tests.command_service.conftest import CarryOut
from tests.command_service.inventory.warehouse import HOUR, NORTH, level, open_warehouse


class SessionThatWaits(Session):
    """Writes stock only when the others are about to write theirs as well."""

    def __init__(self, conninfo: str, together: asyncio.Barrier) -> None:
        super().__init__(conninfo, "tests")
        self._together = together

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        if any(statement.sql == repository.MOVE_STOCK_LEVELS for statement in statements):
            await self._together.wait()
        return await super().run(statements)


async def reserve_all(database_url: str, together: asyncio.Barrier, name: str) -> None:
    session = SessionThatWaits(database_url, together)
    await session.connect()
    try:
        demands = (Demand("mug", 10),)
        await CarryOut(database_url, session)(ReserveStock(name, "auction", demands, HOUR))
    finally:
        await session.close()


async def test_without_the_lock_the_check_refuses_the_second_of_two_sales(
    carry_out: CarryOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 10})
    monkeypatch.setattr(
        repository.StockRepository,
        "load",
        lambda _self, keys: [
            Statement(sql, (keys.all,))
            for sql in (repository.LOCK_STOCK_ITEMS, repository.READ_STOCK_LEVELS)
        ],
    )
    together = asyncio.Barrier(2)
    outcomes = await asyncio.gather(
        *(reserve_all(carry_out.database_url, together, name) for name in ("one", "two")),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if outcome is not None]
    assert [type(each.__cause__) for each in refused] == [psycopg.errors.CheckViolation]
    assert (await level(carry_out, "mug")).reserved == 10
