"""Amounts as PayPal writes them: decimal strings with the decimals of the currency.

Source: PayPal's page of currency codes.
"""

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Self

from tests.sandboxes.paypal.errors import invalid, unprocessable

CURRENCIES = frozenset(
    """
    AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD USD
    """.split()
)
WITHOUT_DECIMALS = frozenset({"HUF", "JPY", "TWD"})
ISO_WITHOUT_DECIMALS = frozenset({"JPY"})
VALUE = re.compile(r"(-?[0-9]+)|(-?([0-9]+)?[.][0-9]+)")
VALUE_CHARS_MAX = 32
WHOLE_DIGITS_MAX = 15


@dataclass(frozen=True, slots=True, order=True)
class Money:
    """An amount in the currency's smallest unit at PayPal."""

    units: int
    currency_code: str

    @classmethod
    def parse(cls, value: str, currency_code: str, *, field: str) -> Self:
        """The amount, if PayPal takes it."""
        if currency_code not in CURRENCIES:
            raise unprocessable("INVALID_CURRENCY_CODE", field=f"{field}/currency_code")
        if not VALUE.fullmatch(value) or len(value) > VALUE_CHARS_MAX:
            raise invalid("INVALID_PARAMETER_SYNTAX", field=f"{field}/value", value=value)
        decimals = len(value.partition(".")[2])
        exponent = _exponent(currency_code)
        if decimals > exponent:
            issue = "DECIMAL_PRECISION" if exponent else "DECIMALS_NOT_SUPPORTED"
            raise unprocessable(issue, field=f"{field}/value")
        units = int(Decimal(value).scaleb(exponent))
        if units <= 0:
            raise unprocessable("CANNOT_BE_ZERO_OR_NEGATIVE", field=f"{field}/value")
        if units >= 10 ** (WHOLE_DIGITS_MAX + exponent):
            raise unprocessable("MAX_VALUE_EXCEEDED", field=f"{field}/value")
        return cls(units, currency_code)

    def as_json(self) -> dict[str, str]:
        """As it is on the wire."""
        value = Decimal(self.units).scaleb(-_exponent(self.currency_code))
        return {"currency_code": self.currency_code, "value": str(value)}

    def __neg__(self) -> Self:
        return replace(self, units=-self.units)

    @property
    def minor(self) -> int:
        """In minor units of ISO 4217, for whoever adds up."""
        iso_exponent = 0 if self.currency_code in ISO_WITHOUT_DECIMALS else 2
        return int(self.units * 10 ** (iso_exponent - _exponent(self.currency_code)))


def _exponent(currency_code: str) -> int:
    return 0 if currency_code in WITHOUT_DECIMALS else 2
