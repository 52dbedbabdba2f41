"""How PayPal writes amounts: decimal strings, in the currencies that it takes.

Source: PayPal's page of currency codes, 2026.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from payment_providers.amounts import exponent_of, from_decimal, rescaled
from payment_providers.port import NotAccepted

_CURRENCIES = frozenset(
    "AUD BRL CAD CHF CNY CZK DKK EUR GBP HKD HUF ILS JPY MXN MYR NOK NZD PHP PLN SEK SGD THB TWD"
    " USD".split()
)

_WITHOUT_DECIMALS = frozenset("HUF JPY TWD".split())
"""HUF and TWD have decimals by ISO 4217, yet not at PayPal."""


def to_paypal(amount_minor: int, currency_code: str) -> dict[str, str]:
    """The amount as PayPal's money object.

    Raises:
        NotAccepted: PayPal cannot state it: too fine, or not a currency of its.
    """
    if currency_code not in _CURRENCIES:
        raise NotAccepted("currency_not_supported")
    exponent = 0 if currency_code in _WITHOUT_DECIMALS else 2
    units = rescaled(amount_minor, exponent_of(currency_code), exponent)
    return {"currency_code": currency_code, "value": str(Decimal(units).scaleb(-exponent))}


def from_paypal(money: Mapping[str, Any]) -> int:
    """ISO 4217 minor units of a money object."""
    return from_decimal(money["value"], money["currency_code"])
