"""Amounts: ISO 4217 minor units and what providers make of them, never rounded."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from payment_providers.amounts import exponent_of, from_decimal, rescaled, to_decimal, to_units
from payment_providers.port import NotAccepted
from payment_providers.stripe.amounts import from_stripe, to_stripe
from payment_providers.sumup.amounts import (
    CURRENCIES,
    from_sumup,
    json_with_amount,
    to_sumup,
    to_sumup_units,
)

T = TypeVar("T")

ANY_AMOUNT = st.integers(min_value=1, max_value=2**63 - 1)
ANY_CURRENCY = st.sampled_from("EUR USD JPY CLP ISK UGX HUF COP KWD BHD CLF UYW".split())


@pytest.mark.parametrize(
    ("currency_code", "exponent"),
    [("EUR", 2), ("JPY", 0), ("CLP", 0), ("KWD", 3), ("CLF", 4), ("HUF", 2), ("COP", 2), ("MGA", 2)],
)
def test_the_exponents_are_those_of_iso_4217(currency_code: str, exponent: int) -> None:
    assert exponent_of(currency_code) == exponent


@pytest.mark.parametrize(
    ("amount_minor", "currency_code", "text"),
    [(1050, "EUR", "10.50"), (1, "EUR", "0.01"), (500, "JPY", "500"), (5120, "KWD", "5.120")],
)
def test_major_units_have_the_digits_of_the_currency(
    amount_minor: int, currency_code: str, text: str
) -> None:
    assert f"{to_decimal(amount_minor, currency_code):f}" == text


@given(amount_minor=ANY_AMOUNT, currency_code=ANY_CURRENCY)
def test_what_is_written_in_major_units_is_read_as_the_same(
    amount_minor: int, currency_code: str
) -> None:
    written = f"{to_decimal(amount_minor, currency_code):f}"
    assert from_decimal(written, currency_code) == amount_minor


@pytest.mark.parametrize(
    ("amount", "currency_code"),
    [("10.501", "EUR"), ("0.5", "JPY"), ("NaN", "EUR"), ("Infinity", "EUR")],
)
def test_what_the_currency_cannot_state_is_refused_not_rounded(amount: str, currency_code: str) -> None:
    with pytest.raises(ValueError, match="decimals"):
        from_decimal(amount, currency_code)


@pytest.mark.parametrize("amount", ["", "ten", "1,50", "sNaN", "1E+999999"])
def test_what_is_no_number_is_refused_with_its_text(amount: str) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{amount!r} is not an amount")):
        from_decimal(amount, "EUR")


def test_digits_that_say_nothing_are_no_decimals() -> None:
    assert from_decimal("10.5000", "EUR") == 1050
    assert to_units(Decimal("1E+2"), 0) == 100


def test_coarser_units_are_reached_only_without_a_rest() -> None:
    assert rescaled(5120, 3, 2) == 512
    assert rescaled(5, 0, 2) == 500
    assert rescaled(5, 2, 2) == 5
    with pytest.raises(NotAccepted, match="amount_too_fine"):
        rescaled(5121, 3, 2)


def stated(state: Callable[[int, str], T], amount_minor: int, currency_code: str) -> T | str:
    """The amount as a provider wants it, or why it cannot have it."""
    try:
        return state(amount_minor, currency_code)
    except NotAccepted as refusal:
        return refusal.code


@given(
    amount_minor=st.integers(min_value=1, max_value=999_999),
    currency_code=st.sampled_from("EUR USD JPY ISK UGX KWD MGA HUF".split()),
)
@example(amount_minor=5121, currency_code="KWD")
def test_stripe_states_an_amount_exactly_or_not_at_all(amount_minor: int, currency_code: str) -> None:
    units = stated(to_stripe, amount_minor, currency_code)
    if isinstance(units, str):
        assert (units, currency_code) in (("amount_too_fine", "KWD"), ("amount_too_fine", "MGA"))
    else:
        assert from_stripe(units, currency_code) == amount_minor


@given(amount_minor=ANY_AMOUNT, currency_code=st.sampled_from(sorted(CURRENCIES)))
@example(amount_minor=1010, currency_code="EUR")
@example(amount_minor=9_007_199_254_740_993, currency_code="EUR")  # beyond what a float can tell
@example(amount_minor=50_050, currency_code="HUF")
def test_sumup_is_told_the_exact_digits_or_nothing(amount_minor: int, currency_code: str) -> None:
    amount = stated(to_sumup, amount_minor, currency_code)
    if isinstance(amount, str):
        assert amount == "amount_too_fine"
        assert currency_code in ("HUF", "COP")
        assert amount_minor % 100 != 0
        return
    read = json.loads(json_with_amount(amount, {"currency": currency_code}), parse_float=Decimal)
    assert from_sumup(read["amount"], currency_code) == amount_minor
    assert read["currency"] == currency_code


def test_an_amount_alone_is_json_too() -> None:
    assert json_with_amount(Decimal("5.00"), {}) == b'{"amount": 5.00}'


@pytest.mark.parametrize(
    ("currency_code", "amount_minor", "units", "major"),
    [("EUR", 1010, 1010, "10.10"), ("CLP", 500, 500, "500"), ("HUF", 50_000, 500, "500")],
)
def test_sumup_has_its_own_decimals(
    currency_code: str, amount_minor: int, units: int, major: str
) -> None:
    assert to_sumup_units(amount_minor, currency_code) == units
    assert f"{to_sumup(amount_minor, currency_code):f}" == major


def test_a_currency_that_a_provider_does_not_take_is_refused() -> None:
    with pytest.raises(NotAccepted, match="currency_not_supported"):
        to_sumup(500, "JPY")
    with pytest.raises(NotAccepted, match="currency_not_supported"):
        to_stripe(1000, "LYD")
