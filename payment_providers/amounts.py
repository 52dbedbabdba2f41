"""Amounts in ISO 4217 minor units, and in the form that a provider wants them."""

from decimal import Decimal, DecimalException

from payment_providers.port import NotAccepted

# ISO 4217 (2024), list one: currencies whose exponent is not 2.
_EXPONENT_BY_CURRENCY = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}


def exponent_of(currency_code: str) -> int:
    """How many decimals the currency has: JPY 0, EUR 2, KWD 3."""
    return _EXPONENT_BY_CURRENCY.get(currency_code, 2)


def to_decimal(amount_minor: int, currency_code: str) -> Decimal:
    """Major units, with as many digits as the currency has: (1050, "EUR") is 10.50."""
    return Decimal(amount_minor).scaleb(-exponent_of(currency_code))


def from_decimal(amount: Decimal | str, currency_code: str) -> int:
    """Minor units of an amount in major ones.

    Raises:
        ValueError: it has more digits than the currency, or is not a number.
    """
    return to_units(amount, exponent_of(currency_code))


def to_units(amount: Decimal | str, exponent: int) -> int:
    """The amount in units of 10 ** -exponent; never rounded.

    Raises:
        ValueError: as above.
    """
    try:
        scaled = Decimal(amount).scaleb(exponent)
    except DecimalException as error:
        raise ValueError(f"{amount!r} is not an amount") from error
    if not scaled.is_finite() or scaled != scaled.to_integral_value():
        raise ValueError(f"{amount} has more than {exponent} decimals")
    return int(scaled)


def rescaled(amount_minor: int, from_exponent: int, to_exponent: int) -> int:
    """The same amount in finer or coarser units.

    Raises:
        NotAccepted: the provider's units are too coarse to state it.
    """
    if to_exponent >= from_exponent:
        return int(amount_minor * 10 ** (to_exponent - from_exponent))
    coarse, rest = divmod(amount_minor, int(10 ** (from_exponent - to_exponent)))
    if rest:
        raise NotAccepted("amount_too_fine")
    return coarse
