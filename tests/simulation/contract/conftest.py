"""Each history is played on the model and on PostgreSQL."""

from collections.abc import Callable
from functools import partial

import pytest

from tests.simulation.contract.pair import History, play_in_memory, play_in_postgresql


@pytest.fixture(params=["memory", "postgresql"])
def play(request: pytest.FixtureRequest) -> Callable[[History], None]:
    """Plays a history on one of the two."""
    if request.param == "memory":
        return play_in_memory
    return partial(play_in_postgresql, request.getfixturevalue("database_url"))
