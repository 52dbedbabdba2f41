"""How much lies on the shelves before the first order, so that some codes run out. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from ops.demo.sales import Line, Nature, of_nature, units_by_code

WAREHOUSE = "warehouse"
ANNEX = "annex"
"""Smaller, and asked second: some orders need both."""

SCARCE_ONE_IN = 10
SCARCE_SHARE_PERCENT = 60
AMPLE_SHARE_PERCENT = 125
WAREHOUSE_SHARE_PERCENT = 70


@dataclass(frozen=True, slots=True)
class OpeningStock:
    """Units by code and location, and the codes of which less is there than will be asked for."""

    units: Mapping[tuple[str, str], int]
    scarce: frozenset[str]


def opening_stock(lines: Sequence[Line], returned_sales: Iterable[Line]) -> OpeningStock:
    """One code in ten gets 60 % of what five days ask for, the others more than all of it.

    Which code is scarce hangs on its name alone. Spared are codes that staff correct, so that no
    write-off takes units that somebody paid for, and codes that come back, so that their sale is
    certain. What staff correct lies in the warehouse alone, where they count.
    """
    demand = units_by_code(of_nature(lines, Nature.SALE))
    adjustments = of_nature(lines, Nature.ADJUSTMENT)
    adjusted = {line.code for line in adjustments}
    spared = adjusted | {sale.code for sale in returned_sales}
    scarce = {code for code in demand.keys() - spared if _is_unlucky(code) and demand[code] > 1}
    units: dict[tuple[str, str], int] = {}
    for code in sorted(demand.keys() - adjusted):
        scarcity = demand[code] * SCARCE_SHARE_PERCENT // 100
        units |= _over_locations(code, scarcity if code in scarce else _ample(demand[code]))
    written_off = units_by_code(line for line in adjustments if line.quantity < 0)
    for code in sorted(adjusted):
        units[code, WAREHOUSE] = _ample(demand[code] - written_off[code])
    return OpeningStock(units, frozenset(scarce))


def _is_unlucky(code: str) -> bool:
    return crc32(code.encode()) % SCARCE_ONE_IN == 0


def _ample(units: int) -> int:
    """A quarter more, and one: a count needs a shelf that was opened."""
    return units * AMPLE_SHARE_PERCENT // 100 + 1


def _over_locations(code: str, units: int) -> dict[tuple[str, str], int]:
    """Both shares, without a location that would get nothing."""
    in_annex = units * (100 - WAREHOUSE_SHARE_PERCENT) // 100
    shares = {(code, WAREHOUSE): units - in_annex, (code, ANNEX): in_annex}
    return {place: share for place, share in shares.items() if share}
