"""Whether the race was fair: what must be true of who won, who lost and what the ledger says. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ops.explanations import ledger_differences, stock_accounts
from ops.race.buyers import SOLD_OUT, Finishes
from ops.race.ledger import Account, Ledger, account


@dataclass(frozen=True, slots=True)
class Verdict:
    """What came of the race. units: what could be ordered before it. wrong: what does not add up."""

    sku_id: str
    units: int
    finishes: Finishes
    account: Account
    oversold_units: int
    wrong: Sequence[str]

    @property
    def is_good(self) -> bool:
        """Whether everything adds up."""
        return not self.wrong

    @property
    def line(self) -> str:
        """The verdict for scripts."""
        return (
            f"race: sku={self.sku_id} buyers={len(self.finishes.each)} units={self.units}"
            f" winners={len(self.finishes.winners)} losers={len(self.finishes.losers)}"
            f" oversold={self.oversold_units}"
        )


def judge(before: Ledger, after: Ledger, finishes: Finishes, *, is_alone: bool) -> Verdict:
    """Compares what the buyers were told with what the ledger says.

    is_alone: nobody else knows of the SKU, so that whoever else holds a unit was sold it by mistake.
    """
    added_up = account(after, after_position=before.position, order_ids=finishes.order_ids)
    units = before.stock.available
    # What others brought or took meanwhile is in the ledger, which is looked at moment by moment.
    sold_beyond = 0 if added_up.others else sum(added_up.held.values()) - units
    oversold = max(added_up.uncovered_max, sold_beyond, 0)
    wrong = [
        *_of_the_ledger(after, added_up, oversold),
        *_of_winners(finishes, added_up),
        *_of_losers(finishes, added_up, units),
        *(_of_others(added_up) if is_alone else ()),
    ]
    return Verdict(before.stock.sku_id, units, finishes, added_up, oversold, wrong)


def _of_the_ledger(ledger: Ledger, added_up: Account, oversold: int) -> Iterator[str]:
    yield from ledger.differences
    accounts = stock_accounts(ledger.pages, shown_count_max=0)
    yield from ledger_differences(ledger.stock.levels, accounts)
    if added_up.available != ledger.stock.available:
        yield f"{ledger.stock.available} available, its movements come to {added_up.available}"
    if oversold:
        yield f"{oversold} units were promised that are not there"


def _of_winners(finishes: Finishes, added_up: Account) -> Iterator[str]:
    for order_id in finishes.order_ids:
        if added_up.held.get(order_id) != 1:
            yield f"order {order_id} was won, and holds {added_up.held.get(order_id, 0)} units"


def _of_losers(finishes: Finishes, added_up: Account, units: int) -> Iterator[str]:
    for reason, count in finishes.reasons.items():
        if reason != SOLD_OUT:
            yield f"{count} buyers were refused for another reason: {reason}"
    expected = min(units, len(finishes.each))
    if not added_up.others and len(finishes.winners) != expected:
        yield f"{expected} should have won, and {len(finishes.winners)} did"
    if finishes.reasons[SOLD_OUT] and added_up.available_min > 0:
        yield f"buyers were told {SOLD_OUT} while never fewer than {added_up.available_min} were left"


def _of_others(added_up: Account) -> Iterator[str]:
    for cause in dict.fromkeys(movement.cause for movement in added_up.others):
        yield f"{cause} is none of the winners, and moved units"
