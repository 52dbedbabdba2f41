"""The price book, which every batch that prices a cart reads: all of it, but the SKUs only once."""

import pytest

from command_service.database_failures import Interrupted
from command_service.pipeline import Row
from command_service.pricing import repository as repository_module
from command_service.pricing.commands import UpsertPriceLists, UpsertPromotions
from command_service.pricing.domain import PRICE_BOOK_KEY, PercentageOff, PriceBook
from command_service.pricing.repository import PriceBookRepository
from command_service.unit_of_work import Keys
from command_service.world import Mode
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import price_list, promotion

KEYS = Keys([(PRICE_BOOK_KEY, Mode.READ)])
FEW = frozenset({"cup", "mug"})
MANY = frozenset(f"sku{number}" for number in range(50))
TEN = promotion("ten", PercentageOff(1_000), sku_ids=FEW)
HALF = promotion("half", PercentageOff(5_000), sku_ids=MANY)


async def rows_read(carry_out: CarryOut, repository: PriceBookRepository) -> list[Row]:
    [statement] = repository.load(KEYS)
    [rows] = await carry_out.session.run([statement])
    return list(rows)


async def read(carry_out: CarryOut, repository: PriceBookRepository) -> tuple[PriceBook, int]:
    """The book, and how many SKUs of promotions PostgreSQL sent for it."""
    rows = await rows_read(carry_out, repository)
    sent_count = sum(len(value) for row in rows for value in row if isinstance(value, list))
    return repository.assemble(KEYS, [rows])[PRICE_BOOK_KEY], sent_count


async def test_skus_of_promotions_are_read_once(carry_out: CarryOut) -> None:
    await carry_out(UpsertPriceLists((price_list(),)))
    await carry_out(UpsertPromotions((TEN, HALF)))
    repository = PriceBookRepository()
    book, sent_count = await read(carry_out, repository)
    assert sent_count == 52
    assert {each.promotion_id: each.sku_ids for each in book.promotions.values()} == {
        "ten": FEW,
        "half": MANY,
    }
    assert await read(carry_out, repository) == (book, 0)


async def test_a_changed_promotion_is_read_anew(carry_out: CarryOut) -> None:
    await carry_out(UpsertPromotions((TEN, HALF)))
    repository = PriceBookRepository()
    await read(carry_out, repository)
    await carry_out(UpsertPromotions((promotion("ten", PercentageOff(1_000), sku_ids={"jug"}),)))
    book, sent_count = await read(carry_out, repository)
    assert book.promotions["ten"].sku_ids == {"jug"}
    assert book.promotions["half"].sku_ids == MANY
    assert sent_count == 1


async def test_after_a_restore_nothing_that_was_kept_is_taken_for_what_is_there(
    carry_out: CarryOut,
) -> None:
    """A version may come twice then, with other SKUs."""
    await carry_out(UpsertPromotions((TEN,)))
    repository = PriceBookRepository()
    await read(carry_out, repository)
    await carry_out.fetch("UPDATE promotions SET sku_ids = '{jug}'")
    await carry_out.fetch("UPDATE log_incarnation SET incarnation = 'ffffffff'")
    book, _ = await read(carry_out, repository)
    assert book.promotions["ten"].sku_ids == {"jug"}


async def test_no_more_skus_are_kept_than_there_is_room_for(
    carry_out: CarryOut, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repository_module, "PROMOTION_SKUS_KEPT_MAX", 51)
    repository = PriceBookRepository()
    await carry_out(UpsertPromotions((TEN,)))
    await read(carry_out, repository)
    await carry_out(UpsertPromotions((HALF,)))
    await read(carry_out, repository)
    book, sent_count = await read(carry_out, repository)
    assert sent_count == len(MANY), "only one of them fits: the one that was there first stays"
    # It makes room when it is in the book no more.
    await carry_out(UpsertPromotions((promotion("ten", PercentageOff(1_000), active=False),)))
    await read(carry_out, repository)
    book, sent_count = await read(carry_out, repository)
    assert (set(book.promotions), sent_count) == ({"half"}, 0)


async def test_what_has_left_the_book_is_asked_for_no_more(carry_out: CarryOut) -> None:
    """However often promotions change, or end: each batch says what it knows."""
    repository = PriceBookRepository()
    for basis_points in (1_000, 2_000, 3_000):
        await carry_out(UpsertPromotions((promotion("ten", PercentageOff(basis_points)), HALF)))
        await read(carry_out, repository)
    assert places_known(repository) == {("ten", 3), ("half", 1)}
    await carry_out(UpsertPromotions((promotion("ten", PercentageOff(3_000), active=False),)))
    await read(carry_out, repository)
    assert places_known(repository) == {("half", 1)}


def places_known(repository: PriceBookRepository) -> set[tuple[str, int]]:
    """Promotions, each with its version, of which PostgreSQL is told not to send the SKUs."""
    [statement] = repository.load(KEYS)
    assert isinstance(statement.parameters, tuple)
    _, promotion_ids, versions = statement.parameters
    return set(zip(promotion_ids, versions, strict=True))


async def test_a_change_puts_off_a_lane_once_that_read_before_it(carry_out: CarryOut) -> None:
    """Two lanes do not drive each other out of what they know again and again."""
    await carry_out(UpsertPromotions((TEN,)))
    repository = PriceBookRepository()
    await read(carry_out, repository)
    rows_before = await rows_read(carry_out, repository)
    await carry_out(UpsertPromotions((promotion("ten", PercentageOff(1_000), sku_ids={"jug"}),)))
    book, _ = await read(carry_out, repository)
    with pytest.raises(Interrupted):
        repository.assemble(KEYS, [rows_before])
    assert [await read(carry_out, repository) for _ in range(2)] == [(book, 0)] * 2


async def test_what_another_lane_let_go_of_meanwhile_is_asked_for_again(carry_out: CarryOut) -> None:
    await carry_out(UpsertPromotions((TEN,)))
    repository = PriceBookRepository()
    await read(carry_out, repository)
    rows = await rows_read(carry_out, repository)
    with pytest.raises(Interrupted):
        PriceBookRepository().assemble(KEYS, [rows])
