"""Mistakes that somebody could make, in a few lines each: the simulation has to see every one."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID

import pytest

from command_service import transaction
from command_service.cart.domain import Cart
from command_service.checkout import place_order, process, report_payment
from command_service.checkout.expiry import ExpiryWorker
from command_service.checkout.holdings import Holdings
from command_service.checkout.pricing_of_cart import PricedCart
from command_service.committer import Lane
from command_service.database_failures import ConnectionLost
from command_service.inventory.domain import Reservation, ReservationState
from command_service.inventory.reservation_commands import ReserveStock
from command_service.ordering.domain import Order, OrderState, Step
from command_service.payment import gateway
from command_service.payment.domain import OrderPayments
from command_service.payment.errands import Errand
from command_service.payment.refunds import Refund
from command_service.payment.reports import Refused
from command_service.pricing import calculation
from command_service.refunded_lines import RefundedLine
from command_service.submission import Submission
from command_service.transaction import Outcome, Transaction
from command_service.unit_of_work import Changed, Claimed, Keys, Named, NewAnswer, Told, Work
from command_service.world import Decision, Kind, LockRank, Mode, NotLoadedError, World
from event_log.tokens import ConsistencyToken
from payment_providers.port import OutcomeUnknown, ProviderFailure
from tests.simulation import constraints, database
from tests.simulation.database import INCARNATION, Database, Txn
from tests.simulation.unit_of_work import MemoryUnitOfWork

Plant = Callable[[pytest.MonkeyPatch], None]


# --- locks and what is checked when a row is written ----------------------------------------------


def drop_the_row_lock(patch: pytest.MonkeyPatch) -> None:
    """The CHECK of the table is what is left."""
    lock_rows = Database.lock_rows

    async def lock_all_but_stock(self: Database, txn: Txn, rank: LockRank, keys: Keys[Any]) -> None:
        if rank is not LockRank.STOCK:
            await lock_rows(self, txn, rank, keys)

    patch.setattr(Database, "lock_rows", lock_all_but_stock)


def drop_the_row_lock_and_the_check(patch: pytest.MonkeyPatch) -> None:
    drop_the_row_lock(patch)
    patch.delitem(constraints.CHECKS, LockRank.STOCK)


def take_what_is_there_for_locked(patch: pytest.MonkeyPatch) -> None:
    """Stock that came to be after its lock was asked for, and that a later statement finds."""
    has = Txn.has

    def has_it_all(self: Txn, place: database.Place) -> bool:
        return place[0] is LockRank.STOCK or has(self, place)

    patch.setattr(Txn, "has", has_it_all)


def fill_locations_without_their_lock(patch: pytest.MonkeyPatch) -> None:
    """So that they may be closed meanwhile, for they are still empty."""
    lock_rows = Database.lock_rows

    async def lock_for_change(self: Database, txn: Txn, rank: LockRank, keys: Keys[Any]) -> None:
        if rank is not LockRank.LOCATION or not keys.shared:
            await lock_rows(self, txn, rank, keys)
        else:
            txn.held.extend((rank, key) for key in keys.all)

    patch.setattr(Database, "lock_rows", lock_for_change)


def close_locations_that_are_not_empty(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks whether they are."""
    patch.setattr(database, "is_empty_location", lambda rows, location_id: True)


def read_before_the_lock(patch: pytest.MonkeyPatch) -> None:
    """As a join in the locking statement would."""
    load = Database.load

    async def load_stale(self: Database, txn: Txn, named: Sequence[Named]) -> list[dict[Any, Any]]:
        found = [database.read(self.rows, kind.rank, keys) for kind, keys in named]
        await load(self, txn, named)
        return found

    patch.setattr(Database, "load", load_stale)


def lock_in_order_of_arrival(patch: pytest.MonkeyPatch) -> None:
    def unsorted(modes: Mapping[Any, Mode], *, is_rehearsal: bool) -> Keys[Any]:
        asked = [(key, mode) for key, mode in modes.items() if mode is not Mode.FRESH]
        return Keys([(key, Mode.READ) for key, _ in asked] if is_rehearsal else asked)

    patch.setattr(transaction, "_keys", unsorted)


def leave_key_rows_behind(patch: pytest.MonkeyPatch) -> None:
    def none(self: Transaction, kind: Kind[Any, Any], keys: Sequence[Any]) -> list[Any]:
        return []

    patch.setattr(Transaction, "_absent", none)


# --- request ids and the outcome of commits -------------------------------------------------------


