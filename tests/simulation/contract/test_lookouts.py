"""What workers find, and that one of them works, asked of the model and of PostgreSQL alike."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import pytest

from command_service.cart.domain import CART, Cart, CartState
from command_service.checkout.expiry import Resting
from command_service.checkout.payment_worker import Stretch
from command_service.inventory.domain import RESERVATION, ReservationState
from command_service.inventory.events import ReservationReleased
from command_service.lone_worker import WorkerLock, WorkerSession
from command_service.ordering.domain import ORDER, Order, OrderState
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import Errand, Task
from command_service.payment.events import PaymentStarted
from command_service.payment.payments import CaptureMode, Payment, PaymentState
from command_service.payment.refunds import Refund, RefundState
from command_service.unit_of_work import Told, UnitOfWork
from command_service.world import Change
from event_log.events import Event
from tests.command_service.payment.tellings import new_payment
from tests.eventually import eventually
from tests.simulation.contract.orders import an_order
from tests.simulation.contract.pair import LATER, History, Pair, begin, keep, reservation, work
from tests.simulation.database import OPENING
from tests.simulation.lookouts import may_have_steps

# What is played here are rows that wait for each other, not orders with all that belongs to them.
pytestmark = pytest.mark.breaks_invariants

Play = Callable[[History], None]

MANY = 10_000
EXPIRY, PAYMENTS = WorkerLock.EXPIRY.value, WorkerLock.PAYMENTS.value


# --- worker locks ----------------------------------------------------------------------------------


def test_one_session_has_the_lock_of_a_worker_and_others_do_not_wait_for_it(play: Play) -> None:
    async def history(pair: Pair) -> None:
        first, second = pair.expiry
        assert await first.take_worker_lock(EXPIRY)
        assert not await second.take_worker_lock(EXPIRY)
        assert await first.take_worker_lock(EXPIRY), "who has it may ask again"
        assert await second.take_worker_lock(PAYMENTS), "each worker has its own"
        assert not await pair.payments[0].take_worker_lock(PAYMENTS)

    play(history)


async def let_go(first: WorkerSession, second: WorkerSession) -> None:
    async def is_free() -> bool:
        return await second.take_worker_lock(EXPIRY)

    await eventually(is_free)
    assert not await first.take_worker_lock(EXPIRY)


def test_the_lock_is_had_as_long_as_the_connection_lasts(play: Play) -> None:
    async def history(pair: Pair) -> None:
        first, second = pair.expiry
        assert await first.take_worker_lock(EXPIRY)
        first.drop()
        await let_go(first, second)
        await second.close()
        await let_go(second, first)

    play(history)


def test_whoever_asked_twice_lets_go_at_once(play: Play) -> None:
    async def history(pair: Pair) -> None:
        first, second = pair.expiry
        for _ in range(2):
            assert await first.take_worker_lock(EXPIRY)
        first.drop()
        await let_go(first, second)

    play(history)


# --- what expires ----------------------------------------------------------------------------------


def ago(hours: int) -> datetime:
    return OPENING - timedelta(hours=hours)


def a_cart(cart_id: str, expire_time: datetime, state: CartState = CartState.OPEN) -> Cart:
    return Cart(
        cart_id=cart_id,
        version=1,
        state=state,
        customer_id="ada",
        currency_code="GBP",
        customer_group="",
        price_list_id="",
        lines_by_id={},
        coupon_codes=(),
        free_shipping=False,
        tax_inclusive=True,
        priced_time=OPENING,
        prices_valid_until=None,
        create_time=OPENING,
        update_time=OPENING,
        expire_time=expire_time,
    )


def expiring(order_id: str, expire_time: datetime, state: OrderState) -> Change:
    order = an_order(order_id, number=order_id)
    order = replace(order, expire_time=expire_time, state=state, paid_minor=order.total_minor)
    return ORDER.changed(order_id, order)


def hold(reservation_id: str, expire_time: datetime, **other: Any) -> Change:
    held = replace(reservation(reservation_id), expire_time=expire_time, **other)
    return RESERVATION.changed(reservation_id, held)


async def keep_expiring(unit: UnitOfWork) -> None:
    """Of each kind and state one that is due, and of each kind one that is not yet."""
    carts = [a_cart(state.name, ago(state), state) for state in CartState]
    carts.append(a_cart("later", LATER))
    await keep(
        unit,
        *(CART.changed(cart.cart_id, cart) for cart in carts),
        *(expiring(state.name, ago(state), state) for state in OrderState),
        expiring("later", LATER, OrderState.AWAITING_PAYMENT),
        *(hold(state.name, ago(state), state=state) for state in ReservationState),
        hold("of an order", ago(1), is_of_order=True),
        hold("longer", ago(2)),
        hold("later", LATER),
    )


def test_what_is_due_is_found_longest_overdue_first(play: Play) -> None:
    async def history(pair: Pair) -> None:
        await keep_expiring(pair.first)
        orders, reservations, carts = await pair.expiry[0].due(MANY, resting=())
        assert [tuple(row) for row in orders] == [
            ("AWAITING_INSTORE_PAYMENT", ago(2)),
            ("AWAITING_PAYMENT", ago(1)),
        ]
        assert [tuple(row) for row in reservations] == [("longer", ago(2)), ("HELD", ago(1))]
        assert [tuple(row) for row in carts] == [("OPEN", ago(1))]

    play(history)


def test_so_many_of_each_kind_are_found_and_what_rests_takes_nobodys_place(play: Play) -> None:
    async def history(pair: Pair) -> None:
        await keep_expiring(pair.first)
        lookout = pair.expiry[0]
        assert keys(await lookout.due(1, resting=())) == [
            ["AWAITING_INSTORE_PAYMENT"],
            ["longer"],
            ["OPEN"],
        ]
        resting = {
            Resting("order", "AWAITING_INSTORE_PAYMENT", ago(2)),
            Resting("reservation", "longer", ago(3)),  # of before its time was moved
            Resting("cart", "HELD", ago(1)),
        }
        assert keys(await lookout.due(1, resting=resting)) == [
            ["AWAITING_PAYMENT"],
            ["longer"],
            ["OPEN"],
        ]

    play(history)


def keys(found: Sequence[Sequence[tuple[str, datetime]]]) -> list[list[str]]:
    return [[key for key, _ in rows] for rows in found]


def test_what_is_not_committed_is_not_due_and_nobody_is_waited_for(play: Play) -> None:
    async def history(pair: Pair) -> None:
        await keep_expiring(pair.first)
        await begin(pair.first, CART.change("OPEN"), CART.create("new"))
        async with pair.others_hold_the_log():
            _, _, carts = await pair.expiry[0].due(MANY, resting=())
        assert [key for key, _ in carts] == ["OPEN"]
        await pair.first.end()

    play(history)


# --- orders with next steps ------------------------------------------------------------------------


def every_order_with_a_payment() -> list[tuple[Order, OrderPayments]]:
    """Each state of both, paid as wanted or twice."""
    found = []
    cases = product(OrderState, PaymentState, CaptureMode, ("", "declined"), (0, 100), (100, 200))
    for number, (state, of_payment, mode, code, refunded_minor, paid_minor) in enumerate(cases):
        order = an_order(f"o{number}", number=f"{number}")
        payment = replace(
            a_payment(order.order_id),
            state=of_payment,
            capture_mode=mode,
            failure_code=code,
            captured_minor=100,
            refunded_minor=refunded_minor,
        )
        found.append(
            (
                replace(order, state=state, paid_minor=paid_minor),
                OrderPayments(order.order_id, (payment,)),
            )
        )
    return found


def a_payment(order_id: str, **other: Any) -> Payment:
    facts = {"errand": None, "provider_reference": f"pi of {order_id}", **other}
    return new_payment(payment_id=f"{order_id}.1", order_id=order_id, **facts)


async def keep_paid(unit: UnitOfWork, paid: Sequence[tuple[Order, OrderPayments]]) -> None:
    await keep(unit, *(ORDER.changed(order.order_id, order) for order, _ in paid))
    names = [order.order_id for order, _ in paid]
    await begin(
        unit,
        *(ORDER.change(order_id) for order_id in names),
        *(ORDER_PAYMENTS.change(order_id) for order_id in names),
    )
    changes = [ORDER_PAYMENTS.changed(each.order_id, each) for _, each in paid]
    await unit.write(work(*((change, None) for change in changes)))


def test_orders_that_may_have_next_steps_are_found_in_every_state(play: Play) -> None:
    paid = every_order_with_a_payment()
    wanted = {order.order_id for order, payments in paid if may_have_steps(order, payments)}

    async def history(pair: Pair) -> None:
        await keep_paid(pair.first, paid)
        assert await pair.payments[0].orders_to_advance(None, MANY, resting=()) == wanted

    assert 0 < len(wanted) < len(paid)
    play(history)


def test_of_the_log_a_stretch_is_looked_at_and_of_that_what_is_about_orders(play: Play) -> None:
    surplus = [
        (
            replace(an_order(name, number=name), state=OrderState.CANCELLED),
            OrderPayments(name, (a_payment(name, state=PaymentState.CAPTURED, captured_minor=100),)),
        )
        for name in ("o1", "o2", "o3")
    ]

    async def history(pair: Pair) -> None:
        lookout = pair.payments[0]
        await keep_paid(pair.first, surplus)
        start = await lookout.log_position()
        paid = [PaymentStarted(each.payments[0]) for _, each in surplus]
        await tell(pair.first, paid[0], paid[1], ReservationReleased("o3", expired=True))
        end = await lookout.log_position()
        assert end == start + 3

        async def found(after: int, through: int) -> set[str]:
            return await lookout.orders_to_advance(Stretch(after, through), MANY, resting=())

        assert await found(start, end) == {"o1", "o2"}
        assert await found(start + 1, end) == {"o2"}
        assert await found(start, start + 1) == {"o1"}
        assert await found(end, end) == set()

    play(history)


async def tell(unit: UnitOfWork, *events: Event) -> None:
    await unit.claim([])
    told = [Told(event, unit.encode_event(event), "tester", uuid4()) for event in events]
    await unit.write(replace(work(), events=told))


def test_the_end_of_the_log_is_what_is_committed(play: Play) -> None:
    async def history(pair: Pair) -> None:
        assert await pair.payments[0].log_position() == 0
        await tell(pair.first, ReservationReleased("r", expired=True))
        async with pair.others_hold_the_log():
            assert await pair.payments[0].log_position() == 1

    play(history)


# --- calls that are due ----------------------------------------------------------------------------


def due(hours: int) -> Errand:
    return Errand(Task.BEGIN, ago(hours))


def a_refund(order_id: str, **other: Any) -> Refund:
    facts = {"create_time": ago(9), "update_time": ago(9), **other}
    return Refund(f"{order_id}.r1", f"{order_id}.1", order_id, 10, (), 0, **facts)


@pytest.fixture
def with_errands() -> list[tuple[Order, OrderPayments]]:
    """In the order in which they are due, and those that are not."""
    payments: dict[str, OrderPayments] = {}

    def add(order_id: str, payment: dict[str, Any], *refunds: Refund) -> None:
        payments[order_id] = OrderPayments(order_id, (a_payment(order_id, **payment),), refunds)

    add("pay", {"errand": due(5)})
    add("refund", {}, a_refund("refund", errand=due(4)))
    unasked = {"state": RefundState.PENDING, "update_time": ago(3)}
    add("pending", {}, a_refund("pending", **unasked))
    add("both", {"errand": due(2)}, a_refund("both", errand=due(1)))
    later = Errand(Task.ASK, LATER)
    add("asked", {"errand": later}, a_refund("asked", state=RefundState.PENDING, errand=later))
    add("done", {}, a_refund("done", state=RefundState.SUCCEEDED))
    return [(an_order(name, number=name), each) for name, each in payments.items()]


def test_calls_that_are_due_are_found(
    play: Play, with_errands: list[tuple[Order, OrderPayments]]
) -> None:
    async def history(pair: Pair) -> None:
        await keep_paid(pair.first, with_errands)
        nothing_told = Stretch(0, 0)

        async def found(count_max: int, *resting: str) -> set[str]:
            return await pair.payments[0].orders_to_advance(nothing_told, count_max, resting=resting)

        assert await found(MANY) == {"pay", "refund", "pending", "both"}
        assert await found(0) == set()
        assert await found(1) == {"pay"}
        assert await found(2) == {"pay", "refund"}
        assert await found(3) == {"pay", "refund", "pending"}
        assert await found(2, "pay", "pending") == {"refund", "both"}

    play(history)
