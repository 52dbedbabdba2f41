"""Paid at SumUp and PayPal, over real processes: from the order by the webhook to reconciliation."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from google.protobuf.message import Message

from ops.embedded import EmbeddedPostgres
from shopkeeper.ordering.v1.ordering_command_service_pb2 import (
    PAYMENT_MODE_IN_STORE,
    PAYMENT_MODE_ONLINE,
    CancelOrderRequest,
    RecordPaymentRequest,
)
from shopkeeper.ordering.v1.ordering_events_pb2 import PaymentRecorded, RefundRecorded
from shopkeeper.ordering.v1.ordering_pb2 import (
    ORDER_STATE_AWAITING_INSTORE_PAYMENT,
    ORDER_STATE_AWAITING_PAYMENT,
    ORDER_STATE_CANCELLED,
    ORDER_STATE_EXPIRED,
    ORDER_STATE_PAID,
    Order,
    OrderLineUnits,
)
from shopkeeper.payment.v1.payment_command_service_pb2 import (
    CapturePaymentRequest,
    RefundPaymentRequest,
    StartPaymentRequest,
)
from shopkeeper.payment.v1.payment_pb2 import (
    CAPTURE_MODE_AT_ONCE,
    CAPTURE_MODE_ON_COMMAND,
    PAYMENT_FLOW_HOSTED,
    PAYMENT_FLOW_READER,
    PAYMENT_STATE_AUTHORIZED,
    PAYMENT_STATE_AWAITING_CUSTOMER,
    PAYMENT_STATE_CAPTURED,
    PAYMENT_STATE_VOIDED,
    REFUND_STATE_FAILED,
    REFUND_STATE_PENDING,
    REFUND_STATE_SUCCEEDED,
    Payment,
)
from tests.conftest import fresh_database
from tests.invariants import broken_invariants
from tests.ops.command_line import DONE, REFUSED, Ended
from tests.sandboxes.deliveries import DeliverySettings
from tests.system.books import PATIENCE_SECONDS, Books
from tests.system.client import DEADLINE_SECONDS, PRICE_MINOR, Client, new_id
from tests.system.tills import Tills, reconciled, shop_with_tills

pytestmark = pytest.mark.asyncio(loop_scope="module")

OFTEN_AND_SHUFFLED = DeliverySettings(
    seed=3, duplicate_probability=1.0, duplicates_max=5, delay_seconds_max=0.3
)


@dataclass(frozen=True, slots=True)
class Way:
    """A way to pay."""

    provider: str
    flow: int = PAYMENT_FLOW_HOSTED
    capture_mode: int = CAPTURE_MODE_AT_ONCE

    @property
    def is_in_store(self) -> bool:
        return self.flow == PAYMENT_FLOW_READER

    @property
    def is_on_command(self) -> bool:
        return self.capture_mode == CAPTURE_MODE_ON_COMMAND


WAYS = {
    "sumup, its page": Way("sumup"),
    "sumup, a reader": Way("sumup", flow=PAYMENT_FLOW_READER),
    "paypal, at once": Way("paypal"),
    "paypal, on command": Way("paypal", capture_mode=CAPTURE_MODE_ON_COMMAND),
}

every_way = pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)


@dataclass(frozen=True, slots=True)
class Shop:
    """Processes of the command and the webhook service, the providers they are set to, the books."""

    books: Books
    tills: Tills
    client: Client
    _sku_ids: "itertools.count[int]" = field(default_factory=itertools.count)
    _reader_ids: "itertools.count[int]" = field(default_factory=itertools.count)

    async def goods(self, quantity: int) -> str:
        """A SKU of which there is so much."""
        sku_id = f"sku-{next(self._sku_ids)}"
        await self.client.open_shop([sku_id], quantity)
        return sku_id

    async def place(self, way: Way, quantity_by_sku: dict[str, int]) -> Order:
        cart = await self.client.fill_cart(quantity_by_sku)
        mode = PAYMENT_MODE_IN_STORE if way.is_in_store else PAYMENT_MODE_ONLINE
        return await self.client.place(cart, payment_mode=mode)

    async def start(self, way: Way, order: Order) -> Payment:
        """A payment as the customer is to make it."""
        request = StartPaymentRequest(
            request_id=new_id(),
            order_id=order.order_id,
            provider=way.provider,
            flow=way.flow,  # type: ignore[arg-type] # a number of the enum
            capture_mode=way.capture_mode,  # type: ignore[arg-type] # likewise
            customer_return_url="" if way.is_in_store else "https://shop.example/paid",
            reader_id=READER_IDS[next(self._reader_ids)] if way.is_in_store else "",
        )
        started = await self.client.payment.StartPayment(request, timeout=PATIENCE_SECONDS)
        assert started.payment.state == PAYMENT_STATE_AWAITING_CUSTOMER
        assert bool(started.redirect_url) is not way.is_in_store
        return started.payment

    async def capture_if_asked(self, way: Way, payment: Payment) -> None:
        """CapturePayment once the customer has approved, where it takes that."""
        if not way.is_on_command:
            return
        await self.until_payment(payment, PAYMENT_STATE_AUTHORIZED)
        request = CapturePaymentRequest(request_id=new_id(), payment_id=payment.payment_id)
        await self.client.payment.CapturePayment(request, timeout=PATIENCE_SECONDS)

    async def paid(self, way: Way, quantity: int = 3) -> tuple[Order, Payment]:
        """A paid order over one line of so many."""
        order = await self.place(way, {await self.goods(quantity): quantity})
        payment = await self.start(way, order)
        assert await self.tills[way.provider].pay(payment)
        await self.capture_if_asked(way, payment)
        await self.until_order(order, ORDER_STATE_PAID)
        return order, payment

    async def until_order(self, order: Order, state: int) -> None:
        sql = "SELECT state FROM orders WHERE order_id = %s"
        await self.books.until([(state,)], sql, order.order_id)

    async def until_payment(self, payment: Payment, state: int) -> None:
        sql = "SELECT state FROM payments WHERE payment_id = %s"
        await self.books.until([(state,)], sql, payment.payment_id)

    async def give_back(self, order: Order, quantity: int) -> None:
        """RefundPayment of so many of the order's last line."""
        wanted = [OrderLineUnits(line_id=order.lines[-1].line_id, quantity=quantity)]
        request = RefundPaymentRequest(request_id=new_id(), order_id=order.order_id, lines=wanted)
        await self.client.payment.RefundPayment(request, timeout=PATIENCE_SECONDS)

    async def until_refund(self, order: Order, state: int) -> None:
        """Waits for the one refund of an order."""
        sql = "SELECT state FROM refunds WHERE order_id = %s"
        await self.books.until([(state,)], sql, order.order_id)

    async def asked_after_refunds(self, order: Order, times: int) -> None:
        """Returns when the order's one refund, pending, was asked after so often."""
        sql = "SELECT errand_attempt_count, errand_is_in_flight FROM refunds WHERE order_id = %s"
        for time in range(1, times + 1):
            self.pauses_are_over(order)
            await self.books.until([(time, False)], sql, order.order_id)

    def pauses_are_over(self, order: Order) -> None:
        """Nobody need wait any longer to ask after the order's refunds."""
        self.books.execute(
            "UPDATE refunds SET errand_due_time = now() WHERE order_id = %s", order.order_id
        )

    def money(self, order: Order) -> tuple[int, int]:
        """What the order was paid, and what of it was given back."""
        sql = "SELECT paid_minor, refunded_minor FROM orders WHERE order_id = %s"
        [ours] = self.books.rows(sql, order.order_id)
        assert [ours] == self.books.rows(
            """SELECT sum(captured_minor)::bigint, sum(refunded_minor)::bigint
            FROM payments WHERE order_id = %s""",
            order.order_id,
        )
        return ours[0], ours[1]

    def stock(self, sku_id: str) -> tuple[int, int, int]:
        """On hand, reserved, allocated."""
        sql = "SELECT on_hand, reserved, allocated FROM stock_levels WHERE sku_id = %s"
        [(on_hand, reserved, allocated)] = self.books.rows(sql, sku_id)
        return on_hand, reserved, allocated

    def told(self, order: Order, event: type[Message]) -> int:
        """How often the log tells something of an order."""
        sql = "SELECT count(*) FROM events WHERE key = %s AND type = %s"
        return self.books.number(sql, order.order_id, event.DESCRIPTOR.full_name)

    def time_runs_out(self, order: Order) -> None:
        """The order's time is up, as if somebody had waited for it."""
        self.books.execute(
            """WITH moment AS (SELECT clock_timestamp() AS up), held AS (
                UPDATE reservations SET expire_time = up FROM moment WHERE reservation_id = %s)
            UPDATE orders SET expire_time = up FROM moment WHERE order_id = %s""",
            order.order_id,
            order.order_id,
        )

    async def reconcile(self, provider: str, cwd: Path) -> Ended:
        return await reconciled(self.tills[provider], self.books, cwd)


