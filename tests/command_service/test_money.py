"""The roundings of money: there are two."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.money import round_half_away, spread


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounded"),
    [(5, 2, 3), (-5, 2, -3), (7, 3, 2), (-7, 3, -2), (8, 3, 3), (-8, 3, -3), (4, 2, 2), (0, 7, 0)],
)
def test_the_nearest_integer_is_taken_and_a_half_goes_away_from_zero(
    numerator: int, denominator: int, rounded: int
) -> None:
    assert round_half_away(numerator, denominator=denominator) == rounded


def test_shares_are_rounded_down_on_their_running_sum() -> None:
    assert spread(100, [1, 1, 1]) == [33, 33, 34]
    assert spread(1, [1, 1, 1]) == [0, 0, 1]


def test_an_amount_is_spread_over_nothing_without_effect() -> None:
    assert spread(100, [0, 0]) == [0, 0]
    assert spread(100, []) == []


@given(st.integers(0, 10**15), st.lists(st.integers(0, 10**12), min_size=1).filter(any))
def test_shares_add_up_and_none_is_off_by_a_whole_minor_unit(
    amount_minor: int, weights: list[int]
) -> None:
    shares = spread(amount_minor, weights)
    assert sum(shares) == amount_minor
    for share, weight in zip(shares, weights, strict=True):
        assert abs(share - Fraction(amount_minor * weight, sum(weights))) < 1
