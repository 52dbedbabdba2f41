"""How much money waits for people, for Prometheus: the rows of the views alarm_*, counted now and then.

One process at a time looks, and only that one reports. When it stops looking it stops reporting: a
number that nobody keeps up to date would pass for true.
"""

import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from command_service.lone_worker import LoneWorker, WorkerLock
from command_service.pipeline import Statement
from command_service.session import TIMEOUTS, Session, Timeouts

PAUSE_SECONDS = 5.0
"""Between two rounds: well below the idleness at which the server ends a worker's session."""

LOOK_SECONDS = 15.0
"""Between two looks, unless told otherwise: people need longer than that."""

LOOK_SHARE_MAX = 0.05
"""Of the time: a look reads all payments, which takes three seconds a million."""

STALE_LOOKS = 4
"""What is older than so many is not reported: some looks may fail, but not all."""

_STAY = Statement("SELECT 1")

COUNT = """
SELECT substr(relname, length('alarm_') + 1), count(alarms.id)
FROM pg_class LEFT JOIN alarms ON alarms.alarm = substr(relname, length('alarm_') + 1)
WHERE relkind = 'v' AND starts_with(relname::text, 'alarm_')
  AND relnamespace = current_schema()::regnamespace
GROUP BY relname
"""


class PaymentAlarms(Collector):
    """Counts the alarms.

    look_seconds: between two looks. monotonic: the time in seconds, of any origin.
    """

    def __init__(
        self,
        database_url: str,
        timeouts: Timeouts | None = None,
        *,
        look_seconds: float = LOOK_SECONDS,
        registry: CollectorRegistry = REGISTRY,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._monotonic = monotonic
        self._counts: Mapping[str, int] = {}
        self._look_time = float("-inf")
        self._look_seconds = look_seconds
        self._pause_seconds = look_seconds
        session = Session(database_url, "shopkeeper payment alarms", (timeouts or TIMEOUTS).patient)
        self._worker = LoneWorker(
            WorkerLock.PAYMENT_ALARMS,
            session,
            self.look,
            pause_seconds=min(PAUSE_SECONDS, look_seconds),
        )

    async def start(self) -> None:
        """Begins."""
        self._registry.register(self)
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand."""
        await self._worker.drain()
        self._registry.unregister(self)

    async def look(self, session: Session) -> None:
        """One round: a look if it is time for one."""
        if self._age_seconds < self._pause_seconds:
            await session.run([_STAY])
            return
        begin_time = self._monotonic()
        [rows] = await session.run([Statement(COUNT)])
        self._counts = dict(rows)
        self._look_time = self._monotonic()
        self._pause_seconds = max(self._look_seconds, (self._look_time - begin_time) / LOOK_SHARE_MAX)

    def collect(self) -> Iterator[Metric]:
        """What the last look found, if it was this process that looked."""
        gauge = GaugeMetricFamily(
            "shopkeeper_payment_alarms", "Matters of money that wait for people.", labels=["alarm"]
        )
        if self._age_seconds < STALE_LOOKS * self._pause_seconds:
            for alarm, count in self._counts.items():
                gauge.add_metric([alarm], count)
        yield gauge

    def describe(self) -> Iterator[Metric]:
        """The name alone: who registers it does not want a look."""
        yield GaugeMetricFamily("shopkeeper_payment_alarms", "", labels=["alarm"])

    @property
    def _age_seconds(self) -> float:
        return self._monotonic() - self._look_time
