"""What a figure is measured with: the shop, the echo servers, how long and how often."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.bulk import checkpoint
from benchmarks.load import AnyLoad, Load, Measured, measure
from benchmarks.pgbench import PlainShop
from benchmarks.rounds import ROUND_COUNT_MIN, interleaved
from benchmarks.shop_copies import Size, fill_shop
from benchmarks.shop_under_test import ShopUnderTest, make_database
from event_log.reader import LogReader
from ops.migrate import migrate
from read_models.connections import Connection, connect
from read_models.partitions import PARTITIONS
from read_models.reading import read_checkpoints
from read_models.registry import load_registry

REDIS_SECONDS_MAX = 30.0
SETTLE_SECONDS_MAX = 300.0
SETTLE_POLL_SECONDS = 0.1
FIRST_LOOK_SECONDS = 0.5
PLAIN_DATABASE = "plain"

Turn = Callable[[], Awaitable[Any]]
"""One turn of a subject; its result says itself as a line of text."""


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is measured.

    sku_count: of the shop. event_count: of the log that is rebuilt. span_seconds: of one turn of one
    subject. in_flight_counts: of the curves. is_endless: only the first subject, which is ours, has
    turns, until somebody who looks on has seen enough.
    """

    round_count: int = 3
    span_seconds: float = 2.0
    sku_count: int = 10_000
    event_count: int = 1_000_000
    in_flight_counts: tuple[int, ...] = (1, 4, 16, 64, 128, 256)
    is_endless: bool = False


@dataclass(frozen=True, slots=True)
class Bench:
    """A shop that is open, and the means to measure it.

    wanted: the names of the figures that somebody wants. say: tells people what is being done.
    others: shops that have their turns in between.
    """

    shop: ShopUnderTest
    extent: Extent
    wanted: frozenset[str]
    say: Callable[[str], None]
    others: tuple[ShopUnderTest, ...] = ()
    _plain_shops: list[PlainShop] = field(default_factory=list)

    async def open(self) -> None:
        """Puts everything on sale."""
        self.say(f"opening a shop of {self.extent.sku_count:,} SKUs")
        size = Size(self.extent.sku_count)
        await fill_shop(self.shop.servers.database_url, self.shop.command_address, size)

    async def serving_generation(self) -> int:
        """The generation of views that answers."""
        connection = connect(self.shop.servers.redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
        try:
            serving = (await load_registry(connection)).serving
        finally:
            await connection.close()
        assert serving is not None, "no views serve"
        return serving

    async def turn(
        self,
        load: AnyLoad,
        pids: Mapping[str, list[int]] | None = None,
        *,
        span_seconds: float | None = None,
    ) -> Measured:
        """One load for one span of time. pids: whose processor time is told, the shop's if not said."""
        [measured] = await self.turns([load], pids, span_seconds=span_seconds)
        return measured

    async def turns(
        self,
        loads: Sequence[AnyLoad],
        pids: Mapping[str, list[int]] | None = None,
        *,
        span_seconds: float | None = None,
    ) -> list[Measured]:
        """Several loads at once."""
        for shop in (*self.others, self.shop):
            await settle(shop)
        return await measure(loads, span_seconds or self.extent.span_seconds, pids or self.shop.pids)

    async def first_look(self, load: Load) -> Measured:
        """A short turn that warms everything up and tells what answers are like."""
        return await self.turn(load, span_seconds=FIRST_LOOK_SECONDS)

    async def plain_shop(self) -> PlainShop:
        """The same shop for pgbench, made when the first figure needs it."""
        if not self._plain_shops:
            make_database(self.shop.postgres, PLAIN_DATABASE)
            url = self.shop.postgres.url(PLAIN_DATABASE)
            migrate(url)
            plain = PlainShop(url, self.extent.sku_count)
            await asyncio.to_thread(plain.open)
            self._plain_shops.append(plain)
        return self._plain_shops[0]

    async def rounds(self, subjects: Mapping[str, Turn], *, at_least: int = 0) -> dict[str, list[Any]]:
        """All subjects in turns, ours first, and last in every second round.

        at_least: so many rounds, in a run whose figures count, where three tell too little.
        """
        if self.extent.is_endless:
            [(name, take_turn), *_] = subjects.items()
            while True:
                self.say(f"{name}: {await take_turn()}")
        return await interleaved(
            subjects,
            max(self.extent.round_count, at_least if self.extent.round_count >= ROUND_COUNT_MIN else 0),
            lambda name, number, result: self.say(f"round {number}, {name}: {result}"),
        )


async def settle(shop: ShopUnderTest) -> None:
    """Waits until views and disk have everything: no turn is to pay for the one before."""
    connection = connect(shop.servers.redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
    reader = LogReader(shop.servers.database_url, application_name="shopkeeper benchmarks")
    try:
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            while not await _is_level(connection, reader):  # noqa: ASYNC110 asked of other processes
                await asyncio.sleep(SETTLE_POLL_SECONDS)
    finally:
        await reader.close()
        await connection.close()
    await asyncio.to_thread(checkpoint, shop.servers.database_url)


async def _is_level(connection: Connection, reader: LogReader) -> bool:
    serving = (await load_registry(connection)).serving
    if serving is None:
        return False
    end = await reader.read_end()
    checkpoints = await read_checkpoints(connection, serving, PARTITIONS)
    return all(each is not None and each.position >= end.last_position for each in checkpoints)
