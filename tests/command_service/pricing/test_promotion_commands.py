"""Promotions and coupons on PostgreSQL: what is kept and told, and limits that hold under racing."""

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from command_service.database_failures import Unacceptable
from command_service.errors import CouponUsedUp, PromotionNotFound
from command_service.pricing.commands import (
    ApplyPromotionWindow,
    UpsertCoupons,
    UpsertPriceLists,
    UpsertPromotions,
)
from command_service.pricing.coupons import check_coupon, hold_use, return_use
from command_service.pricing.domain import (
    COUPON,
    COUPON_CUSTOMER,
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    AmountOff,
    Benefit,
    BuyXGetY,
    FreeShipping,
    PercentageOff,
    PriceBook,
    Promotion,
)
from command_service.pricing.tables import DUE_PROMOTIONS
from command_service.row_outcome import RowOutcome, RowState
from command_service.session import Session
from command_service.unit_of_work import Keys
from command_service.world import Change, Command, Decision, Mode, Touch, World
from shopkeeper.pricing.v1 import pricing_events_pb2
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import coupon, price_list, promotion

LATER = datetime.now(UTC) + timedelta(days=1)
TEN = promotion("ten", PercentageOff(1000), coupon_required=True)


@dataclass(frozen=True, slots=True)
class HoldUse(Command[int]):
    """Holds one use of a coupon, as placing an order does; answers how many are held then."""

    coupon_code: str
    customer_id: str = ""
    is_checked: bool = True

    def touches(self) -> Iterable[Touch]:
        yield COUPON.change(self.coupon_code)
        yield PRICE_BOOK.read(PRICE_BOOK_KEY)
        if self.customer_id:
            yield COUPON_CUSTOMER.create((self.coupon_code, self.customer_id))

    def decide(self, world: World, now: datetime) -> Decision[int]:
        found, book = world.get(COUPON, self.coupon_code), world.get(PRICE_BOOK, PRICE_BOOK_KEY)
        assert found is not None
        assert book is not None
        key = (self.coupon_code, self.customer_id)
        uses = world.get(COUPON_CUSTOMER, key) if self.customer_id else None
        if self.is_checked:
            found_promotion = book.promotions.get(found.promotion_id)
            check_coupon(
                found, self.coupon_code, found_promotion, uses, customer_id=self.customer_id, now=now
            )
        held, uses, event = hold_use(found, uses, order_id="o1", customer_id=self.customer_id)
        changes: list[Change] = [COUPON.changed(self.coupon_code, held)]
        if uses is not None:
            changes.append(COUPON_CUSTOMER.changed(key, uses))
        return Decision(held.used_count, changes, [event])


@dataclass(frozen=True, slots=True)
class ReturnUse(Command[int]):
    """Gives a guest's use back, as cancelling an order does; answers how many are held then."""

    coupon_code: str

    def touches(self) -> Iterable[Touch]:
        return (COUPON.change(self.coupon_code),)

    def decide(self, world: World, now: datetime) -> Decision[int]:
        found = world.get(COUPON, self.coupon_code)
        assert found is not None
        returned, _, event = return_use(found, None, order_id="o1", customer_id="")
        return Decision(returned.used_count, [COUPON.changed(self.coupon_code, returned)], [event])


def states(outcomes: tuple[RowOutcome, ...]) -> list[RowState]:
    return [outcome.state for outcome in outcomes]


async def stored_promotions(carry_out: CarryOut) -> dict[str, Promotion]:
    """The promotions of the book, as carts read them."""
    repository = carry_out.storage.repositories[PRICE_BOOK.rank]
    keys = Keys([(PRICE_BOOK_KEY, Mode.READ)])
    rows = await carry_out.session.run(repository.load(keys))
    book: PriceBook = repository.assemble(keys, rows)[PRICE_BOOK_KEY]
    return dict(book.promotions)


async def told(carry_out: CarryOut, event: str) -> list[bytes]:
    pattern = f"%.{event}"
    rows = await carry_out.fetch(
        "SELECT payload FROM events WHERE type LIKE %s ORDER BY position", pattern
    )
    return [payload for (payload,) in rows]


async def counts(carry_out: CarryOut) -> list[tuple[object, ...]]:
    return await carry_out.fetch("SELECT coupon_code, used_count, usage_limit FROM coupons")


