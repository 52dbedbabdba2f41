"""Keys, entries and checkpoints: what is stored must mean the same in every version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from read_models.checkpoints import Checkpoint, MalformedTokenError, Token
from read_models.entries import Place, range_after, range_of, to_entry, to_member
from read_models.partitions import PARTITION_COUNT, key_of, partition_of
from read_models.views import CART, from_cart_skus, to_cart_skus

IDS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=64)
PLACES = st.builds(Place, st.integers(-(10**15), 10**17), IDS)


def test_ids_stay_in_their_partitions_for_good() -> None:
    # The check value of CRC-32 is 0xCBF43926.
    assert partition_of("123456789") == 0xCBF43926 % PARTITION_COUNT
    assert [partition_of(each) for each in ("", "MUG", "mug", "\N{SNOWMAN}")] == [0, 3, 9, 4]
    assert {partition_of(str(n)) for n in range(1000)} == set(range(PARTITION_COUNT))


def test_a_key_tells_generation_partition_view_and_id() -> None:
    address = CART.address("MUG")
    assert key_of(1766, address.partition, address.name) == "g1766:{p03}:cart:MUG"


@given(st.lists(st.tuples(PLACES, st.binary(max_size=20)), unique_by=lambda each: each[0]))
def test_members_sort_newest_first_then_by_id_and_come_back_whole(
    entries: list[tuple[Place, bytes]],
) -> None:
    members = sorted(to_member(place.sort_key, summary) for place, summary in entries)
    expected = sorted(entries, key=lambda each: (-each[0].time_microseconds, each[0].id.encode()))
    back = [to_entry(member) for member in members]
    assert [(entry.place, entry.summary) for entry in back] == expected


@given(PLACES, PLACES, st.binary(max_size=20))
def test_a_range_holds_its_own_entry_only_and_what_follows_begins_behind_it(
    one: Place, other: Place, summary: bytes
) -> None:
    lowest, highest = (limit[1:] for limit in range_of(one.sort_key))
    after = range_after(one)[1:]
    assert lowest <= to_member(one.sort_key, summary) < highest
    assert to_member(one.sort_key, summary) < after
    if one != other:
        member = to_member(other.sort_key, summary)
        assert not lowest <= member < highest
        is_after = (-other.time_microseconds, other.id.encode()) > (
            -one.time_microseconds,
            one.id.encode(),
        )
        assert (member >= after) == is_after


def test_a_checkpoint_reads_as_people_read_it() -> None:
    checkpoint = Checkpoint("0a1b2c3d", 105, is_complete=False)
    assert str(checkpoint) == "0a1b2c3d.105 building"
    assert str(checkpoint.completed().advanced(107)) == "0a1b2c3d.107 complete"
    assert checkpoint.advanced(3).position == 105
    assert Checkpoint.parse(b"0a1b2c3d.105 building") == checkpoint
    assert Checkpoint.parse(None) is None


@pytest.mark.parametrize("text", ["", ".", "0a1b2c3d.1 ", "0a1b2c3d.1\n", "0A1B2C3D.1"])
def test_what_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(MalformedTokenError):
        Token.parse(text)


@given(st.lists(IDS.filter(bool)))
def test_the_skus_of_a_cart_come_back(sku_ids: list[str]) -> None:
    assert from_cart_skus(to_cart_skus(sku_ids)) == sku_ids
