"""How many errands the replay has under way, and in which order it begins them."""

import asyncio
from unittest.mock import create_autospec

import pytest

from ops.demo.accounts import Accounts
from ops.demo.errands import Errand, plan
from ops.demo.provider import Provider
from ops.demo.replay import Replay
from ops.demo.sales import read_sales
from ops.demo.shop import Shop

PLAN = plan(read_sales())


async def test_32_errands_are_under_way_at_once_begun_in_the_order_of_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[Errand] = []
    stuck, go_on = asyncio.Event(), asyncio.Event()

    async def run_errand(_: Replay, errand: Errand) -> None:
        begun.append(errand)
        if len(begun) == 32:
            stuck.set()
        await go_on.wait()

    monkeypatch.setattr(Replay, "_run_errand", run_errand)
    shop, provider = create_autospec(Shop, instance=True), create_autospec(Provider, instance=True)
    replay = Replay.of(PLAN, shop, provider, Accounts())
    running = asyncio.create_task(replay.run(PLAN, lambda _: None))
    await stuck.wait()
    # Whoever else were at work would have begun by now: all workers were made at the same time.
    await asyncio.sleep(0)
    assert begun == list(PLAN.errands[:32])
    go_on.set()
    await running
    assert begun == list(PLAN.errands)
