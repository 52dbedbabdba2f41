"""Each subject has its turn in each round, and one bad round does not decide."""

import pytest

from benchmarks.rounds import Compared, interleaved


async def test_subjects_take_turns_round_by_round_and_every_second_round_backwards() -> None:
    turns: list[str] = []

    async def take(name: str) -> int:
        turns.append(name)
        return len(turns)

    told: list[tuple[str, int, int]] = []
    results = await interleaved(
        {"a": lambda: take("a"), "b": lambda: take("b")},
        3,
        lambda name, number, result: told.append((name, number, result)),
    )

    assert turns == ["a", "b", "b", "a", "a", "b"]
    assert results == {"a": [1, 4, 5], "b": [2, 3, 6]}
    assert told[:3] == [("a", 1, 1), ("b", 1, 2), ("b", 2, 3)]


def test_the_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # In the second round the machine was half as fast, for both.
    compared = Compared.of([100, 50, 110], [200, 100, 200])

    assert compared.value == 100
    assert compared.baseline == 200
    assert compared.ratios == (0.5, 0.5, 0.55)
    assert compared.ratio == 0.5


def test_rounds_without_a_partner_are_not_compared() -> None:
    with pytest.raises(ValueError, match="shorter"):
        Compared.of([1, 2], [1])
