"""Each mistake is seen, by seconds of a small shop that show nothing of the code as it is."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.torture import mutants, scenarios
from tests.torture.history import Operation, Outcome, Pulse
from tests.torture.mutants import Mutant
from tests.torture.scenarios import (
    ANSWERS_MAX,
    HEALTHY_SECONDS_MAX,
    ONE_PROCESS,
    WITH_VIEWS,
    WITHOUT_VIEWS,
    Scenario,
    Stage,
    excess,
    staged,
)

STUCK_SECONDS = 120
"""Ends a scenario that hangs. How long one may be is told by what it does: see `excess`."""


class Case(NamedTuple):
    """A mistake, what shows it, and which promise it breaks."""

    mutant: Mutant
    scenario: Scenario
    counts: Mapping[str, int]
    breaks: str


CASES = [
    Case(mutants.CHECKPOINT_APART_FROM_VIEWS, scenarios.write_and_read, WITH_VIEWS, "stale read"),
    Case(mutants.TOKEN_IGNORED, scenarios.write_and_read_slowly, WITH_VIEWS, "stale read"),
    Case(mutants.TOKEN_IGNORED, scenarios.fill_and_read_slowly, WITH_VIEWS, "stale read"),
    Case(mutants.LOSS_DENIES, scenarios.flush_and_read, WITH_VIEWS, "stale read"),
    Case(mutants.ACKNOWLEDGED_BEFORE_COMMIT, scenarios.kill_after_answer, ONE_PROCESS, "answer lost"),
    Case(mutants.REQUEST_ID_UNCHECKED, scenarios.send_again, WITHOUT_VIEWS, "two effects"),
    Case(mutants.STOCK_UNGUARDED, scenarios.race, WITHOUT_VIEWS, "oversold"),
    Case(mutants.LOG_UNLOCKED, scenarios.deliver_side_by_side, WITHOUT_VIEWS, "internal error"),
    Case(mutants.NEVER_EXPIRES, scenarios.let_expire, ONE_PROCESS, "overdue hold"),
]
STAGES = [ONE_PROCESS, WITHOUT_VIEWS, WITH_VIEWS]

Servers = tuple[EmbeddedPostgres, EmbeddedValkey, str]


async def play(stage: Stage, scenario: Scenario) -> None:
    history = stage.history
    operation_count, pulse_count = len(history.ended), len(history.pulses)
    async with asyncio.timeout(STUCK_SECONDS):
        await scenario(stage)
    assert excess(history.ended[operation_count:], history.pulses[pulse_count:]) == ""


@pytest.fixture
def servers(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey, database_url: str, redis_url: str
) -> Servers:
    """Clean ones."""
    return postgres, valkey, database_url


@pytest.mark.breaks_invariants
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mutant.name)
async def test_a_mistake_is_seen(case: Case, servers: Servers, tmp_path: Path) -> None:
    async with staged(*servers, tmp_path, counts=case.counts, mutant=case.mutant) as stage:
        await play(stage, case.scenario)
        assert case.breaks in {violation.check for violation in stage.violations()}


@pytest.mark.parametrize("counts", STAGES, ids=lambda counts: "+".join(counts))
async def test_the_code_as_it_is_shows_nothing(
    counts: Mapping[str, int], servers: Servers, tmp_path: Path
) -> None:
    async with staged(*servers, tmp_path, counts=counts, mutant=None) as stage:
        for scenario in {case.scenario: None for case in CASES if case.counts is counts}:
            await play(stage, scenario)
        assert stage.violations() == []
        assert stage.shop.errors == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.mutant.name)
def test_a_mutation_changes_what_stands_in_the_code_once(case: Case) -> None:
    for mutation in case.mutant.mutations:
        assert mutation.path.read_text().count(mutation.before) == 1, mutation


ANSWERED = Operation(1, "client 0", "command_service#0", "ReceiveStock", outcome=Outcome.OK)
UNANSWERED = replace(ANSWERED, outcome=Outcome.UNKNOWN)


def test_a_scenario_is_long_by_what_it_does_and_not_by_how_busy_the_machine_is() -> None:
    assert excess([ANSWERED] * ANSWERS_MAX + [UNANSWERED], [Pulse(0, 1000, is_well=False)]) == ""
    assert excess([ANSWERED] * (ANSWERS_MAX + 1), []) == f"{ANSWERS_MAX + 1} answers"
    assert excess([], [Pulse(0, HEALTHY_SECONDS_MAX, is_well=True)]) == ""
    assert excess([], [Pulse(0, 6, is_well=True), Pulse(7, 12, is_well=True)]) == "11.0 s of health"
