"""Which generations of the read models there are, and which one answers.

One small text under one key, changed by compare-and-set, so that the projector, its twin and the
command line agree. A number is used once, also after Redis lost everything: it is made of the time.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from read_models.connections import Connection

REGISTRY_KEY = "{read-models}:registry"

CHANGE_ATTEMPTS_MAX = 20
"""A change competes with a few others a minute at most."""

# DEL: a script whose first write takes no memory is not refused by a server that is full. How else would
# it hear that a generation is to be dropped? (The flag allow-oom says so too, from Redis 7 on.)
_COMPARE_AND_SET = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""


class GenerationState(StrEnum):
    """What may be done with a generation."""

    BUILDING = "building"  # filled from the start of the log
    COMPLETE = "complete"  # fed with every event while it can be; may serve
    DROPPING = "dropping"  # its keys are being deleted; fed until its checkpoints are


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of all views."""

    number: int
    incarnation: str
    state: GenerationState = GenerationState.BUILDING


@dataclass(frozen=True, slots=True)
class Registry:
    """All generations.

    serving: the number of the one that answers; None while none can. newest_incarnation: of the log, as
    far as it was ever told here, or empty; what is of an older one (a token, a log) is past.
    """

    serving: int | None = None
    generations: tuple[Generation, ...] = ()
    newest_incarnation: str = ""

    def in_state(self, state: GenerationState) -> tuple[Generation, ...]:
        """The generations in a state, oldest first."""
        return tuple(known for known in self.generations if known.state is state)

    def find(self, number: int) -> Generation | None:
        """The generation of this number."""
        return next((known for known in self.generations if known.number == number), None)

    def next_number(self, now_milliseconds: int) -> int:
        """A number that was never used."""
        return max([now_milliseconds, *(known.number + 1 for known in self.generations)])

    def with_new(self, generation: Generation) -> "Registry":
        """With one more generation."""
        return replace(
            self,
            generations=(*self.generations, generation),
            newest_incarnation=max(self.newest_incarnation, generation.incarnation),
        )

    def with_state(self, number: int, state: GenerationState) -> "Registry":
        """With one generation in another state; the newest complete one serves if none does."""
        generations = tuple(
            replace(known, state=state) if known.number == number else known
            for known in self.generations
        )
        changed = replace(self, generations=generations)
        complete = [known.number for known in changed.in_state(GenerationState.COMPLETE)]
        if changed.serving in complete:
            return changed
        return replace(changed, serving=max(complete, default=None))

    def with_complete(self, number: int) -> "Registry":
        """With a generation complete, if it is still being built: it may have been dropped meanwhile."""
        generation = self.find(number)
        if generation is None or generation.state is not GenerationState.BUILDING:
            return self
        return self.with_state(number, GenerationState.COMPLETE)

    def with_serving(self, number: int) -> "Registry":
        """Served by another complete generation."""
        return replace(self, serving=number)

    def without(self, number: int) -> "Registry":
        """Without a generation whose keys are gone."""
        return replace(
            self, generations=tuple(known for known in self.generations if known.number != number)
        )

    def without_older_than(self, incarnation: str) -> "Registry":
        """With all generations of older incarnations dropping: they tell what never happened."""
        changed = replace(self, newest_incarnation=max(self.newest_incarnation, incarnation))
        for known in self.generations:
            if known.incarnation < incarnation:
                changed = changed.with_state(known.number, GenerationState.DROPPING)
        return changed

    def to_text(self) -> str:
        """As it is stored."""
        return json.dumps(
            {
                "serving": self.serving,
                "generations": [
                    {"number": g.number, "incarnation": g.incarnation, "state": g.state.value}
                    for g in self.generations
                ],
                "newest_incarnation": self.newest_incarnation,
            }
        )

    @classmethod
    def from_text(cls, text: bytes | None) -> "Registry":
        """As it was stored; nothing stored is the empty registry."""
        if not text:
            return cls()
        facts = json.loads(text)
        return cls(
            serving=facts["serving"],
            generations=tuple(
                Generation(known["number"], known["incarnation"], GenerationState(known["state"]))
                for known in facts["generations"]
            ),
            newest_incarnation=facts["newest_incarnation"],
        )


class RegistryContended(Exception):
    """The registry kept changing under a change of it."""


async def load_registry(connection: Connection) -> Registry:
    """The registry as it is now."""
    return Registry.from_text(await connection.call("GET", REGISTRY_KEY))


async def change_registry(connection: Connection, change: Callable[[Registry], Registry]) -> Registry:
    """Applies a change to whatever the registry is by then, and returns what it became.

    `change` may be called several times, and may raise to refuse.

    Raises:
        RegistryContended: others changed it each time.
    """
    for _ in range(CHANGE_ATTEMPTS_MAX):
        before = await connection.call("GET", REGISTRY_KEY)
        changed = change(Registry.from_text(before))
        if changed == Registry.from_text(before):
            return changed
        arguments = (before or b"", changed.to_text())
        if await connection.call("EVAL", _COMPARE_AND_SET, 1, REGISTRY_KEY, *arguments):
            return changed
    raise RegistryContended
