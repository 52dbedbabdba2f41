"""Order numbers."""

import asyncio
from itertools import pairwise
from typing import NoReturn

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from command_service.errors import DatabaseUnavailable
from command_service.ordering.order_numbers import (
    BLOCK_SIZE,
    OrderNumbers,
    check_digit,
    order_number,
)
from command_service.session import Session

SERIALS = st.integers(0, 999_999_999)


def digits_of(number: str) -> str:
    return number.replace("-", "")


def is_valid(digits: str) -> bool:
    return check_digit(digits) == "0"


def test_the_check_digit_of_damms_own_example() -> None:
    assert check_digit("572") == "4"


@pytest.mark.parametrize(
    ("serial", "number"),
    [
        (0, "000-000-0000"),
        (57, "000-000-0577"),
        (100_000_000, "100-000-0005"),
        (999_999_999, "999-999-9990"),
        (1_000_000_000, "1000-000-0003"),
    ],
)
def test_numbers_are_grouped_for_reading_out(serial: int, number: str) -> None:
    assert order_number(serial) == number
    assert is_valid(digits_of(number))


@given(SERIALS, st.integers(0, 9), st.integers(0, 9))
def test_a_wrong_digit_is_noticed(serial: int, place: int, digit: int) -> None:
    digits = digits_of(order_number(serial))
    wrong = digits[:place] + str(digit) + digits[place + 1 :]
    assume(wrong != digits)
    assert not is_valid(wrong)


@given(SERIALS)
def test_two_swapped_neighbours_are_noticed(serial: int) -> None:
    digits = digits_of(order_number(serial))
    for place, (left, right) in enumerate(pairwise(digits)):
        swapped = digits[:place] + right + left + digits[place + 2 :]
        assert left == right or not is_valid(swapped)


@given(st.lists(st.integers(0, 10**12), unique=True))
def test_no_two_serials_share_a_number(serials: list[int]) -> None:
    assert len({order_number(serial) for serial in serials}) == len(serials)


async def test_two_processes_never_give_out_the_same_number(database_url: str) -> None:
    sessions = [Session(database_url, "numbers") for _ in range(2)]
    allocators = [OrderNumbers(session) for session in sessions]
    drawn = await asyncio.gather(
        *(allocator.next() for _ in range(BLOCK_SIZE + 50) for allocator in allocators)
    )
    assert len(set(drawn)) == len(drawn) == 2 * (BLOCK_SIZE + 50)
    # A block a trip: two each.
    assert [session.trip_count for session in sessions] == [2, 2]
    for session in sessions:
        await session.close()


async def test_those_who_wait_share_one_attempt_and_its_failure(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a row each would wait for all before it, seconds each, to hear the same."""
    open_session = Session._open
    attempt_count = 0

    async def reach_nobody(self: Session) -> NoReturn:
        nonlocal attempt_count
        attempt_count += 1
        await asyncio.sleep(0)
        raise psycopg.errors.ConnectionTimeout("connection timeout expired")

    session = Session(database_url, "numbers")
    numbers = OrderNumbers(session)
    monkeypatch.setattr(Session, "_open", reach_nobody)
    answers = await asyncio.gather(*(numbers.next() for _ in range(5)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 5
    assert attempt_count == 1
    monkeypatch.setattr(Session, "_open", open_session)
    assert is_valid(digits_of(await numbers.next()))
    await session.close()


async def test_without_a_database_the_caller_may_come_back() -> None:
    numbers = OrderNumbers(Session("postgresql://127.0.0.1:1/nowhere", "numbers"))
    with pytest.raises(DatabaseUnavailable):
        await numbers.next()