READER_IDS = tuple(f"rdr_{number:026}" for number in range(20))
"""One for each payment: a reader that is being asked for money takes no other."""


@asynccontextmanager
async def running(database_url: str) -> AsyncIterator[Shop]:
    """A shop whose customers pay at SumUp and PayPal."""
    async with (
        shop_with_tills(database_url, OFTEN_AND_SHUFFLED, reader_ids=READER_IDS) as (services, tills),
        Client(services.command_address) as client,
    ):
        yield Shop(Books(database_url), tills, client)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(postgres: EmbeddedPostgres, migrated_template: str) -> AsyncIterator[Shop]:
    """One for all tests that leave it in order."""
    with fresh_database(postgres, migrated_template) as url:
        async with running(url) as shop:
            yield shop


@every_way
async def test_an_order_is_paid_once_and_given_back_in_part(
    shop: Shop, way: Way, tmp_path: Path
) -> None:
    till, kept, returned = shop.tills[way.provider], await shop.goods(5), await shop.goods(5)
    order = await shop.place(way, {kept: 2, returned: 1})
    awaiting = ORDER_STATE_AWAITING_INSTORE_PAYMENT if way.is_in_store else ORDER_STATE_AWAITING_PAYMENT
    assert order.state == awaiting
    payment = await shop.start(way, order)
    assert await till.pay(payment)
    if way.is_on_command:
        await shop.until_payment(payment, PAYMENT_STATE_AUTHORIZED)
        await till.all_delivered()
        assert till.money_of(order) == shop.money(order) == (0, 0)
    await shop.capture_if_asked(way, payment)
    await shop.until_order(order, ORDER_STATE_PAID)
    await till.all_delivered()
    assert shop.told(order, PaymentRecorded) == 1
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, 0)
    assert (shop.stock(kept), shop.stock(returned)) == ((5, 0, 2), (5, 0, 1))

    await shop.give_back(order, 1)
    await shop.until_refund(order, REFUND_STATE_SUCCEEDED)
    await till.all_delivered()
    assert shop.told(order, RefundRecorded) == 1
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, PRICE_MINOR)
    await shop.until_order(order, ORDER_STATE_PAID)

    ended = await shop.reconcile(way.provider, tmp_path)
    assert (ended.returncode, ended.stderr) == (DONE, ""), ended.stdout
    assert "under way" not in ended.stdout
    assert broken_invariants(shop.books.database_url) == {}


