from collections import Counter

from ops.demo.opening_stock import ANNEX, WAREHOUSE, opening_stock
from ops.demo.sales import Nature, match_returns, of_nature, read_sales

SALES = read_sales()
RETURNED = list(match_returns(SALES).values())
OPENING = opening_stock(SALES, RETURNED)
DEMAND: Counter[str] = Counter()
for sale in of_nature(SALES, Nature.SALE):
    DEMAND[sale.code] += sale.quantity
TOTAL: Counter[str] = Counter()
for (stocked, _), received in OPENING.units.items():
    TOTAL[stocked] += received


def test_156_codes_get_less_than_they_are_asked_for() -> None:
    assert len(OPENING.scarce) == 156
    assert {code for code in DEMAND if TOTAL[code] < DEMAND[code]} == OPENING.scarce


def test_every_shelf_that_is_opened_holds_something() -> None:
    assert min(OPENING.units.values()) > 0
    assert {location for _, location in OPENING.units} == {WAREHOUSE, ANNEX}


def test_what_comes_back_or_is_corrected_never_runs_out() -> None:
    corrected = {line.code for line in of_nature(SALES, Nature.ADJUSTMENT)}
    assert not OPENING.scarce & (corrected | {sale.code for sale in RETURNED})


def test_no_write_off_takes_what_somebody_paid_for() -> None:
    for line in of_nature(SALES, Nature.ADJUSTMENT):
        written_off = sum(
            -other.quantity
            for other in of_nature(SALES, Nature.ADJUSTMENT)
            if other.code == line.code and other.quantity < 0
        )
        # They count in the warehouse, so it must all be there.
        assert OPENING.units[line.code, WAREHOUSE] >= DEMAND[line.code] + written_off
        assert (line.code, ANNEX) not in OPENING.units
