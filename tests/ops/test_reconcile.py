"""`reconcile`: what Stripe and we tell differently, each with its amounts, and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.refund_payment import RefundPayment
from command_service.money import Money
from command_service.ordering.domain import Order
from command_service.payment.payments import CaptureMode, Payment, Wish
from command_service.session import Session
from ops.reconcile import Difference, Reconciled, reconcile
from payment_providers.port import Flow, PaymentName, ProviderPayment, ProviderRefund, RefundWanted
from payment_providers.stripe.provider import StripeProvider
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.conftest import CarryOut
from tests.ops.command_line import DONE, REFUSED, UNREACHABLE, USAGE, Ended, run

SINCE = datetime.now(UTC) - timedelta(days=1)
SECRET = "sk_test_sandbox"


@pytest_asyncio.fixture
async def shop(database_url: str) -> AsyncIterator[PaidShop]:
    session = Session(database_url, "tests")
    await session.connect()
    try:
        async with paid_shop(CarryOut(database_url, session)) as shop:
            yield shop
    finally:
        await session.close()


async def paid_order(shop: PaidShop, cart_id: str, **other: Any) -> tuple[Order, Payment]:
    """An order over 2.00 whose customer has paid it, as Stripe has told."""
    order, payment = await paid_there(shop, cart_id, **other)
    await shop.deliver()
    return order, payment


async def paid_there(shop: PaidShop, cart_id: str, **other: Any) -> tuple[Order, Payment]:
    """Likewise, but Stripe has not told it yet."""
    order = await shop.place(cart_id, sku0=2)
    payment = (await shop.start(order, **other)).payment
    await shop.act(payment, "pay")
    return order, payment


async def rest(shop: PaidShop) -> None:
    """An hour passes in which nothing happens."""
    for table in ("payments", "refunds"):
        await shop.carry_out.fetch(f"UPDATE {table} SET update_time = now() - interval '1 hour'")


async def paid_on_page(shop: PaidShop) -> Payment:
    """One paid on Stripe's own page."""
    wish = Wish(description="Order", customer_return_url="https://shop.example/paid")
    order = await shop.place("c1", sku0=2)
    payment = (await shop.start(order, flow=Flow.HOSTED, wish=wish)).payment
    await shop.sandbox.act(f"checkout/sessions/{payment.provider_reference}/pay")
    await shop.deliver()
    return payment


class AsListed(StripeProvider):
    """Stripe whose list is of another moment. read_count: payments asked for since."""

    def __init__(self, shop: PaidShop, listed: Sequence[ProviderPayment]) -> None:
        self._at_work = shop.provider
        self._listed = listed
        self.read_count = 0

    async def payments_since(self, since: datetime) -> AsyncIterator[ProviderPayment]:
        for payment in self._listed:
            yield payment

    async def read(self, payment: PaymentName) -> ProviderPayment | None:
        self.read_count += 1
        return await self._at_work.read(payment)

    async def read_refund(self, refund: RefundWanted) -> ProviderRefund | None:
        return await self._at_work.read_refund(refund)


async def compared(shop: PaidShop, provider: StripeProvider | None = None) -> Reconciled:
    return await reconcile(
        provider or shop.provider,
        shop.carry_out.database_url,
        SINCE,
        on_progress=lambda what, done, total: None,
    )


async def listed(shop: PaidShop) -> list[ProviderPayment]:
    return [payment async for payment in shop.provider.payments_since(SINCE)]


async def give_back(shop: PaidShop, order: Order, amount_minor: int) -> None:
    asked = await shop.ask(RefundPayment(order.order_id, "", Money("GBP", amount_minor), ()))
    await shop.give_back(asked)


async def refund_by_hand(shop: PaidShop, payment: Payment, amount_minor: int) -> str:
    form = {"payment_intent": payment.provider_reference, "amount": str(amount_minor)}
    answer = await shop.sandbox.post("/v1/refunds", form)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def amounts(differences: Sequence[Difference]) -> list[tuple[Any, ...]]:
    return [(each.what, each.subject_id, each.here_minor, each.there_minor) for each in differences]


