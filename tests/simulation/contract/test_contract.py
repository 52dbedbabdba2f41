"""What group commit rests on, asked of the database in memory and of PostgreSQL alike."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    Interrupted,
    LockedOut,
    Unacceptable,
)
from command_service.inventory.domain import LOCATION, RESERVATION, STOCK, Location
from command_service.ordering.domain import (
    MONEY_RECORD,
    ORDER,
    REFUND_RECORD,
    CountedRefund,
    MoneyRecord,
)
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.pricing.domain import (
    COUPON,
    PRICE_LIST,
    PROMOTION,
    SKU_PRICES,
    Coupon,
    PriceList,
    PriceTier,
    SkuPrices,
)
from command_service.refunded_lines import RefundedLine
from command_service.submission import Answer
from command_service.unit_of_work import HASTE_SECONDS, UnitOfWork
from command_service.world import Change, Mode, Touch
from tests.command_service.checkout.shop_on_postgresql import TENTH
from tests.command_service.payment.tellings import new_payment
from tests.simulation.contract.orders import an_order
from tests.simulation.contract.pair import (
    History,
    Pair,
    answer_to,
    begin,
    keep,
    load,
    named,
    reservation,
    seen,
    stock,
    work,
)
from tests.simulation.database import OPENING

# What is played here are rows that wait for each other, not orders with all that belongs to them.
pytestmark = pytest.mark.breaks_invariants

MAIN = LOCATION.changed("main", Location("main", "Main", 0, True))
RETAIL = PriceList("retail", "Retail", "GBP", "", 0, True, None, None, False, version=1)


def in_background(work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    return asyncio.ensure_future(work)


async def with_stock(unit: UnitOfWork, **on_hand: int) -> None:
    await keep(unit, MAIN)
    await keep(unit, *(STOCK.changed(sku_id, stock(sku_id, count)) for sku_id, count in on_hand.items()))


# --- request ids ----------------------------------------------------------------------------------


def test_an_id_is_claimed_by_one_and_the_other_does_not_wait(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        taken, free = uuid4(), uuid4()
        assert set((await pair.first.claim([taken])).ids) == {taken}
        assert set((await pair.second.claim([taken, free])).ids) == {free}
        await pair.first.end()
        await pair.second.end()
        assert set((await pair.second.claim([taken, free])).ids) == {taken, free}

    play(history)


def test_a_claimed_id_is_held_until_its_answer_is_visible(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        request_id = uuid4()
        await pair.first.claim([request_id])
        async with pair.others_hold_the_log():
            writing = in_background(
                pair.first.write(work(answers=[answer_to(request_id)], event_count=2))
            )
            await pair.until_it_waits(pair.first)
            claimed = await pair.second.claim([request_id])
            assert (set(claimed.ids), dict(claimed.known)) == (set(), {})
            await pair.second.end()
        token = await writing
        claimed = await pair.second.claim([request_id])
        assert set(claimed.ids) == {request_id}
        known = claimed.known[request_id]
        assert (known.method, known.fingerprint) == ("Do", b"payload")
        assert known.answer == Answer(0, b"done", token)
        assert token.position == 2

    play(history)


def test_an_answer_is_stored_once_whoever_forgot_to_claim_it(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        request_id = uuid4()
        await pair.first.claim([request_id])
        await pair.first.write(work(answers=[answer_to(request_id)]))
        await pair.second.claim([])
        with pytest.raises(Unacceptable):
            await pair.second.write(work(answers=[answer_to(request_id, b"other")]))
        await pair.second.roll_back()
        claimed = await pair.second.claim([request_id])
        assert claimed.known[request_id].answer.body == b"done"

    play(history)


# --- row locks ------------------------------------------------------------------------------------


def test_who_waited_for_a_lock_reads_what_was_committed_meanwhile(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        [before] = await begin(pair.first, STOCK.change("mug"))
        waiting = in_background(begin(pair.second, STOCK.change("mug")))
        await pair.until_it_waits(pair.second)
        after = stock("mug", 5, reserved=2)
        await pair.first.write(work((STOCK.changed("mug", after), before)))
        assert await waiting == [after]

    play(history)


def test_who_waited_for_a_lock_reads_nothing_of_what_was_rolled_back(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        await begin(pair.first, STOCK.change("mug"))
        waiting = in_background(begin(pair.second, STOCK.change("mug")))
        await pair.until_it_waits(pair.second)
        await pair.first.roll_back()
        assert await waiting == [stock("mug", 5)]

    play(history)


def test_a_plain_read_waits_for_nobody_and_sees_what_is_committed(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        [before] = await begin(pair.first, STOCK.change("mug"))
        async with pair.others_hold_the_log():
            after = stock("mug", 5, reserved=2)
            change = (STOCK.changed("mug", after), before)
            writing = in_background(pair.first.write(work(change, event_count=1)))
            await pair.until_it_waits(pair.first)
            assert await begin(pair.second, STOCK.read("mug")) == [before]
        await writing
        assert await load(pair.second, STOCK.read("mug")) == [after], "each statement sees anew"

    play(history)


def test_those_who_share_a_row_keep_only_those_off_who_would_change_it(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        await begin(pair.first, STOCK.share("mug"))
        await begin(pair.second, STOCK.share("mug"))
        await pair.second.end()
        waiting = in_background(begin(pair.second, STOCK.change("mug")))
        await pair.until_it_waits(pair.second)
        await pair.first.end()
        await waiting
        waiting = in_background(begin(pair.first, STOCK.share("mug")))
        await pair.until_it_waits(pair.first)
        await pair.second.end()
        assert await waiting == [stock("mug", 5)]

    play(history)


def test_keys_are_locked_in_their_order_and_kinds_in_theirs(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, cup=1, mug=1, pot=1)
        await keep(pair.first, RESERVATION.changed("r", reservation("r")))
        await begin(pair.first, STOCK.change("mug"))
        every = [STOCK.change(sku_id) for sku_id in ("pot", "mug", "cup")]
        waiting = in_background(begin(pair.second, *every))
        await pair.until_it_waits(pair.second)
        await load(pair.first, STOCK.change("pot"))
        await pair.first.end()
        assert [found.sku_id for found in await waiting] == ["cup", "mug", "pot"]
        await pair.second.end()

        await begin(pair.first, RESERVATION.change("r"))
        waiting = in_background(begin(pair.second, STOCK.change("mug"), RESERVATION.change("r")))
        await pair.until_it_waits(pair.second)
        await load(pair.first, STOCK.change("mug"))
        await pair.first.end()
        await waiting

    play(history)


def test_of_two_who_wait_for_each_other_one_is_interrupted(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, cup=1, mug=1)
        await begin(pair.first, STOCK.change("cup"))
        await begin(pair.second, STOCK.change("mug"))
        one = in_background(load(pair.first, STOCK.change("mug")))
        await pair.until_it_waits(pair.first)
        other = in_background(load(pair.second, STOCK.change("cup")))
        outcomes = await asyncio.gather(one, other, return_exceptions=True)
        [failure] = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        assert isinstance(failure, Interrupted)
        assert failure.code == "40"

    play(history)


def test_a_lock_that_is_not_had_in_time_interrupts_and_lets_go(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, cup=1, mug=1)
        await begin(pair.first, STOCK.change("mug"))
        with pytest.raises(LockedOut) as interrupted:
            await begin(pair.second, STOCK.change("cup"), STOCK.change("mug"))
        assert interrupted.value.code == "55"
        assert await load(pair.first, STOCK.change("cup")) == [stock("cup", 1)]
        await pair.second.roll_back()
        assert await seen(pair.second, STOCK.read("mug")) == [stock("mug", 1)]

    play(history)


def test_a_hasty_transaction_does_not_have_a_lock_in_time_either(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=1)
        await begin(pair.first, STOCK.change("mug"))
        await pair.second.claim([], is_hasty=True)
        with pytest.raises(LockedOut):
            await load(pair.second, STOCK.change("mug"))
        await pair.second.roll_back()
        await pair.first.end()
        await pair.second.claim([], is_hasty=True)
        assert await load(pair.second, STOCK.change("mug")) == [stock("mug", 1)]
        await pair.second.end()

    play(history)


def test_a_hasty_transaction_waits_for_the_log_as_every_other(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        await pair.first.claim([], is_hasty=True)
        async with pair.others_hold_the_log():
            writing = in_background(pair.first.write(work(event_count=2)))
            await pair.until_it_waits(pair.first)
            await asyncio.sleep(3 * HASTE_SECONDS)
            assert not writing.done()
        assert (await writing).position == 2

    play(history)


def test_a_connection_that_is_lost_lets_go_of_its_locks_and_of_its_work(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        request_id = uuid4()
        await pair.first.claim([request_id])
        await load(pair.first, STOCK.change("mug"))
        await load(pair.first, RESERVATION.create("r"))
        waiting = in_background(begin(pair.second, STOCK.change("mug")))
        await pair.until_it_waits(pair.second)
        await pair.lose(pair.first)
        assert await waiting == [stock("mug", 5)]
        assert await load(pair.second, RESERVATION.create("r")) == [None]
        await pair.second.end()
        assert set((await pair.second.claim([request_id])).ids) == {request_id}
        await pair.first.connect()
        assert await begin(pair.first, STOCK.read("mug")) == [stock("mug", 5)]

    play(history)


def test_the_time_is_told_after_the_last_lock_is_had(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        await begin(pair.first, STOCK.change("mug"))
        await pair.second.claim([])
        waiting = in_background(pair.second.load_last(named(STOCK.change("mug"))))
        await pair.until_it_waits(pair.second)
        await asyncio.sleep(0.05)
        _, before = await pair.first.load_last([])
        await pair.first.end()
        _, after = await waiting
        assert after >= before

    play(history)


# --- rows that are not there yet ------------------------------------------------------------------


def test_who_wants_a_key_that_another_is_making_waits_for_its_end(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await keep(pair.first, MAIN)
        assert await begin(pair.first, RESERVATION.create("r")) == [None]
        waiting = in_background(begin(pair.second, RESERVATION.create("r")))
        await pair.until_it_waits(pair.second)
        made = reservation("r")
        await pair.first.write(work((RESERVATION.changed("r", made), None)))
        assert await waiting == [made]

    play(history)


@pytest.mark.parametrize("is_committed", [True, False])
def test_who_waited_for_a_key_that_came_to_nothing_makes_it(
    play: Callable[[History], None], is_committed: bool
) -> None:
    async def history(pair: Pair) -> None:
        assert await begin(pair.first, RESERVATION.create("r")) == [None]
        waiting = in_background(begin(pair.second, RESERVATION.create("r")))
        await pair.until_it_waits(pair.second)
        if is_committed:
            await pair.first.write(work(not_created=[RESERVATION.create("r")]))
        else:
            await pair.first.roll_back()
        assert await waiting == [None]
        made = reservation("r")
        await pair.second.write(work((RESERVATION.changed("r", made), None)))
        assert await seen(pair.first, RESERVATION.read("r")) == [made]

    play(history)


def test_a_row_that_is_being_made_is_not_there_for_those_who_would_not_make_it(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await begin(pair.first, RESERVATION.create("r"))
        assert await begin(pair.second, RESERVATION.change("r")) == [None]

    play(history)


def test_a_record_that_is_gone_leaves_a_row_to_those_who_wait_for_it(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await keep(pair.first, ORDER.changed("o1", an_order("o1", number="n")))
        key, counted = (REFUND_RECORD, "re_1"), CountedRefund((RefundedLine("l", 1, 30),), 0, OPENING)
        record, other = MoneyRecord("o1", 30, counted=counted), MoneyRecord("o1", 40)
        await keep(pair.first, MONEY_RECORD.changed(key, record))
        assert await begin(pair.first, MONEY_RECORD.change(key)) == [record]
        waiting = in_background(begin(pair.second, MONEY_RECORD.create(key)))
        await pair.until_it_waits(pair.second)
        await pair.first.write(work((MONEY_RECORD.removed(key), record)))
        assert await waiting == [None]
        await pair.second.write(work((MONEY_RECORD.changed(key, other), None)))
        assert await seen(pair.first, MONEY_RECORD.read(key)) == [other]

    play(history)


def a_location(location_id: str) -> list[Change]:
    return [LOCATION.changed(location_id, Location(location_id, "Shelf", 0, True))]


def stock_with_its_location(sku_id: str) -> list[Change]:
    return [MAIN, STOCK.changed(sku_id, stock(sku_id, 5))]


def a_coupon(code: str) -> list[Change]:
    coupon = Coupon(code, "tenth", None, None, active=True, used_count=0)
    return [PROMOTION.changed("tenth", TENTH), COUPON.changed(code, coupon)]


def prices_with_their_list(sku_id: str) -> list[Change]:
    prices = SkuPrices(sku_id, {"retail": (PriceTier(1, 500),)})
    return [PRICE_LIST.changed("retail", RETAIL), SKU_PRICES.changed(sku_id, prices)]


COMING_TO_BE: dict[str, Callable[[str], list[Change]]] = {
    "a location": a_location,
    "stock": stock_with_its_location,
    "a reservation": lambda key: [RESERVATION.changed(key, reservation(key))],
    "an order": lambda key: [ORDER.changed(key, an_order(key, number=key))],
    "a coupon": a_coupon,
    "prices": prices_with_their_list,
}
"""What has to be there for something of each kind, and then the thing itself."""


@pytest.mark.parametrize("mode", [Mode.SHARE, Mode.CHANGE], ids=lambda mode: mode.name)
@pytest.mark.parametrize("what", COMING_TO_BE)
def test_what_came_to_be_after_its_lock_was_asked_for_is_not_there(
    play: Callable[[History], None], what: str, mode: Mode
) -> None:
    """It is not locked, so nothing may be decided on it, though a later statement could see it."""

    async def history(pair: Pair) -> None:
        *needed, first = COMING_TO_BE[what]("CUP")
        kind, (*_, late) = first.kind, COMING_TO_BE[what]("POT")
        for each in (*needed, first):
            await keep(pair.first, each)
        both = [Touch(kind, key, mode) for key in ("CUP", "POT")]
        await begin(pair.first, kind.change("CUP"))
        waiting = in_background(begin(pair.second, *both))
        await pair.until_it_waits(pair.second)
        assert await load(pair.first, kind.create("POT")) == [None]
        await pair.first.write(work((late, None)))
        there, not_there = await waiting
        assert (there is not None, not_there) == (True, None)
        await pair.second.end()
        assert None not in await seen(pair.second, *both)

    play(history)


def test_of_two_orders_with_one_number_the_second_is_unacceptable(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        first, second = an_order("o1", number="n"), an_order("o2", number="n")
        await pair.first.claim([])
        async with pair.others_hold_the_log():
            change = (ORDER.changed("o1", first), None)
            writing = in_background(pair.first.write(work(change, event_count=1)))
            await pair.until_it_waits(pair.first)
            await pair.second.claim([])
            late = in_background(pair.second.write(work((ORDER.changed("o2", second), None))))
            await pair.until_it_waits(pair.second)
        await writing
        with pytest.raises(Unacceptable):
            await late
        await pair.second.roll_back()
        assert await seen(pair.second, ORDER.read("o1"), ORDER.read("o2")) == [first, None]

    play(history)


async def written_by_the_first_alone(pair: Pair, unit: UnitOfWork, change: Change) -> None:
    """Writes what the other one writes too: the first may, the second is refused."""
    writing = unit.write(work((change, None)))
    if unit is pair.first:
        await writing
    else:
        with pytest.raises(Unacceptable):
            await writing


def test_a_fresh_row_that_is_there_already_is_unacceptable(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        for number, unit in (("n1", pair.first), ("n2", pair.second)):
            await unit.claim([])
            change = ORDER.changed("o", an_order("o", number=number))
            await written_by_the_first_alone(pair, unit, change)

    play(history)


# --- what is refused ------------------------------------------------------------------------------


def test_what_is_sold_twice_is_unacceptable_and_its_locks_are_free_at_once(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5, pot=1)
        [before] = await begin(pair.first, STOCK.change("mug"))
        change = (STOCK.changed("mug", stock("mug", 5, reserved=6)), before)
        with pytest.raises(Unacceptable):
            await pair.first.write(work(change, event_count=1))
        assert await begin(pair.second, STOCK.change("mug")) == [stock("mug", 5)]
        await pair.second.end()
        await pair.first.roll_back()
        assert await seen(pair.first, STOCK.change("mug")) == [stock("mug", 5)]

    play(history)


def test_stock_is_written_by_difference_so_that_nothing_is_lost_without_a_lock(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        [before] = await begin(pair.first, STOCK.read("mug"))
        [also] = await begin(pair.second, STOCK.read("mug"))
        await pair.first.write(work((STOCK.changed("mug", stock("mug", 5, reserved=3)), before)))
        await pair.second.write(work((STOCK.changed("mug", stock("mug", 5, reserved=2)), also)))
        assert await seen(pair.first, STOCK.read("mug")) == [stock("mug", 5, reserved=5)]
        [before] = await begin(pair.first, STOCK.read("mug"))
        with pytest.raises(Unacceptable):
            await pair.first.write(work((STOCK.changed("mug", stock("mug", 5, reserved=6)), before)))

    play(history)


def test_a_coupon_used_beyond_its_limit_is_unacceptable(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        once = Coupon("ONCE", "tenth", 1, None, active=True, used_count=1, held_under_limit=1)
        await keep(pair.first, PROMOTION.changed("tenth", TENTH))
        await keep(pair.first, COUPON.changed("ONCE", once))
        [before] = await begin(pair.first, COUPON.change("ONCE"))
        twice = COUPON.changed("ONCE", replace(once, used_count=2))
        with pytest.raises(Unacceptable):
            await pair.first.write(work((twice, before)))
        assert await begin(pair.second, COUPON.change("ONCE")) == [once]

    play(history)


def test_one_payment_of_a_provider_is_one_payment_of_ours(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        for number, unit in (("1", pair.first), ("2", pair.second)):
            order_id = f"o{number}"
            await unit.claim([])
            await unit.write(work((ORDER.changed(order_id, an_order(order_id, number=number)), None)))
            await begin(unit, ORDER.change(order_id), ORDER_PAYMENTS.change(order_id))
            payment = replace(
                new_payment(),
                payment_id=f"{order_id}.1",
                order_id=order_id,
                provider_reference="pi",
            )
            change = ORDER_PAYMENTS.changed(order_id, OrderPayments(order_id, (payment,)))
            await written_by_the_first_alone(pair, unit, change)

    play(history)


# --- the log --------------------------------------------------------------------------------------


def test_who_has_events_waits_for_the_log_and_who_has_none_does_not(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await pair.first.claim([])
        await pair.second.claim([])
        async with pair.others_hold_the_log():
            writing = in_background(pair.first.write(work(event_count=2)))
            await pair.until_it_waits(pair.first)
            assert (await pair.second.write(work())).position == 0
        assert (await writing).position == 2
        await pair.second.claim([])
        assert (await pair.second.write(work(event_count=3))).position == 5

    play(history)


def test_positions_are_drawn_when_the_log_is_ours_and_those_rolled_back_leave_no_gap(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=1)
        await pair.first.claim([])
        await pair.second.claim([])
        async with pair.others_hold_the_log():
            one = in_background(pair.first.write(work(event_count=2)))
            await pair.until_it_waits(pair.first)
            other = in_background(pair.second.write(work(event_count=3)))
            await pair.until_it_waits(pair.second)
        positions = sorted([(await one).position, (await other).position])
        assert positions in ([2, 5], [3, 5])
        [before] = await begin(pair.first, STOCK.change("mug"))
        change = (STOCK.changed("mug", stock("mug", 1, reserved=2)), before)
        with pytest.raises(DatabaseFailure):
            await pair.first.write(work(change, event_count=1))
        await pair.second.claim([])
        assert (await pair.second.write(work(event_count=1))).position == 6

    play(history)


# --- rehearsals -----------------------------------------------------------------------------------


def test_a_rehearsal_sees_one_snapshot_and_waits_for_nobody(play: Callable[[History], None]) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        await begin(pair.first, RESERVATION.create("r"))
        [before] = await load(pair.first, STOCK.change("mug"))
        await pair.second.begin_rehearsal()
        assert await load(pair.second, STOCK.read("mug"), RESERVATION.read("r")) == [None, before]
        after = stock("mug", 5, reserved=1)
        changes = (
            (STOCK.changed("mug", after), before),
            (RESERVATION.changed("r", reservation("r")), None),
        )
        token = await pair.first.write(work(*changes, event_count=1))
        found, _ = await pair.second.load_last(named(STOCK.read("mug")))
        assert found == [{"mug": before}]
        assert (await pair.second.log_end()).position == token.position - 1
        await pair.second.roll_back()
        await pair.second.begin_rehearsal()
        assert await load(pair.second, STOCK.read("mug"), RESERVATION.read("r")) == [
            reservation("r"),
            after,
        ]
        assert await pair.second.log_end() == token
        await pair.second.roll_back()

    play(history)


# --- unknown outcomes -----------------------------------------------------------------------------


def test_a_commit_whose_answer_is_lost_has_happened_and_its_id_tells(
    play: Callable[[History], None],
) -> None:
    async def history(pair: Pair) -> None:
        await with_stock(pair.first, mug=5)
        request_id = uuid4()
        await pair.first.claim([request_id])
        [before] = await load(pair.first, STOCK.change("mug"))
        pair.lose_next_commit(pair.first)
        after = stock("mug", 5, reserved=1)
        with pytest.raises(ConnectionLost):
            await pair.first.write(
                work(
                    (STOCK.changed("mug", after), before),
                    answers=[answer_to(request_id)],
                    event_count=1,
                )
            )
        await pair.first.roll_back()
        await pair.first.connect()
        await asyncio.sleep(0.05)
        claimed = await pair.first.claim([request_id])
        assert claimed.known[request_id].answer.body == b"done"
        assert await load(pair.first, STOCK.change("mug")) == [after]

    play(history)