def skip_the_request_id_check(patch: pytest.MonkeyPatch) -> None:
    """The primary key of the answers is what is left."""

    def always(self: Transaction, submission: Submission, claimed: Claimed) -> bool:
        return True

    patch.setattr(Transaction, "_is_live", always)


def skip_the_request_id_check_and_the_key(patch: pytest.MonkeyPatch) -> None:
    skip_the_request_id_check(patch)

    def store(self: Database, txn: Txn, answers: Sequence[NewAnswer]) -> None:
        for answer in answers:
            self.requests.pop(answer.request_id, None)
        store_answers(self, txn, answers)

    store_answers = Database._store_answers
    patch.setattr(Database, "_store_answers", store)


def wait_for_no_other_claim(patch: pytest.MonkeyPatch) -> None:
    """An id in flight elsewhere counts as ours."""

    def claim(self: Database, txn: Txn, request_ids: Sequence[UUID]) -> Claimed:
        known = {id_: self.requests[id_] for id_ in request_ids if id_ in self.requests}
        return Claimed(set(request_ids), known)

    patch.setattr(Database, "claim", claim)


def acknowledge_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    write = MemoryUnitOfWork.write

    async def hopeful(self: MemoryUnitOfWork, work: Work) -> ConsistencyToken:
        try:
            return await write(self, work)
        except ConnectionLost:
            return ConsistencyToken(INCARNATION, self.database.last_position)

    patch.setattr(MemoryUnitOfWork, "write", hopeful)


def forget_what_was_answered(patch: pytest.MonkeyPatch) -> None:
    """The same request is decided anew."""
    claim = Database.claim

    def forgetful(self: Database, txn: Txn, request_ids: Sequence[UUID]) -> Claimed:
        claimed = claim(self, txn, request_ids)
        for request_id in claimed.known:
            del self.requests[request_id]
        return Claimed(claimed.ids, {})

    patch.setattr(Database, "claim", forgetful)


# --- the log --------------------------------------------------------------------------------------


def draw_positions_without_the_lock(patch: pytest.MonkeyPatch) -> None:
    """As from a sequence: in the order of drawing, not in that of committing."""

    async def append(self: Database, txn: Txn, work: Work) -> None:
        drawn = self.__dict__.setdefault("drawn", [0])
        for told in work.events:
            drawn[0] += 1
            txn.events.append(database.Logged(drawn[0], told, work.now))
        await self.loop.pause(0.03 * self.loop.chance())

    patch.setattr(Database, "append", append)


def release_the_log_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    append = Database.append

    async def append_and_release(self: Database, txn: Txn, work: Work) -> None:
        await append(self, txn, work)
        self.release(txn, "log")
        await self.loop.pause(0.03 * self.loop.chance())

    patch.setattr(Database, "append", append_and_release)


def tell_of_all_but_carts(patch: pytest.MonkeyPatch) -> None:
    """Nothing but the views of carts is made of what is told of them."""
    _tell(patch, lambda events: [told for told in events if told.event.context != "cart"])


def tell_it_twice(patch: pytest.MonkeyPatch) -> None:
    """Of carts: a movement of stock told twice would not add up."""

    def twice(events: Sequence[Told]) -> list[Told]:
        return [told for told in events for _ in range(1 + (told.event.context == "cart"))]

    _tell(patch, twice)


def tell_it_in_another_order(patch: pytest.MonkeyPatch) -> None:
    """The last two events of a commit change places."""
    _tell(patch, lambda events: [*events[:-2], *reversed(events[-2:])])


def tell_what_a_neighbour_did(patch: pytest.MonkeyPatch) -> None:
    """All events of a commit count as told by its last command."""

    def together(events: Sequence[Told]) -> list[Told]:
        return [told._replace(request_id=events[-1].request_id) for told in events]

    _tell(patch, together)


def tell_what_was_decided_at_first(patch: pytest.MonkeyPatch) -> None:
    """A command that is decided again, after a failure, tells what it would have told then."""
    work_of = Transaction._work
    first: dict[UUID, list[Told]] = {}

    def as_at_first(self: Transaction, now: datetime) -> Work:
        work = work_of(self, now)
        by_request: dict[UUID, list[Told]] = {}
        for told in work.events:
            by_request.setdefault(told.request_id, []).append(told)
        told_first = [first.setdefault(id_, each) for id_, each in by_request.items()]
        return replace(work, events=[told for events in told_first for told in events])

    patch.setattr(Transaction, "_work", as_at_first)


