"""When what goes wrong: a schedule that the seed alone decides, and whoever carries it out."""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from tests.torture.faults import FAULTS, Fault
from tests.torture.history import History
from tests.torture.shop import WholeShop

PAUSE_SECONDS_MAX = 2.0
"""Between the beginnings of two faults: several last at once."""


class Planned(NamedTuple):
    """A fault to come. at_seconds: since the run began."""

    at_seconds: float
    lasts_seconds: float
    kind: type[Fault]
    target: str


def schedule(
    seed: int, seconds: float, targets: Mapping[type[Fault], Sequence[str]], *, round_number: int = 0
) -> list[Planned]:
    """What goes wrong in so many seconds; the same for the same arguments.

    targets: what each kind can strike. No two faults of a kind strike a target at once.
    """
    chance = Random(f"{seed} nemesis {round_number}")
    planned: list[Planned] = []
    busy_until: dict[tuple[type[Fault], str], float] = {}
    at_seconds = 0.0
    while True:
        at_seconds += chance.uniform(0.1, PAUSE_SECONDS_MAX)
        [kind] = chance.choices(list(targets), [each.weight for each in targets])
        target = chance.choice(targets[kind])
        lasts_seconds = chance.uniform(*kind.seconds)
        if at_seconds + lasts_seconds > seconds:
            return planned
        if busy_until.get((kind, target), 0.0) < at_seconds:
            planned.append(Planned(at_seconds, lasts_seconds, kind, target))
            busy_until[kind, target] = at_seconds + lasts_seconds


class Nemesis:
    """Carries out a schedule. counts: faults that hit somebody so far, by kind. missed: others."""

    def __init__(self, whole: WholeShop, history: History, on_fault: Callable[[str], None]) -> None:
        self._whole = whole
        self._history = history
        self._on_fault = on_fault
        self.counts: Counter[str] = Counter()
        self.missed: Counter[str] = Counter()
        self.active: set[str] = set()

    @property
    def targets(self) -> dict[type[Fault], list[str]]:
        """Everything that can go wrong here."""
        return {kind: found for kind in FAULTS if (found := kind.targets(self._whole.shop))}

    async def strike(self, planned: Sequence[Planned]) -> None:
        """Returns when all has struck and is healed."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for each in planned:
                await asyncio.sleep(max(0.0, begun + each.at_seconds - loop.time()))
                group.create_task(self._let_last(each.kind(each.target), each.lasts_seconds))

    async def _let_last(self, fault: Fault, seconds: float) -> None:
        async with fault.exclusively(self._whole.shop):
            self.active.add(str(fault))
            self._on_fault(f"{fault}, {seconds:.1f} s")
            struck = self._history.strike(str(fault))
            await fault.begin(self._whole)
            await asyncio.sleep(seconds)
            await fault.heal(self._whole)
            self.active.discard(str(fault))
            is_met = fault.has_bitten(self._whole, self._history)
            self._history.heal(struck, is_met=is_met)
            if is_met:
                self.counts[fault.kind] += 1
            else:
                self.missed[fault.kind] += 1
                self._on_fault(f"nobody met {fault}")
