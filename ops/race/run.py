"""The whole race: the stake, the carts, the start, the ledger, the clearing."""

import asyncio

from rich.console import Console
from rich.text import Text

from ops.failures import ExitStatus, Problem, visible
from ops.progress import progress
from ops.race.buyers import Finishes, fill_carts, race
from ops.race.clearing import clear
from ops.race.ledger import read_ledger
from ops.race.report import Entry, Outcome, print_report
from ops.race.shop import Addresses, Shop
from ops.race.stake import Stake, found_stake, made_stake
from ops.race.verdict import judge
from ops.wire.calls import Refused


def run_race(console: Console, addresses: Addresses, entry: Entry) -> int:
    """Runs the race and returns the exit status: 0 when everything adds up.

    Raises:
        Problem: the race cannot be run, or a service went away.
    """
    outcome = asyncio.run(_race(console, addresses, entry))
    print_report(console, outcome)
    return ExitStatus.DONE if outcome.is_good else ExitStatus.REFUSED


async def _race(console: Console, addresses: Addresses, entry: Entry) -> Outcome:
    async with Shop(addresses, connection_count=entry.connection_count) as shop:
        await shop.knock()
        try:
            stake = await _stake(shop, entry)
            return await _race_for(stake, shop, entry, console)
        except Refused as refusal:
            raise Problem(f"there can be no race: {refusal}") from refusal


async def _stake(shop: Shop, entry: Entry) -> Stake:
    if entry.sku_id is None:
        return await made_stake(shop, entry.units, entry.currency_code)
    return await found_stake(shop, entry.sku_id, entry.currency_code)


async def _race_for(stake: Stake, shop: Shop, entry: Entry, console: Console) -> Outcome:
    finishes, verdict = Finishes([]), None
    try:
        before = await read_ledger(shop, stake.sku_id)
        if not before.stock.available:
            raise Problem(f"nothing of SKU {stake.sku_id} is left to race for; see --units")
        with progress(console) as on_progress:
            carts = await fill_carts(shop, stake, entry.buyer_count, on_progress)
        finishes = await race(shop, carts)
        ledger = await read_ledger(shop, stake.sku_id)
        verdict = judge(before, ledger, finishes, is_alone=stake.is_ours)
    finally:
        # However it ended: nobody else knows what is on sale for the race only.
        is_kept = entry.is_kept and bool(finishes.each)
        cleared = None if is_kept else await clear(shop, stake, entry.units, finishes)
        if verdict is None and cleared is not None:
            for sentence in cleared.failed:
                console.print(Text(visible(f"left behind: {sentence}")), soft_wrap=True)
    final = ledger if is_kept else await read_ledger(shop, stake.sku_id)
    return Outcome(entry, stake, verdict, ledger, shop.connection_count, cleared, final)