def _tell(patch: pytest.MonkeyPatch, changed: Callable[[Sequence[Told]], Sequence[Told]]) -> None:
    """Has a commit write other events than were decided."""
    work_of = Transaction._work

    def work(self: Transaction, now: datetime) -> Work:
        right = work_of(self, now)
        return replace(right, events=changed(right.events))

    patch.setattr(Transaction, "_work", work)


# --- the committer --------------------------------------------------------------------------------


def decide_each_on_what_was_loaded(patch: pytest.MonkeyPatch) -> None:
    """A command does not see the effects of those before it in its batch."""

    def as_loaded(self: World, kind: Kind[Any, Any], key: Any) -> Any:
        if key not in self._loaded.get(kind.rank, {}):
            raise NotLoadedError
        return self._loaded[kind.rank][key]

    patch.setattr(World, "get", as_loaded)


def forget_what_is_put_off(patch: pytest.MonkeyPatch) -> None:
    """Commands whose id is in flight elsewhere are never claimed again."""
    answer = Lane._answer

    def forgetful(self: Lane, outcome: Outcome) -> None:
        answer(self, replace(outcome, in_flight_elsewhere=[]))

    patch.setattr(Lane, "_answer", forgetful)


def write_a_part_of_the_batch(patch: pytest.MonkeyPatch) -> None:
    """One aggregate too few, where more than one was changed of a kind."""
    work_of = Transaction._work

    def partly(self: Transaction, now: datetime) -> Work:
        work = work_of(self, now)
        changed: list[tuple[Kind[Any, Any], Sequence[Changed[Any, Any]]]] = [
            (kind, rows[:-1] if len(rows) > 1 else rows) for kind, rows in work.changed
        ]
        return replace(work, changed=changed)

    patch.setattr(Transaction, "_work", partly)


def lose_what_is_new(patch: pytest.MonkeyPatch) -> None:
    """A SKU, or a coupon, that nobody had heard of: the answer is that it is there."""
    write_row = Database.write_row

    async def write_old_row(
        self: Database, txn: Txn, kind: Kind[Any, Any], key: Any, before: Any, after: Any
    ) -> None:
        await write_row(self, txn, kind, key, before, after)
        if before is None and kind.rank in (LockRank.COUPON, LockRank.SKU):
            del txn.writes[kind.rank, key]
            txn.taken_back.add((kind.rank, key))

    patch.setattr(Database, "write_row", write_old_row)


def mix_up_answers(patch: pytest.MonkeyPatch) -> None:
    """Two commands of a batch that were both carried out are answered with each other's bytes."""
    decide_all = Transaction._decide_all

    def mixed_up(self: Transaction, submissions: Iterable[Submission], now: datetime) -> None:
        decide_all(self, submissions, now)
        done = [each for each in self._decided if each.code == 0]
        if len(done) > 1:
            done[0].body, done[-1].body = done[-1].body, done[0].body

    patch.setattr(Transaction, "_decide_all", mixed_up)


# --- decisions ------------------------------------------------------------------------------------


def expire_whatever_it_is(patch: pytest.MonkeyPatch) -> None:
    def expire(self: Order, now: datetime) -> Order:
        return self._changed(now, state=OrderState.EXPIRED)

    patch.setattr(Order, "expire", expire)


def expire_orders_before_their_time(patch: pytest.MonkeyPatch) -> None:
    def expire(self: Order, now: datetime) -> Order:
        self._check(Step.EXPIRE)
        return self._changed(now, state=OrderState.EXPIRED)

    patch.setattr(Order, "expire", expire)


def take_no_notice_of_the_time_of_a_hold(patch: pytest.MonkeyPatch) -> None:
    """A hold whose time is up is committed like any other, until the worker comes by."""

    def state_at(self: Reservation, now: datetime) -> ReservationState:
        return self.state

    patch.setattr(Reservation, "state_at", state_at)


def remember_what_was_decided_before(patch: pytest.MonkeyPatch) -> None:
    """Each hold is longer than the last one by a moment: what is given does not decide alone."""
    decide, holds = ReserveStock.decide, count(1)

    def longer(self: ReserveStock, world: World, now: datetime) -> Decision[Any]:
        hold_duration = self.hold_duration + timedelta(microseconds=next(holds))
        return decide(replace(self, hold_duration=hold_duration), world, now)

    patch.setattr(ReserveStock, "decide", longer)


def cancel_without_release(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holdings, "cancelled", lambda self, state: self)


def keep_the_uses_of_coupons(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holdings, "return_coupons", lambda self: self)


