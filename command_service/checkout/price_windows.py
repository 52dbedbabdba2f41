"""Price windows: when a price list's or a promotion's window opens or closes, someone has to say so.

Prices are right without it, since pricing looks at the clock; only what is shown of them waits for it.
"""

import asyncio
from datetime import datetime
from typing import NamedTuple
from uuid import uuid4

from command_service.committer import Committer
from command_service.errors import Failure
from command_service.lone_worker import PATIENCE, LoneWorker, Patience, WorkerLock, submit
from command_service.pipeline import Statement
from command_service.pricing.commands import ApplyPriceWindow, ApplyPromotionWindow
from command_service.pricing.tables import DUE_PRICE_LISTS, DUE_PROMOTIONS, PRICE_LIST_SKUS
from command_service.session import Session, Timeouts

PAUSE_SECONDS = 0.5
"""Between two looks: windows open on the second, and a view is allowed to follow within one."""

CHUNK_SIZE = 500
"""SKUs a command: what ApplyPriceWindow takes."""

ROUND_SECONDS_MAX = 1.0
"""After it a round leaves large lists as they are: the next looks what else is due, and goes on."""

ACTOR = "price window worker"


class DueList(NamedTuple):
    """A price list whose SKUs do not show it as it is now."""

    price_list_id: str
    list_version: int
    listed_time: datetime


class Place(NamedTuple):
    """How far a list was shown, and the version and time of it when that was begun."""

    list_version: int
    listed_time: datetime
    after_sku_id: str = ""


class PriceWindowWorker:
    """Finds windows that opened or closed and has them shown; one process at a time does."""

    def __init__(
        self,
        database_url: str,
        committer: Committer,
        timeouts: Timeouts | None = None,
        patience: Patience = PATIENCE,
    ) -> None:
        self._committer = committer
        self._patience = patience
        self._places: dict[str, Place] = {}
        """Of lists that took longer than a round, by id."""
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
        """One round: every promotion that is due now, and of each list as much as there is time for."""
        lists, promotions = await session.run([Statement(DUE_PRICE_LISTS), Statement(DUE_PROMOTIONS)])
        for (promotion_id,) in promotions:
            await self._submit(ApplyPromotionWindow(promotion_id))
        waiting = [DueList(*row) for row in lists]
        due = {each.price_list_id for each in waiting}
        self._places = {of: place for of, place in self._places.items() if of in due}
        clock = asyncio.get_running_loop().time
        until = clock() + ROUND_SECONDS_MAX
        while waiting:
            waiting = [each for each in waiting if await self._show_chunk(session, each)]
            if clock() >= until:
                break

    async def _show_chunk(self, session: Session, due: DueList) -> bool:
        """The list's next SKUs, the last of which mark it as shown; whether there are more of them.

        After a failure the same ones are due in the next round. A list that is changed meanwhile is gone
        through to its end, or prices added all the time would hide its last SKUs for ever; the version
        that it had at the beginning does not mark it, so then it is begun anew.
        """
        of = due.price_list_id
        place = self._places.get(of) or Place(due.list_version, due.listed_time)
        parameters = {
            "price_list_id": of,
            "after_sku_id": place.after_sku_id,
            "sku_count_max": CHUNK_SIZE,
        }
        [rows] = await session.run([Statement(PRICE_LIST_SKUS, parameters)])
        is_last = len(rows) < CHUNK_SIZE
        outcome = await self._submit(
            ApplyPriceWindow(
                price_list_id=of,
                sku_ids=tuple(sku_id for (sku_id,) in rows),
                list_version=place.list_version,
                listed_time=place.listed_time if is_last else None,
            )
        )
        if isinstance(outcome, Failure):
            self._places[of] = place
        elif is_last:
            self._places.pop(of, None)
        else:
            self._places[of] = place._replace(after_sku_id=rows[-1][0])
        return not is_last and not isinstance(outcome, Failure)

    async def _submit(self, command: ApplyPriceWindow | ApplyPromotionWindow) -> object:
        # A new id each time: a window may open and close with the same version of its list, and the
        # command finds out by itself whether there is anything to do.
        return await submit(
            self._committer, command, request_id=uuid4(), actor=ACTOR, patience=self._patience
        )