# --- what agrees ------------------------------------------------------------------------------


async def test_a_shop_whose_money_is_all_known_has_no_differences(shop: PaidShop) -> None:
    refunded, _ = await paid_order(shop, "c1")
    await give_back(shop, refunded, 50)
    await give_back(shop, refunded, 50)
    await paid_order(shop, "c2", capture_mode=CaptureMode.ON_COMMAND)
    await shop.start(await shop.place("c3", sku0=1))
    await rest(shop)
    found = await compared(shop)
    assert (found.differences, found.under_way, found.payment_count) == ([], [], 3)
    assert (dict(found.captured_minor), dict(found.refunded_minor)) == ({"GBP": 200}, {"GBP": 100})


async def test_a_hosted_page_is_known_by_our_id(shop: PaidShop) -> None:
    hosted = await paid_on_page(shop)
    await rest(shop)
    assert hosted.provider_reference.startswith("cs_")
    found = await compared(shop)
    assert (found.differences, dict(found.captured_minor)) == ([], {"GBP": 200})


async def test_what_is_paid_while_the_list_is_read_is_no_difference(shop: PaidShop) -> None:
    order = await shop.place("c1", sku0=2)
    payment = (await shop.start(order)).payment
    provider = AsListed(shop, await listed(shop))
    await shop.act(payment, "pay")
    await shop.deliver()
    await give_back(shop, order, 50)
    await rest(shop)
    found = await compared(shop, provider)
    assert (found.differences, found.under_way, provider.read_count) == ([], [], 1)


async def test_what_the_list_lacks_is_asked_for_once(shop: PaidShop) -> None:
    order, _ = await paid_order(shop, "c1")
    await give_back(shop, order, 50)
    await rest(shop)
    provider = AsListed(shop, [])
    found = await compared(shop, provider)
    assert (found.differences, found.under_way, provider.read_count) == ([], [], 1)


# --- what differs -----------------------------------------------------------------------------


async def test_money_that_stripe_captured_and_nobody_told_us_of_is_a_difference(shop: PaidShop) -> None:
    order, payment = await paid_there(shop, "c1")
    await rest(shop)
    found = await compared(shop)
    assert found.differences == [
        Difference(
            "captured",
            payment.payment_id,
            order.order_id,
            "GBP",
            0,
            200,
            "here AWAITING_CUSTOMER, there CAPTURED",
        )
    ]
    await shop.deliver()
    await rest(shop)
    assert (await compared(shop)).differences == []


async def test_what_changed_just_now_or_waits_for_a_call_is_under_way(shop: PaidShop) -> None:
    _, payment = await paid_there(shop, "c1")
    recent = await compared(shop)
    await rest(shop)
    await shop.carry_out.fetch("UPDATE payments SET errand_task = 1, errand_due_time = now()")
    waiting = await compared(shop)
    expected = [("captured", payment.payment_id, 0, 200)]
    assert [each.differences for each in (recent, waiting)] == [[], []]
    assert [amounts(each.under_way) for each in (recent, waiting)] == [expected, expected]


async def test_an_authorization_that_nobody_told_us_of_is_a_difference(shop: PaidShop) -> None:
    _, payment = await paid_there(shop, "c1", capture_mode=CaptureMode.ON_COMMAND)
    await rest(shop)
    found = await compared(shop)
    assert amounts(found.differences) == [("authorized", payment.payment_id, 0, 200)]


async def test_payments_there_without_a_row_of_ours_are_differences(shop: PaidShop) -> None:
    ours = await shop.sandbox.intent(**{"metadata[payment_id]": "gone.1"})
    foreign = await shop.sandbox.paid_intent(amount=700)
    await shop.sandbox.intent()  # somebody else's, and nobody has paid it
    found = await compared(shop)
    assert amounts(found.differences) == [
        ("payment only there", "gone.1", None, 0),
        ("payment only there", foreign["id"], None, 700),
    ]
    told = [each.told for each in found.differences]
    assert told == [
        f"there AWAITING_CUSTOMER, our id gone.1, reference {ours['id']}; captured less refunded",
        f"there CAPTURED, no id of ours, reference {foreign['id']}; captured less refunded",
    ]
    assert found.payment_count == 3