def count_every_report_of_money(patch: pytest.MonkeyPatch) -> None:
    """The record of a payment is not looked for."""
    get = World.get

    def blind(self: World, kind: Kind[Any, Any], key: Any) -> Any:
        return None if kind.rank is LockRank.MONEY_RECORD else get(self, kind, key)

    patch.setattr(World, "get", blind)


def price_by_lists_that_are_not_open(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks at their windows."""
    patch.setattr(calculation, "holds_at", lambda windowed, now: True)


def charge_what_was_shown(patch: pytest.MonkeyPatch) -> None:
    """An order takes the prices of its cart, whenever these were made."""

    def as_shown(cart: Cart, world: World, now: datetime) -> PricedCart:
        return PricedCart(cart, cart.coupon_codes)

    patch.setattr(place_order, "priced", as_shown)


# --- the outside world ----------------------------------------------------------------------------


def take_an_unknown_outcome_for_a_failure(patch: pytest.MonkeyPatch) -> None:
    report_of = gateway._report_of

    def hasty(failure: ProviderFailure) -> Any:
        return Refused(failure.code) if isinstance(failure, OutcomeUnknown) else report_of(failure)

    patch.setattr(gateway, "_report_of", hasty)


def call_with_a_new_key_each_time(patch: pytest.MonkeyPatch) -> None:
    def key(self: Errand, subject_id: str) -> str:
        return f"{subject_id}:{self.task.name}:{self.attempt_count}"

    patch.setattr(Errand, "key", key)


def leave_surplus_money_where_it_is(patch: pytest.MonkeyPatch) -> None:
    """Money that came too late, or twice, is not given back."""
    patch.setattr(process, "_surplus_minor", lambda order: 0)


def count_what_was_recorded_beside_what_is_told(patch: pytest.MonkeyPatch) -> None:
    """A refund of ours that people recorded before it had a name here counts twice."""
    patch.setattr(report_payment.ReportRefund, "_recorded", lambda *_: None)


# --- workers ---------------------------------------------------------------------------------------


def forget_the_other_parts_of_a_refund(patch: pytest.MonkeyPatch) -> None:
    """Of units that two payments were to give back, all are shipped when the first one fails."""

    def all_of_it(self: OrderPayments, refund: Refund, *_: Any) -> Iterator[RefundedLine]:
        return iter(refund.lines)

    patch.setattr(OrderPayments, "units_regained", all_of_it)


def stumble_now_and_then(patch: pytest.MonkeyPatch) -> None:
    """One round in ten of the expiry worker fails by a mistake; the next one does its work as well."""
    expire_due, rounds = ExpiryWorker.expire_due, count(1)

    async def stumble(self: ExpiryWorker, lookout: Any) -> None:
        if next(rounds) % 10 == 0:
            raise KeyError("a mistake")
        await expire_due(self, lookout)

    patch.setattr(ExpiryWorker, "expire_due", stumble)


MUTANTS: tuple[Plant, ...] = (
    drop_the_row_lock,
    drop_the_row_lock_and_the_check,
    take_what_is_there_for_locked,
    fill_locations_without_their_lock,
    close_locations_that_are_not_empty,
    read_before_the_lock,
    lock_in_order_of_arrival,
    leave_key_rows_behind,
    skip_the_request_id_check,
    skip_the_request_id_check_and_the_key,
    wait_for_no_other_claim,
    acknowledge_before_the_commit,
    forget_what_was_answered,
    draw_positions_without_the_lock,
    release_the_log_before_the_commit,
    tell_of_all_but_carts,
    tell_it_twice,
    tell_it_in_another_order,
    tell_what_a_neighbour_did,
    tell_what_was_decided_at_first,
    decide_each_on_what_was_loaded,
    forget_what_is_put_off,
    write_a_part_of_the_batch,
    lose_what_is_new,
    mix_up_answers,
    expire_whatever_it_is,
    expire_orders_before_their_time,
    take_no_notice_of_the_time_of_a_hold,
    remember_what_was_decided_before,
    cancel_without_release,
    keep_the_uses_of_coupons,
    count_every_report_of_money,
    price_by_lists_that_are_not_open,
    charge_what_was_shown,
    take_an_unknown_outcome_for_a_failure,
    call_with_a_new_key_each_time,
    leave_surplus_money_where_it_is,
    forget_the_other_parts_of_a_refund,
    count_what_was_recorded_beside_what_is_told,
    stumble_now_and_then,
)
