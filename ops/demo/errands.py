"""What there is to do, in the order of time: the file turned into errands of buyers and staff. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from ops.demo.opening_stock import OpeningStock, opening_stock
from ops.demo.price_lists import Basket, PriceLists, baskets, price_lists
from ops.demo.sales import Line, Nature, by_invoice, match_returns, of_nature, titles

SHIPPING_ENDS = datetime(2010, 12, 5, 15)  # noqa: DTZ001 the shop's local time, as in the file
"""What is sold later, on a Sunday, is paid and still waits for Monday's van when the demo ends."""


@dataclass(frozen=True, slots=True)
class Errand:
    """All that one invoice asks for. Returns are matched with the sale they come from, if known."""

    invoice: str
    baskets: tuple[Basket, ...]
    returns: tuple[tuple[Line, Line], ...]
    unmatched_returns: tuple[Line, ...]
    adjustments: tuple[Line, ...]
    not_goods: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The errands in the order of time, and what staff prepare before the first one."""

    line_count: int
    errands: tuple[Errand, ...]
    price_lists: PriceLists
    opening_stock: OpeningStock
    titles: Mapping[str, str]

    @property
    def order_count_max(self) -> int:
        """Orders if nothing were refused."""
        return sum(len(errand.baskets) for errand in self.errands)


def plan(lines: Sequence[Line]) -> Plan:
    """What the lines of the file, in the order of time, make buyers and staff do."""
    matched = match_returns(lines)
    errands = tuple(_errand(invoice, members, matched) for invoice, members in by_invoice(lines).items())
    return Plan(
        line_count=len(lines),
        errands=errands,
        price_lists=price_lists(basket for errand in errands for basket in errand.baskets),
        opening_stock=opening_stock(lines, matched.values()),
        titles=titles(lines),
    )


def _errand(invoice: str, lines: Sequence[Line], matched: Mapping[int, Line]) -> Errand:
    returns = of_nature(lines, Nature.RETURN)
    return Errand(
        invoice=invoice,
        baskets=baskets(of_nature(lines, Nature.SALE)),
        returns=tuple((line, matched[line.number]) for line in returns if line.number in matched),
        unmatched_returns=tuple(line for line in returns if line.number not in matched),
        adjustments=of_nature(lines, Nature.ADJUSTMENT),
        not_goods=of_nature(lines, Nature.NOT_GOODS),
    )
