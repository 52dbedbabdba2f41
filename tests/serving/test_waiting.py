"""Who waits for a server says so now and then, and goes on when it is there."""

import pytest
from structlog.testing import capture_logs

import serving.waiting
from serving.waiting import answer_of


async def test_a_server_that_stays_away_is_said_once_for_each_kind_of_trouble(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serving.waiting, "RETRY_SECONDS", 0.0)
    troubles = [TimeoutError("silent\n"), TimeoutError("silent\n"), OSError("refused")]

    async def ask() -> str:
        if troubles:
            raise troubles.pop(0)
        return "here"

    with capture_logs() as lines:
        assert await answer_of("Redis", ask, (OSError, TimeoutError)) == "here"
    said = [(line["log_level"], line["event"], line["reason"]) for line in lines]
    assert said == [
        ("warning", "waiting for Redis", "silent"),
        ("warning", "waiting for Redis", "refused"),
    ]


async def test_what_is_no_absence_is_not_waited_out() -> None:
    async def ask() -> str:
        raise KeyError("a mistake")

    with pytest.raises(KeyError):
        await answer_of("Redis", ask, (OSError,))
