"""A few hundred histories in every run of the tests; `make simulate SEEDS=n` plays as many as wanted."""

import gc
import os
import subprocess
import sys
from collections.abc import Iterator
from random import Random

import pytest

from tests.simulation.database import Database
from tests.simulation.loop import SimulatedLoop
from tests.simulation.shop import Process, Shop, Workload
from tests.simulation.simulation import KINDS, in_silence, simulate
from tests.simulation.tally import tally_of
from tests.simulation.unit_of_work import Conditions

SEED_COUNT = 600
CHUNK = 150


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with in_silence():
        yield


def broken(seeds: range, only: str = "") -> dict[str, list[str]]:
    """What is violated, by the command that shows it again."""
    results = (simulate(seed, only) for seed in seeds)
    return {result.command: result.violations for result in results if result.violations}


@pytest.mark.parametrize("first", range(0, SEED_COUNT, CHUNK))
def test_nothing_that_must_hold_is_broken_by_any_seed(first: int) -> None:
    assert broken(range(first, first + CHUNK)) == {}


def test_nothing_is_broken_where_money_is_at_a_provider() -> None:
    assert broken(range(80), "payments") == {}


def test_most_seeds_meet_each_other_or_meet_with_faults() -> None:
    """Histories in which nobody waits and nothing fails would prove nothing."""
    tally = tally_of(simulate(seed) for seed in range(300))
    assert tally.eventful_count / tally.seed_count > 0.75
    assert tally.faulty_count / tally.seed_count > 0.6
    assert tally.waiting_count / tally.seed_count > 0.33
    assert tally.commit_count / tally.seed_count > 6


@pytest.mark.parametrize("only", KINDS)
def test_most_seeds_of_each_kind_do(only: str) -> None:
    tally = tally_of(simulate(seed, only) for seed in range(60))
    assert tally.eventful_count / tally.seed_count > 0.7
    assert tally.faulty_count / tally.seed_count > 0.5
    assert tally.waiting_count / tally.seed_count > 0.25


@pytest.mark.parametrize("only", ["", "payments"])
def test_the_command_that_is_told_shows_the_same_again(only: str) -> None:
    result = simulate(3, only)
    told = subprocess.run(
        [*result.command.split(), "--dry-run"], capture_output=True, text=True, check=True
    ).stdout
    _, arguments = told.split(" -m tests.simulation ")
    shown = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *arguments.replace("\\\n", " ").split()],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"history {result.digest}" in shown
    assert shown.endswith(f"to see it again, {result.command}\n")


def test_it_is_told_how_much_each_kind_has_in_it() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", "40"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    *kinds, total = told.splitlines()
    assert [line.split()[0] for line in kinds] == list(KINDS)
    assert sum(int(fields(line)["seeds"]) for line in kinds) == 40
    wanted = {"seeds", "with_faults", "with_waits", "with_either", "commits", "seeds_per_second"}
    assert all(fields(line).keys() == wanted for line in kinds)
    assert total.startswith("simulate: seeds=40 first=0 commits=")
    assert fields(total)["violations"] == "0"


def fields(line: str) -> dict[str, str]:
    return dict(word.split("=") for word in line.split() if "=" in word)


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


@pytest.mark.parametrize("only", KINDS)
def test_what_is_over_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch, only: str) -> None:
    """Where nobody else could do anything meanwhile, nobody goes back to the loop for it."""
    skipped = [simulate(seed, only).digest for seed in range(20)]
    monkeypatch.setattr(SimulatedLoop, "skips_a_turn", lambda _: False)
    assert [simulate(seed, only).digest for seed in range(20)] == skipped


def test_a_seed_leaves_little_behind_for_the_collector() -> None:
    """Else a tenth of a seed's time is spent on finding circles, and on memory that is far away."""
    gc.collect()
    gc.disable()
    try:
        results = (simulate(seed) for seed in range(40))
        assert not any(result.violations for result in results)
        left_count = sum(isinstance(each, Database) for each in gc.get_objects())
    finally:
        gc.enable()
    assert left_count < 10


def test_a_killed_process_loses_its_calls_in_the_order_in_which_they_began() -> None:
    """Not in that of their addresses: seed 40002437 was played in two ways."""
    loop, chance = SimulatedLoop(Random(1), is_shuffled=False), Random(1)
    workload = Workload({}, [], expires=False, is_paid_at_provider=True)
    shop = Shop(Database(loop, {}), Conditions(chance), chance, workload)
    lost: list[int] = []

    async def call(number: int) -> None:
        try:
            await loop.create_future()
        finally:
            lost.append(number)

    async def play() -> None:
        process = Process(shop, "p1")
        await process.start()
        for number in range(50):
            process.drivers[0]._begun(call(number))
        await loop.pause(1.0)
        process.kill()
        await loop.pause(1.0)

    loop.run(play())
    assert lost == list(range(50))