# --- promotions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "benefit", [PercentageOff(1250), AmountOff("KWD", 1500), BuyXGetY(2, 1), FreeShipping()]
)
async def test_a_promotion_of_each_kind_is_kept_and_told_whole(
    carry_out: CarryOut, benefit: Benefit
) -> None:
    whole = promotion(
        "whole",
        benefit,
        sku_ids=frozenset({"mug", "cup, with {commas}"}),
        minimum_subtotal_minor=500,
        minimum_subtotal_currency_code="KWD",
        priority=-3,
        coupon_required=True,
        start_time=datetime(2010, 12, 1, tzinfo=UTC),
        end_time=LATER,
        exclusive=True,
    )
    assert states(await carry_out(UpsertPromotions((whole,)))) == [RowState.CREATED]
    assert await stored_promotions(carry_out) == {"whole": replace(whole, shown_in_force=True)}
    [payload] = await told(carry_out, "PromotionUpserted")
    event = pricing_events_pb2.PromotionUpserted.FromString(payload)
    kinds = {
        PercentageOff: "percentage_off",
        AmountOff: "amount_off",
        BuyXGetY: "buy_x_get_y",
        FreeShipping: "free_shipping",
    }
    assert event.promotion.WhichOneof("benefit") == kinds[type(benefit)]
    assert event.promotion.minimum_subtotal.amount_minor == 500
    assert event.in_force


async def test_a_promotion_is_changed_and_left_as_it_is(carry_out: CarryOut) -> None:
    await carry_out(UpsertPromotions((TEN,)))
    assert states(await carry_out(UpsertPromotions((TEN,)))) == [RowState.UNCHANGED]
    off = replace(TEN, active=False)
    assert states(await carry_out(UpsertPromotions((off,)))) == [RowState.UPDATED]
    events = [
        pricing_events_pb2.PromotionUpserted.FromString(payload).in_force
        for payload in await told(carry_out, "PromotionUpserted")
    ]
    assert events == [True, False]


async def test_the_book_leaves_out_what_can_never_apply_again(carry_out: CarryOut) -> None:
    ended = promotion("ended", FreeShipping(), end_time=datetime(2010, 12, 1, tzinfo=UTC))
    off = promotion("off", FreeShipping(), active=False)
    soon = promotion("soon", FreeShipping(), start_time=LATER)
    await carry_out.together([UpsertPriceLists((price_list(),)), UpsertPromotions((ended, off, soon))])
    assert set(await stored_promotions(carry_out)) == {"soon"}


async def test_a_promotion_that_opens_is_due_until_it_is_told(carry_out: CarryOut) -> None:
    await carry_out(UpsertPromotions((promotion("soon", FreeShipping(), start_time=LATER),)))
    assert await carry_out(ApplyPromotionWindow("soon")) is False
    assert await carry_out.fetch(DUE_PROMOTIONS) == []
    await carry_out.fetch("UPDATE promotions SET start_time = clock_timestamp()")
    assert await carry_out.fetch(DUE_PROMOTIONS) == [("soon",)]
    assert await carry_out(ApplyPromotionWindow("soon")) is True
    assert await carry_out(ApplyPromotionWindow("soon")) is True
    assert await carry_out.fetch(DUE_PROMOTIONS) == []
    assert len(await told(carry_out, "PromotionUpserted")) == 2


async def test_the_window_of_an_unknown_promotion_is_refused(carry_out: CarryOut) -> None:
    with pytest.raises(PromotionNotFound):
        await carry_out(ApplyPromotionWindow("nowhere"))


# --- coupons --------------------------------------------------------------------------------------


async def test_a_coupon_follows_its_promotion_in_one_batch(carry_out: CarryOut) -> None:
    _, outcomes = await carry_out.together(
        [UpsertPromotions((TEN,)), UpsertCoupons((coupon("XMAS", "ten"), coupon("LOST", "nowhere")))]
    )
    assert outcomes == (
        RowOutcome(0, "XMAS", RowState.CREATED),
        RowOutcome(1, "LOST", RowState.REFUSED, "PROMOTION_NOT_FOUND", "There is no promotion nowhere."),
    )
    assert len(await told(carry_out, "CouponUpserted")) == 1


