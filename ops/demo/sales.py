"""What five real days consist of: the lines of the file, and what each of them is. Pure.

Every line is exactly one of four things (`Nature`), decided by the first rule that fits:

1. its code is no goods (NOT_GOODS_CODES): postage, fees and discounts belong to no shelf;
2. its invoice starts with C: something came back (RETURN);
3. its quantity is negative, or it costs nothing and nobody bought it: staff corrected the stock
   (ADJUSTMENT) and wrote it down as an invoice;
4. else somebody bought it (SALE), be it free of charge or by a guest.
"""

import csv
import gzip
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType

SALES_PATH = Path(__file__).resolve().parent.parent.parent / "examples" / "online_retail_2010_12.csv.gz"

CURRENCY_CODE = "GBP"

NOT_GOODS_CODES: Mapping[str, str] = MappingProxyType(
    {
        "POST": "postage",
        "DOT": "postage of the dotcom channel",
        "C2": "carriage",
        "M": "entered by hand, no article named",
        "D": "discount",
        "BANK CHARGES": "bank charges",
    }
)


class Nature(Enum):
    """What a line is."""

    SALE = "sale"
    RETURN = "return"
    ADJUSTMENT = "adjustment"
    NOT_GOODS = "not goods"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the file; `number` counts from 1. Codes that differ by case are different codes."""

    number: int
    invoice: str
    code: str
    description: str
    quantity: int
    invoiced_time: datetime
    """Local time of the shop, as on the invoice."""
    unit_price_minor: int
    customer: str
    """Empty for a guest."""
    country: str

    @property
    def line_id(self) -> str:
        """The id of the cart line that this line becomes."""
        return f"line-{self.number}"

    @property
    def nature(self) -> Nature:
        """What the line is, by the rules at the top of this module."""
        if self.code in NOT_GOODS_CODES:
            return Nature.NOT_GOODS
        if self.invoice.startswith("C"):
            return Nature.RETURN
        if self.quantity < 0 or (self.unit_price_minor == 0 and not self.customer):
            return Nature.ADJUSTMENT
        return Nature.SALE

    @property
    def amount_minor(self) -> int:
        """Price of all units."""
        return self.quantity * self.unit_price_minor


def read_sales(path: Path = SALES_PATH) -> tuple[Line, ...]:
    """The lines of the compressed file, in its order, which is the order of time."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return tuple(_line(number, row) for number, row in enumerate(csv.DictReader(file), start=1))


def _line(number: int, row: Mapping[str, str]) -> Line:
    return Line(
        number=number,
        invoice=row["InvoiceNo"],
        code=row["StockCode"],
        description=row["Description"].strip(),
        quantity=int(row["Quantity"]),
        invoiced_time=datetime.fromisoformat(row["InvoiceDate"]),
        unit_price_minor=pence(row["UnitPrice"]),
        customer=row["CustomerID"],
        country=row["Country"],
    )


def pence(pounds: str) -> int:
    """An exact amount, "2.55" for example, as 255. Raises ValueError if it has fractions of a penny."""
    exact = Decimal(pounds).scaleb(2)
    if exact != exact.to_integral_value():
        raise ValueError(f"{pounds} pounds is no whole number of pence")
    return int(exact)


def by_invoice(lines: Iterable[Line]) -> dict[str, tuple[Line, ...]]:
    """The lines of each invoice, invoices in the order in which they first appear."""
    grouped: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        grouped[line.invoice].append(line)
    return {invoice: tuple(members) for invoice, members in grouped.items()}


def of_nature(lines: Iterable[Line], nature: Nature) -> tuple[Line, ...]:
    """The lines that are of one nature."""
    return tuple(line for line in lines if line.nature is nature)


def units_by_code(lines: Iterable[Line]) -> Counter[str]:
    """The units of the lines, added up by code; what came back or was written off counts below 0."""
    total: Counter[str] = Counter()
    for line in lines:
        total[line.code] += line.quantity
    return total


def match_returns(lines: Sequence[Line]) -> dict[int, Line]:
    """The sale that each return's order is known by: the number of the return's line -> the sale.

    It is the latest earlier sale of that code to that customer of which enough units are still out.
    A return without one is absent: its order was placed before the first day, or is not known.
    """
    units_out: dict[int, int] = {}
    sales: dict[tuple[str, str], list[Line]] = defaultdict(list)
    matched: dict[int, Line] = {}
    for line in lines:
        bought = sales[line.customer, line.code]
        if line.nature is Nature.SALE and line.customer:
            units_out[line.number] = line.quantity
            bought.append(line)
        elif line.nature is Nature.RETURN:
            for sale in reversed(bought):
                if units_out[sale.number] >= -line.quantity:
                    units_out[sale.number] += line.quantity
                    matched[line.number] = sale
                    break
    return matched


def titles(lines: Iterable[Line]) -> dict[str, str]:
    """A title for each code that is goods: its first description from a priced line, else the code.

    Lines without a price hold notes of staff ("amazon", "?"), not titles.
    """
    found: dict[str, str] = {}
    for line in lines:
        if line.nature is not Nature.NOT_GOODS:
            described = line.description if line.unit_price_minor else ""
            found[line.code] = found.get(line.code, "") or described
    return {code: title or code for code, title in found.items()}
