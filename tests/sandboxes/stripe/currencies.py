"""Which amounts Stripe accepts in which currency.

Sources: Stripe's pages on supported currencies and on minimum and maximum charge amounts.
"""

from tests.sandboxes.stripe.errors import invalid

CURRENCIES = frozenset(
    """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd bwp byn
    bzd cad cdf chf clp cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel gip gmd
    gnf gtq gyd hkd hnl htg huf idr ils inr isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak
    lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr mzn nad ngn nio nok npr nzd
    omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd std
    szl thb tjs tnd top try ttd twd tzs uah ugx usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar
    zmw
    """.split()
)

STEP_MINOR = {
    # Logically without decimals, but sent with two that must be 00.
    **dict.fromkeys(("isk", "ugx"), 100),
    # Three decimals, of which the last must be 0.
    **dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10),
}

MINIMUM_MINOR = {
    "usd": 50,
    "aed": 200,
    "aud": 50,
    "bgn": 100,
    "brl": 50,
    "cad": 50,
    "chf": 50,
    "czk": 1500,
    "dkk": 250,
    "eur": 50,
    "gbp": 30,
    "hkd": 400,
    "huf": 17500,
    "inr": 50,
    "jpy": 50,
    "mxn": 1000,
    "myr": 200,
    "nok": 300,
    "nzd": 50,
    "pln": 200,
    "ron": 200,
    "sek": 300,
    "sgd": 50,
    "thb": 1000,
}
"""The others have the equivalent of USD 0.50; without rates, here they have none."""

DIGITS_MAX = 8
DIGITS_MAX_BY_CURRENCY = {"idr": 12}


def check_currency(currency: str, *, param: str) -> str:
    """The currency, if it is one that Stripe takes, in lower case as documented."""
    if currency not in CURRENCIES:
        raise invalid(f"Invalid currency: {currency}.", param=param)
    return currency


def check_charge(amount_minor: int, currency: str, *, param: str) -> int:
    """The amount, if it can be charged."""
    check_step(amount_minor, currency, param=param)
    if amount_minor < MINIMUM_MINOR.get(currency, 1):
        raise invalid(
            f"Amount must be at least {MINIMUM_MINOR[currency]} in the smallest unit of {currency}.",
            param=param,
            code="amount_too_small",
        )
    digits_max = DIGITS_MAX_BY_CURRENCY.get(currency, DIGITS_MAX)
    if len(str(amount_minor)) > digits_max:
        raise invalid(
            f"Amount must have at most {digits_max} digits.", param=param, code="amount_too_large"
        )
    return amount_minor


def check_step(amount_minor: int, currency: str, *, param: str) -> None:
    """Refuses fractions that the currency does not have, charged, captured or refunded."""
    if amount_minor % STEP_MINOR.get(currency, 1):
        raise invalid(
            f"Amounts in {currency} must be divisible by {STEP_MINOR[currency]}.",
            param=param,
            code="invalid_charge_amount",
        )
