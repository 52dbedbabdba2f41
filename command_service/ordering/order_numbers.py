"""Order numbers: short, in groups, with a check digit, so that they survive a phone call."""

import asyncio

from command_service.database_failures import DatabaseFailure
from command_service.errors import DatabaseUnavailable
from command_service.pipeline import Statement
from command_service.session import Session

BLOCK_SIZE = 100
"""Serials that one trip to the database brings: the sequence's increment. What a stopped process
leaves of its block stays unused."""

# Migration 0006 starts it at 100,000,000: nine digits, so that all numbers are of one length.
NEXT_BLOCK = "SELECT nextval('order_number_blocks')"

# A totally anti-symmetric quasigroup of order 10: H. M. Damm, "Total anti-symmetrische Quasigruppen"
# (Marburg 2004). Its check digit finds every wrong digit and every swap of neighbours.
_DAMM = (
    "0317598642",
    "7092154863",
    "4206871359",
    "1750983426",
    "6123045978",
    "3674209581",
    "5869720134",
    "8945362017",
    "9438617205",
    "2581436790",
)


def check_digit(digits: str) -> str:
    """Damm's check digit; "0" for a number that already ends in its own."""
    interim = "0"
    for digit in digits:
        interim = _DAMM[int(interim)][int(digit)]
    return interim


def order_number(serial: int) -> str:
    """The number as people read it: 100000000 is "100-000-000x" with x the check digit."""
    digits = str(serial).zfill(9)
    digits += check_digit(digits)
    return f"{digits[:-7]}-{digits[-7:-4]}-{digits[-4:]}"


class OrderNumbers:
    """Gives out order numbers, a block at a time; no two processes share one.

    It has a session of its own, since numbers are drawn before the order's transaction begins.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._serials = iter(range(0))
        self._fetching: asyncio.Task[None] | None = None

    async def next(self) -> str:
        """A number never given out before. A number whose order is refused is not used again.

        Raises:
            DatabaseUnavailable: the block is used up and the next cannot be had.
        """
        # Again and again: a block may be used up before whoever waited for it has its turn.
        while (serial := next(self._serials, None)) is None:
            await self._fetched()
        return order_number(serial)

    async def _fetched(self) -> None:
        # All who wait share one attempt, and its failure: in a row they would wait for each other.
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._has_fetched)
        await asyncio.shield(self._fetching)

    def _has_fetched(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            # Asking for it tells asyncio that it is known, when nobody waits any more.
            task.exception()

    async def _fetch(self) -> None:
        self._serials = iter(await self._next_block())

    async def _next_block(self) -> range:
        try:
            await self._session.connect()
            [[(first,)]] = await self._session.run([Statement(NEXT_BLOCK)])
        except DatabaseFailure as error:
            self._session.drop()
            raise DatabaseUnavailable from error
        return range(first, first + BLOCK_SIZE)
