"""Five days in a minute: many errands at a time, begun in the order of time."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter

from ops.demo.accounts import Accounts, Bucket
from ops.demo.buyers import Buyers
from ops.demo.errands import Errand, Plan
from ops.demo.provider import Provider
from ops.demo.shop import Shop
from ops.demo.staff import Staff

IN_FLIGHT = 32
"""Errands at a time, as long as there are any left."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Buyers and staff at work on one plan."""

    buyers: Buyers
    staff: Staff
    accounts: Accounts
    done: Mapping[str, asyncio.Event]
    """Set for each invoice whose errand is done."""

    @classmethod
    def of(cls, plan: Plan, shop: Shop, provider: Provider, accounts: Accounts) -> "Replay":
        """A replay that has not begun."""
        return cls(
            buyers=Buyers(shop, provider, accounts, plan.price_lists.list_of_cart),
            staff=Staff(shop),
            accounts=accounts,
            done={errand.invoice: asyncio.Event() for errand in plan.errands},
        )

    async def run(self, plan: Plan, on_done: Callable[[Errand], None]) -> float:
        """Does all errands of the plan; how many seconds that took."""
        begun = perf_counter()
        waiting = iter(plan.errands)
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT):
                group.create_task(self._work(waiting, on_done))
        return perf_counter() - begun

    async def _work(self, waiting: Iterator[Errand], on_done: Callable[[Errand], None]) -> None:
        for errand in waiting:
            await self._run_errand(errand)
            self.done[errand.invoice].set()
            on_done(errand)

    async def _run_errand(self, errand: Errand) -> None:
        for line in errand.not_goods:
            self.accounts.settle(line, Bucket.NOT_GOODS)
        for line in errand.unmatched_returns:
            self.accounts.settle(line, Bucket.UNMATCHED_RETURN)
        for line in errand.adjustments:
            await self.staff.correct_stock(line)
            self.accounts.settle(line, Bucket.ADJUSTMENT)
        for basket in errand.baskets:
            await self.buyers.buy(basket)
        for line, sale in errand.returns:
            # The sale's errand was begun before this one, so it ends without us.
            await self.done[sale.invoice].wait()
            await self.buyers.bring_back(line, sale)