async def test_money_here_that_stripe_does_not_know_is_a_difference(shop: PaidShop) -> None:
    order, _ = await paid_order(shop, "c1")
    await shop.carry_out.fetch("""
        INSERT INTO payments SELECT made_up.* FROM payments, jsonb_populate_record(payments, '{
            "payment_id": "made-up.1", "ordinal": 2, "provider_reference": "pi_made_up"}') AS made_up""")
    await rest(shop)
    found = await compared(shop)
    assert found.differences == [
        Difference(
            "payment only here",
            "made-up.1",
            order.order_id,
            "GBP",
            200,
            None,
            "here CAPTURED, reference pi_made_up; captured less refunded",
        )
    ]


async def test_older_payments_here_are_not_expected_in_the_list(shop: PaidShop) -> None:
    await paid_order(shop, "c1")
    await rest(shop)
    await shop.carry_out.fetch("UPDATE payments SET create_time = now() - interval '2 days'")
    provider = AsListed(shop, [])
    found = await compared(shop, provider)
    assert (found.differences, provider.read_count) == ([], 0)


async def test_a_payment_that_was_made_twice_counts_with_all_its_money(shop: PaidShop) -> None:
    _, payment = await paid_order(shop, "c1")
    wanted = {"metadata[payment_id]": payment.payment_id, "currency": "gbp"}
    await shop.sandbox.intent(**wanted)
    await rest(shop)
    assert (await compared(shop)).differences == []
    await shop.sandbox.paid_intent(amount=200, **wanted)
    found = await compared(shop)
    assert amounts(found.differences) == [("captured", payment.payment_id, 200, 400)]


async def test_a_refund_by_hand_is_a_difference_until_it_is_counted(shop: PaidShop) -> None:
    _, payment = await paid_order(shop, "c1")
    refund_id = await refund_by_hand(shop, payment, 50)
    await rest(shop)
    found = await compared(shop)
    assert amounts(found.differences) == [("refund by hand", refund_id, None, 50)]
    await shop.deliver()
    await rest(shop)
    assert (await compared(shop)).differences == []


async def test_a_refund_by_hand_is_no_difference_once_people_have_recorded_it(shop: PaidShop) -> None:
    order, payment = await paid_order(shop, "c1")
    refund_id = await refund_by_hand(shop, payment, 50)
    await shop.carry_out(RecordRefund(order.order_id, refund_id, Money("GBP", 50), ()))
    await rest(shop)
    assert (await compared(shop)).differences == []


async def test_a_refund_that_failed_later_and_was_not_told_is_a_difference(shop: PaidShop) -> None:
    order, _ = await paid_order(shop, "c1")
    await give_back(shop, order, 200)
    await rest(shop)
    [refund] = (await shop.payments(order)).refunds
    await shop.sandbox.act(f"refunds/{refund.provider_reference}/fail")
    found = await compared(shop)
    assert amounts(found.differences) == [("refund", refund.refund_id, 200, 0)]


@pytest.mark.breaks_invariants
async def test_a_refund_here_that_stripe_does_not_know_is_a_difference(shop: PaidShop) -> None:
    order, _ = await paid_order(shop, "c1")
    await give_back(shop, order, 50)
    await shop.carry_out.fetch("""
        INSERT INTO refunds SELECT made_up.* FROM refunds, jsonb_populate_record(refunds, '{
            "refund_id": "made-up.r1", "ordinal": 2, "provider_reference": "re_made_up"}') AS made_up""")
    await rest(shop)
    found = await compared(shop)
    assert amounts(found.differences) == [("refund", "made-up.r1", 50, None)]


# --- the command ------------------------------------------------------------------------------


async def commanded(shop: PaidShop, tmp_path: Path, *arguments: str, **environment: str) -> Ended:
    """`reconcile` in a thread: the sandbox is served by this one."""
    known = {
        "DATABASE_URL": shop.carry_out.database_url,
        "STRIPE_API_KEY": SECRET,
        "STRIPE_API_URL": shop.sandbox.url,
        **environment,
    }
    wanted = arguments or ("--provider", "stripe", "--since", f"{SINCE:%Y-%m-%d}")
    return await asyncio.to_thread(lambda: run("reconcile", *wanted, cwd=tmp_path, **known))


