"""The views of payments are what the tables hold, after every story."""

from hypothesis import given, settings
from hypothesis import strategies as st

from command_service.payment.domain import OrderPayments
from event_log.codec import encode_event, to_message
from payment_providers.port import ProviderRefund
from projections.payment import money_after, payment_after
from shopkeeper.payment.v1 import payment_events_pb2
from shopkeeper.payment.v1.payment_pb2 import OrderMoney, Payment
from tests.command_service.checkout.order_story import GOODS_ACTS, MONEY_ACTS, Story
from tests.command_service.checkout.provider_in_memory import ProviderShop
from tests.command_service.payment.tellings import refund_told


def told(shop: ProviderShop) -> list[payment_events_pb2.PaymentChanged]:
    """The payment events as they stand in the log."""
    found = []
    for event in shop.events:
        name, payload = encode_event(event)
        package, _, kind = name.rpartition(".")
        if package == "shopkeeper.payment.v1":
            found.append(getattr(payment_events_pb2, kind).FromString(payload))
    return found


def folded(shop: ProviderShop) -> tuple[OrderMoney | None, dict[str, Payment]]:
    money, payments = None, dict[str, Payment]()
    for event in told(shop):
        money = money_after(money, event)
        known = payments.get(event.payment.payment_id)
        payments[event.payment.payment_id] = payment_after(known, event)
    return money, payments


def told_by_provider(refund_id: str, amount_minor: int) -> ProviderRefund:
    report = refund_told(ProviderRefund.State.SUCCEEDED, refund_id, amount_minor)
    assert isinstance(report.by_provider, ProviderRefund)
    return report.by_provider


def stored(payments: OrderPayments) -> OrderMoney:
    return to_message(payments, OrderMoney)


@given(st.lists(st.tuples(st.sampled_from(MONEY_ACTS + GOODS_ACTS), st.integers(0, 11)), max_size=14))
@settings(max_examples=80)
def test_the_views_are_what_the_tables_hold_at_every_moment(acts: list[tuple[str, int]]) -> None:
    story = Story()
    for name, number in acts:
        story.act(name, number)
        payments = story.shop.payments(story.order)
        money, by_id = folded(story.shop)
        if not payments.payments:
            assert money is None
            continue
        assert money == stored(payments)
        assert by_id == {each.payment_id: to_message(each, Payment) for each in payments.payments}


def test_the_sums_of_an_order_are_those_of_its_payments() -> None:
    shop = ProviderShop()
    order = shop.paid_order()
    shop.hear(told_by_provider("", 120))
    money, _ = folded(shop)
    assert money is not None
    assert money == stored(shop.payments(order))
    assert (money.captured_minor, money.refunded_minor, money.refundable_minor) == (500, 120, 380)
    assert [refund.amount_minor for refund in money.refunds] == [120]
