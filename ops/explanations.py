"""Explanations as tables whose last row is the sum of those above it."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from google.protobuf.timestamp_pb2 import Timestamp
from rich import box
from rich.table import Table
from rich.text import Text

from history_service.money_text import money_text
from ops.failures import visible
from shopkeeper.cart.v1.cart_history_service_pb2 import TotalStep
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockResponse, StockMovement
from shopkeeper.inventory.v1.inventory_pb2 import MovementKind, StockLevel
from shopkeeper.ordering.v1.ordering_history_service_pb2 import OrderHappening
from shopkeeper.types.v1.money_pb2 import Money

COUNTERS = ("on_hand", "reserved", "allocated", "safety_stock", "backorder_limit", "shortage")
# Left out where they never were anything but 0, as in most shops.
RARE_COUNTERS = {"safety_stock", "backorder_limit", "shortage"}

Counts = tuple[int, ...]
"""One number for each of COUNTERS."""


@dataclass(slots=True)
class LocationAccount:
    """The ledger of one SKU at one location: the last movements, and what came before as one row."""

    location_id: str
    shown_count_max: int
    earlier: Counts = (0,) * len(COUNTERS)
    earlier_count: int = 0
    movements: deque[StockMovement] = field(default_factory=deque)

    def add(self, movement: StockMovement) -> None:
        """Takes the next movement in."""
        self.movements.append(movement)
        if len(self.movements) > self.shown_count_max:
            self.earlier = _sum([self.earlier, _counts(self.movements.popleft().deltas)])
            self.earlier_count += 1

    @property
    def rows(self) -> Iterator[Counts]:
        """What is added up, oldest first."""
        yield self.earlier
        for movement in self.movements:
            yield _counts(movement.deltas)

    @property
    def sums(self) -> Counts:
        """What the rows add up to."""
        return _sum(list(self.rows))


def stock_accounts(
    pages: Iterable[ExplainStockResponse], *, shown_count_max: int
) -> dict[str, LocationAccount]:
    """The accounts of all locations, by their ids, from the pages of an explanation."""
    accounts: dict[str, LocationAccount] = {}
    for page in pages:
        for movement in page.movements:
            at = movement.location_id
            accounts.setdefault(at, LocationAccount(at, shown_count_max)).add(movement)
    return accounts


def stock_table(account: LocationAccount) -> Table:
    """The movements of one location; the last row is their sum."""
    seen = [i for i, name in enumerate(COUNTERS) if name not in RARE_COUNTERS or _occurs(account, i)]
    table = _table(f"at {account.location_id}")
    table.add_column("position", justify="right")
    table.add_column("time (UTC)")
    table.add_column("kind")
    for i in seen:
        table.add_column(COUNTERS[i], justify="right")
    table.add_column("cause")
    table.add_column("actor")
    if account.earlier_count:
        cells = [f"{account.earlier[i]:+}" for i in seen]
        _add_row(table, "", "", f"{account.earlier_count} earlier", *cells, "", "")
    for movement in account.movements:
        cells = [_signed(_counts(movement.deltas)[i]) for i in seen]
        kind = MovementKind.Name(movement.kind).removeprefix("MOVEMENT_KIND_").lower()
        _add_row(
            table,
            *(str(movement.position), moment_text(movement.recorded_time), kind),
            *cells,
            *(movement.cause, movement.actor),
        )
    table.add_section()
    _add_row(table, "", "", "sum", *(str(account.sums[i]) for i in seen), "", "", style="bold")
    return table


def available_text(level: StockLevel) -> str:
    """How a location's available units follow from its counters."""
    return (
        f"available {level.available} = on_hand {level.on_hand} - reserved {level.reserved}"
        f" - allocated {level.allocated} - safety_stock {level.safety_stock}"
        f" + backorder_limit {level.backorder_limit}"
    )


def ledger_differences(stock: Iterable[StockLevel], accounts: dict[str, LocationAccount]) -> list[str]:
    """Counters that are not the sum of the rows that were sent for them."""
    return [
        f"{level.location_id} {name}: the counter is {stored}, its movements sum to {summed}"
        for level in stock
        if level.location_id in accounts
        for name, stored, summed in zip(
            COUNTERS, _counts(level), accounts[level.location_id].sums, strict=True
        )
        if stored != summed
    ]


def total_table(steps: Sequence[TotalStep], total: Money) -> Table:
    """The steps from list prices to a total; the last row is their sum."""
    table = _table()
    table.add_column("line")
    table.add_column("SKU")
    table.add_column("why")
    table.add_column("rule")
    table.add_column("amount", justify="right")
    for step in steps:
        amount = money_text(step.amount_minor, total.currency_code)
        _add_row(table, step.line_id, step.sku_id, step.explanation, step.rule_id, amount)
    table.add_section()
    summed_minor = sum(step.amount_minor for step in steps)
    _add_row(table, "", "", "sum", "", money_text(summed_minor, total.currency_code), style="bold")
    return table


def happenings_table(happenings: Iterable[OrderHappening]) -> Table:
    """What happened to an order, oldest first."""
    table = _table()
    table.add_column("position", justify="right")
    for name in ("time (UTC)", "event", "what happened", "actor"):
        table.add_column(name)
    for happening in happenings:
        _add_row(
            table,
            *(str(happening.position), moment_text(happening.recorded_time)),
            *(happening.type, happening.explanation, happening.actor),
        )
    return table


def moment_text(moment: Timestamp) -> str:
    """A moment as people write it, in UTC, to the millisecond."""
    return moment.ToDatetime().isoformat(sep=" ", timespec="milliseconds")


def _table(title: str = "") -> Table:
    # Text, not markup: ids may hold brackets.
    shown_title = Text(visible(title), "bold") if title else None
    return Table(box=box.SIMPLE_HEAD, title=shown_title, title_justify="left")


def _add_row(table: Table, *cells: str, style: str = "") -> None:
    """A row of cells that are shown as they are, whatever an id or a reference is made of."""
    table.add_row(*(Text(visible(cell)) for cell in cells), style=style)


def _counts(counted: object) -> Counts:
    return tuple(int(getattr(counted, name)) for name in COUNTERS)


def _sum(rows: Sequence[Counts]) -> Counts:
    return tuple(map(sum, zip(*rows, strict=True)))


def _occurs(account: LocationAccount, index: int) -> bool:
    return any(counts[index] for counts in account.rows)


def _signed(change: int) -> str:
    return f"{change:+}" if change else ""
