"""The ledger of the race's SKU: read from the history service, and added up."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ops.race.shop import Shop
from ops.wire.rpcs import EXPLAIN_STOCK
from shopkeeper.inventory.v1.inventory_history_service_pb2 import (
    ExplainStockRequest,
    ExplainStockResponse,
    StockMovement,
)
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockDeltas

PAGE_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the history service tells of a SKU, all pages of it."""

    pages: Sequence[ExplainStockResponse]

    @property
    def stock(self) -> Stock:
        """The counters: by the service's count the sums of all movements."""
        return self.pages[-1].stock

    @property
    def movements(self) -> list[StockMovement]:
        """Every movement, oldest first."""
        return [movement for page in self.pages for movement in page.movements]

    @property
    def differences(self) -> Sequence[str]:
        """Counters whose stored value is not the sum of their movements."""
        return self.pages[0].differences

    @property
    def position(self) -> int:
        """Of the last movement."""
        return max((movement.position for movement in self.movements), default=0)


async def read_ledger(shop: Shop, sku_id: str) -> Ledger:
    """The whole ledger as of now.

    Raises:
        Refused: the SKU never had stock.
        Problem: the service cannot be reached.
    """
    request = ExplainStockRequest(sku_id=sku_id, page_size=PAGE_ROWS)
    pages: list[ExplainStockResponse] = []
    while not pages or pages[-1].next_page_token:
        request.page_token = pages[-1].next_page_token if pages else ""
        pages.append(await shop.recall(EXPLAIN_STOCK, request))
    return Ledger(pages)


@dataclass(slots=True)
class Level:
    """One location's counters, as far as the ledger has been read."""

    counters: Counter[str] = field(default_factory=Counter)

    def add(self, deltas: StockDeltas) -> None:
        """Takes the next movement in."""
        for descriptor, change in deltas.ListFields():
            self.counters[descriptor.name] += change

    @property
    def promised(self) -> int:
        """Units held for somebody."""
        return self.counters["reserved"] + self.counters["allocated"]

    @property
    def uncovered(self) -> int:
        """Units promised that neither the shelf nor any rule covers: oversold."""
        covered = sum(self.counters[name] for name in ("on_hand", "backorder_limit", "shortage"))
        return max(0, self.promised - covered)

    @property
    def available(self) -> int:
        """Units that can be ordered."""
        spare = self.counters["on_hand"] + self.counters["backorder_limit"]
        return max(0, spare - self.promised - self.counters["safety_stock"])


@dataclass(frozen=True, slots=True)
class Account:
    """The ledger since the race began, added up.

    others: movements behind which no order of the race stands. held: units
    that each of our orders holds. uncovered_max: the most units that were promised and not there, at
    any moment. available_min: the fewest that could be ordered, at any moment.
    """

    others: Sequence[StockMovement]
    held: Mapping[str, int]
    uncovered_max: int
    available_min: int
    available: int


def account(ledger: Ledger, *, after_position: int, order_ids: Iterable[str]) -> Account:
    """Adds the ledger up: what our orders did to it, and what others did, since a position."""
    ours, held = set(order_ids), Counter[str]()
    movements = ledger.movements
    moments = list(_moments(movements))
    since = [m for m in movements if m.position > after_position]
    during = [(uncovered, rest) for position, uncovered, rest in moments if position > after_position]
    before = [rest for position, _, rest in moments if position <= after_position]
    for movement in since:
        if movement.cause in ours:
            held[movement.cause] += movement.deltas.reserved + movement.deltas.allocated
    return Account(
        others=[movement for movement in since if movement.cause not in ours],
        held=held,
        uncovered_max=max((uncovered for uncovered, _ in during), default=0),
        available_min=min([*before[-1:], *(rest for _, rest in during)], default=0),
        available=moments[-1][2] if moments else 0,
    )


def _moments(movements: Iterable[StockMovement]) -> Iterator[tuple[int, int, int]]:
    """After each movement: its position, units uncovered, units that can be ordered."""
    levels: dict[str, Level] = {}
    for movement in movements:
        levels.setdefault(movement.location_id, Level()).add(movement.deltas)
        uncovered = sum(level.uncovered for level in levels.values())
        yield movement.position, uncovered, sum(level.available for level in levels.values())
