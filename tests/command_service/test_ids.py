"""UUIDv7."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from command_service.ids import RANDOM_BITS, Ids, uuid7


def test_the_example_of_rfc_9562_is_made_of_its_parts() -> None:
    random = 0xCC3 << 62 | 0x18C4DC0C0C07398F
    assert uuid7(0x017F22E279B0, random) == UUID("017F22E2-79B0-7CC3-98C4-DC0C0C07398F")


@given(st.integers(0, 2**48 - 1), st.integers(0, 2**RANDOM_BITS - 1))
def test_it_always_is_of_version_7_and_the_rfc_variant(unix_time_ms: int, random: int) -> None:
    made = uuid7(unix_time_ms, random)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")


def test_later_ids_are_greater() -> None:
    clock = iter([1_000, 1_001])
    ids = Ids(unix_time_ms=lambda: next(clock), random=iter([2**RANDOM_BITS - 1, 0]).__next__)
    assert ids.new() < ids.new()


def test_ids_of_one_moment_differ() -> None:
    ids = Ids(unix_time_ms=lambda: 1_000)
    assert len({ids.new() for _ in range(1_000)}) == 1_000
