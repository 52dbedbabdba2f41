"""How Stripe writes amounts: integers, in units that are its own for some currencies.

Source: Stripe's documentation of supported currencies, 2026.
"""

from operator import index

from payment_providers.amounts import exponent_of, rescaled
from payment_providers.port import NotAccepted

_ZERO_DECIMAL = frozenset("BIF CLP DJF GNF JPY KMF KRW MGA PYG RWF VND VUV XAF XOF XPF".split())

_AS_TWO_DECIMAL = frozenset("ISK UGX".split())
"""Without decimals by ISO 4217, yet sent with two, which must be 00."""

_THREE_DECIMAL = frozenset("BHD JOD KWD OMR TND".split())
"""Sent in thousandths, the last digit 0."""

AMOUNT_UNITS_MAX = 99_999_999
"""Eight digits."""
_AMOUNT_UNITS_MAX_IDR = 999_999_999_999


def to_stripe(amount_minor: int, currency_code: str) -> int:
    """The amount in Stripe's units.

    Raises:
        NotAccepted: Stripe cannot state it: too fine, too large, or not a currency of its.
    """
    units = rescaled(amount_minor, exponent_of(currency_code), _stripe_exponent(currency_code))
    if currency_code in _THREE_DECIMAL and units % 10:
        raise NotAccepted("amount_too_fine")
    if units > (_AMOUNT_UNITS_MAX_IDR if currency_code == "IDR" else AMOUNT_UNITS_MAX):
        raise NotAccepted("amount_too_large")
    return units


def from_stripe(units: int, currency_code: str) -> int:
    """ISO 4217 minor units of an amount in Stripe's.

    Raises:
        NotAccepted: it has decimals that the currency has not.
        TypeError: it is no integer.
    """
    return rescaled(index(units), _stripe_exponent(currency_code), exponent_of(currency_code))


def _stripe_exponent(currency_code: str) -> int:
    if currency_code in _ZERO_DECIMAL:
        return 0
    if currency_code in _THREE_DECIMAL:
        return 3
    if currency_code not in _AS_TWO_DECIMAL and exponent_of(currency_code) != 2:
        raise NotAccepted("currency_not_supported")
    return 2