@every_way
async def test_cancelling_an_order_calls_its_unpaid_payment_off(
    shop: Shop, way: Way, tmp_path: Path
) -> None:
    till, sku_id = shop.tills[way.provider], await shop.goods(3)
    order = await shop.place(way, {sku_id: 3})
    payment = await shop.start(way, order)
    await till.turn_up(payment)
    if way.is_on_command:
        assert await till.pay(payment)
        await shop.until_payment(payment, PAYMENT_STATE_AUTHORIZED)
    request = CancelOrderRequest(request_id=new_id(), order_id=order.order_id)
    await shop.client.ordering.CancelOrder(request, timeout=DEADLINE_SECONDS)
    await shop.until_payment(payment, PAYMENT_STATE_VOIDED)
    # PayPal has no call for an order that nobody paid, and moves no money for it unless we ask.
    assert await till.pay(payment) is (way.provider == "paypal" and not way.is_on_command)
    await till.all_delivered()
    await shop.until_order(order, ORDER_STATE_CANCELLED)
    await shop.until_payment(payment, PAYMENT_STATE_VOIDED)
    assert till.money_of(order) == shop.money(order) == (0, 0)
    assert shop.stock(sku_id) == (3, 0, 0)
    ended = await shop.reconcile(way.provider, tmp_path)
    assert ended.returncode == DONE, ended.stdout


