"""The gauge of alarms is told by the one process that looks, and only while it does."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry, generate_latest

from command_service.checkout import payment_alarms
from command_service.checkout.payment_alarms import LOOK_SECONDS, STALE_LOOKS, PaymentAlarms
from command_service.metrics import PROVIDER_CALL_SECONDS, PROVIDER_CALLS, of_provider_call
from command_service.session import Session
from ops.commands.alarms import WHAT_TO_DO
from tests.eventually import eventually
from tests.history_service.stored_shop import Line, StoredShop

NONE = dict.fromkeys(WHAT_TO_DO, 0.0)


class Clock:
    """The time, as a test has it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest_asyncio.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    session = Session(database_url, "tests")
    await session.connect()
    yield session
    await session.close()


def told(registry: CollectorRegistry) -> dict[str, float]:
    """The gauge, by alarm."""
    return {
        sample.labels["alarm"]: sample.value
        for metric in registry.collect()
        for sample in metric.samples
    }


@pytest.mark.breaks_invariants
async def test_every_alarm_is_counted_now_and_then_and_forgotten_when_nobody_looks(
    session: Session, database_url: str
) -> None:
    clock, registry = Clock(), CollectorRegistry()
    alarms = PaymentAlarms(database_url, registry=registry, monotonic=clock)
    registry.register(alarms)
    assert told(registry) == {}
    await alarms.look(session)
    assert told(registry) == NONE
    lose_money(database_url)
    await alarms.look(session)
    assert told(registry) == NONE
    clock.seconds = LOOK_SECONDS
    await alarms.look(session)
    assert told(registry) == NONE | {"money_without_order": 1.0}
    assert b'shopkeeper_payment_alarms{alarm="money_without_order"} 1.0' in generate_latest(registry)
    clock.seconds = LOOK_SECONDS + STALE_LOOKS * LOOK_SECONDS
    assert told(registry) == {}


async def test_one_process_reports_and_the_next_takes_over(database_url: str) -> None:
    registries = [CollectorRegistry() for _ in range(2)]
    first, second = (PaymentAlarms(database_url, registry=registry) for registry in registries)

    async def is_told(registry: CollectorRegistry) -> bool:
        return told(registry) == NONE

    await first.start()
    await eventually(lambda: is_told(registries[0]), seconds=30)
    await second.start()
    try:
        assert told(registries[1]) == {}
        await first.drain()
        await eventually(lambda: is_told(registries[1]), seconds=60)
        assert told(registries[0]) == {}
    finally:
        await second.drain()


async def test_a_look_may_take_longer_than_a_batch(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the server's limits comes first; a shop of two million payments needs six seconds."""
    limits = "statement_timeout", "transaction_timeout"
    count = f"SELECT name, setting::int FROM pg_settings WHERE name IN {limits}"
    monkeypatch.setattr(payment_alarms, "COUNT", count)
    registry = CollectorRegistry()
    alarms = PaymentAlarms(database_url, registry=registry)
    await alarms.start()
    try:
        await eventually(lambda: is_anything_told(registry), seconds=30)
        assert min(told(registry).values()) >= 9_000
    finally:
        await alarms.drain()


async def is_anything_told(registry: CollectorRegistry) -> bool:
    return bool(told(registry))


def lose_money(database_url: str) -> None:
    """Money of a cancelled order that nobody gives back."""
    with StoredShop(database_url) as shop:
        shop.move("A", on_hand=1)
        shop.place("o1", [Line("A", 1)])
        shop.cancel("o1")
        shop.execute("UPDATE orders SET paid_minor = 255, update_time = now() - interval '2 days'")


def sample(name: str, **labels: str) -> float:
    metrics = [*PROVIDER_CALLS.collect(), *PROVIDER_CALL_SECONDS.collect()]
    found = [
        each.value
        for metric in metrics
        for each in metric.samples
        if each.name == name and each.labels == labels
    ]
    return sum(found)


async def test_a_call_to_a_provider_is_counted_by_what_it_came_to() -> None:
    async def answering() -> str:
        return "told"

    async def breaking() -> str:
        raise ValueError("a mistake of ours")

    of = {"provider": "test", "task": "capture"}
    assert await of_provider_call(answering(), **of, outcome_of=str) == "told"
    with pytest.raises(ValueError, match="a mistake of ours"):
        await of_provider_call(breaking(), **of, outcome_of=str)
    counted = [
        sample("shopkeeper_provider_calls_total", **of, outcome=outcome)
        for outcome in ("told", "broken")
    ]
    assert counted == [1.0, 1.0]
    assert sample("shopkeeper_provider_call_seconds_count", **of) == 2.0
