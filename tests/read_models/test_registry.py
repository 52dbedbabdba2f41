"""The registry: which generation serves, agreed by everyone."""

import asyncio
from contextlib import closing

import pytest
import redis

from ops.embedded import EmbeddedValkey
from read_models.connections import Connection
from read_models.registry import (
    REGISTRY_KEY,
    Generation,
    GenerationState,
    Registry,
    RegistryContended,
    change_registry,
    load_registry,
)


def registry(*states: GenerationState, serving: int | None = None) -> Registry:
    generations = tuple(
        Generation(number, "aaaaaaaa", state) for number, state in enumerate(states, start=1)
    )
    return Registry(serving, generations)


BUILDING, COMPLETE, DROPPING = GenerationState


def test_the_first_complete_generation_serves() -> None:
    assert registry(BUILDING).with_state(1, COMPLETE).serving == 1


def test_another_complete_generation_does_not_serve_by_itself() -> None:
    assert registry(COMPLETE, BUILDING, serving=1).with_state(2, COMPLETE).serving == 1


def test_a_complete_generation_takes_over_from_one_that_is_lost() -> None:
    assert registry(COMPLETE, COMPLETE, serving=1).with_state(1, DROPPING).serving == 2
    assert registry(COMPLETE, BUILDING, serving=1).with_state(1, DROPPING).serving is None


def test_a_number_is_never_used_again() -> None:
    assert registry(COMPLETE).next_number(1766) == 1766
    # The clock went back: the numbers do not.
    assert Registry(None, (Generation(2000, "aaaaaaaa"),)).next_number(1766) == 2001


def test_generations_of_an_older_incarnation_are_dropped_and_the_newer_is_remembered() -> None:
    changed = registry(COMPLETE, BUILDING, serving=1).without_older_than("bbbbbbbb")
    assert changed.serving is None
    assert [each.state for each in changed.generations] == [DROPPING, DROPPING]
    assert changed.newest_incarnation == "bbbbbbbb"
    assert changed.without(1).without(2).newest_incarnation == "bbbbbbbb"


def test_generations_of_a_newer_incarnation_are_not_dropped_for_an_older_one() -> None:
    known = registry(COMPLETE, serving=1).with_new(Generation(2, "bbbbbbbb"))
    assert known.without_older_than("aaaaaaab").serving is None
    assert [each.number for each in known.without_older_than("aaaaaaab").in_state(BUILDING)] == [2]
    assert known.without_older_than("00000000") == known


def test_it_is_stored_and_read_back() -> None:
    stored = registry(COMPLETE, DROPPING, serving=1).without_older_than("aaaaaaaa")
    assert Registry.from_text(stored.to_text().encode()) == stored
    assert Registry.from_text(None) == Registry()


async def test_changes_made_at_once_all_count(connection: Connection) -> None:
    async def add(number: int) -> None:
        generation = Generation(number, "aaaaaaaa")
        for _ in range(100):
            try:
                await change_registry(connection, lambda known: known.with_new(generation))
            except RegistryContended:
                continue
            return

    await asyncio.gather(*(add(number) for number in range(10)))
    known = await load_registry(connection)
    assert {each.number for each in known.generations} == set(range(10))
    assert len(known.generations) == 10


async def test_a_change_that_never_comes_through_says_so(
    connection: Connection, read_models_server: EmbeddedValkey
) -> None:
    with closing(redis.Redis.from_url(read_models_server.url)) as other:

        def change(known: Registry) -> Registry:
            other.append(REGISTRY_KEY, " ")
            return known.with_new(Generation(2, "aaaaaaaa"))

        other.set(REGISTRY_KEY, registry(COMPLETE, serving=1).to_text())
        with pytest.raises(RegistryContended):
            await change_registry(connection, change)
    assert await load_registry(connection) == registry(COMPLETE, serving=1)