@every_way
async def test_money_that_comes_too_late_is_given_back(shop: Shop, way: Way, tmp_path: Path) -> None:
    till, sku_id = shop.tills[way.provider], await shop.goods(3)
    order = await shop.place(way, {sku_id: 3})
    payment = await shop.start(way, order)
    await till.begin_to_pay(payment)
    await shop.capture_if_asked(way, payment)
    await till.until_begun(payment)
    shop.time_runs_out(order)
    await shop.until_order(order, ORDER_STATE_EXPIRED)
    await shop.place(way, {sku_id: 3})
    await till.settle(payment)
    await shop.until_payment(payment, PAYMENT_STATE_CAPTURED)
    await shop.until_refund(order, REFUND_STATE_SUCCEEDED)
    await till.all_delivered()
    await shop.until_order(order, ORDER_STATE_EXPIRED)
    assert shop.told(order, PaymentRecorded) == shop.told(order, RefundRecorded) == 1
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, 3 * PRICE_MINOR)
    assert shop.stock(sku_id) == (3, 3, 0)
    ended = await shop.reconcile(way.provider, tmp_path)
    assert ended.returncode == DONE, ended.stdout
    assert broken_invariants(shop.books.database_url) == {}


async def test_a_refund_that_paypal_fails_later_is_due_again(shop: Shop, tmp_path: Path) -> None:
    till = shop.tills.paypal
    order, payment = await shop.paid(Way("paypal"))
    await till.have_refunds_pend(payment)
    await shop.give_back(order, 1)
    await till.all_delivered()
    await shop.until_refund(order, REFUND_STATE_PENDING)
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, PRICE_MINOR)
    await till.end_refund(payment, succeeds=False)
    await shop.until_refund(order, REFUND_STATE_FAILED)
    await till.all_delivered()
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, 0)
    ended = await shop.reconcile("paypal", tmp_path)
    assert ended.returncode == DONE, ended.stdout


async def test_money_that_somebody_recorded_by_the_name_that_sumup_shows_counts_once(shop: Shop) -> None:
    """Before it was told; the webhook tells it by the name of its checkout."""
    till, way = shop.tills.sumup, Way("sumup")
    order = await shop.place(way, {await shop.goods(3): 3})
    payment = await shop.start(way, order)
    await till.begin_to_pay(payment)
    request = RecordPaymentRequest(
        request_id=new_id(),
        order_id=order.order_id,
        payment_reference=till.code_of(payment),
        amount=order.total,
    )
    await shop.client.ordering.RecordPayment(request, timeout=DEADLINE_SECONDS)
    # The payment is to be called off now; SumUp says that somebody is just paying, so that has to wait.
    sql = "SELECT errand_attempt_count, errand_is_in_flight FROM payments WHERE payment_id = %s"
    await shop.books.until([(1, False)], sql, payment.payment_id)
    await till.settle(payment)
    await shop.until_payment(payment, PAYMENT_STATE_CAPTURED)
    await till.all_delivered()
    assert shop.told(order, PaymentRecorded) == 1
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, 0)
    await shop.until_order(order, ORDER_STATE_PAID)


