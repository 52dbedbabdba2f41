"""Amounts as people write them. Commands and events know minor units only."""

# ISO 4217 (2024), list one: currencies whose exponent is not 2.
_EXPONENT_BY_CURRENCY = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
    **dict.fromkeys("CLF UYW".split(), 4),
}

# As command_service.pricing rounds.
ROUNDING_RULE = (
    "a percentage off a line is rounded once, half away from zero, to a minor unit; a fixed amount off"
    " is spread over its lines, in the order of their ids and in proportion to what is left of each:"
    " the lines up to each one together bear their exact share, rounded down; nothing else is rounded"
)


def money_text(amount_minor: int, currency_code: str) -> str:
    """An amount as people write it: (255, "GBP") is "2.55 GBP", (255, "JPY") is "255 JPY"."""
    exponent = _EXPONENT_BY_CURRENCY.get(currency_code, 2)
    sign = "-" if amount_minor < 0 else ""
    digits = str(abs(amount_minor)).rjust(exponent + 1, "0")
    if exponent == 0:
        return f"{sign}{digits} {currency_code}"
    return f"{sign}{digits[:-exponent]}.{digits[-exponent:]} {currency_code}"
