"""How SumUp writes amounts: online as JSON numbers in major units, at readers as integers.

Source: SumUp's OpenAPI description, 2026-06-18.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from payment_providers.amounts import exponent_of, from_decimal, rescaled
from payment_providers.port import NotAccepted

CURRENCIES = frozenset("BGN BRL CHF CLP COP CZK DKK EUR GBP HRK HUF NOK PLN RON SEK USD".split())

_WITHOUT_DECIMALS = frozenset("CLP COP HUF".split())
"""Said of readers only; online they are written alike, for a forint's hundredth cannot be paid."""


def sumup_exponent(currency_code: str) -> int:
    """How many decimals SumUp gives the currency; for COP and HUF fewer than ISO 4217 does.

    Raises:
        NotAccepted: SumUp does not take the currency.
    """
    if currency_code not in CURRENCIES:
        raise NotAccepted("currency_not_supported")
    return 0 if currency_code in _WITHOUT_DECIMALS else 2


def to_sumup_units(amount_minor: int, currency_code: str) -> int:
    """The amount in SumUp's smallest unit, as a reader is told it.

    Raises:
        NotAccepted: SumUp cannot state it: too fine, or not a currency of its.
    """
    return rescaled(amount_minor, exponent_of(currency_code), sumup_exponent(currency_code))


def to_sumup(amount_minor: int, currency_code: str) -> Decimal:
    """The amount in major units.

    Raises:
        NotAccepted: as above.
    """
    units = to_sumup_units(amount_minor, currency_code)
    return Decimal(units).scaleb(-sumup_exponent(currency_code))


def from_sumup(amount: Decimal | int, currency_code: str) -> int:
    """ISO 4217 minor units of an amount in major ones.

    Raises:
        ValueError: it has decimals that the currency has not.
    """
    return from_decimal(Decimal(amount), currency_code)


def json_with_amount(amount: Decimal, facts: Mapping[str, Any]) -> bytes:
    """JSON with `amount` in exactly these digits: the standard encoder writes binary floats only."""
    rest = json.dumps(facts)[1:]
    return f'{{"amount": {amount:f}{", " if facts else ""}{rest}'.encode()