@pytest.mark.parametrize("succeeds", [True, False])
@pytest.mark.parametrize("flow", [PAYMENT_FLOW_HOSTED, PAYMENT_FLOW_READER])
async def test_a_refund_of_which_sumup_tells_no_end_is_asked_for(
    shop: Shop, flow: int, tmp_path: Path, *, succeeds: bool
) -> None:
    till = shop.tills.sumup
    order, payment = await shop.paid(Way("sumup", flow))
    await till.have_refunds_pend(payment)
    await shop.give_back(order, 1)
    await shop.until_refund(order, REFUND_STATE_PENDING)
    await till.all_delivered()
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, PRICE_MINOR)
    await shop.asked_after_refunds(order, 2)
    await till.end_refund(payment, succeeds=succeeds)
    shop.pauses_are_over(order)
    await shop.until_refund(order, REFUND_STATE_SUCCEEDED if succeeds else REFUND_STATE_FAILED)
    back_minor = PRICE_MINOR if succeeds else 0
    assert till.money_of(order) == shop.money(order) == (3 * PRICE_MINOR, back_minor)
    assert shop.told(order, RefundRecorded) == 1
    ended = await shop.reconcile("sumup", tmp_path)
    assert ended.returncode == DONE, ended.stdout
    assert "under way" not in ended.stdout


@pytest.mark.parametrize("provider", ["sumup", "paypal"])
async def test_what_was_done_by_hand_is_named(
    postgres: EmbeddedPostgres, migrated_template: str, provider: str, tmp_path: Path
) -> None:
    """In a shop of its own: what nobody told it of stays a difference."""
    with fresh_database(postgres, migrated_template) as url:
        async with running(url) as shop:
            till = shop.tills[provider]
            order, payment = await shop.paid(Way(provider))
            await till.all_delivered()
            assert (await shop.reconcile(provider, tmp_path)).returncode == DONE

            till.deliveries.hold()
            refund_name = await till.refund_by_hand(payment, 100)
            payment_name = await till.pay_by_hand(700)
            ended = await shop.reconcile(provider, tmp_path)
            # PayPal's list has no name for a payment that is not ours.
            foreign = ["payment", "only", "there", *payment_name.split(), "-", "7.00", "GBP"]
            refund = ["refund", "by", "hand", refund_name, order.order_id, "-", "1.00", "GBP"]
            assert (ended.returncode, found_in(ended)) == (REFUSED, [foreign, refund])
            assert ended.stdout.splitlines()[-1] == (
                f"reconcile: provider={provider} payments=2 captured=14.50GBP refunded=1.00GBP"
                " differences=2"
            )

            till.deliveries.release()
            await till.all_delivered()
            # SumUp never tells of a refund that somebody makes in its own tools.
            expected, known_minor = ([foreign], 100) if provider == "paypal" else ([foreign, refund], 0)
            assert shop.money(order) == (3 * PRICE_MINOR, known_minor)
            ended = await shop.reconcile(provider, tmp_path)
            assert (ended.returncode, found_in(ended)) == (REFUSED, expected)


def found_in(ended: Ended) -> list[list[str]]:
    """The differences that `reconcile` has printed, each up to its amounts."""
    lines = ended.stdout.splitlines()
    assert "under way: no difference yet" not in lines
    table = [line.split() for line in lines[lines.index("differences") + 2 : -1]]
    return [words[: words.index("GBP") + 1] for words in table if "GBP" in words]
