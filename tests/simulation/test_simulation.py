"""A few hundred histories in every run of the tests; `make simulate SEEDS=n` plays as many as wanted."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.simulation.simulation import in_silence, simulate

SEED_COUNT = 600
CHUNK = 150


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with in_silence():
        yield


@pytest.mark.parametrize("first", range(0, SEED_COUNT, CHUNK))
def test_nothing_that_must_hold_is_broken_by_any_seed(first: int) -> None:
    broken = {seed: simulate(seed).violations for seed in range(first, first + CHUNK)}
    assert {seed: violations for seed, violations in broken.items() if violations} == {}


def test_nothing_is_broken_where_money_is_at_a_provider() -> None:
    broken = {seed: simulate(seed, "payments").violations for seed in range(80)}
    assert {seed: violations for seed, violations in broken.items() if violations} == {}


def test_the_seeds_meet_each_other_and_meet_with_faults() -> None:
    """Histories in which nobody waits and nothing fails would prove nothing."""
    results = [simulate(seed) for seed in range(100)]
    assert sum(result.wait_count for result in results) > 30
    assert sum(result.fault_count for result in results) > 50
    assert sum(result.commit_count for result in results) > 500


def test_a_seed_is_replayed_exactly() -> None:
    assert [simulate(seed).digest for seed in range(20)] == [simulate(seed).digest for seed in range(20)]
    assert len({simulate(seed).digest for seed in range(20)}) == 20


DIGESTS = """
from tests.simulation.simulation import in_silence, simulate
with in_silence():
    print(*(simulate(seed).digest for seed in range(40)))
"""


def test_a_seed_is_replayed_exactly_whatever_python_makes_of_hashes() -> None:
    told = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(told) == 1
    assert len(told.pop().split()) == 40