@pytest.mark.breaks_invariants("inv_coupon_customer_uses", "inv_coupon_uses")
async def test_what_was_used_stays_counted_when_a_coupon_is_changed(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPromotions((TEN,)), UpsertCoupons((coupon("XMAS", "ten"),))])
    await carry_out(HoldUse("XMAS", "ann"))
    changed = coupon("XMAS", "ten", usage_limit=9)
    assert states(await carry_out(UpsertCoupons((changed,)))) == [RowState.UPDATED]
    assert states(await carry_out(UpsertCoupons((changed,)))) == [RowState.UNCHANGED]
    assert await counts(carry_out) == [("XMAS", 1, 9)]
    last = (await told(carry_out, "CouponUpserted"))[-1]
    assert pricing_events_pb2.CouponUpserted.FromString(last).coupon.used_count == 1


@pytest.mark.breaks_invariants("inv_coupon_uses")
async def test_a_limit_lowered_below_what_was_used_allows_nothing_new(carry_out: CarryOut) -> None:
    await carry_out.together(
        [UpsertPromotions((TEN,)), UpsertCoupons((coupon("XMAS", "ten", usage_limit=3),))]
    )
    for _ in range(3):
        await carry_out(HoldUse("XMAS"))
    lowered = coupon("XMAS", "ten", usage_limit=2)
    assert states(await carry_out(UpsertCoupons((lowered,)))) == [RowState.UPDATED]
    assert await carry_out(ReturnUse("XMAS")) == 2
    with pytest.raises(CouponUsedUp):
        await carry_out(HoldUse("XMAS"))
    assert await carry_out(ReturnUse("XMAS")) == 1
    assert await carry_out(HoldUse("XMAS")) == 2


@pytest.mark.breaks_invariants("inv_coupon_uses")
async def test_the_last_uses_of_a_coupon_are_held_once_each(carry_out: CarryOut) -> None:
    await carry_out.together(
        [UpsertPromotions((TEN,)), UpsertCoupons((coupon("XMAS", "ten", usage_limit=5),))]
    )
    async with AsyncExitStack() as stack:
        racers = [await racer(stack, carry_out) for _ in range(4)]
        batches = await asyncio.gather(*(each.together([HoldUse("XMAS")] * 4) for each in racers))
    answers = [answer for batch in batches for answer in batch]
    assert sorted(answer for answer in answers if isinstance(answer, int)) == [1, 2, 3, 4, 5]
    assert sum(isinstance(answer, CouponUsedUp) for answer in answers) == 11
    assert await counts(carry_out) == [("XMAS", 5, 5)]


@pytest.mark.breaks_invariants("inv_coupon_customer_uses", "inv_coupon_uses")
async def test_one_customer_cannot_use_a_coupon_more_often_by_racing(carry_out: CarryOut) -> None:
    limited = coupon("XMAS", "ten", usage_limit_per_customer=1)
    await carry_out.together([UpsertPromotions((TEN,)), UpsertCoupons((limited,))])
    async with AsyncExitStack() as stack:
        racers = [await racer(stack, carry_out) for _ in range(4)]
        pair = [HoldUse("XMAS", "ann"), HoldUse("XMAS", "bob")]
        batches = await asyncio.gather(*(each.together(pair) for each in racers))
    for answers in zip(*batches, strict=True):
        assert sum(isinstance(answer, int) for answer in answers) == 1
    uses = await carry_out.fetch("SELECT customer_id, used_count FROM coupon_customers ORDER BY 1")
    assert uses == [("ann", 1), ("bob", 1)]


@pytest.mark.breaks_invariants("inv_coupon_customer_uses", "inv_coupon_uses")
@pytest.mark.parametrize("limit", ["usage_limit", "usage_limit_per_customer"])
async def test_the_database_refuses_a_use_beyond_a_limit_that_the_code_forgot(
    carry_out: CarryOut, limit: str
) -> None:
    limited = coupon("XMAS", "ten", **{limit: 1})
    await carry_out.together([UpsertPromotions((TEN,)), UpsertCoupons((limited,))])
    await carry_out(HoldUse("XMAS", "ann"))
    with pytest.raises(Unacceptable, match="coupon"):
        await carry_out(HoldUse("XMAS", "ann", is_checked=False))
    assert await carry_out.fetch("SELECT used_count FROM coupons") == [(1,)]


async def racer(stack: AsyncExitStack, carry_out: CarryOut) -> CarryOut:
    """Another process."""
    session = Session(carry_out.database_url, "racer")
    await session.connect()
    stack.push_async_callback(session.close)
    return CarryOut(carry_out.database_url, session)
