"""Price windows: when a price list's or a promotion's window opens or closes, someone has to say so.

Prices are right without it, since pricing looks at the clock; only what is shown of them waits for it.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from command_service.committer import Committer
from command_service.errors import Failure
from command_service.lone_worker import LoneWorker, WorkerLock, submit
from command_service.pipeline import Statement
from command_service.pricing.commands import ApplyPriceWindow, ApplyPromotionWindow
from command_service.pricing.tables import DUE_PRICE_LISTS, DUE_PROMOTIONS, PRICE_LIST_SKUS
from command_service.session import Session, Timeouts

PAUSE_SECONDS = 0.5
"""Between two looks: windows open on the second, and a view is allowed to follow within one."""

CHUNK_SIZE = 500
"""SKUs a command: what ApplyPriceWindow takes."""

ACTOR = "price window worker"


class DueList(NamedTuple):
    """A price list whose SKUs do not show it as it is now."""

    price_list_id: str
    list_version: int
    listed_time: datetime


class PriceWindowWorker:
    """Finds windows that opened or closed and has them shown; one process at a time does."""

    def __init__(
        self, database_url: str, committer: Committer, timeouts: Timeouts | None = None
    ) -> None:
        self._committer = committer
        session = Session(database_url, "shopkeeper price windows", timeouts)
        self._worker = LoneWorker(
            WorkerLock.PRICE_WINDOWS, session, self.show_due, pause_seconds=PAUSE_SECONDS
        )

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand."""
        await self._worker.drain()

    async def show_due(self, session: Session) -> None:
        """One round: every list and promotion that is due now."""
        lists, promotions = await session.run([Statement(DUE_PRICE_LISTS), Statement(DUE_PROMOTIONS)])
        for (promotion_id,) in promotions:
            await self._submit(ApplyPromotionWindow(promotion_id))
        for row in lists:
            await self._show_list(session, DueList(*row))

    async def _show_list(self, session: Session, due: DueList) -> None:
        """Chunk by chunk, the last of which marks the list as shown; a failure leaves it due."""
        async for sku_ids, is_last in _chunks(session, due.price_list_id):
            outcome = await self._submit(
                ApplyPriceWindow(
                    price_list_id=due.price_list_id,
                    sku_ids=sku_ids,
                    list_version=due.list_version,
                    listed_time=due.listed_time if is_last else None,
                )
            )
            if isinstance(outcome, Failure):
                return

    async def _submit(self, command: ApplyPriceWindow | ApplyPromotionWindow) -> object:
        # A new id each time: a window may open and close with the same version of its list, and the
        # command finds out by itself whether there is anything to do.
        return await submit(self._committer, command, request_id=uuid4(), actor=ACTOR)


async def _chunks(session: Session, price_list_id: str) -> AsyncIterator[tuple[tuple[str, ...], bool]]:
    """The list's SKUs, CHUNK_SIZE at a time, and whether the chunk is the last; at least one chunk."""
    after_sku_id, is_last = "", False
    while not is_last:
        parameters = {
            "price_list_id": price_list_id,
            "after_sku_id": after_sku_id,
            "sku_count_max": CHUNK_SIZE,
        }
        [rows] = await session.run([Statement(PRICE_LIST_SKUS, parameters)])
        is_last = len(rows) < CHUNK_SIZE
        after_sku_id = rows[-1][0] if rows else ""
        yield tuple(sku_id for (sku_id,) in rows), is_last