async def test_the_command_ends_with_one_line_of_sums(shop: PaidShop, tmp_path: Path) -> None:
    order, _ = await paid_order(shop, "c1")
    await give_back(shop, order, 50)
    await shop.sandbox.paid_intent(currency="jpy", amount=1200, **{"metadata[payment_id]": "gone.1"})
    await rest(shop)
    ended = await commanded(shop, tmp_path)
    assert ended.returncode == REFUSED
    *table, last = ended.stdout.splitlines()
    assert last == (
        "reconcile: provider=stripe payments=2 captured=2.00GBP,1200JPY refunded=0.50GBP differences=1"
    )
    at = table.index("differences")
    assert table[at + 1].split() == ["what", "id", "order", "here", "there", "each", "side", "says"]
    assert table[at + 2].split()[:7] == ["payment", "only", "there", "gone.1", "-", "1200", "JPY"]
    assert SECRET not in ended.stdout + ended.stderr


async def test_the_command_ends_well_when_all_agrees_or_is_under_way(
    shop: PaidShop, tmp_path: Path
) -> None:
    _, payment = await paid_there(shop, "c1")
    ended = await commanded(shop, tmp_path)
    assert (ended.returncode, ended.stderr) == (DONE, "")
    lines = ended.stdout.splitlines()
    at = lines.index("under way: no difference yet")
    assert lines[at + 2].startswith(f"captured  {payment.payment_id} ")
    assert "0.00 GBP  2.00 GBP" in lines[at + 2]
    assert lines[-1] == (
        "reconcile: provider=stripe payments=1 captured=2.00GBP refunded=0 differences=0"
    )


async def test_a_stripe_that_cannot_be_reached_or_is_refused_is_told(
    shop: PaidShop, tmp_path: Path
) -> None:
    away = await commanded(shop, tmp_path, STRIPE_API_URL="http://127.0.0.1:9")
    assert (away.returncode, away.stderr) == (
        UNREACHABLE,
        "error: stripe cannot be asked: connection\n",
    )
    locked_out = await commanded(shop, tmp_path, STRIPE_API_KEY="sk_test_wrong")
    assert locked_out.returncode == UNREACHABLE
    assert "sk_test_wrong" not in locked_out.stdout + locked_out.stderr


async def test_a_database_that_cannot_be_reached_is_told(shop: PaidShop, tmp_path: Path) -> None:
    ended = await commanded(shop, tmp_path, DATABASE_URL="postgresql://u:secret@127.0.0.1:9/d")
    assert ended.returncode == UNREACHABLE
    assert ended.stderr.startswith("error: the database cannot be used: ")
    assert "secret" not in ended.stderr


@pytest.mark.parametrize(
    ("provider", "since"),
    [("adyen", "2026-11-20"), ("paypal", "2026-11-20"), ("stripe", "yesterday"), ("stripe", "")],
)
def test_an_unknown_provider_or_time_is_wrong_usage(
    database_url: str, tmp_path: Path, provider: str, since: str
) -> None:
    ended = run(
        *("reconcile", "--provider", provider, "--since", since),
        cwd=tmp_path,
        DATABASE_URL=database_url,
        STRIPE_API_KEY=SECRET,
    )
    assert ended.returncode == USAGE
    assert provider in ended.stderr or "2026-11-20T10:00:00Z" in ended.stderr


def test_a_provider_that_is_half_set_is_named_without_its_secrets(
    database_url: str, tmp_path: Path
) -> None:
    ended = run(
        *("reconcile", "--provider", "paypal", "--since", "2026-11-20"),
        cwd=tmp_path,
        DATABASE_URL=database_url,
        PAYPAL_CLIENT_SECRET="hush",
    )
    assert (ended.returncode, ended.stderr) == (
        USAGE,
        "error: PAYPAL_CLIENT_ID: is missing, while there is PAYPAL_CLIENT_SECRET\n",
    )
